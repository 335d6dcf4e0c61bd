"""Python objects that a user names as ``module:callable``: a generator or a feature extractor of their own."""

from __future__ import annotations

import importlib
import linecache
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["UsersCodeError", "error_told", "made_object", "named_object", "users_code", "users_line"]

_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_PACKAGES = {"site-packages", "dist-packages"}


class UsersCodeError(RuntimeError):
    """Code of the user's raised; the message says what and where, and the error itself is its cause."""


def named_object(name: str) -> Any:
    """Import and return the object that ``module:attribute`` names, e.g. ``my_models.faces:build``.

    Raises
    ------
    ValueError
        If the name has another form, the module can't be found, or it has no such attribute.
    UsersCodeError
        If the module raises while it is imported.
    ModuleNotFoundError
        If the module imports one that is not installed.
    """
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute) or module_name.startswith("."):
        raise ValueError(f"{name!r} does not name a Python object; write it as module:callable, e.g. my_models:build.")
    try:
        with users_code(f"module {module_name!r}"):
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A missing dependency *inside* the user's module is the user's to see, with its own message.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"No module called {module_name!r} was found for {name!r}: run in its folder, or add that to PYTHONPATH."
        ) from error
    if not hasattr(module, attribute):
        callables = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise ValueError(f"{module_name!r} has no {attribute!r}; it has {', '.join(callables[:8]) or 'no callables'}.")
    return getattr(module, attribute)


def made_object(name: str) -> Any:
    """Return what the callable that ``module:callable`` names returns; it is called without arguments.

    Raises
    ------
    UsersCodeError
        If it raises.
    ValueError, ModuleNotFoundError
        As `named_object`, and if the object is not callable.
    """
    named = named_object(name)
    if not callable(named):
        raise ValueError(f"{name} is a {type(named).__name__}, but a callable without arguments is needed; name one.")
    with users_code(f"callable {name}"):
        return named()


@contextmanager
def users_code(what: str) -> Iterator[None]:
    """Turn whatever the block raises into one sentence: what of the user's raised it, and their own last line.

    Raises
    ------
    UsersCodeError
        In place of any error but a missing module, whose remedy is another; also where the code ends the interpreter.
    """
    try:
        yield
    except (UsersCodeError, ModuleNotFoundError):
        raise
    except (Exception, SystemExit) as error:
        told = error_told(error, users_line(error, last=True))
        raise UsersCodeError(f"Your {what} raised {told}; mend it there, or see more with --traceback.") from error


def error_told(error: BaseException, line: str | None) -> str:
    """Class and first line of an error's message, and the line of the user's code that raised it."""
    said = (error.msg if isinstance(error, SyntaxError) else str(error)).strip().splitlines()
    return f"{type(error).__name__}{f': {said[0]}' if said else ''}".rstrip(".") + (f" ({line})" if line else "")


def users_line(error: BaseException, *, last: bool = False) -> str | None:
    """File, line, function and source of the last line of the user's own that an error came through.

    None where it came through none; unless `last`, also where genmend's own code was called from there and raised it.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}: {(error.text or '').strip()}".removesuffix(": ")
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = frame.f_code.co_filename
        if f"{frame.f_globals.get('__name__', '')}.".startswith("genmend."):
            if not last:
                return None
        elif not file.startswith(("<", *_LIBRARIES)) and not _PACKAGES & set(Path(file).parts):
            source = linecache.getline(file, line).strip()
            return f"{Path(file).name}, line {line}, in {frame.f_code.co_name}: {source}".removesuffix(": ")
    return None
