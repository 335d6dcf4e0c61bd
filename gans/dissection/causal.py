"""Whether units cause a concept: switch them off where it is, put them in where it is not, and look again.

Source: Bau et al., arXiv 1811.10597, section 3.2. The paper's effect is the concept's expected amount with the units
put in, less that with the units off, both at the places of the intervention. Our reading of how to take the expectation
follows its code: units are switched off in images that have the concept and put in in images that lack it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from genmend.activations import Edit, PullToMean, ScaleUnits, edited
from genmend.gans.dissection.concepts import Concepts, checked_masks
from genmend.gans.generator import Generator, layer_shapes, recorded_batches
from genmend.gans.image_features import image_batches
from genmend.gans.settings import MOST_SEGMENTED
from genmend.storage.progress import with_progress

__all__ = ["CausalEffect", "CausalProbe", "UntestableError", "causal_effect", "prepare_probe"]

PRESENT = 1e-3  # share of an image's pixels from which on it has a concept


class UntestableError(ValueError):
    """A concept whose causes can't be tested on these samples; the message says why."""


@dataclass(frozen=True)
class CausalProbe:
    """What an intervention on a concept in one layer needs.

    Attributes
    ----------
    concept : int
        Its index among the segmenter's names.
    present, absent : Tensor
        Latents of samples that have the concept, and that lack it.
    amount : float
        Share of the pixels with the concept, over the present samples; always above 0.
    cells : Tensor (h, w), bool
        The layer's positions where the concept usually is: at least half as often as at the most frequent one.
    place : Tensor (height, width), bool
        The image's pixels under these cells.
    place_amount, absent_amount : float
        Share of those pixels with the concept, over the present and the absent samples.
    value : Tensor (u,)
        Each unit's mean activation where the concept is: what is put in.
    """

    concept: int
    layer: str
    present: Tensor
    absent: Tensor
    amount: float
    cells: Tensor
    place: Tensor
    place_amount: float
    absent_amount: float
    value: Tensor


