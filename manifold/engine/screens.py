"""Which engine screens the pairs: the compiled one where it works, else torch or numpy. All give the same answers.

Features that came as tensors on a CUDA device are screened there, by torch. For all others the environment variable
GENMEND_ENGINE names one of native, torch and numpy; without it native, or what multiplies matrices faster.
"""

from __future__ import annotations

import os

import numpy as np

from genmend.manifold.engine.native_screen import NativeScreen, native_kernels
from genmend.manifold.engine.numpy_screen import Screen, middle_and_scale

__all__ = ["ENGINES", "AnyScreen", "engine_name", "screen_of", "screens_of"]

ENGINES = ("native", "torch", "numpy")

AnyScreen = NativeScreen | Screen

_SOME_ROWS = 127
_LARGEST_SPREAD = 2.0**10  # of the query, relative to the reference's


def engine_name() -> str:
    """The engine for features on the CPU.

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
    if wanted or native_kernels():
        return wanted or "native"
    from genmend.manifold.engine.torch_screen import half_is_faster

    return "torch" if half_is_faster() else "numpy"


def screen_of(features: np.ndarray, device: str = "cpu") -> AnyScreen:
    """The screen of checked `features` (n, d), which came from `device` (see `engine.inputs.device_of`)."""
    on_cuda = device.startswith("cuda")
    name = "torch" if on_cuda else engine_name()
    if name == "native":
        return NativeScreen.of(features)
    if name == "numpy":
        return Screen.of(features)
    from genmend.manifold.engine.torch_screen import TorchScreen

    return TorchScreen.of(features, device if on_cuda else "cpu", half=not on_cuda)


def screens_of(reference: np.ndarray, query: np.ndarray, device: str = "cpu") -> tuple[AnyScreen, AnyScreen]:
    """The screens of two sets. With the compiled engine in the same units where the sets lie near each other.

    Then the query is encoded once, for its own radii and for the sweep; elsewhere its own units give closer bounds.
    """
    screen = screen_of(reference, device)
    if isinstance(screen, NativeScreen) and _beside(screen, query):
        return screen, screen.like(query)
    return screen, screen_of(query, device)


def _beside(screen: NativeScreen, query: np.ndarray) -> bool:
    """Whether the query is hardly farther from the reference's middle than from its own."""
    middle, scale = middle_and_scale(query)
    some = query[:: -(-len(query) // _SOME_ROWS)].astype(np.float64) - middle
    offset = float(np.square(middle - screen.center).sum())
    return offset <= float(np.median(np.square(some).sum(axis=1))) / 4 and screen.scale / scale < _LARGEST_SPREAD
