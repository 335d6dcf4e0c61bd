"""Files of ours in a folder or a repository of the hub: what is in one, its card, how it is pushed and fetched."""
