"""Who may import whom, how long a file may be and what it may not be called (design.md, "The house")."""

import ast
import subprocess
import sys
from collections import Counter

from house_sources import (
    ARROWS,
    NOT_INSTALLED,
    PACKAGE,
    ROOT,
    imported_modules,
    module_of,
    name_of,
    python_files,
    rooms,
    tree_of,
)

LONGEST = 400
MOST_MODULES = 18
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
# All that `import genmend.manifold` may bring, with what these four need themselves.
LIGHT = {"numpy", "scipy", "sklearn", "faiss", "lazy_loader"}
COMPUTES = {"numpy", "torch", "scipy", "sklearn"}


def wrong_arrows(tree, room):
    """Imports of a file in `room` (or a folder that is not installed) that no arrow of the design allows."""
    allowed = ARROWS.get(room, set(ARROWS)) | {room}
    found = []
    for line, module in imported_modules(tree):
        first, second = [*module.split("."), ""][:2]
        named = second if first == PACKAGE and second in ARROWS else first if first in NOT_INSTALLED else room
        if named not in allowed and first != "tests" * (room in NOT_INSTALLED):
            found.append(f"line {line}: {room} imports {module}")
        if first in ARROWS and room in ARROWS:
            found.append(f"line {line}: {module} is imported as {PACKAGE}.{module}")
    return sorted(set(found))


def circles(imports):
    """Groups of modules that import each other, of ``{module: modules it imports}``."""
    found, order, lowest, stack = [], {}, {}, []

    def visit(module):
        order[module] = lowest[module] = len(order)
        stack.append(module)
        for other in imports[module]:
            if other not in order:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], order[other])
        if lowest[module] == order[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in imports:
        if module not in order:
            visit(module)
    return found


def file_problems(name, text):
    """What is wrong with a file's name or length."""
    *folders, last = name.removesuffix(".py").split("/")
    problems = [f"{name} is called {part}" for part in [*folders, last] if part.lower() in FORBIDDEN_NAMES]
    lines = text.count("\n")
    return problems + ([f"{name} has {lines} lines, more than {LONGEST}"] if lines > LONGEST else [])


def test_every_room_stands_in_the_design():
    on_disk = {file.parent.name for file in ROOT.glob("*/__init__.py")} - NOT_INSTALLED
    assert on_disk == set(rooms())
    assert {"storage", "activations", "manifold"} <= on_disk


def test_imports_follow_the_arrows():
    files = python_files(*rooms(), "experiments", "benchmarks")
    assert {
        name_of(file): wrong
        for file in files
        if (wrong := wrong_arrows(tree_of(file), file.relative_to(ROOT).parts[0]))
    } == {}


def test_wrong_arrows_are_caught_and_right_ones_pass():
    wrong = [
        ("import genmend.manifold", "activations"),
        ("from genmend.gans.loading import load_generator", "manifold"),
        ("def f():\n    from genmend.diffusion import draw", "gans"),
        ("import numpy, genmend.tts.repair", "concepts"),
        ("from genmend import workbench", "gans"),
        ("import importlib\nimportlib.import_module('genmend.gans.loading')", "manifold"),
        ("if False:\n    import tests.toys", "workbench"),
        ("from experiments.faces import artifacts", "gans"),
        ("import manifold.regions", "gans"),
        ("from genmend.activations import edited", "storage"),
    ]
    right = [
        ("import genmend.activations, genmend.storage.weights, torch", "gans"),
        ("from genmend.manifold.engine import radii", "manifold"),
        ("import genmend.gans, genmend.diffusion", "workbench"),
        ("import genmend.gans\nfrom experiments import intervals", "experiments"),
    ]
    assert [source for source, room in wrong if not wrong_arrows(ast.parse(source), room)] == []
    assert [source for source, room in right if wrong_arrows(ast.parse(source), room)] == []


def test_no_module_imports_itself_round_a_corner():
    modules = {module_of(file): file for file in python_files(*rooms(), "experiments")}
    imports = {
        name: {m for _, m in imported_modules(tree_of(file), run_time_only=True) if m in modules and m != name}
        for name, file in modules.items()
    }
    # A package's own __init__ is imported with every module of it; what counts is who names it.
    found = circles(imports)
    assert found == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_names_say_what_is_inside_and_no_file_is_long():
    files = python_files(*rooms(), *NOT_INSTALLED)
    problems = [problem for file in files for problem in file_problems(name_of(file), file.read_text(encoding="utf-8"))]
    # In tests, cases stand side by side: length hides nothing there.
    assert [problem for problem in problems if not (problem.startswith("tests/") and "lines" in problem)] == []
    for name, text in [("gans/utils.py", ""), ("gans/helpers/a.py", ""), ("common.py", ""), ("gans/a.py", "x\n" * 401)]:
        assert len(file_problems(name, text)) == 1


def test_no_folder_holds_more_than_one_can_take_in():
    modules = Counter(
        name_of(file.parent) for file in python_files(*rooms(), "experiments", "tests") if file.stem != "__init__"
    )
    assert {folder: n for folder, n in modules.items() if n > MOST_MODULES} == {}
    assert len(modules) > 30


def test_commands_show_what_the_library_computes():
    problems = {
        name_of(file): sorted(wrong)
        for folder in ("workbench/cli", "workbench/commands")
        for file in python_files(folder)
        if (wrong := {m.split(".")[0] for _, m in imported_modules(tree_of(file), run_time_only=True)} & COMPUTES)
    }
    assert problems == {}


def test_only_the_command_line_and_the_page_in_the_browser_import_commands_and_only_the_workbench_imports_pages():
    places_of_commands = ("workbench/cli/", "workbench/app/", "workbench/commands/")
    allowed = {"workbench.commands": places_of_commands, "workbench.pages": ("workbench/",)}
    problems = [
        f"{name_of(file)} imports {module}"
        for file in python_files(*rooms(), "experiments", "benchmarks")
        for _, module in imported_modules(tree_of(file))
        for part, places in allowed.items()
        if module.startswith(f"{PACKAGE}.{part}.") and not name_of(file).startswith(places)
    ]
    assert problems == []


def brought_by(*statements):
    """Top-level modules beyond LIGHT and its needs after each of `statements`, run in turn in a process of its own."""
    tell = "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    script = "\n".join(
        [
            "import sys, numpy, scipy, sklearn.base, sklearn.neighbors, faiss, lazy_loader; before = set(sys.modules)",
            *(line for statement in statements for line in (statement, tell)),
        ]
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return [set(line.split()) - set(sys.stdlib_module_names) - LIGHT for line in done.stdout.splitlines()]


def test_the_ground_rooms_bring_nothing_heavy():
    ours = "import genmend.storage, genmend.manifold, genmend.tts, genmend.gans; genmend.manifold.evaluate"
    assert brought_by(ours, "import PIL") == [{"genmend"}, {"genmend", "PIL"}]


def test_a_folder_of_the_same_name_is_not_taken_for_a_room(tmp_path):
    for name in ("gans", "diffusion", "tts", "concepts", "activations", "manifold", "workbench", "storage"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('a user\\'s own folder was imported')")
    command = [sys.executable, "-m", PACKAGE, "doctor", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
