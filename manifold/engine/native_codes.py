"""Features in the compiled engine's forms: codes in panels, codes of projections, fine codes (native/*.h say more)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from genmend.manifold.engine.numpy_screen import middle_and_scale
from genmend.manifold.engine.projection import Projection

_PANEL = 48  # rows of a panel of codes (native/codes.h)
_WIDTH = 64  # codes are padded to a multiple of this many values


@dataclass(frozen=True)
class Codes:
    """Quantised rows, in the arrays that native/codes.h describes."""

    packed: np.ndarray
    bounds: np.ndarray
    sums: np.ndarray
    ids: np.ndarray
    words: int

    @property
    def n_panels(self) -> int:
        """Of 48 rows, the last one padded."""
        return -(-len(self.ids) // _PANEL)

    def tuple(self) -> tuple[Any, ...]:
        """As native/module.cpp takes them."""
        return self.packed, self.bounds, self.sums, self.ids, len(self.ids), self.words


@dataclass(frozen=True)
class FineCodes:
    """Rows quantised to 16 bits, in the arrays that native/fine.h describes."""

    values: np.ndarray
    bounds: np.ndarray

    def tuple(self) -> tuple[Any, ...]:
        """As native/module.cpp takes them."""
        return self.values, self.bounds, *self.values.shape


@dataclass(frozen=True)
class CodedSet:
    """Features with their codes; `coarse`: in the same order of rows, codes of their projections.

    Where there are `fine` codes, `codes` may be those of the projections.
    """

    features: np.ndarray
    codes: Codes
    coarse: Codes | None
    fine: FineCodes | None

    def tuple(self) -> tuple[Any, ...]:
        """As native/module.cpp takes them."""
        coarse, fine = (part.tuple() if part else None for part in (self.coarse, self.fine))
        return feature_tuple(self.features), self.codes.tuple(), coarse, fine

    def in_order(self, values: np.ndarray, filler: float) -> np.ndarray:
        """One float32 value a row of the features, in the order of the codes and padded as they are."""
        padded = np.full(self.codes.n_panels * _PANEL, filler, dtype=np.float32)
        padded[: len(self.codes.ids)] = values[self.codes.ids]
        return padded


@dataclass(frozen=True)
class Encoding:
    """How features become codes.

    Attributes
    ----------
    kernel
        One of `native_screen.native_kernels()`.
    center, scale
        As in `numpy_screen.Screen`.
    signs
        (padded d,) float32 of +-1, of the rotation.
    projection
        For pairs or tiles to be ruled out by, or None.
    closer
        Whether there are fine codes. With a projection there are no others then but its own.
    """

    kernel: str
    center: np.ndarray
    scale: float
    signs: np.ndarray
    projection: Projection | None
    closer: bool

    @classmethod
    def of(cls, features: np.ndarray, kernel: str, closer: bool) -> Encoding:
        """For a reference (n, d) and what lies near it, without a projection."""
        center, scale = middle_and_scale(features)
        signs = np.random.default_rng(0).choice(np.array([-1, 1], dtype=np.float32), _padded_width(features.shape[1]))
        return cls(kernel, center, scale, signs, None, closer)

    def projected(self, features: np.ndarray) -> Encoding:
        """The same with a projection of the reference."""
        return replace(self, projection=Projection.of(features, self.center, self.scale))

    def encode(self, features: np.ndarray, fine: FineCodes | None = None) -> CodedSet:
        """Encode (n, d) features; `fine` codes of them, if they have been made."""
        ids, coarse = np.arange(len(features)), None
        if self.closer and fine is None:
            fine = self._fine_codes(features)
        if self.projection is not None:
            projected, error = self.projection.project(features)
            ids, middle = self.projection.order(projected), np.zeros(projected.shape[1])
            coarse = self._codes(projected, ids, middle, 1.0, error)
            if self.closer:
                return CodedSet(features, coarse, None, fine)
        return CodedSet(features, self._codes(features, ids, self.center, self.scale), coarse, fine)

    def _codes(
        self, features: np.ndarray, ids: np.ndarray, center: np.ndarray, scale: float, extra_error: float = 0.0
    ) -> Codes:
        from genmend.manifold.engine import _native

        signs = self.signs[: _padded_width(features.shape[1])]
        rows = -(-len(ids) // _PANEL) * _PANEL
        words = len(signs) // (2 if self.kernel == "bf16" else 4)
        codes = Codes(
            packed=np.zeros(rows * words, dtype=np.uint32),
            bounds=np.empty((5, rows), dtype=np.float32),
            sums=np.empty(rows, dtype=np.int32),
            ids=ids,
            words=words,
        )
        _native.encode(self.kernel, feature_tuple(features), center, scale, signs, extra_error, codes.tuple())
        return codes

    def _fine_codes(self, features: np.ndarray) -> FineCodes:
        from genmend.manifold.engine import _native

        n, width = len(features), _padded_width(features.shape[1])
        memory = np.empty(n * width + _WIDTH // 2, dtype=np.int16)
        start = -memory.ctypes.data % _WIDTH // 2  # rows begin where lines of the cache do
        fine = FineCodes(memory[start : start + n * width].reshape(n, width), np.empty((5, n), dtype=np.float32))
        _native.encode_fine(feature_tuple(features), self.center, self.scale, fine.tuple())
        return fine


def feature_tuple(features: np.ndarray) -> tuple[np.ndarray, int, int, bool]:
    """As native/module.cpp takes them."""
    features = np.ascontiguousarray(features)
    return features, len(features), features.shape[1], features.dtype == np.float64


def _padded_width(width: int) -> int:
    return -(-width // _WIDTH) * _WIDTH
