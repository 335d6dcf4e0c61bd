"""The compiled engine: int8 or bfloat16 codes screen the pairs, a few are measured exactly (manifold/native/*.cpp).

It keeps the promise of screen.py with coarser codes and whole passes in C++: each row is centred, rotated by random
signs and a Walsh-Hadamard transform (so that no coordinate sticks out), and quantised with a step of its own; with a
the length of a code and e what it leaves out, |x.y - code product| <= a_x e_y + e_x a_y + e_x e_y by Cauchy-Schwarz.
Distances have the bits of distances.py, which is checked when the engine is first used.

The extension is optional: `native_kernels()` is empty where it was not built or this CPU has no kernel for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from manifold.distances import numpy_pair_distances
from manifold.screen import middle_and_scale, squared_limits

_PANEL = 48  # rows of a panel of codes (native/codes.h)
_WIDTH = 64  # codes are padded to a multiple of this many values
_PROBE_ROWS = 200
# More distances than this for each row, and finer codes are the faster ones (performance.md 1.3).
_MOST_MEASURED = 100
_QUERY_ROWS = 8192
_PAIR = np.dtype([("i", np.int64), ("j", np.int64), ("distance", np.float64)])
_SMALLEST_SQUARED_RADIUS = 2.0**-80

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


@cache
def native_kernels() -> tuple[str, ...]:
    """Kernels that work here, best first: of int8-vnni, int8-avx2, bf16. Empty without the extension."""
    try:
        from manifold import _native
    except ImportError:
        return ()
    names = tuple(name for name in _native.kernels() if name != "int8-portable")
    return names if names and _distances_agree() else ()


def native_pair_distances(rows: np.ndarray, i: np.ndarray, columns: np.ndarray, j: np.ndarray) -> np.ndarray:
    """`distances.pair_distances` in C++, with the same bits."""
    from manifold import _native

    i, j = np.ascontiguousarray(i, dtype=np.int64), np.ascontiguousarray(j, dtype=np.int64)
    found = np.empty(len(i))
    _native.pair_distances(_features(rows), i, _features(columns), j, len(i), found)
    return found


def _distances_agree() -> bool:
    """Whether C++ and numpy sum in the same order on this machine."""
    rng = np.random.default_rng(0)
    for d in (1, 7, 8, 100, 128, 129, 136, 513, 2051):
        x, y = rng.standard_normal((2, 4, d))
        i, j = np.divmod(np.arange(16), 4)
        for a, b in ((x, y), (x.astype(np.float32), y), (x.astype(np.float32), y.astype(np.float32))):
            if not np.array_equal(native_pair_distances(a, i, b, j), numpy_pair_distances(a, i, b, j)):
                return False
    return True


@dataclass(frozen=True)
class _Codes:
    """Quantised rows, in the arrays that native/codes.h describes."""

    packed: np.ndarray
    bounds: np.ndarray
    sums: np.ndarray
    ids: np.ndarray

    def tuple(self, words: int) -> tuple[Any, ...]:
        return self.packed, self.bounds, self.sums, self.ids, len(self.ids), words


@dataclass(frozen=True)
class NativeScreen:
    """The reference in the compiled engine's form.

    Attributes
    ----------
    features
        (n, d) float32 or float64, C-contiguous; may be memory-mapped. Read only to measure candidates.
    kernel
        One of `native_kernels()`.
    center, scale
        As in `screen.Screen`.
    codes
        About n d bytes (twice that for bf16), and 36 bytes a row.
    """

    features: np.ndarray
    kernel: str
    center: np.ndarray
    scale: float
    signs: np.ndarray
    codes: _Codes

    @classmethod
    def of(cls, features: np.ndarray, kernel: str = "auto") -> NativeScreen:
        """Encode `features` (n, d).

        With "auto" the fastest integer kernel, unless a probe of 200 rows finds that its codes are too coarse for the
        data (extreme tails) and the CPU has bf16.
        """
        features = np.ascontiguousarray(features)
        names = native_kernels()
        screen = cls._with_kernel(features, names[0] if kernel == "auto" else kernel)
        if kernel == "auto" and "bf16" in names[1:] and len(features) > 10 * _PROBE_ROWS:
            rows = np.random.default_rng(0).choice(len(features), _PROBE_ROWS, replace=False)
            if screen._measured_by(features[np.sort(rows)]) > _MOST_MEASURED * _PROBE_ROWS:
                return cls._with_kernel(features, "bf16")
        return screen

    @classmethod
    def _with_kernel(cls, features: np.ndarray, kernel: str) -> NativeScreen:
        center, scale = middle_and_scale(features)
        padded = -(-features.shape[1] // _WIDTH) * _WIDTH
        signs = np.random.default_rng(0).choice(np.array([-1, 1], dtype=np.float32), padded)
        codes = _encode(features, kernel, center, scale, signs)
        return cls(features, kernel, center, scale, signs, codes)

    def nearest(self, query: np.ndarray | None, k: int, own: int | None = None, report: Any = None) -> np.ndarray:
        """(m, k) distances to the k nearest rows, ascending; of the rows themselves if `query` is None."""
        if query is None:
            found = np.empty((len(self.features), k))
            self._run_nearest(self._set(), 0, found, report)
            return found
        found = np.empty((len(query), k))
        for rows, block in self._blocks(query):
            self._run_nearest(block, -1 if own is None else own + rows.start, found[rows], report)
        return found

    def near_pairs(
        self,
        query: np.ndarray,
        radii: np.ndarray,
        query_radii: np.ndarray | None,
        ball_sets: Sequence[np.ndarray],
        skip_self: bool,
    ) -> Iterator[Pairs]:
        """As `sweep.near_pairs`, in blocks of query rows."""
        from manifold import _native

        limits = squared_limits(radii, self.scale)
        reference = self._padded(limits, -np.inf)
        inverse = 1 / np.maximum(limits, np.float32(_SMALLEST_SQUARED_RADIUS))
        inverses = tuple(self._padded(np.where(balls, inverse, np.nan), np.nan) for balls in ball_sets)
        radii = np.ascontiguousarray(radii, dtype=np.float64)
        if skip_self and query is self.features:
            blocks: Iterator[tuple[slice, tuple]] = iter([(slice(0, len(query)), self._set())])
        else:
            blocks = self._blocks(query)
        for rows, block in blocks:
            mine = np.full(_padded_rows(rows.stop - rows.start), -np.inf, dtype=np.float32)
            if query_radii is not None:
                mine[: rows.stop - rows.start] = squared_limits(query_radii[rows], self.scale)
            found = _native.near_pairs(
                self.kernel, block, self._set(), mine, reference, inverses, radii, skip_self, None
            )
            pairs = np.frombuffer(found, dtype=_PAIR)
            yield rows.start + pairs["i"], pairs["j"], pairs["distance"]

    def _run_nearest(self, query: tuple, own: int, out: np.ndarray, report: Any) -> int:
        from manifold import _native

        return int(_native.nearest(self.kernel, query, self._set(), self.scale, out.shape[1], own, out, report))

    def _measured_by(self, query: np.ndarray) -> int:
        out = np.empty((len(query), 5))
        (_, block), *_ = self._blocks(query)
        return self._run_nearest(block, -1, out, None)

    def _blocks(self, query: np.ndarray) -> Iterator[tuple[slice, tuple]]:
        for start in range(0, len(query), _QUERY_ROWS):
            rows = slice(start, min(start + _QUERY_ROWS, len(query)))
            block = np.ascontiguousarray(query[rows])
            codes = _encode(block, self.kernel, self.center, self.scale, self.signs)
            yield rows, (_features(block), codes.tuple(self._words), None)

    def _set(self) -> tuple:
        return _features(self.features), self.codes.tuple(self._words), None

    @property
    def _words(self) -> int:
        return _words(self.kernel, len(self.signs))

    def _padded(self, values: np.ndarray, filler: float) -> np.ndarray:
        padded = np.full(_padded_rows(len(values)), filler, dtype=np.float32)
        padded[: len(values)] = values
        return padded


def _encode(
    features: np.ndarray, kernel: str, center: np.ndarray, scale: float, signs: np.ndarray, extra_error: float = 0.0
) -> _Codes:
    from manifold import _native

    n, words = len(features), _words(kernel, len(signs))
    rows = _padded_rows(n)
    codes = _Codes(
        packed=np.zeros(rows * words, dtype=np.uint32),
        bounds=np.empty((5, rows), dtype=np.float32),
        sums=np.empty(rows, dtype=np.int32),
        ids=np.arange(n),
    )
    _native.encode(kernel, _features(features), center, scale, signs, extra_error, codes.tuple(words))
    return codes


def _features(features: np.ndarray) -> tuple[np.ndarray, int, int, bool]:
    features = np.ascontiguousarray(features)
    return features, len(features), features.shape[1], features.dtype == np.float64


def _words(kernel: str, padded: int) -> int:
    return padded // (2 if kernel == "bf16" else 4)


def _padded_rows(n: int) -> int:
    return -(-n // _PANEL) * _PANEL
