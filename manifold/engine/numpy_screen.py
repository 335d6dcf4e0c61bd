"""A cheap screen with a rigorous bound: which pairs could possibly be near.

One float32 matrix product of a block of queries and a block of the reference gives, for every pair, a number that
never exceeds the true squared distance. Pairs whose bound is already too large are done with; the few others are
measured exactly (`distances`). A faster screen has to keep this promise and nothing else.

How: with c the features minus the middle of the reference, |x - y|^2 = |c_x|^2 + |c_y|^2 - 2 c_x.c_y. Centring comes
first since the identity cancels badly far from the origin (faiss FAQ). A float32 product of width
w errs, in any order of summation, by at most g |.||.| with g = w u / (1 - w u), u = 2**-24 (Higham, Accuracy and
Stability of Numerical Algorithms, 2nd ed., eq. 3.5). Rounding the codes, rounding the norms and summing w = d + 2
terms, against 2 |c_x||c_y| <= |c_x|^2 + |c_y|^2, make at most 2 (d + 6) u / (1 - (d + 6) u) times the two squared
norms. That part is taken off the norms beforehand, and the norms ride along as two more columns of the product: the
product is the bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

_UNIT = 2.0**-24  # unit roundoff of float32
_UNDERFLOW = np.float32(2.0**-80)  # covers products that underflow; in scaled units, where the reference spans about 1
FAR = 2.0**40  # a squared norm beyond which float32 could overflow (also when divided by a small squared radius)
# The squared radius below which a ratio is bounded as if the radius were this.
LEAST_SQUARED_RADIUS = np.float32(2.0**-80)
_ROUND_UP = 1 + 2.0**-20  # more than the float32 roundings of a threshold
# Distances whose squares float64 cannot hold (about 1e-150) are to vanish beside _UNDERFLOW, as they do when measured.
_LEAST_EXPONENT = -400
_ENCODE_ROWS = 512
_MEDIAN_ROWS = 127


@dataclass(frozen=True)
class Screen:
    """The reference in the screen's form.

    Attributes
    ----------
    center
        (d,) float64, the median of some reference rows. Any point is valid, a near one gives close bounds; a mean
        would let one broken sample move it far from all the others.
    scale
        A power of two (so that scaling rounds nothing) that brings the centred reference to about 1: float32 neither
        overflows nor underflows.
    codes
        (n, d + 2) float32: -2 c, 1, and the squared norm of c less its part of the error.
    """

    center: np.ndarray
    scale: float
    codes: Any

    @classmethod
    def of(cls, reference: np.ndarray) -> Self:
        """Encode `reference` (n, d). Holds 4 n (d + 2) bytes."""
        center, scale = middle_and_scale(reference)
        screen = cls(center, scale, np.empty((len(reference), reference.shape[1] + 2), dtype=np.float32))
        for start in range(0, len(reference), _ENCODE_ROWS):
            rows = slice(start, start + _ENCODE_ROWS)
            centred, norms = screen._center(reference[rows])
            screen.codes[rows, :-2] = np.multiply(centred, -2, out=centred)
            screen.codes[rows, -2] = 1
            screen.codes[rows, -1] = norms
        return screen

    @property
    def shrink(self) -> float:
        """A positive bound times this never exceeds the squared distance, and a bound below 0 stays there."""
        return 1.0

    def encode(self, query: np.ndarray) -> Any:
        """Codes (b, d + 2) float32 of a block of queries, to be multiplied with `codes`."""
        codes = np.empty((len(query), query.shape[1] + 2), dtype=np.float32)
        for start in range(0, len(query), _ENCODE_ROWS):
            rows = slice(start, start + _ENCODE_ROWS)
            centred, norms = self._center(query[rows])
            codes[rows, :-2] = centred
            codes[rows, -2] = norms
            codes[rows, -1] = 1
        return codes

    def encode_own(self, rows: slice) -> Any:
        """`encode` of some rows of the reference, from their codes."""
        codes = self.codes[rows].copy()
        codes[:, :-2] *= -0.5
        codes[:, -2:] = codes[:, :-3:-1]
        return codes

    def bounds(self, codes: Any, columns: slice, out: np.ndarray) -> Any:
        """Lower bounds of the squared distances, scaled, of encoded queries (b,) and reference `columns` (c,).

        `out` is a flat float32 buffer of at least b * c; the result is a (b, c) view of it.
        """
        tile = self.codes[columns]
        return np.matmul(codes, tile.T, out=out[: len(codes) * len(tile)].reshape(len(codes), len(tile)))

    def thresholds(self, distances: np.ndarray) -> np.ndarray:
        """float32 thresholds: a pair no farther apart than `distances` has a bound no larger than these."""
        return squared_limits(distances, self.scale) / np.float32(self.shrink)

    def _center(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        relative = rounding_of_product(features.shape[1] + 2)
        return center_and_lower(features, self.center, self.scale, relative)


def rounding_of_product(width: int) -> float:
    """Share of the two squared norms by which a float32 product of this width, codes rounded, is off at most."""
    relative = (width + 4) * _UNIT
    return 2 * relative / (1 - relative)


def center_and_lower(
    features: np.ndarray, center: np.ndarray, scale: float, relative: float
) -> tuple[np.ndarray, np.ndarray]:
    """Centred and scaled features in float64, and (b,) float32 squared norms less the share `relative` of them."""
    centred = features.astype(np.float64)
    centred -= center
    centred *= scale
    norms = np.einsum("nd,nd->n", centred, centred)
    far = norms > FAR
    # Out of float32's reach: a bound below everything, so that exact distances decide.
    centred[far] = norms[far] = 0
    lowered = (norms * (1 - relative)).astype(np.float32) - _UNDERFLOW
    lowered[far] = -FAR
    return centred, lowered


def middle_and_scale(reference: np.ndarray) -> tuple[np.ndarray, float]:
    """`center` and `scale` of a screen of `reference` (n, d); see `Screen`."""
    center = np.median(reference[:: -(-len(reference) // _MEDIAN_ROWS)].astype(np.float64), axis=0)
    spread = max(float(np.max(reference.max(axis=0) - center)), float(np.max(center - reference.min(axis=0))))
    return center, float(np.ldexp(1.0, -max(int(np.frexp(spread)[1]), _LEAST_EXPONENT)))


def squared_limits(distances: np.ndarray, scale: float) -> np.ndarray:
    """float32 squares of scaled distances, rounded up."""
    with np.errstate(over="ignore"):  # infinity is a valid limit: nothing is ruled out
        return (np.square(distances * scale) * _ROUND_UP).astype(np.float32)
