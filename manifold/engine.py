"""Which engine screens the pairs: the compiled one where it works, else torch or numpy. All give the same answers.

The environment variable GENMEND_ENGINE names one: native, torch or numpy.
"""

from __future__ import annotations

import os

import numpy as np

from manifold.native_engine import NativeScreen, native_kernels
from manifold.screen import Screen

__all__ = ["ENGINES", "AnyScreen", "TiledScreen", "engine_name", "screen_of"]

ENGINES = ("native", "torch", "numpy")

# Screens that bound one tile at a time, in numpy's hands between the products.
TiledScreen = Screen
AnyScreen = NativeScreen | TiledScreen


def engine_name() -> str:
    """The engine that numpy arrays are handed to: GENMEND_ENGINE, or native where it works, else numpy.

    Raises
    ------
    ValueError
        If GENMEND_ENGINE names none, or one that does not work here.
    """
    wanted = os.environ.get("GENMEND_ENGINE", "")
    if wanted not in ("", *ENGINES):
        raise ValueError(f"GENMEND_ENGINE is {wanted!r}; one of {', '.join(ENGINES)} is accepted; or unset it")
    if wanted == "native" and not native_kernels():
        raise ValueError("GENMEND_ENGINE is 'native', but the compiled extension is not built or has no kernel for "
                         "this CPU; unset it, or install genmend where a C++ compiler is")  # fmt: skip
    return wanted or ("native" if native_kernels() else "numpy")


def screen_of(features: np.ndarray) -> AnyScreen:
    """The screen of checked `features` (n, d) in the engine's form."""
    return NativeScreen.of(features) if engine_name() == "native" else Screen.of(features)
