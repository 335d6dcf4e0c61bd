"""Rules of the house that can be read off the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from genmend import activations

FOLDER = Path(activations.__file__).parent
FILES = sorted(FOLDER.glob("*.py"))
ROOMS = {"manifold", "gans", "diffusion", "tts", "concepts", "workbench", "experiments"}


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_room_of_ours_and_nothing_that_unpickles_is_imported_or_called(file):
    tree = ast.parse(file.read_text())
    roots = {name.split(".")[0] for name in imports(tree)}
    assert roots  # or nothing was read
    assert not roots & (ROOMS | {"pickle", "joblib", "dill", "shelve", "marshal"})
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not called & {"torch.load", "np.load", "eval", "exec", "__import__"}


def test_all_lists_every_public_name_once_and_in_order():
    public = {
        name
        for name, value in vars(activations).items()
        if not name.startswith("_") and not isinstance(value, type(ast))
    }
    assert sorted(public) == activations.__all__


def test_importing_and_attaching_do_not_import_dynamo():
    script = (
        "import sys, torch, activations as a; net = torch.nn.Sequential(torch.nn.Identity());"
        "x = torch.ones(1, 1)\n"
        "with a.edited(net, a.ScaleUnits('0', [0], 2.0)), a.record(net, ['0']) as outputs: net(x)\n"
        "sys.exit('torch._dynamo' in sys.modules or outputs['0'].item() != 2)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=FOLDER.parent).returncode == 0
