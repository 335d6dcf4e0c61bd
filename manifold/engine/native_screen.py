"""The compiled engine: coarse codes screen tiles, finer ones the pairs left, few are measured (native/*.cpp).

It keeps the promise of `numpy_screen` with coarser codes and whole passes in C++. First tiles of int8 codes, of all
values or, where a probe finds that it pays, of a few projections (`projection`): each row is centred, rotated by random
signs and a Walsh-Hadamard transform (so that no coordinate sticks out), and quantised with a step of its own; with a
the length of a code and e what it leaves out, |x.y - code product| <= a_x e_y + e_x a_y + e_x e_y by Cauchy-Schwarz.
Then, one by one, the pairs that a tile leaves: by codes of 16 bits, whose bounds leave hardly more than there is to
find. What they leave is measured: distances have the bits of `exact.numpy_pair_distances`, which is checked when the
engine is first used.

Where 16-bit codes would take too much memory there are none: projections rule out whole tiles, and bfloat16 takes the
place of int8 where a probe finds that it leaves too many.

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
from genmend.manifold.engine.native_codes import CodedSet, Encoding, FineCodes, feature_tuple
from genmend.manifold.engine.numpy_screen import LEAST_SQUARED_RADIUS, squared_limits
from genmend.manifold.engine.projection import N_DIRECTIONS
from genmend.manifold.engine.projection_probe import projection_pays

_INSTRUCTION_SETS = ("avx2", "avxvnni", "vnni", "bf16", "amx")  # of x86, the newest last
_QUERY_ROWS, _FIRST_SHARE = 8192, 16
_TEST_KERNELS = ("int8-portable", "int8-vnni-256")  # slower than others that are there, too
# Fine codes take 2 bytes a value: not more than half a GB of them.
_MOST_FINE = 1 << 28
# Projections have to be made: not for few rows, nor for features hardly wider than they are. Without fine codes they
# rule out whole tiles only, which takes many rows.
_PROJECTED_WIDTH, _PROJECTED_ROWS, _COARSE_ROWS = 4 * (N_DIRECTIONS + 1), 1000, 16_384
_PROBE_ROWS, _PROBED_ROWS = 64, 2000
# bfloat16 pays where integer codes leave more for each row than so many distances or such a share of the reference: of
# distances to measure (some dozens of times what the better codes add to a pair), or of pairs to look at by fine codes.
_MOST_MEASURED, _MOST_MEASURED_SHARE, _MOST_LOOKED_SHARE = 100, 0.03, 0.2
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
    if not hasattr(_native, "rates"):  # built from the sources of another version
        return ()
    names = tuple(name for name in _native.kernels() if name not in _TEST_KERNELS)
    return names if names and _distances_agree() else ()


def native_pair_distances(rows: np.ndarray, i: np.ndarray, columns: np.ndarray, j: np.ndarray) -> np.ndarray:
    """`distances.pair_distances` in C++, with the same bits."""
    from genmend.manifold.engine import _native

    i, j = np.ascontiguousarray(i, dtype=np.int64), np.ascontiguousarray(j, dtype=np.int64)
    found = np.empty(len(i))
    _native.pair_distances(feature_tuple(rows), i, feature_tuple(columns), j, len(i), found)
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
class NativeScreen:
    """The reference in the compiled engine's form.

    Attributes
    ----------
    features
        (n, d) float32 or float64, C-contiguous; may be memory-mapped. Read only to measure candidates.
    encoding
        How they, and queries, become codes.
    own
        The codes. Up to 2^28 values 3 n d bytes and 60 a row, or with a projection 2 n d and 150 a row; beyond, n d and
        36 a row, with a projection 100 a row more (bf16: 2 n d).
    """

    features: np.ndarray
    encoding: Encoding
    own: CodedSet

    @property
    def kernel(self) -> str:
        """One of `native_kernels()`."""
        return self.encoding.kernel

    @property
    def center(self) -> np.ndarray:
        """As in `numpy_screen.Screen`."""
        return self.encoding.center

    @property
    def scale(self) -> float:
        """As in `numpy_screen.Screen`."""
        return self.encoding.scale

    @classmethod
    def of(
        cls, features: np.ndarray, kernel: str = "auto", projected: bool | None = None, closer: bool | None = None
    ) -> NativeScreen:
        """Encode `features` (n, d).

        Parameters
        ----------
        kernel
            "auto": the fastest integer kernel, unless a probe of 64 rows finds that its codes are too coarse for the
            data (extreme tails) and the CPU has bf16.
        projected
            Whether to screen by a projection; None: where a probe of 192 rows finds that it pays.
        closer
            Whether to look at the pairs left by fine codes; None: up to 2^28 values, but not with bf16.
        """
        features = np.ascontiguousarray(features)
        names = native_kernels()
        name = names[0] if kernel == "auto" else kernel
        if closer is None:
            closer = name != "bf16" and features.size <= _MOST_FINE
        encoding = Encoding.of(features, name, closer)
        if projected is None:
            projected = features.shape[1] >= _PROJECTED_WIDTH and len(features) >= _PROJECTED_ROWS
            if closer:
                projected = projected and projection_pays(features, encoding.center, encoding.scale, name)
            else:
                projected = projected and len(features) >= _COARSE_ROWS
        screen = cls._encoded(features, encoding.projected(features) if projected else encoding)
        if kernel == "auto" and "bf16" in names[1:] and len(features) >= _PROBED_ROWS and not (projected and closer):
            left, measured = screen._probe(_PROBE_ROWS)
            share = _MOST_LOOKED_SHARE if closer else _MOST_MEASURED_SHARE
            if (left if closer else measured) > max(_MOST_MEASURED, share * len(features)):
                return cls._encoded(features, replace(screen.encoding, kernel="bf16", closer=False))
        return screen

    @classmethod
    def _encoded(cls, features: np.ndarray, encoding: Encoding, fine: FineCodes | None = None) -> NativeScreen:
        return cls(features, encoding, encoding.encode(features, fine))

    def like(self, features: np.ndarray) -> NativeScreen:
        """The screen of other `features` (m, d) in the same units, so that its codes serve as queries of this one."""
        return self._encoded(np.ascontiguousarray(features), self.encoding)

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
        self, block: CodedSet, limits: np.ndarray, of_reference: tuple[Any, Any, Any], skip_self: bool, most: int
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
        block: CodedSet,
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

    def _run_nearest(self, query: CodedSet, own: int, out: np.ndarray, report: Any) -> tuple[int, int]:
        from genmend.manifold.engine import _native

        return _native.nearest(
            self.kernel, query.tuple(), self.own.tuple(), self.scale, out.shape[1], own, out, report
        )  # fmt: skip

    def _probe(self, n_rows: int) -> tuple[float, float]:
        """How many pairs the tiles leave for a row, and how many of these are measured, by some rows."""
        rows = np.sort(np.random.default_rng(0).choice(len(self.features), n_rows, replace=False))
        query = self.encoding.encode(self.features[rows])
        left, measured = self._run_nearest(query, -1, np.empty((n_rows, 5)), None)
        return left / n_rows, measured / n_rows

    def _query_set(self, query: np.ndarray) -> CodedSet:
        return self.encoding.encode(np.ascontiguousarray(query))


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
