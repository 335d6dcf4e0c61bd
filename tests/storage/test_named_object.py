"""Objects that a user names as module:callable."""

import math
import sys

import pytest

from genmend.storage.named_object import UsersCodeError, made_object, named_object, users_line


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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n1 / 0", "ZeroDivisionError: division by zero (named_broken.py, line 2, in <module>: 1 / 0)"),
        ("def build(:\n    pass", "SyntaxError: invalid syntax (named_broken.py, line 1: def build(:)"),
        ("assert False", "AssertionError (named_broken.py, line 1, in <module>: assert False)"),
        ("from math import pie", "ImportError: cannot import name 'pie' from 'math'"),
        ("import sys\nsys.exit()", "SystemExit (named_broken.py, line 2, in <module>: sys.exit())"),
    ],
)
def test_an_error_in_the_module_is_told_with_its_line(write, text, said):
    write("named_broken", text)
    with pytest.raises(UsersCodeError) as error:
        named_object("named_broken:build")
    assert str(error.value).startswith(f"Your module 'named_broken' raised {said}")
    assert str(error.value).endswith("; mend it there, or see more with --traceback.")


CALLABLES = """
import json

class Own(Exception):
    pass

def asserts():
    assert 1 == 2, "not the same"

def touches_none():
    return inner(None)

def inner(x):
    return x.shape

def in_a_library():
    return json.loads("{")

def needs_one(width):
    return width

def own():
    raise Own("first line\\nsecond line")

def good():
    return 7

number = 3
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("asserts", 'AssertionError: not the same (named_own.py, line 8, in asserts: assert 1 == 2, "not the same")'),
        ("touches_none", "AttributeError: 'NoneType' object has no attribute 'shape' (named_own.py, line 14, in inner"),
        ("in_a_library", "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1) "
         "(named_own.py, line 17, in in_a_library"),
        ("needs_one", "TypeError: needs_one() missing 1 required positional argument: 'width'; mend"),
        ("own", "Own: first line (named_own.py, line 23, in own"),
    ],
)  # fmt: skip
def test_an_error_of_the_callable_is_told_with_the_last_line_of_its_own(write, name, said):
    write("named_own", CALLABLES)
    with pytest.raises(UsersCodeError) as error:
        made_object(f"named_own:{name}")
    assert str(error.value).startswith(f"Your callable named_own:{name} raised {said}")


def test_what_a_callable_returns_is_returned_and_no_callable_is_refused(write):
    write("named_own", CALLABLES)
    assert made_object("named_own:good") == 7
    with pytest.raises(ValueError, match="named_own:number is a int, but a callable without arguments is needed"):
        made_object("named_own:number")


def test_a_line_of_genmend_called_from_the_users_code_is_told_apart(write):
    write("named_own", "from genmend.storage.named_object import named_object\ndef build(): named_object('no')")
    build = named_object("named_own:build")
    with pytest.raises(ValueError, match="does not name") as error:
        build()
    del build
    traceback = error.value.__traceback__.tb_next  # without this test's own frame
    assert users_line(error.value.with_traceback(traceback)) is None
    assert users_line(error.value, last=True).startswith("named_own.py, line 2, in build")
