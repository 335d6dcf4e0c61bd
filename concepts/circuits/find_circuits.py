"""Find the circuits of one sample in a network whose units have been indexed."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from scipy.stats import hypergeom
from torch import Tensor, nn

from genmend.activations.recording import record
from genmend.concepts.circuits.block_calls import BlockCall, call_blocks, one_sample
from genmend.concepts.circuits.circuit import CircuitGraph, Edge, Unit
from genmend.concepts.circuits.on_target import effects_on_target, predicted_effects
from genmend.concepts.circuits.patching import unit_effects
from genmend.concepts.circuits.thresholds import N_LEAST, beyond_random_units, peaks_over_threshold
from genmend.concepts.circuits.unit_index import UnitIndex
from genmend.concepts.scalar_target import classes_of, target_scores, warn_of_spread

__all__ = ["find_circuits"]

Patch = Literal["zero", "mean", "other"]
Chosen = Literal["random", "peaks"]


def find_circuits(
    model: nn.Module,
    index: UnitIndex,
    sample: Tensor,
    target: int | None = None,
    *,
    patch: Patch = "zero",
    other: Tensor | None = None,
    chosen: Chosen = "random",
    identity: bool = True,
    false_share: float = 0.05,
    least_flow: float = 0.1,
    screen: float = 1.0,
    n_random: int = 64,
    most_roots: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
) -> CircuitGraph:
    """Granular concept circuits of one sample (Kwon et al., ICCV 2025), block by block.

    Roots are the units, the last block's left out, of which the sample is a top one (1 %). An edge leads from a unit
    to one of the next block of which the sample is among the top 10 %, if replacing the first changes the second
    (function) and both have the same top samples (meaning); its end is followed in turn. All units of a block are
    replaced in one batch, and only the next block runs.

    Parameters
    ----------
    model
        That the index was made of, in evaluation mode.
    index
        See `build_index`.
    sample
        Shape ``(1, ...)``; it need not be one of the indexed ones.
    target
        A class whose score the last block's units are tested on as well, see `CircuitGraph.towards_target`.
    patch
        'zero' as published; 'mean', the unit's mean over the indexed samples; 'other', what the unit gives for `other`.
    other
        A counterfactual, or any other sample, shape ``(1, ...)``.
    chosen
        'random': effects larger than those of random units of the same block, of either sign, between units that share
        more top samples than chance would (hypergeometric, 1 %) or, where the effect inhibits, none; 'peaks': as
        published, see `peaks_over_threshold`, between units that share more than all candidates on average.
    identity
        Whether what a residual block hands on unchanged counts as an effect.
    false_share
        Of the edges that 'random' finds.
    least_flow
        Share of top samples that the two ends of an edge must have in common; published 0.1.
    screen
        Share of each block's units that circuits may hold: those of which a gradient predicts the largest effects on
        the score of `target`, either way, see `predicted_effects`. Below 1 it spares the exact test of all others.
    n_random
        Random units of each block.
    most_roots
        The units of the strongest scores relative to their top one; default all.
    seed
        Of the random units.
    batch_size
        Copies of a block's input in one call.

    Raises
    ------
    ValueError
        If the sample is not one or holds NaN, the target is no class, or an option is out of range; if a block cannot
        be run again by itself.

    Warns
    -----
    NotDeterministicWarning
        If two runs of the model differ, with the difference.
    """
    if patch not in ("zero", "mean", "other") or chosen not in ("random", "peaks"):
        raise ValueError(
            f"patch is {patch!r} and chosen {chosen!r}; accepted are 'zero', 'mean', 'other' and 'random', 'peaks'."
        )
    if (patch == "other") != (other is not None):
        raise ValueError("patch='other' needs other=, a sample of shape (1, ...), and no other patch takes one.")
    if not 0 < screen <= 1 or (screen < 1 and target is None):
        raise ValueError(f"screen is {screen}; accepted is a share above 0 and at most 1, below 1 only with target=.")
    if n_random < N_LEAST:
        raise ValueError(f"n_random is {n_random}, but a spread of random units needs at least {N_LEAST}.")
    calls = call_blocks(model, index.blocks, one_sample(sample))
    warn_of_spread(lambda some: _seen(model, index.blocks[-1], some, target), sample)
    target = None if target is None else int(classes_of(target, 1))
    others = None if other is None else call_blocks(model, index.blocks, one_sample(other))
    scores = [call.scores.float().cpu().numpy() for call in calls]
    for place, (block, own) in enumerate(zip(index.blocks, scores, strict=True)):
        if len(own) != len(index.top[block]):
            raise ValueError(
                f"block {block!r} has {len(own)} units, but the index has {len(index.top[block])}: index anew."
            )
        tested = chosen == "random" if place < len(calls) - 1 else target is not None
        if tested and len(own) < N_LEAST:
            raise ValueError(
                f"block {block!r} has {len(own)} units, but effects are compared with those of at least {N_LEAST} "
                "random ones: leave it out of the index."
            )
    replacements = [_replacement(index, call, number, patch, others) for number, call in enumerate(calls)]
    allowed = [np.ones(len(own), dtype=bool) for own in scores]
    if target is not None and screen < 1:
        predicted = predicted_effects(model, calls, sample, target, replacements)
        allowed = [_largest(effects.abs().cpu().numpy(), screen) for effects in predicted]
    roots = [root for root in _roots(index, scores, most_roots) if allowed[root[0]][root[1]]]
    rng = np.random.default_rng(seed)
    reached: list[set[int]] = [set() for _ in calls]
    for place, unit in roots:
        reached[place].add(unit)
    edges: list[Edge] = []
    for number in range(len(calls) - 1):
        sources = sorted(reached[number])
        # Drawn for every block, so that the edges of one do not depend on whether another has sources.
        n_units = len(scores[number])
        random_units = rng.choice(n_units, min(n_random, n_units), replace=False)
        if not sources:
            continue
        candidates = index.in_top(index.blocks[number + 1], scores[number + 1], high=False) & allowed[number + 1]
        # Of units that need not all be made, those that an edge may lead to.
        on = np.arange(len(candidates)) if calls[number + 1].made_by is None else np.flatnonzero(candidates)
        if not len(on):
            continue
        _check_again(calls[number], calls[number + 1])
        asked = np.concatenate([sources, random_units if chosen == "random" else []]).astype(int)
        effects = unit_effects(
            calls[number],
            calls[number + 1],
            asked.tolist(),
            on=on.tolist(),
            replacement=replacements[number],
            through_identity=identity,
            batch_size=batch_size,
        )
        found = np.zeros((len(asked), len(candidates)))
        found[:, on] = effects.double().cpu().numpy()
        own, null = found[: len(sources)], found[len(sources) :]
        significant = None
        if chosen == "random":
            significant = np.zeros(own.shape, dtype=bool)
            significant[:, on] = beyond_random_units(own[:, on], null[:, on], false_share=false_share)
        for row, source in enumerate(sources):
            kept = _edges(index, number, source, own[row], candidates, significant, row, least_flow)
            edges += kept
            reached[number + 1].update(edge.target[1] for edge in kept)
    found_on_target = (
        {}
        if target is None
        else _on_target(
            model,
            calls[-1],
            sample,
            sorted(reached[-1]),
            target,
            replacement=replacements[-1],
            rng=rng,
            n_random=n_random,
            false_share=false_share,
            batch_size=batch_size,
        )
    )
    settings = {
        **({} if target is None else {"target": target}),
        "patch": patch,
        "chosen": chosen,
        "identity": identity,
        "false_share": false_share,
        "least_flow": least_flow,
        **({} if screen == 1 else {"screen": screen}),
        "n_random": n_random,
        "seed": seed,
        "n_samples": index.n_samples,
    }
    on_target = {(len(calls) - 1, unit): effect for unit, effect in found_on_target.items()}
    return CircuitGraph(index.blocks, tuple(roots), tuple(edges), settings, on_target)


def _seen(model: nn.Module, block: str, sample: Tensor, target: int | None) -> Tensor:
    """What circuits are asked about: the score of the class, or what the last block gives."""
    if target is not None:
        return target_scores(model, sample, target)
    with record(model, [block], stop=True) as outputs:
        model(sample)
    found: Tensor = outputs[block]
    return found


@torch.no_grad()
def _check_again(source: BlockCall, target: BlockCall) -> None:
    """Raise ValueError where a block gives something else for what it was given before, and not by chance."""
    again = target(torch.cat([source.output] * 2))
    least = 1e-3 * float(target.output.abs().max())
    if float((again[0] - again[1]).abs().max()) > least:
        return  # two runs differ, which has been said
    off = float((again - target.output).abs().max()) if again.shape[1:] == target.output.shape[1:] else float("inf")
    if not off <= least:
        raise ValueError(
            f"Block {target.name!r} gives something else when it is run again on what block {source.name!r} gave (by "
            f"up to {off:.2g}): chance is at work, such as dropout, or it cannot be run by itself; name other blocks."
        )


def _on_target(
    model: nn.Module,
    call: BlockCall,
    sample: Tensor,
    units: list[int],
    target: int,
    *,
    replacement: Tensor | None,
    rng: np.random.Generator,
    n_random: int,
    false_share: float,
    batch_size: int,
) -> dict[int, float]:
    """Units of the last block whose effect on the score is more than random units have, and the effect."""
    if not units:
        return {}
    n_units = call.n_units
    random_units = rng.choice(n_units, min(n_random, n_units), replace=False)
    effects = effects_on_target(
        model,
        call,
        sample,
        [*units, *random_units.tolist()],
        target,
        replacement=replacement,
        batch_size=batch_size,
    )
    own, null = effects.double().cpu().numpy()[: len(units)], effects.double().cpu().numpy()[len(units) :]
    # One test for all of them: each against the same random units.
    beyond = beyond_random_units(own[None], np.repeat(null[:, None], len(own), axis=1), false_share=false_share)[0]
    return {unit: float(effect) for unit, effect, yes in zip(units, own, beyond, strict=True) if yes}


def _roots(index: UnitIndex, scores: list[np.ndarray], most: int | None) -> list[Unit]:
    found: list[tuple[float, Unit]] = []
    for number, block in enumerate(index.blocks[:-1]):
        highest = np.maximum(np.abs(index.scores[block][:, 0]), np.finfo(np.float32).tiny)
        for unit in np.flatnonzero(index.in_top(block, scores[number])):
            found.append((float(scores[number][unit] / highest[unit]), (number, int(unit))))
    if most is not None:
        found = sorted(found, key=lambda each: (-each[0], each[1]))[:most]
    return sorted(unit for _, unit in found)


def _largest(values: np.ndarray, share: float) -> np.ndarray:
    """Which of the values are among the largest, at least one."""
    largest = np.zeros(len(values), dtype=bool)
    largest[np.argsort(-values, kind="stable")[: max(1, round(share * len(values)))]] = True
    return largest


def _replacement(
    index: UnitIndex, call: BlockCall, number: int, patch: Patch, others: list[BlockCall] | None
) -> Tensor | None:
    if patch == "zero":
        return None
    if others is not None:
        return others[number].output
    shape = [1] * call.output.ndim
    shape[call.axis] = -1
    return torch.as_tensor(index.means[index.blocks[number]]).reshape(shape)


def _edges(
    index: UnitIndex,
    number: int,
    source: int,
    effects: np.ndarray,
    candidates: np.ndarray,
    significant: np.ndarray | None,
    row: int,
    least_flow: float,
) -> list[Edge]:
    """The edges that leave one unit."""
    candidates = candidates & (effects != 0)
    excited, inhibited = effects.clip(0), effects.clip(max=0)
    sensitivity = excited / max(excited.sum(), np.finfo(np.float64).tiny)
    flow = index.overlap(index.blocks[number], source, index.blocks[number + 1]) / index.high
    if not candidates.any():
        return []
    if significant is None:
        means_alike = flow > max(float(flow[candidates].mean()), least_flow)
        candidates &= excited > 0
        threshold = peaks_over_threshold(sensitivity[candidates]) if candidates.any() else float("nan")
        functions = sensitivity > threshold if threshold >= 0 else np.zeros_like(candidates)
    else:
        functions = significant[row]
        shared = flow * index.high
        chance = hypergeom.sf(shared.round() - 1, index.n_samples, index.high, index.high)
        # Who inhibits need not have the same top samples, rather none of them.
        means_alike = ((flow >= least_flow) & (chance <= 0.01)) | ((effects < 0) & (flow == 0))
        sensitivity = sensitivity + inhibited / max(-inhibited.sum(), np.finfo(np.float64).tiny)
    return [
        Edge(
            (number, source),
            (number + 1, int(unit)),
            float(effects[unit]),
            float(sensitivity[unit]),
            float(flow[unit]),
        )
        for unit in np.flatnonzero(candidates & functions & means_alike)
    ]
