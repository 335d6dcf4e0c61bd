"""``genmend serve``: the page in the browser. It shows what the library computes."""
