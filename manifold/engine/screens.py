"""Which engine screens the pairs: the compiled one where it works, else torch or numpy. All give the same answers.

Features that came as tensors on a CUDA device are screened there, by torch. For all others the environment variable
GENMEND_ENGINE names one of native, torch and numpy; without it native or, where that is not built, what multiplies
matrices faster: torch on a CPU with bfloat16 products, numpy on every other.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np

from genmend.manifold.engine.native_screen import NativeScreen, native_kernels
from genmend.manifold.engine.numpy_screen import Screen, middle_and_scale

__all__ = ["ENGINES", "AnyScreen", "Engine", "choose_engine", "screen_of", "screens_of"]

ENGINES = ("native", "torch", "numpy")

AnyScreen = NativeScreen | Screen

_log = logging.getLogger(__name__)

_SOME_ROWS = 127
_LARGEST_SPREAD = 2.0**10  # of the query, relative to the reference's
_SLOW = 1e10  # multiplications of a set with itself, a second's work without the compiled engine


class Engine(NamedTuple):
    """One of ENGINES, and why it is that one."""

    name: str
    reason: str


def choose_engine() -> Engine:
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
    if wanted == "torch":
        return Engine("torch", f"GENMEND_ENGINE asks for it; {_products_of_torch()}")
    if wanted:
        return Engine(wanted, "GENMEND_ENGINE asks for it")
    if native_kernels():
        return Engine("native", f"kernels {', '.join(native_kernels())}")
    built = find_spec("genmend.manifold.engine._native") is not None
    lacking = "the compiled engine has no kernel for this CPU" if built else "the compiled engine is not built"
    return Engine("torch" if _half_is_faster() else "numpy", f"{lacking}; {_products_of_torch()}")


def _products_of_torch() -> str:
    if _half_is_faster():
        return "torch multiplies in bfloat16, faster than float32 here"
    return "torch does not multiply bfloat16 faster than float32 here, so that products are in float32"


def _half_is_faster() -> bool:
    from genmend.manifold.engine.torch_screen import half_is_faster

    return half_is_faster()


def screen_of(features: np.ndarray, device: str = "cpu") -> AnyScreen:
    """The screen of checked `features` (n, d), which came from `device` (see `engine.inputs.device_of`)."""
    if device.startswith("cuda"):
        from genmend.manifold.engine.torch_screen import TorchScreen

        return TorchScreen.of(features, device, half=False)
    name, reason = choose_engine()
    if name == "native":
        return NativeScreen.of(features)
    if not os.environ.get("GENMEND_ENGINE") and len(features) * features.size > _SLOW:
        _say_once(name, reason)
    if name == "numpy":
        return Screen.of(features)
    from genmend.manifold.engine.torch_screen import TorchScreen

    return TorchScreen.of(features, "cpu", half=_half_is_faster())


@cache
def _say_once(name: str, reason: str) -> None:
    _log.warning("%s, so %s does its work, several times slower; `genmend doctor` says what to do",
                 reason.partition(";")[0], name)  # fmt: skip


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
