"""The causal part of a dissection: what the units of a concept do when they are switched off, or put in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmend.activations import Edit, edited
from genmend.gans.dissection.agreement import Agreement
from genmend.gans.dissection.alpha import optimise_alpha, top_units
from genmend.gans.dissection.causal import (
    CausalEffect,
    UntestableError,
    ablation,
    causal_effect,
    insertion,
    prepare_probe,
)
from genmend.gans.dissection.mask_store import MaskStore
from genmend.gans.dissection.stages import Arrays, Stages
from genmend.gans.generator import Generator
from genmend.gans.settings import CausalSettings
from genmend.storage.digests import sha256_of_array

__all__ = ["CausalStudy", "causal_study"]

N_DRAWS = 3
SHOWN = 10


@dataclass(frozen=True)
class CausalStudy:
    """The effect, how the units were ranked, and up to ten images of each step, by its name.

    Images (10, 3, h, w) in 0..1, of 8 bits a value.
    """

    effect: CausalEffect
    ranking: str
    rows: dict[str, Tensor]


def causal_study(
    stages: Stages,
    asked: str,
    store: MaskStore,
    agreements: Mapping[str, Agreement],
    n: int,
    settings: CausalSettings,
) -> CausalStudy:
    """Try the units of ``CONCEPT`` or ``CONCEPT@LAYER``; without a layer, that of the highest IoU.

    The result is kept: an interrupted run goes on with the next concept.

    Raises
    ------
    ValueError
        If the layer was not dissected.
    UntestableError
        If no unit overlaps the concept more than chance does, or too few samples have or lack it.
    """
    name, _, layer = asked.partition("@")
    concept = list(store.concepts.names).index(name)
    layer = layer or max(agreements, key=lambda candidate: float(agreements[candidate].above_null[:, concept].max()))
    if layer not in agreements:
        raise ValueError(f"Layer {layer!r} of the causal concept {asked!r} was not dissected: {', '.join(agreements)}.")
    iou = agreements[layer].above_null[:, concept].clamp(min=0)
    if not iou.any():
        raise UntestableError(
            f"No unit of {layer} overlaps {name!r} more than the masks of other samples do, so there is none to test."
        )
    about = {"concept": name, "layer": layer, "n": n, "iou": sha256_of_array(iou), **asdict(settings)}
    return _read(
        stages.kept(
            "causal",
            stages.about(store) | about,
            lambda: _as_arrays(_studied(stages, store, concept, layer, iou, n, settings)),
        )
    )


def _studied(
    stages: Stages, store: MaskStore, concept: int, layer: str, iou: Tensor, n: int, settings: CausalSettings
) -> CausalStudy:
    generator, seed, progress, name = stages.generator, stages.seed, stages.work.progress, store.concepts.names[concept]
    masks = torch.cat([part[:, concept] for _, part in store.chunks(n, seed)])
    n_each = settings.n_segmented // (2 * (1 + N_DRAWS))
    probe = prepare_probe(generator, layer, generator.latents(n, seed), masks, concept, n_each=n_each, name=name)
    if settings.alpha_steps:
        alpha = optimise_alpha(
            generator,
            probe,
            store.concepts,
            iou,
            n_steps=settings.alpha_steps,
            batch_size=settings.alpha_batch,
            seed=seed,
            progress=progress,
        )
        ranking = f"optimised alpha ({settings.alpha_steps} steps), ties by IoU"
    else:
        alpha, ranking = torch.zeros_like(iou), "IoU above chance"
    overlapping = int(((iou > 0) | (alpha > 0)).sum())
    units = top_units(alpha, iou, min(settings.n_units, len(iou) // 2, overlapping))
    effect = causal_effect(generator, probe, store.concepts, units, n_draws=N_DRAWS, seed=seed, progress=progress)
    rng = np.random.default_rng(seed)  # the first of the random sets behind the effect
    others = rng.choice(np.setdiff1d(np.arange(len(iou)), units), len(units), replace=False).tolist()
    present, absent = probe.present[:SHOWN], probe.absent[:SHOWN]
    rows = {
        "with the concept": generator.generate(present),
        "its units off": _with(generator, ablation(probe, units), present),
        "random units off": _with(generator, ablation(probe, others), present),
        "without the concept": generator.generate(absent),
        "its units put in": _with(generator, insertion(probe, units), absent),
        "random units put in": _with(generator, insertion(probe, others), absent),
    }
    return CausalStudy(effect, ranking, rows)


def _as_arrays(study: CausalStudy) -> Arrays:
    """A study for a file: facts as bytes of JSON, which keep their order and every digit, and pixels of 8 bits."""
    facts = {"effect": vars(study.effect), "ranking": study.ranking, "titles": list(study.rows)}
    arrays: Arrays = {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8)}
    for number, images in enumerate(study.rows.values()):
        arrays[f"row {number}"] = (images * 255).round().to(torch.uint8).numpy()
    return arrays


def _read(arrays: Arrays) -> CausalStudy:
    facts = json.loads(arrays["facts"].tobytes())
    effect: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in facts["effect"].items()
    }
    rows = {title: torch.from_numpy(arrays[f"row {number}"]) / 255 for number, title in enumerate(facts["titles"])}
    return CausalStudy(CausalEffect(**effect), facts["ranking"], rows)


def _with(generator: Generator, edit: Edit, latents: Tensor) -> Tensor:
    with edited(generator.module, edit):
        return generator.generate(latents)
