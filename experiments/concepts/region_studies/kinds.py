"""Kinds of artifact of the generators: whether regions found from flagged samples hold on samples held out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from experiments.faces.labelled import LabelledFaces
from genmend.concepts.regions.configurations import Threshold
from genmend.concepts.regions.layer_states import LayerStates, layer_states
from genmend.concepts.regions.study import KindsStudy, study_kinds
from genmend.concepts.settings import RegionsSettings
from genmend.gans import Generator
from genmend.manifold.figures.image_grid import image_grid

N_SPLITS = 5
LAYERS = ("main.2", "main.5", "main.8")
SIGHTS: dict[str, tuple[Threshold, bool]] = {
    "places, learned thresholds": ("learned", False),
    "places, above 0": ("zero", False),
    "channels, learned thresholds": ("learned", True),
}


def kind_rows(name: str, generator: Generator, faces: LabelledFaces, seed: int) -> list[dict[str, Any]]:
    """One row a layer and way to see it, over halves drawn anew."""
    rows = []
    for layer in LAYERS:
        for sight, (threshold, pooled) in SIGHTS.items():
            states = seen(generator, faces, layer, threshold, pooled)
            studies = [study_kinds(states, faces.full, RegionsSettings(seed=seed + n)) for n in range(N_SPLITS)]
            rows.append({"samples": name, "layer": layer, "sight": sight} | _summary(studies))
            print(rows[-1], flush=True)
    return rows


def seen(generator: Generator, faces: LabelledFaces, layer: str, threshold: Any, pooled: bool) -> LayerStates:
    """A layer of the generator on all labelled samples."""
    latents = generator.checked_latents(faces.latents)
    return layer_states(
        generator.module,
        layer,
        lambda numbers: latents[list(numbers)],
        len(latents),
        run=generator.output,
        threshold=threshold,
        pooled=pooled,
    )


def _summary(studies: list[KindsStudy]) -> dict[str, Any]:
    """Means over the splits; lifts of the kinds beyond chance, one after the other."""
    first = studies[0]
    lifts = [[kind.lift for kind in study.beyond_chance] for study in studies]
    sure = [kind for study in studies for kind in study.beyond_chance]
    return {
        "n_held_out": first.n_held_out,
        "flagged_share": first.n_flagged_held_out / first.n_held_out,
        "found": float(np.mean([len(study.kinds) for study in studies])),
        "beyond_chance": float(np.mean([len(study.beyond_chance) for study in studies])),
        "random_beyond_chance": float(np.mean([study.random_kinds for study in studies])),
        "lifts": lifts,
        "share": float(np.mean([kind.share for kind in sure])) if sure else None,
        "euclidean": float(np.mean([kind.euclidean for kind in sure])) if sure else None,
        "cosine": float(np.mean([kind.cosine for kind in sure])) if sure else None,
        "reach": float(np.mean([_reach(study) for study in studies])),
    }


def _reach(study: KindsStudy) -> float:
    """Share of the flagged samples held out that some kind beyond chance holds."""
    held = {int(number) for kind in study.beyond_chance for number in kind.flagged}
    return len(held) / study.n_flagged_held_out


def kinds_picture(generator: Generator, faces: LabelledFaces, layer: str, seed: int) -> bytes:
    """A row a kind beyond chance: eight of its flagged members held out, and below eight that are not flagged."""
    study = study_kinds(seen(generator, faces, layer, "learned", False), faces.full, RegionsSettings(seed=seed))
    rows = []
    for kind in study.beyond_chance[:3]:
        for numbers in (kind.flagged[:8], kind.others[:8]):
            images = generator.generate(faces.latents[numbers])
            rows.append(torch.cat([images, torch.ones(8 - len(images), *images.shape[1:])]))
    return image_grid(rows, scale=2)
