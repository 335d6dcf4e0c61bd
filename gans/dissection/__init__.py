"""GAN Dissection: what each unit of a generator stands for, what it causes, and which units break images."""
