"""The compiled engine: int8 or bfloat16 codes screen the pairs, a few are measured exactly (native/*.cpp).

It keeps the promise of `numpy_screen` with coarser codes and whole passes in C++: each row is centred, rotated by
random signs and a Walsh-Hadamard transform (so that no coordinate sticks out), and quantised with a step of its
own; with a the length of a code and e what it leaves out, |x.y - code product| <= a_x e_y + e_x a_y + e_x e_y by
Cauchy-Schwarz. Distances have the bits of `exact.numpy_pair_distances`, which is checked when the engine is first used.

Of a large reference whose samples lie in clusters, codes of a few projections (`projection`) rule out whole tiles.

The extension is optional: `native_kernels()` is empty where it was not built or this CPU has no kernel for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from genmend.manifold.engine.exact import numpy_pair_distances
from genmend.manifold.engine.numpy_screen import LEAST_SQUARED_RADIUS, middle_and_scale, squared_limits
from genmend.manifold.engine.projection import N_DIRECTIONS, Projection

_INSTRUCTION_SETS = ("avx2", "avxvnni", "vnni", "bf16", "amx")  # of x86, the newest last
_PANEL = 48  # rows of a panel of codes (native/codes.h)
_WIDTH = 64  # codes are padded to a multiple of this many values
_PROBE_ROWS = 200
# Finer codes pay where more distances than this, also as a share of the reference, have to be measured for each row: a
# distance costs some dozens of times what finer codes add to a pair.
_MOST_MEASURED, _MOST_MEASURED_SHARE = 100, 0.03
_QUERY_ROWS, _FIRST_SHARE = 8192, 16
# Projections have to be made and sorted: not for fewer rows, nor for features hardly wider than they are.
_PROJECTED_ROWS, _PROJECTED_WIDTH = 16_384, 4 * (N_DIRECTIONS + 1)
# Kernels whose codes leave many pairs: those are looked at by finer codes (of 2 bytes a value) before they are measured.
_CLOSER_KERNELS, _MOST_FINE = ("int8-avx2",), 1 << 28
_TEST_KERNELS = ("int8-portable", "int8-vnni-256")  # slower than others that are always there where these are
_PAIR = np.dtype([("i", np.int64), ("j", np.int64), ("distance", np.float64)])
_MOST_PAIRS, _UNLIMITED = 1 << 18, (1 << 62) - 1  # at a time: some 30 MB with what is made of them

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


def native_kernels() -> tuple[str, ...]:
    """Kernels that work here, best first: of int8-amx, int8-vnni, int8-avx2, bf16. Empty without the extension.

    The environment variable GENMEND_KERNEL names the newest instruction set that may be used, so that a CPU can stand
    for an older one; a kernel's name ends in the one that it needs.

    Raises
    ------
    ValueError
        If GENMEND_KERNEL names none.
    """
    newest = os.environ.get("GENMEND_KERNEL", "")
    if newest not in ("", *_INSTRUCTION_SETS):
        raise ValueError(f"GENMEND_KERNEL is {newest!r}; one of {', '.join(_INSTRUCTION_SETS)} is accepted; "
                         f"or unset it")  # fmt: skip
    later = _INSTRUCTION_SETS[_INSTRUCTION_SETS.index(newest) + 1 :] if newest else ()
    return tuple(name for name in _kernels_that_work() if name.rpartition("-")[2] not in later)


@cache
def _kernels_that_work() -> tuple[str, ...]:
    try:
        from genmend.manifold.engine import _native
    except ImportError:
        return ()
    names = tuple(name for name in _native.kernels() if name not in _TEST_KERNELS)
    return names if names and _distances_agree() else ()


def native_pair_distances(rows: np.ndarray, i: np.ndarray, columns: np.ndarray, j: np.ndarray) -> np.ndarray:
    """`distances.pair_distances` in C++, with the same bits."""
    from genmend.manifold.engine import _native

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
    words: int

    @property
    def n_panels(self) -> int:
        return -(-len(self.ids) // _PANEL)

    def tuple(self) -> tuple[Any, ...]:
        return self.packed, self.bounds, self.sums, self.ids, len(self.ids), self.words


@dataclass(frozen=True)
class _Fine:
    """Rows quantised to 16 bits, in the arrays that native/fine.h describes."""

    values: np.ndarray
    bounds: np.ndarray

    def tuple(self) -> tuple[Any, ...]:
        return self.values, self.bounds, *self.values.shape


@dataclass(frozen=True)
class _Set:
    """Features with their codes; `coarse`: in the same order of rows, codes of their projections.

    Where there are `fine` codes, `codes` may be those of the projections.
    """

    features: np.ndarray
    codes: _Codes
    coarse: _Codes | None
    fine: _Fine | None

    def tuple(self) -> tuple[Any, ...]:
        coarse, fine = (part.tuple() if part else None for part in (self.coarse, self.fine))
        return _features(self.features), self.codes.tuple(), coarse, fine

    def in_order(self, values: np.ndarray, filler: float) -> np.ndarray:
        """One float32 value a row of the features, in the order of the codes and padded as they are."""
        padded = np.full(self.codes.n_panels * _PANEL, filler, dtype=np.float32)
        padded[: len(self.codes.ids)] = values[self.codes.ids]
        return padded


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
        As in `numpy_screen.Screen`.
    signs
        (padded d,) float32 of +-1, of the rotation.
    projection
        For tiles to be ruled out by, or None.
    own
        About n d bytes of codes (twice that for bf16) and 36 bytes a row; with a projection 100 bytes a row more.
    """

    features: np.ndarray
    kernel: str
    center: np.ndarray
    scale: float
    signs: np.ndarray
    projection: Projection | None
    closer: bool
    own: _Set

    @classmethod
    def of(
        cls, features: np.ndarray, kernel: str = "auto", projected: bool | None = None, closer: bool | None = None
    ) -> NativeScreen:
        """Encode `features` (n, d).

        With "auto" the fastest integer kernel, unless a probe of 200 rows finds that its codes are too coarse for the
        data (extreme tails) and the CPU has bf16. `projected` None: where it may pay.
        """
        features = np.ascontiguousarray(features)
        names = native_kernels()
        if projected is None:
            projected = len(features) >= _PROJECTED_ROWS and features.shape[1] >= _PROJECTED_WIDTH
        kernel_name = names[0] if kernel == "auto" else kernel
        if closer is None:
            closer = kernel_name in _CLOSER_KERNELS and features.size <= _MOST_FINE
        screen = cls._with_kernel(features, kernel_name, projected, closer)
        if kernel == "auto" and "bf16" in names[1:] and len(features) > 10 * _PROBE_ROWS:
            rows = np.random.default_rng(0).choice(len(features), _PROBE_ROWS, replace=False)
            most = max(_MOST_MEASURED, _MOST_MEASURED_SHARE * len(features))
            if screen._measured_by(features[np.sort(rows)]) > most * _PROBE_ROWS:
                return cls._with_kernel(features, "bf16", projected, False)
        return screen

    @classmethod
    def _with_kernel(cls, features: np.ndarray, kernel: str, projected: bool, closer: bool) -> NativeScreen:
        center, scale = middle_and_scale(features)
        signs = np.random.default_rng(0).choice(np.array([-1, 1], dtype=np.float32), _padded_width(features.shape[1]))
        projection = Projection.of(features, center, scale) if projected else None
        own = _encode_set(features, kernel, center, scale, signs, projection, closer)
        return cls(features, kernel, center, scale, signs, projection, closer, own)

    def like(self, features: np.ndarray) -> NativeScreen:
        """The screen of other `features` (m, d) in the same units, so that its codes serve as queries of this one."""
        features = np.ascontiguousarray(features)
        own = _encode_set(features, self.kernel, self.center, self.scale, self.signs, self.projection, self.closer)
        return replace(self, features=features, own=own)

    def nearest(self, query: np.ndarray | None, k: int, own: int | None = None) -> np.ndarray:
        """(m, k) distances to the k nearest rows, ascending; of the rows themselves if `query` is None."""
        if query is None:
            found = np.empty((len(self.features), k))
            with _progress() as report:
                self._run_nearest(self.own, 0, found, report)
            return found
        found = np.empty((len(query), k))
        for rows in _blocks(len(query)):
            block = self._query_set(query[rows])
            self._run_nearest(block, -1 if own is None else own + rows.start, found[rows], None)
        return found

    def near_pairs(
        self,
        query: np.ndarray,
        radii: np.ndarray,
        query_radii: np.ndarray | None,
        ball_sets: Sequence[np.ndarray],
        skip_self: bool,
        most_pairs: int,
        query_screen: NativeScreen | None = None,
    ) -> Iterator[Pairs]:
        """As `sweep.near_pairs`, about `most_pairs` at a time; a `query_screen` in other units is not used."""
        of_reference = self._limits(radii, ball_sets)
        encoded = self if skip_self and query is self.features else query_screen
        if encoded is not None and encoded.center is not self.center:
            encoded = None
        for rows in _blocks(len(query)) if encoded is None else [slice(0, len(query))]:
            block = self._query_set(query[rows]) if encoded is None else encoded.own
            mine = np.full(len(block.features), -np.inf)
            if query_radii is not None:
                mine = squared_limits(query_radii[rows], self.scale)
            for pairs in self._pieces(
                block, block.in_order(mine, -np.inf), of_reference, skip_self, min(most_pairs, _MOST_PAIRS)
            ):
                yield rows.start + pairs["i"], pairs["j"], pairs["distance"]

    def _limits(self, radii: np.ndarray, ball_sets: Sequence[np.ndarray]) -> tuple[Any, Any, Any]:
        """Of the reference: its squared radii, the inverse ones of each set of balls, and the radii as they are."""
        limits = squared_limits(radii, self.scale)
        inverse = 1 / np.maximum(limits, LEAST_SQUARED_RADIUS)
        ratios = tuple(self.own.in_order(np.where(balls, inverse, np.nan), np.nan) for balls in ball_sets)
        return self.own.in_order(limits, -np.inf), ratios, np.ascontiguousarray(radii, dtype=np.float64)

    def _pieces(
        self, block: _Set, limits: np.ndarray, of_reference: tuple[Any, Any, Any], skip_self: bool, most: int
    ) -> Iterator[np.ndarray]:
        """The pairs of a block of queries, as many rows at a time as had half of `most` pairs the last time."""
        first, n_panels = 0, block.codes.n_panels
        height = -(-n_panels // _FIRST_SHARE)
        with _progress() as report:
            while first < n_panels:
                last, count = min(first + height, n_panels), 0
                for pairs in self._cut((first, last), block, limits, of_reference, skip_self, most, report):
                    count += len(pairs)
                    yield pairs
                height = max(1, (last - first) * most // (2 * max(count, 1)))
                first = last

    def _cut(
        self,
        rows: tuple[int, int],
        block: _Set,
        limits: np.ndarray,
        of_reference: tuple[Any, Any, Any],
        skip_self: bool,
        most: int,
        report: Any,
    ) -> Iterator[np.ndarray]:
        """The pairs of some panels of queries, cut where there are too many: fewer rows, then fewer columns."""
        from genmend.manifold.engine import _native

        query, reference = block.tuple(), self.own.tuple()
        waiting = [(rows, (0, self.own.codes.n_panels))]
        while waiting:
            rows, columns = waiting.pop()
            smallest = rows[1] - rows[0] == 1 and columns[1] - columns[0] == 1
            found = _native.near_pairs(
                self.kernel, query, rows, reference, columns, limits, of_reference[0], of_reference[1],
                of_reference[2], skip_self, _UNLIMITED if smallest else most, report,
            )  # fmt: skip
            if found is not None:
                yield np.frombuffer(found, dtype=_PAIR)
            elif rows[1] - rows[0] > 1:
                waiting += [(half, columns) for half in reversed(_halves(rows))]
            else:
                waiting += [(rows, half) for half in reversed(_halves(columns))]

    def _run_nearest(self, query: _Set, own: int, out: np.ndarray, report: Any) -> int:
        from genmend.manifold.engine import _native

        return int(
            _native.nearest(self.kernel, query.tuple(), self.own.tuple(), self.scale, out.shape[1], own, out, report)
        )

    def _measured_by(self, query: np.ndarray) -> int:
        return self._run_nearest(self._query_set(query), -1, np.empty((len(query), 5)), None)

    def _query_set(self, query: np.ndarray) -> _Set:
        block = np.ascontiguousarray(query)
        return _encode_set(block, self.kernel, self.center, self.scale, self.signs, self.projection, self.closer)


def _encode_set(
    features: np.ndarray,
    kernel: str,
    center: np.ndarray,
    scale: float,
    signs: np.ndarray,
    projection: Projection | None,
    closer: bool,
) -> _Set:
    ids, coarse = np.arange(len(features)), None
    fine = _fine_codes(features, center, scale) if closer else None
    if projection is not None:
        projected, error = projection.project(features)
        width = projected.shape[1]
        ids = projection.order(projected)
        coarse = _encode(projected, ids, kernel, np.zeros(width), 1.0, signs[: _padded_width(width)], error)
        if closer:
            return _Set(features, coarse, None, fine)
    return _Set(features, _encode(features, ids, kernel, center, scale, signs), coarse, fine)


def _fine_codes(features: np.ndarray, center: np.ndarray, scale: float) -> _Fine:
    from genmend.manifold.engine import _native

    n, width = len(features), _padded_width(features.shape[1])
    memory = np.empty(n * width + _WIDTH // 2, dtype=np.int16)
    start = -memory.ctypes.data % _WIDTH // 2  # rows begin where lines of the cache do
    fine = _Fine(memory[start : start + n * width].reshape(n, width), np.empty((5, n), dtype=np.float32))
    _native.encode_fine(_features(features), center, scale, fine.tuple())
    return fine


def _encode(
    features: np.ndarray,
    ids: np.ndarray,
    kernel: str,
    center: np.ndarray,
    scale: float,
    signs: np.ndarray,
    extra_error: float = 0.0,
) -> _Codes:
    from genmend.manifold.engine import _native

    rows = -(-len(ids) // _PANEL) * _PANEL
    words = len(signs) // (2 if kernel == "bf16" else 4)
    codes = _Codes(
        packed=np.zeros(rows * words, dtype=np.uint32),
        bounds=np.empty((5, rows), dtype=np.float32),
        sums=np.empty(rows, dtype=np.int32),
        ids=ids,
        words=words,
    )
    _native.encode(kernel, _features(features), center, scale, signs, extra_error, codes.tuple())
    return codes


def _features(features: np.ndarray) -> tuple[np.ndarray, int, int, bool]:
    features = np.ascontiguousarray(features)
    return features, len(features), features.shape[1], features.dtype == np.float64


def _padded_width(width: int) -> int:
    return -(-width // _WIDTH) * _WIDTH


def _blocks(n: int) -> list[slice]:
    return [slice(start, min(start + _QUERY_ROWS, n)) for start in range(0, n, _QUERY_ROWS)]


def _halves(part: tuple[int, int]) -> list[tuple[int, int]]:
    middle = (part[0] + part[1]) // 2
    return [(part[0], middle), (middle, part[1])]


@contextmanager
def _progress() -> Iterator[Callable[[float], None]]:
    """Something to report shares of the work to: a bar on a terminal, once it has taken a few seconds."""
    from tqdm import tqdm

    show = {"desc": "pairs", "bar_format": "{desc} {percentage:.0f}%", "disable": None, "delay": 5, "leave": False}
    with tqdm(total=1.0, **show) as bar:
        yield lambda share: bar.update(share - bar.n) and None
