"""What `experiments.faces.plausible` is made of: mended samples, judges, and sheets for blind ratings."""
