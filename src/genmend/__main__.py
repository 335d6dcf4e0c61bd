"""``python -m genmend`` is ``genmend``."""

import sys

# Python puts the current folder first for -m; a torch.py of the user's there is not torch. `main` puts it last.
if not sys.flags.safe_path:
    del sys.path[0]

from genmend.workbench.cli.main import main

main()
