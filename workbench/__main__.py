"""``python -m workbench`` is ``genmend``."""

from workbench.cli import main

main()
