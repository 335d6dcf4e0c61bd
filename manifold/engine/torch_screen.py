"""The screen in pure torch: bfloat16 products on a CPU that has them, float32 ones on a CUDA device.

As `numpy_screen`, with three differences. A code is rounded to bfloat16, and may then be off by the share `error` of
its length: |x.y - code product| <= |x||y| (2 e + e^2) <= (|x|^2 + |y|^2) (2 e + e^2) / 2, taken off the norms
beforehand. A norm rides along as three bfloat16 parts, which hold all 24 bits. And the product itself comes
rounded to bfloat16, by 2**-8 at most: thresholds are raised by as much. Sums are taken to be in float32, which `of`
checks on the rows at hand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from genmend.manifold.engine.numpy_screen import FAR, Screen, center_and_lower, middle_and_scale, rounding_of_product

if TYPE_CHECKING:
    import torch

_HALF_UNIT = 2.0**-8  # relative error of rounding to bfloat16, of a code or of a product
_NORM_ROUNDING = 1 + 2.0**-10  # more than the roundings of a float32 norm, relatively
_UNIT = 2.0**-23  # more than rounding to float32 leaves out
_LEAST_LENGTH = 2.0**-60  # shorter rows count as measured by _UNDERFLOW of numpy_screen
_SOME_ROWS, _HEADROOM = 127, 1.25  # rows that say how well the others are rounded, and by how much these may be worse
_LEAST_ERROR = 2.0**-12  # even where those rows hold few bits
_CHECKED_ROWS = 64
_ENCODE_ROWS = 256


@dataclass(frozen=True)
class TorchScreen(Screen):
    """The reference in the torch screen's form.

    Attributes
    ----------
    codes
        (n, d + 6) bfloat16 or (n, d + 2) float32 tensor on its device.
    error
        Share of its length by which a code may be off; rows that are off by more are always measured.
    """

    codes: torch.Tensor
    error: float = 0.0

    @classmethod
    def of(cls, reference: np.ndarray, device: str = "cpu", half: bool = True) -> Self:
        """Encode `reference` (n, d) for `device`, in bfloat16 (`half`) where its products keep float32 sums there."""
        import torch

        center, scale = middle_and_scale(reference)
        empty = torch.empty(0)
        if half:
            screen = cls(center, scale, empty.to(torch.bfloat16), _typical_error(reference, center, scale))
            screen = replace(screen, codes=screen._encode_rows(reference, device, query=False))
            if screen._sums_in_float32(reference):
                return screen
        screen = cls(center, scale, empty)
        return replace(screen, codes=screen._encode_rows(reference, device, query=False))

    @property
    def shrink(self) -> float:
        """As of `Screen`: takes off what rounding a product may add."""
        return 1 / (1 + 2 * _HALF_UNIT) if self._half else 1.0

    def encode(self, query: np.ndarray) -> Any:
        """As of `Screen`: a tensor on the device of `codes`."""
        return self._encode_rows(query, str(self.codes.device), query=True)

    def encode_own(self, rows: slice) -> Any:
        """As of `Screen`."""
        d, parts = self.codes.shape[1] - 2 * self._parts, self._parts
        codes = self.codes[rows].clone()
        codes[:, :d] *= -0.5
        codes[:, d : d + parts], codes[:, d + parts :] = self.codes[rows, d + parts :], self.codes[rows, d : d + parts]
        return codes

    def bounds(self, codes: Any, columns: slice, out: np.ndarray) -> Any:
        """As `Screen.bounds`; on another device than the CPU a tensor there, and `out` is not used."""
        import torch

        product = _product(codes, self.codes[columns])
        if product.device.type != "cpu":
            return product.float()
        held = torch.from_numpy(out)[: product.numel()].view(product.shape)
        return held.copy_(product).numpy()

    @property
    def _half(self) -> bool:
        return self.codes.element_size() == 2

    @property
    def _parts(self) -> int:
        return 3 if self._half else 1

    def _encode_rows(self, features: np.ndarray, device: str, *, query: bool) -> torch.Tensor:
        import torch

        n, d = features.shape
        parts = self._parts
        codes = torch.empty((n, d + 2 * parts), dtype=self.codes.dtype, device=device)
        own, others = (slice(d, d + parts), slice(d + parts, None))[:: 1 if query else -1]
        relative = rounding_of_product(d + 2 * parts) + 2 * self.error + self.error**2
        for start in range(0, n, _ENCODE_ROWS):
            rows = slice(start, start + _ENCODE_ROWS)
            centred, lowered = center_and_lower(features[rows], self.center, self.scale, relative)
            values = torch.from_numpy(centred.astype(np.float32))
            if self._half:
                coarse = _errors(values) > self.error
                values[torch.from_numpy(coarse)] = 0
                lowered[coarse] = -FAR  # below everything: exact distances decide
            codes[rows, :d] = values if query else values.mul_(-2)
            codes[rows, own] = _split(torch.from_numpy(lowered), parts).to(codes)
            codes[rows, others] = 1
        return codes

    def _sums_in_float32(self, reference: np.ndarray) -> bool:
        """Whether products of some rows are as close to the float64 ones as float32 sums leave them."""
        rows = self.encode(reference[:_CHECKED_ROWS])
        columns = self.codes[:: max(1, len(self.codes) // _CHECKED_ROWS)]
        found, x, y = _product(rows, columns).double(), rows.double(), columns.double()
        allowed = rounding_of_product(x.shape[1]) * (x.abs() @ y.abs().T) + _HALF_UNIT * found.abs()
        return bool(((found - x @ y.T).abs() <= allowed).all())


@cache
def half_is_faster() -> bool:
    """Whether this CPU multiplies bfloat16 matrices faster than float32 ones, with margin for their coarser bounds."""
    import torch

    single = torch.ones((256, 1024))
    return 1.5 * _seconds(single.bfloat16()) < _seconds(single)


def _seconds(matrix: torch.Tensor) -> float:
    import time

    taken = []
    for _ in range(4):
        start = time.perf_counter()
        matrix @ matrix.T
        taken.append(time.perf_counter() - start)
    return min(taken)


def _product(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """The matrix product without the shortcuts that a user may have allowed: TF32, or sums in half precision."""
    import torch

    if rows.device.type != "cuda":
        return rows @ columns.T
    settings = torch.backends.cuda.matmul
    before = settings.allow_tf32, settings.allow_bf16_reduced_precision_reduction
    settings.allow_tf32 = settings.allow_bf16_reduced_precision_reduction = False
    try:
        return rows @ columns.T
    finally:
        settings.allow_tf32, settings.allow_bf16_reduced_precision_reduction = before


def _split(norms: torch.Tensor, parts: int) -> torch.Tensor:
    """(b, parts) whose sum is exactly the float32 `norms`, each part a bfloat16 if there are three."""
    import torch

    if parts == 1:
        return norms[:, None]
    found = []
    for _ in range(parts):
        found.append(norms.bfloat16().float())
        norms = norms - found[-1]
    return torch.stack(found, dim=1)


def _errors(values: torch.Tensor) -> np.ndarray:
    """(b,) share of the length of each float32 row that rounding to bfloat16 leaves out, rounded up."""
    lengths = values.square().sum(dim=1).sqrt()
    left_out = (values - values.bfloat16()).square().sum(dim=1).sqrt() * _NORM_ROUNDING + _UNIT * lengths
    return (left_out / lengths.clamp_min(_LEAST_LENGTH)).numpy()


def _typical_error(reference: np.ndarray, center: np.ndarray, scale: float) -> float:
    """A share that few rows exceed."""
    import torch

    some = reference[:: -(-len(reference) // _SOME_ROWS)]
    centred, _ = center_and_lower(some, center, scale, 0.0)
    largest = float(_errors(torch.from_numpy(centred.astype(np.float32))).max())
    return min(max(_HEADROOM * largest, _LEAST_ERROR), _HALF_UNIT)
