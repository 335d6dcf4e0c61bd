"""``python -m genmend`` is ``genmend``."""

from genmend.workbench.cli.main import main

main()
