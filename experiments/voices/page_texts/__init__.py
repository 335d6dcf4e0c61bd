"""Pages of single experiments, which pages.py gathers."""
