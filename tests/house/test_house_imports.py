"""Who may import whom, how long a file may be and what it may not be called (design.md, "The house")."""

import ast
import subprocess
import sys

import pytest
from house_sources import NOT_INSTALLED, ROOT, imported_modules, name_of, python_files, rooms

ARROWS = {
    "activations": set(),
    "manifold": set(),
    "gans": {"activations", "manifold"},
    "diffusion": {"activations", "manifold"},
    "tts": {"activations", "manifold"},
    "concepts": {"activations", "manifold"},
    "workbench": {"activations", "manifold", "gans", "diffusion", "tts", "concepts"},
}
LONGEST = 400
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
# All that `import manifold` may bring, with what these four need themselves.
LIGHT = {"numpy", "scipy", "sklearn", "faiss"}


def wrong_arrows(source, package):
    """Imports of `source`, a file of the dotted `package`, that no arrow of the design allows."""
    room = package.split(".")[0]
    allowed = ARROWS.get(room, set(ARROWS)) | {room}
    ours = set(ARROWS) | NOT_INSTALLED
    return [
        f"line {line}: {room} imports {module}"
        for line, module in imported_modules(ast.parse(source), package)
        if module.split(".")[0] in ours - allowed
    ]


def file_problems(name, text):
    """What is wrong with a file's name or length."""
    *folders, last = name.removesuffix(".py").split("/")
    problems = [f"is called {part}" for part in [*folders, last] if part.lower() in FORBIDDEN_NAMES]
    lines = text.count("\n")
    return problems + ([f"has {lines} lines, more than {LONGEST}"] if lines > LONGEST else [])


def test_every_room_stands_in_the_design():
    assert {"activations", "manifold"} <= set(rooms()) <= set(ARROWS)


@pytest.mark.parametrize("file", python_files(*rooms(), "experiments", "benchmarks"), ids=name_of)
def test_imports_follow_the_arrows(file):
    package = ".".join(file.relative_to(ROOT).parent.parts)
    assert wrong_arrows(file.read_text(encoding="utf-8"), package) == []


@pytest.mark.parametrize(
    ("source", "package"),
    [
        ("import manifold", "activations"),
        ("from gans.faces import load", "manifold.features"),
        ("def f():\n    from diffusion import gains", "gans"),
        ("import numpy, tts.repair", "concepts"),
        ("from workbench import cli", "gans"),
        ("import importlib\nimportlib.import_module('gans.faces')", "manifold"),
        ("if False:\n    import tests.toys", "workbench"),
        ("from experiments import face_artifacts", "gans"),
    ],
)
def test_a_wrong_arrow_is_caught(source, package):
    assert len(wrong_arrows(source, package)) == 1


@pytest.mark.parametrize(
    ("source", "package"),
    [
        ("import activations, manifold.weights, torch", "gans"),
        ("from .extractor import load", "manifold.features"),
        ("from .. import inputs", "manifold.features"),
        ("import gans, diffusion", "workbench"),
        ("import gans, workbench", "experiments"),
    ],
)
def test_a_right_arrow_passes(source, package):
    assert wrong_arrows(source, package) == []


@pytest.mark.parametrize("file", python_files(*rooms(), *NOT_INSTALLED), ids=name_of)
def test_names_say_what_is_inside_and_no_file_is_long(file):
    problems = file_problems(name_of(file), file.read_text(encoding="utf-8"))
    if name_of(file).startswith("tests/"):  # cases side by side: length hides nothing there
        problems = [problem for problem in problems if "lines" not in problem]
    assert problems == []


@pytest.mark.parametrize(
    ("name", "text"),
    [("gans/utils.py", ""), ("gans/helpers/ablate.py", ""), ("manifold/common.py", ""), ("gans/a.py", "x\n" * 401)],
)
def test_a_vague_name_and_a_long_file_are_caught(name, text):
    assert len(file_problems(name, text)) == 1


def brought_by(statement):
    """Top-level modules that `statement` imports, in a process of its own, beyond LIGHT and what LIGHT needs."""
    script = (
        "import sys, numpy, scipy, sklearn.base, sklearn.neighbors, faiss; before = set(sys.modules)\n"
        f"{statement}\n"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split()) - set(sys.stdlib_module_names) - LIGHT


def test_importing_manifold_needs_nothing_heavy():
    assert brought_by("import manifold") == {"manifold"}


def test_a_heavy_import_is_caught():
    assert "PIL" in brought_by("import manifold, PIL")
