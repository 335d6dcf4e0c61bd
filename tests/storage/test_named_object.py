"""Objects that a user names as module:callable."""

import math
import sys

import pytest

from genmend.storage.named_object import named_object


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(name, text):
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("named_"):
            del sys.modules[name]


def test_an_object_is_found_in_a_module_and_in_a_package(write):
    write("named_pack.inner", "value = [1]")
    assert named_object("math:pi") == math.pi
    assert named_object("named_pack.inner:value") == [1]


@pytest.mark.parametrize("name", ["", ":", "math", "math:", ":pi", ".math:pi"])
def test_another_form_is_refused(name):
    with pytest.raises(ValueError, match="write it as module:callable"):
        named_object(name)


@pytest.mark.parametrize(
    "name", ["named_nowhere:build", "named_nowhere.deeper:build", "math.pi:build", "models/face.py:build"]
)
def test_a_module_that_is_not_there_is_named(name):
    with pytest.raises(ValueError, match="No module called") as error:
        named_object(name)
    assert repr(name.partition(":")[0]) in str(error.value)
    assert "PYTHONPATH" in str(error.value)


def test_a_missing_attribute_lists_the_callables(write):
    write("named_own", "def build(): pass\ndef _hidden(): pass\nnumber = 1")
    with pytest.raises(ValueError, match=r"'named_own' has no 'biuld'; it has build\."):
        named_object("named_own:biuld")
    write("named_bare", "number = 1")
    with pytest.raises(ValueError, match="no callables"):
        named_object("named_bare:biuld")


@pytest.mark.parametrize("missing", ["named_dependency", "named", "named_o"])
def test_a_missing_dependency_of_the_module_is_shown_as_it_is(write, missing):
    """Even where its name begins like the module's own: `torch_faces` that lacks `torch`."""
    write("named_own", f"import {missing}")
    with pytest.raises(ModuleNotFoundError) as error:
        named_object("named_own:build")
    assert error.value.name == missing


def test_an_error_in_the_module_is_shown_as_it_is(write):
    write("named_broken", "1 / 0")
    with pytest.raises(ZeroDivisionError):
        named_object("named_broken:build")
