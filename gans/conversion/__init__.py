"""Foreign checkpoints as generators of ours: read as data, in a child process, written as safetensors."""
