"""Python objects that a user names as ``module:callable``: a generator or a feature extractor of their own."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["named_object"]


def named_object(name: str) -> Any:
    """Import and return the object that ``module:attribute`` names, e.g. ``my_models.faces:build``.

    Raises
    ------
    ValueError
        If the name has another form, the module can't be found, or it has no such attribute.
    """
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute) or module_name.startswith("."):
        raise ValueError(f"{name!r} does not name a Python object; write it as module:callable, e.g. my_models:build.")
    try:
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
