"""A user's own edit type in correction files: only where the user has imported its module."""

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
from activation_toys import LAYER, generator, latents
from safetensors import safe_open
from safetensors.torch import save_file

from genmend.activations import Correction, Edit, attach, contract, edit_type, load_correction, save_correction
from genmend.activations.contract import edit_class
from genmend.activations.correction_file import CorrectionFileError

MODULE = '''
"""Edits of my own."""
from dataclasses import dataclass
from pathlib import Path
from torch import Tensor
from genmend.activations import Edit, edit_type

Path(__file__).with_name("imported").touch()

@edit_type()
@dataclass(frozen=True, eq=False)
class AddMap(Edit):
    layer: str
    added: Tensor
    times: int = 1
    strength: float = 1.0

    def apply(self, output, strength=None):
        return output + self.times * self.added * (self.strength if strength is None else strength)
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_edits_of_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    forget()


def forget():
    """As in a new process: the module has not been imported."""
    sys.modules.pop("my_edits_of_test", None)
    for name in [name for name in contract._classes if ":" in name]:
        del contract._classes[name]


@pytest.fixture
def saved(module):
    from my_edits_of_test import AddMap

    net = generator()
    made = Correction.of(net, [[AddMap(LAYER, torch.linspace(0, 1, 128).reshape(8, 4, 4), 3, 0.5)], []])
    save_correction(module / "c.safetensors", made)
    forget()
    (module / "imported").unlink()
    return net, made, module / "c.safetensors"


def test_back_where_the_module_was_imported(saved):
    net, made, path = saved
    import my_edits_of_test

    loaded = load_correction(path)
    (edit,) = loaded.ladder[0]
    assert type(edit) is my_edits_of_test.AddMap
    assert (edit.times, edit.strength) == (3, 0.5)
    assert torch.equal(edit.added, made.ladder[0][0].added)
    with attach(net, loaded, rung=0):
        found = net(latents())
    with attach(net, made, rung=0):
        assert torch.equal(net(latents()), found)


def test_its_name_in_the_file_is_module_and_class(saved):
    with safe_open(saved[2], "pt") as opened:
        content = json.loads(opened.metadata()["genmend.correction"])
    assert content["ladder"][0][0]["type"] == "my_edits_of_test:AddMap"


def test_where_it_was_not_imported_the_error_says_so_and_nothing_is_imported(saved):
    path = saved[2]
    with pytest.raises(
        CorrectionFileError, match=r"'my_edits_of_test:AddMap'.*; import my_edits_of_test first, if you"
    ):
        load_correction(path)
    assert "my_edits_of_test" not in sys.modules
    assert not (path.parent / "imported").exists()


def test_in_a_new_process(saved):
    path = saved[2]
    code = """
import sys
from genmend.activations import load_correction
try:
    load_correction(sys.argv[1])
except ValueError as error:
    print(error)
import my_edits_of_test
print(load_correction(sys.argv[1]).ladder)
"""
    command = [sys.executable, "-c", code, path]
    done = subprocess.run(command, capture_output=True, text=True, cwd=path.parent, check=True)
    before, _, after = done.stdout.partition("\n")
    assert "import my_edits_of_test first" in before
    assert "AddMap(layer='main.2'" in after


@pytest.mark.parametrize(
    "name", ["os:system", "builtins:exec", "my_edits_of_test:Path", "torch.nn:Module", ":", "a:b:c"]
)
def test_a_file_reaches_nothing_that_was_not_registered(saved, name):
    import my_edits_of_test  # noqa: F401

    path = saved[2]
    with safe_open(path, "pt") as opened:
        content = json.loads(opened.metadata()["genmend.correction"])
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    content["ladder"][0][0]["type"] = name
    save_file(tensors, path, {"genmend.correction": json.dumps(content)})
    with pytest.raises(CorrectionFileError, match="is of no class that is registered here"):
        load_correction(path)
    with pytest.raises(ValueError, match="registered here"):
        edit_class(name)


def test_a_class_in_a_function_and_what_is_no_edit_are_refused():
    @dataclass(frozen=True, eq=False)
    class Local(Edit):
        layer: str
        strength: float = 1.0

        def apply(self, output, strength=None):
            return output

    with pytest.raises(ValueError, match="is defined in a function"):
        edit_type()(Local)
    for wrong in (int, Edit, generator):
        with pytest.raises(TypeError, match="is no dataclass derived from Edit"):
            edit_type()(wrong)
    with pytest.raises(ValueError, match="leave the name out for your own"):
        edit_type("mine")


def test_a_module_that_is_reloaded_registers_its_class_again(module):
    import importlib

    import my_edits_of_test

    old = my_edits_of_test.AddMap
    importlib.reload(my_edits_of_test)
    assert edit_class("my_edits_of_test:AddMap") is my_edits_of_test.AddMap is not old
