"""What a score loses when a circuit's units are replaced, beside random units of the same number in each block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from genmend.activations.outputs import first_tensor, with_first_tensor
from genmend.activations.runs import hooked
from genmend.concepts.circuits.block_calls import BlockCall, call_blocks, one_sample
from genmend.concepts.circuits.circuit import CircuitGraph, Unit
from genmend.concepts.circuits.unit_index import UnitIndex
from genmend.concepts.scalar_target import Target, classes_of, target_scores, warn_of_spread

__all__ = ["AblationDrop", "ablation_drop", "units_in_common"]

Units = dict[int, np.ndarray]  # number of the block -> numbers of units


@dataclass(frozen=True)
class AblationDrop:
    """How far a score falls; the sizes of the groups are the same, block by block.

    Attributes
    ----------
    score : float
        Of the intact model.
    circuit : float
        Fall without the circuit's units.
    random : ndarray
        Falls without random units of the same blocks, one a draw.
    outside : ndarray
        Falls without units that the circuit does not hold but of which the sample is among the top 10 % (others where
        there are too few), one a draw: the harder control.
    n_units : int
    """

    score: float
    circuit: float
    random: np.ndarray
    outside: np.ndarray
    n_units: int

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        return {
            "score": self.score,
            "circuit": self.circuit,
            "random": self.random.tolist(),
            "outside": self.outside.tolist(),
            "n_units": self.n_units,
        }


@torch.no_grad()
def ablation_drop(
    model: nn.Module,
    graph: CircuitGraph,
    index: UnitIndex,
    sample: Tensor,
    target: Target = None,
    *,
    patch: Literal["zero", "mean"] = "zero",
    n_draws: int = 20,
    seed: int = 0,
    batch_size: int = 8,
) -> AblationDrop:
    """Replace a circuit's units, and as many others.

    Parameters
    ----------
    model
        In evaluation mode.
    graph
        A circuit, or the graph of all.
    index
        That it was found by.
    sample
        Shape ``(1, ...)``.
    target
        See `genmend.concepts.scalar_target.Target`.
    patch
        'zero' as published; 'mean', each unit's mean over the indexed samples.
    n_draws
        Of each control.
    seed
        Of the draws.
    batch_size
        Copies of the sample that run together.

    Raises
    ------
    ValueError
        If the graph has no unit or is of other blocks than the index, the sample is not one or holds NaN, the target is
        no class, or the patch is another one.
    """
    if patch not in ("zero", "mean"):
        raise ValueError(f"patch is {patch!r}; accepted are 'zero' and 'mean'.")
    if not graph.units:
        raise ValueError("The graph has no unit: no unit has the sample among its top ones.")
    if graph.blocks != index.blocks:
        raise ValueError(
            f"The graph is of blocks {', '.join(graph.blocks)}, but the index of {', '.join(index.blocks)}: give the "
            "index that it was found by."
        )
    one_sample(sample)
    by_block: dict[int, list[int]] = {}
    for block, unit in graph.units:
        by_block.setdefault(block, []).append(unit)
    calls = call_blocks(model, index.blocks, sample)
    warn_of_spread(lambda some: target_scores(model, some, target), sample)
    score = float(target_scores(model, sample, target))
    rng = np.random.default_rng(seed)
    random: list[Units] = []
    outside: list[Units] = []
    for _ in range(n_draws):
        drawn: Units = {}
        beside: Units = {}
        for block, own in by_block.items():
            scores = calls[block].scores.float().cpu().numpy()
            drawn[block] = rng.choice(len(scores), len(own), replace=False)
            free = np.setdiff1d(np.arange(len(scores)), own)
            strong = np.flatnonzero(index.in_top(index.blocks[block], scores, high=False))
            first, rest = np.intersect1d(free, strong), np.setdiff1d(free, strong)
            beside[block] = np.concatenate([rng.permutation(first), rng.permutation(rest)])[: len(own)]
        random.append(drawn)
        outside.append(beside)
    own_units: Units = {block: np.array(own) for block, own in by_block.items()}
    groups = [own_units, *random, *outside]
    falls = score - _scores_without(model, index, calls, sample, target, groups, patch, batch_size)
    return AblationDrop(score, float(falls[0]), falls[1 : n_draws + 1], falls[n_draws + 1 :], len(graph.units))


def _scores_without(
    model: nn.Module,
    index: UnitIndex,
    calls: Sequence[BlockCall],
    sample: Tensor,
    target: Target,
    groups: Sequence[Units],
    patch: Literal["zero", "mean"],
    batch_size: int,
) -> np.ndarray:
    """The score without each group's units, of the same blocks; a copy of the sample a group."""
    scores = []
    for start in range(0, len(groups), batch_size):
        some = groups[start : start + batch_size]
        with ExitStack() as hooks:
            for block in some[0]:
                name = index.blocks[block]
                others = index.means[name] if patch == "mean" else np.zeros_like(index.means[name])
                lost = np.stack([np.isin(np.arange(len(others)), group[block]) for group in some])
                hooks.enter_context(hooked(model, name, _without(name, calls[block].axis, lost, others)))
            copies = sample.expand(len(some), *sample.shape[1:])
            one = None if target is None else int(classes_of(target, 1))
            scores.append(target_scores(model, copies, one).double().cpu().numpy())
    return np.concatenate(scores)


def _without(block: str, axis: int, lost: np.ndarray, others: np.ndarray) -> Callable[..., Any]:
    """A hook that gives units other values ``(units,)``: in each row those that are lost, ``(rows, units)``."""

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        tensor = first_tensor(output, block)
        shape = [len(others) if place == axis else 1 for place in range(tensor.ndim)]
        mask = torch.as_tensor(lost, device=tensor.device).reshape(len(lost), *shape[1:])
        values = torch.as_tensor(others).to(tensor).reshape(shape)
        return with_first_tensor(output, torch.where(mask, values, tensor), block)

    return hook


def units_in_common(one: CircuitGraph, other: CircuitGraph) -> float:
    """Units in both over units in either, 0..1; the stability of circuits over seeds or over other samples."""
    mine: set[Unit] = set(one.units)
    theirs: set[Unit] = set(other.units)
    return len(mine & theirs) / max(len(mine | theirs), 1)