@dataclass(frozen=True)
class CausalEffect:
    """What a set of units does to a concept, beside equally many random units of the layer.

    `erased`: share of the concept's pixels that is gone with the units off (0 nothing, 1 all; negative: there is more).
    `added`: pixels that appear with the units put in at the usual place, over what samples with the concept have
    there. `effect`, their sum, is the paper's difference over the concept's usual amount; 0 is none. `random_erased`
    and `random_added` hold one value a draw.
    """

    concept: str
    layer: str
    units: tuple[int, ...]
    erased: float
    added: float
    random_erased: tuple[float, ...]
    random_added: tuple[float, ...]
    n_present: int
    n_absent: int

    @property
    def effect(self) -> float:
        """`erased` + `added`."""
        return self.erased + self.added

    @property
    def random_effect(self) -> float:
        """Mean over the draws of random units."""
        return float(np.mean(self.random_erased) + np.mean(self.random_added))

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON holds it."""
        return {**vars(self), "effect": self.effect, "random_effect": self.random_effect}


def prepare_probe(
    generator: Generator, layer: str, latents: Tensor, masks: Tensor, concept: int, *, n_each: int, name: str = ""
) -> CausalProbe:
    """Pick samples with and without a concept, its usual place, and what the units do there.

    Parameters
    ----------
    latents : Tensor (n, ...)
    masks : Tensor (n, height, width), bool
        The concept in their samples, as known: nothing is segmented here.
    n_each : int
        Samples of each kind, from the first; as many as there are where there are fewer.

    Raises
    ------
    UntestableError
        If fewer than 5 samples have the concept, or fewer than 5 lack it.
    """
    masks, latents = masks.cpu(), latents.cpu()
    share = masks.flatten(1).double().mean(1)
    present = (share >= PRESENT).nonzero()[:n_each, 0]
    absent = (share < PRESENT).nonzero()[:n_each, 0]
    if min(len(present), len(absent)) < 5:
        raise UntestableError(
            f"{len(present)} samples have the concept {name!r} and {len(absent)} lack it; at least 5 of each are "
            "needed: take more images, or another concept."
        )
    theirs = masks[present].float()
    weight = functional.interpolate(theirs[:, None], layer_shapes(generator, [layer])[layer][1:], mode="area")
    batches = recorded_batches(generator, latents[present], [layer], "causal units")
    sums = [
        (batch[layer].cpu() * part).sum((0, 2, 3))
        for batch, part in zip(batches, weight.split(generator.batch_size), strict=True)
    ]
    value = torch.stack(sums).sum(0) / weight.sum().clamp(min=1e-12)
    usual = weight.mean((0, 1))
    cells = usual >= usual.max() / 2
    place = functional.interpolate(cells[None, None].float(), masks.shape[1:], mode="nearest")[0, 0] > 0
    return CausalProbe(
        concept,
        layer,
        latents[present],
        latents[absent],
        float(theirs.mean()),
        cells,
        place,
        float(theirs[:, place].mean()),
        float(masks[absent][:, place].float().mean()),
        value,
    )


def causal_effect(
    generator: Generator,
    probe: CausalProbe,
    concepts: Concepts,
    units: Sequence[int],
    *,
    n_draws: int = 3,
    seed: int = 0,
    progress: bool = False,
) -> CausalEffect:
    """Effect of hard-ablating, and of putting in, a set of units, and of `n_draws` random sets of the same size.

    Raises
    ------
    ValueError
        If more than 1,200 images would have to be segmented: give the probe fewer samples, or draw fewer sets.
    """
    n_segmented = (1 + n_draws) * (len(probe.present) + len(probe.absent))
    if n_segmented > MOST_SEGMENTED:
        raise ValueError(
            f"{n_segmented} images would be segmented for one concept, more than {MOST_SEGMENTED}: "
            "prepare the probe with fewer samples (n_each), or draw fewer random sets (n_draws)."
        )
    rng = np.random.default_rng(seed)
    others = np.setdiff1d(np.arange(len(probe.value)), list(units))
    if len(others) < len(units):
        raise ValueError(f"Layer {probe.layer} has too few units for a random control of {len(units)} others.")
    sets = [list(units)] + [rng.choice(others, len(units), replace=False).tolist() for _ in range(n_draws)]
    tests = [(test, chosen) for test in (_erased, _added) for chosen in sets]
    what = f"causes of {concepts.names[probe.concept]}"
    found = [
        test(generator, probe, concepts, chosen)
        for test, chosen in with_progress(tests, what, len(tests), show=progress)
    ]
    erased, added = found[: len(sets)], found[len(sets) :]
    return CausalEffect(
        concepts.names[probe.concept],
        probe.layer,
        tuple(int(unit) for unit in units),
        erased[0],
        added[0],
        tuple(erased[1:]),
        tuple(added[1:]),
        len(probe.present),
        len(probe.absent),
    )


def ablation(probe: CausalProbe, units: Sequence[int]) -> Edit:
    """The units off, at all positions."""
    return ScaleUnits(probe.layer, list(units), 0.0)


def insertion(probe: CausalProbe, units: Sequence[int]) -> Edit:
    """The units at the concept's mean activation, in the cells where it usually is."""
    listed = torch.zeros(len(probe.value), dtype=torch.bool)
    listed[list(units)] = True
    shape = (len(probe.value), *probe.cells.shape)
    return PullToMean(
        probe.layer, probe.value[:, None, None].expand(shape).contiguous(), listed[:, None, None] & probe.cells
    )


def _erased(generator: Generator, probe: CausalProbe, concepts: Concepts, units: Sequence[int]) -> float:
    with edited(generator.module, ablation(probe, units)):
        left = [
            checked_masks(concepts, images)[:, probe.concept].flatten(1).double().mean(1)
            for images in image_batches(generator, probe.present)
        ]
    return 1 - float(torch.cat(left).mean()) / probe.amount


def _added(generator: Generator, probe: CausalProbe, concepts: Concepts, units: Sequence[int]) -> float:
    with edited(generator.module, insertion(probe, units)):
        now = [
            checked_masks(concepts, images)[:, probe.concept][:, probe.place].double().mean(1)
            for images in image_batches(generator, probe.absent)
        ]
    return (float(torch.cat(now).mean()) - probe.absent_amount) / probe.place_amount
