"""The optional extension module; native/module.cpp says what the arguments are."""

from collections.abc import Callable
from typing import Any

def kernels() -> list[str]: ...
def encode(
    kernel: str, features: tuple[Any, ...], center: Any, scale: float, signs: Any, extra: float, codes: tuple[Any, ...]
) -> None: ...
def encode_fine(features: tuple[Any, ...], center: Any, scale: float, codes: tuple[Any, ...]) -> None: ...
def nearest(
    kernel: str,
    query: tuple[Any, ...],
    reference: tuple[Any, ...],
    scale: float,
    k: int,
    own: int,
    out: Any,
    report: Callable[[float], None] | None,
) -> tuple[int, int]: ...
def near_pairs(
    kernel: str,
    query: tuple[Any, ...],
    rows: tuple[int, int],
    reference: tuple[Any, ...],
    columns: tuple[int, int],
    query_limits: Any,
    reference_limits: Any,
    inverses: tuple[Any, ...],
    radii: Any,
    skip_self: bool,
    most: int,
    report: Callable[[float], None] | None,
) -> bytes | None: ...
def rates(width: int) -> dict[str, float]: ...
def pair_distances(x: tuple[Any, ...], i: Any, y: tuple[Any, ...], j: Any, n: int, out: Any) -> None: ...
