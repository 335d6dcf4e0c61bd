"""The project's own files, as the rules of the house read them."""

import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_INSTALLED = {"tests", "experiments", "benchmarks"}
NOT_OURS = {"build", "dist", "demo", "venv", "node_modules"}


def rooms():
    """Names of the top-level folders that hold Python files and are meant to be installed."""
    folders = {file.relative_to(ROOT).parts[0] for file in ROOT.glob("*/*.py")}
    return sorted(name for name in folders - NOT_INSTALLED - NOT_OURS if not name.startswith("."))


def python_files(*folders):
    """Every Python file under the named top-level folders."""
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def name_of(file):
    """A file's path from the root, for test names and messages."""
    return file.relative_to(ROOT).as_posix()


def tracked_files():
    """Every file of the project: what git tracks or would add; outside a checkout, what stands in our folders."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        names = [name for name in done.stdout.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        folders = [*rooms(), *NOT_INSTALLED, ".ci"]
        found = [file for folder in folders for file in (ROOT / folder).rglob("*") if "__pycache__" not in file.parts]
        names = [name_of(file) for file in [*found, *ROOT.glob("*.*"), ROOT / "Makefile"]]
    return sorted(ROOT / name for name in names if (ROOT / name).is_file())


def text_of(file):
    """A file's text, or nothing where it is no text."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def imported_modules(tree, package=""):
    """(line, dotted module) of every import, those inside functions and by a literal `import_module` included.

    `package` is the dotted package of the file, against which a relative import is read.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            yield node.lineno, ".".join([*parents, *filter(None, [node.module])])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).rsplit(".", 1)[-1]
            if called in {"import_module", "__import__"} and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def dotted_names(tree):
    """What each imported name stands for, e.g. ``{"np": "numpy", "load": "torch.load"}``."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names
