"""The project's own files, as the rules of the house read them."""

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "genmend"
#: Which rooms each room may import, beside itself (design.md, "The house").
ARROWS = {
    "storage": set(),
    "activations": {"storage"},
    "manifold": {"storage"},
    "gans": {"activations", "manifold", "storage"},
    "diffusion": {"activations", "manifold", "storage"},
    "tts": {"activations", "manifold", "storage"},
    "concepts": {"activations", "manifold", "storage"},
    "workbench": {"activations", "manifold", "gans", "diffusion", "tts", "concepts", "storage"},
}
NOT_INSTALLED = {"tests", "experiments", "benchmarks"}


def rooms():
    """Names of the top-level folders that are installed, as genmend.NAME."""
    return sorted(name for name in ARROWS if (ROOT / name / "__init__.py").is_file())


def python_files(*folders):
    """Every Python file under the named top-level folders."""
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def name_of(file):
    """A file's path from the root, for messages."""
    return file.relative_to(ROOT).as_posix()


def module_of(file):
    """The dotted name that a file is imported by."""
    parts = list(file.relative_to(ROOT).with_suffix("").parts)
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join([PACKAGE, *parts] if parts[0] in ARROWS else parts)


@cache
def tree_of(file):
    """A file's syntax tree; every rule reads the same one."""
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def nodes_of(tree):
    """Every node of a syntax tree, walked once for all rules."""
    return [*ast.walk(tree)]


def tracked_files():
    """Every file of the project: what git tracks or would add; outside a checkout, what stands in our folders."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        names = [name for name in done.stdout.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        folders = [*rooms(), *NOT_INSTALLED, "src", "docs", ".ci"]
        found = [file for folder in folders for file in (ROOT / folder).rglob("*") if "__pycache__" not in file.parts]
        names = [name_of(file) for file in [*found, *ROOT.glob("*.*"), ROOT / "Makefile"]]
    return sorted(ROOT / name for name in names if (ROOT / name).is_file())


def text_of(file):
    """A file's text, or nothing where it is no text."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def imported_modules(tree, package="", run_time_only=False):
    """(line, dotted module) of every import, those inside functions and by a literal `import_module` included.

    `package` is the dotted package of the file, against which a relative import is read. Of ``from a import b`` both
    ``a`` and ``a.b`` are given, for b may be a module. `run_time_only` leaves out what stands under TYPE_CHECKING.
    """
    for node in _walk(tree) if run_time_only else nodes_of(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*parents, *filter(None, [node.module])])
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in {"import_module", "__import__"} and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def _walk(tree):
    """Nodes that are not under ``if TYPE_CHECKING``."""
    left = [tree]
    for node in left:
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield node
            left.extend(ast.iter_child_nodes(node))


def dotted(node):
    """What `node` says, e.g. ``torch.load``: `ast.unparse`, faster for names and their attributes."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ast.unparse(node)


def dotted_names(tree):
    """What each imported name stands for, e.g. ``{"np": "numpy", "load": "torch.load"}``."""
    names = {}
    for node in nodes_of(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names
