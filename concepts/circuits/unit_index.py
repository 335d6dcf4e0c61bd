"""Which samples excite each unit most: one pass over many samples, all units of all blocks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from genmend.activations.recording import record
from genmend.concepts.circuits.units import last_weighted, unit_axis, unit_means, unit_scores
from genmend.concepts.layers_that_ran import never_ran
from genmend.concepts.scalar_target import as_module, warn_of_spread
from genmend.storage import container
from genmend.storage.pieces import Work
from genmend.storage.progress import with_progress

__all__ = ["UnitBatch", "UnitIndex", "build_index", "index_of_batches", "load_index"]

_KIND = "genmend.unit_index"

Top = tuple[np.ndarray, np.ndarray]  # numbers and scores, strongest first
UnitBatch = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Block -> scores and means of the units for a batch of samples, shapes ``(n, units)``."""


@dataclass(frozen=True)
class UnitIndex:
    """The samples that excite each unit most.

    Attributes
    ----------
    blocks : tuple of str
        In order of execution.
    n_samples : int
    high : int
        How many samples count as a unit's own: the top 1 % as published.
    top : dict of str to ndarray
        Block -> numbers of the samples, int32, shape ``(units, active)``, strongest first; `active` is the top 10 %.
    scores : dict of str to ndarray
        Their scores, float32, same shape.
    means : dict of str to ndarray
        Mean activation of each unit over samples and positions, float32, shape ``(units,)``.
    """

    blocks: tuple[str, ...]
    n_samples: int
    high: int
    top: dict[str, np.ndarray]
    scores: dict[str, np.ndarray]
    means: dict[str, np.ndarray]

    def in_top(self, block: str, scores: np.ndarray, *, high: bool = True) -> np.ndarray:
        """Of which units a sample with these scores would be among the top samples, booleans of shape ``(units,)``.

        Parameters
        ----------
        block
        scores
            Of the sample, shape ``(units,)``; see `unit_scores`.
        high
            Among the top 1 %; False: among the top 10 %.
        """
        last = self.high - 1 if high else self.scores[block].shape[1] - 1
        # A unit that answers to nothing has a threshold of 0, which is nobody's top.
        inside: np.ndarray = (scores >= self.scores[block][:, last]) & (scores != 0)
        return inside

    def overlap(self, block: str, unit: int, other: str) -> np.ndarray:
        """How many top samples a unit shares with each unit of another block, whole numbers of shape ``(units,)``."""
        own = np.zeros(self.n_samples, dtype=np.int64)
        own[self.top[block][unit, : self.high]] = 1
        shared: np.ndarray = own[self.top[other][:, : self.high]].sum(1)
        return shared

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to one file, whole or not at all."""
        arrays = {
            f"{name}.{number}": values[block]
            for number, block in enumerate(self.blocks)
            for name, values in (("top", self.top), ("scores", self.scores), ("means", self.means))
        }
        facts = {"blocks": list(self.blocks), "n_samples": self.n_samples, "high": self.high}
        container.save(path, _KIND, arrays, facts)


def load_index(path: str | os.PathLike[str]) -> UnitIndex:
    """Read what `UnitIndex.save` wrote.

    Raises
    ------
    ContainerError
        If the file is another one, or damaged.
    """

    def build(arrays: dict[str, np.ndarray], facts: dict[str, object]) -> UnitIndex:
        blocks = tuple(str(name) for name in facts["blocks"])  # type: ignore[attr-defined]
        n_samples = container.whole_number(facts["n_samples"], "n_samples")
        high = container.whole_number(facts["high"], "high")
        parts = {
            name: {block: np.asarray(arrays[f"{name}.{number}"]) for number, block in enumerate(blocks)}
            for name in ("top", "scores", "means")
        }
        for block in blocks:
            top, scores, means = (parts[name][block] for name in ("top", "scores", "means"))
            if top.ndim != 2 or scores.shape != top.shape or means.shape != top.shape[:1] or high > top.shape[1]:
                raise ValueError(f"the arrays of block {block!r} do not fit one another")
            if top.size and not 0 <= top.min() <= top.max() < n_samples:
                raise ValueError(f"the top samples of block {block!r} are not numbers of samples")
        return UnitIndex(blocks, n_samples, high, parts["top"], parts["scores"], parts["means"])

    return container.load(path, _KIND, build)


def build_index(
    model: nn.Module,
    blocks: Sequence[str],
    samples: Callable[[int, int], Tensor],
    n_samples: int,
    *,
    batch_size: int = 32,
    high: float = 0.01,
    active: float = 0.1,
    work: Work | None = None,
    key: str = "",
) -> UnitIndex:
    """Run the model over the samples once, and keep each unit's top samples; memory does not grow with n but for these.

    Parameters
    ----------
    model
        In evaluation mode.
    blocks
        Dotted names, see `find_blocks`; any layer can stand for a block.
    samples
        ``samples(start, stop)`` gives those numbers as a batch.
    n_samples
    batch_size
    high, active
        Shares of the samples that are a unit's top ones, published 0.01 and 0.1; at least 1 sample.
    work
        Keeps what is done, so that a stopped run goes on; see `Work`.
    key
        What tells this model and these samples from others, e.g. a digest; needed with `work`.

    Raises
    ------
    ValueError
        If there are fewer than 20 samples or no blocks, a block never runs, the model is in training mode, or an
        output has NaN.
    """
    module = as_module(model)
    if n_samples < 20:
        raise ValueError(f"There are {n_samples} samples, but the top ones of a unit need at least 20: give more.")
    if work is not None and work.folder is not None and not key:
        raise ValueError("With a folder of work give key=, which tells this model and these samples from others.")
    if not blocks:
        raise ValueError("blocks names none: give those whose units are to be indexed, see find_blocks.")
    work = work or Work()

    def batches() -> Iterator[UnitBatch]:
        starts = range(0, n_samples, batch_size)
        for start in with_progress(starts, "indexing units", len(starts), show=work.progress):
            stop = min(start + batch_size, n_samples)
            facts = {"key": key, "blocks": list(blocks), "start": start, "stop": stop}
            found = work.kept("units", facts, partial(_scores, module, blocks, samples, start, stop))
            yield {block: (found[f"scores.{number}"], found[f"means.{number}"]) for number, block in enumerate(blocks)}

    return index_of_batches(blocks, batches(), n_samples, high=high, active=active)


def index_of_batches(
    blocks: Sequence[str],
    batches: Iterable[UnitBatch],
    n_samples: int,
    *,
    high: float = 0.01,
    active: float = 0.1,
) -> UnitIndex:
    """The index of what units give for samples, batch by batch; `build_index` runs the model for it.

    Parameters
    ----------
    blocks
    batches
        Block -> scores and means of each batch, shapes ``(n, units)``; see `unit_scores` and `unit_means`.
    n_samples
        Of all batches.
    high, active
        As for `build_index`.
    """
    n_high, n_active = max(1, round(n_samples * high)), max(1, round(n_samples * active))
    tops: dict[str, Top] = {}
    waiting: dict[str, list[np.ndarray]] = {block: [] for block in blocks}
    sums: dict[str, np.ndarray] = {}
    seen = merged = 0
    for batch in batches:
        seen += len(batch[blocks[0]][0])
        # A merge sorts all that is kept: rarely is better.
        full = seen == n_samples or seen - merged >= n_active
        for block, (scores, means) in batch.items():
            total = means.sum(0, dtype=np.float64)
            sums[block] = sums[block] + total if block in sums else total
            waiting[block].append(scores)
            if full:
                tops[block] = _merged(tops.get(block), np.concatenate(waiting[block]), merged, n_active)
                waiting[block].clear()
        merged = seen if full else merged
    return UnitIndex(
        tuple(blocks),
        n_samples,
        n_high,
        {block: tops[block][0] for block in blocks},
        {block: tops[block][1] for block in blocks},
        {block: (sums[block] / n_samples).astype(np.float32) for block in blocks},
    )


def _scores(
    model: nn.Module, blocks: Sequence[str], samples: Callable[[int, int], Tensor], start: int, stop: int
) -> dict[str, np.ndarray]:
    batch = samples(start, stop)
    if len(batch) != stop - start:
        raise ValueError(f"samples({start}, {stop}) gave {len(batch)} samples where {stop - start} were asked for.")
    if not start:
        warn_of_spread(lambda some: torch.cat([each.flatten() for each, _ in _of_units(model, blocks, some)]), batch)
    found = {}
    for number, (block, values) in enumerate(zip(blocks, _of_units(model, blocks, batch), strict=True)):
        scores, means = (part.float().cpu().numpy() for part in values)
        if not np.isfinite(scores).all():
            raise ValueError(f"block {block!r} gave NaN or infinity: look at the inputs first.")
        found[f"scores.{number}"], found[f"means.{number}"] = scores, means
    return found


def _of_units(model: nn.Module, blocks: Sequence[str], batch: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Scores and means of the units of each block, shapes ``(n, units)``."""
    with torch.no_grad(), last_weighted(model) as last:

        def reduce(tensor: Tensor) -> tuple[Tensor, Tensor]:
            axis = unit_axis(tensor, last[0] if last else None)
            return unit_scores(tensor, axis), unit_means(tensor, axis)

        with record(model, blocks, reduce=reduce) as outs:
            model(batch)
    for block in blocks:
        if block not in outs:
            raise never_ran(model, block, batch[:1])
    return [outs[block] for block in blocks]


def _merged(kept: Top | None, scores: np.ndarray, start: int, n_active: int) -> Top:
    """The top samples of those kept and of new ones; of equals the earlier one stays before the later."""
    numbers = np.broadcast_to(np.arange(start, start + len(scores), dtype=np.int32), scores.T.shape)
    values = scores.T.astype(np.float32)
    if kept is not None:
        numbers, values = np.concatenate([kept[0], numbers], 1), np.concatenate([kept[1], values], 1)
    order = np.argsort(-values, axis=1, kind="stable")[:, :n_active]
    return np.take_along_axis(numbers, order, 1), np.take_along_axis(values, order, 1)
