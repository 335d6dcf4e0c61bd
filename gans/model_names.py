"""What MODEL can be, without what it takes to load one: a wrong name is refused before torch is imported."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from genmend.storage.plug_ins import PlugIn, find_plug_in
from genmend.storage.weights import find_weights

__all__ = ["EMBEDDED", "check_model", "generator_plug_in", "no_generator"]

EMBEDDED = ("faces", "portraits", "eyes")


def check_model(model: str) -> None:
    """Refuse a name that is no embedded generator, no path, no plug-in and no ``module:callable`` that can be found.

    Raises
    ------
    ValueError
        If it is none of these, or two packages add it.
    genmend.storage.weights.MissingWeightsError
        If it is an embedded one whose weights were not fetched.
    """
    name, colon, attribute = model.partition(":")
    if name == "eyes" or model in EMBEDDED:
        find_weights(name)
    elif not (Path(model).exists() or (colon and name and attribute) or generator_plug_in(model)):
        raise no_generator(model)
    elif colon and not Path(model).exists() and name.isidentifier() and name not in sys.modules and not find_spec(name):
        raise ValueError(
            f"No module called {name!r} was found for {model!r}: run in its folder, or add that to PYTHONPATH."
        )


def generator_plug_in(model: str) -> PlugIn | None:
    """The plug-in of this name, where a package adds one."""
    return find_plug_in("generator", model, EMBEDDED)


def no_generator(model: str) -> ValueError:
    """The error of a name that stands for no generator."""
    return ValueError(
        f"MODEL {model!r} is neither 'faces' nor 'portraits' nor 'eyes' nor a plug-in (see `genmend list`) nor a "
        "folder written by `genmend convert` nor module:callable with a callable that returns an nn.Module or a "
        "gans.Generator."
    )
