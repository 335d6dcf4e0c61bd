"""Broken samples mended by the ladder, by contrast descent, and by controls that keep less or none of the sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from genmend.activations import Correction
from genmend.gans import ArtifactDetector, Generator, corrected
from genmend.gans.correctors.contrast import Contrast
from genmend.gans.correctors.contrast_descent import descend, fit_descent
from genmend.manifold import Manifold
from genmend.manifold.engine.nearest import nearest_neighbors

DIAL = (0.5, 0.2, 0.1, 0.05, 0.02)
_TOWARDS = (0.2, 0.35, 0.5, 0.65, 0.8, 1.0)


@dataclass(frozen=True)
class Mended:
    """Images of one method, the latents they were drawn from, and how many samples it gave up."""

    images: Tensor
    latents: Tensor
    n_given_up: int = 0


def mended_samples(
    generator: Generator,
    detector: ArtifactDetector,
    correction: Correction,
    extractor: Callable[[Tensor], Tensor],
    broken: Tensor,
    seed: int,
) -> dict[str, Callable[[], Mended]]:
    """What makes each method's samples of every broken latent, by name; no gate: each method is tried on all."""
    before = generator.generate(broken)
    random = generator.latents(len(broken), seed + 77)

    def run(made: Correction) -> Mended:
        done = corrected(generator, made, gate=False, extractor=extractor)(broken)
        return Mended(done.images, done.latents, int(done.given_up.sum()))

    def random_neurons() -> Mended:
        descent = _random_descent(generator, detector, correction, torch.Generator().manual_seed(seed))
        return run(replace(correction, descent=descent))

    def random_turn() -> Mended:
        turned = _turned(broken, random, angles(broken, run(correction).latents))
        return Mended(generator.generate(turned), turned)

    def towards_normal() -> Mended:
        end = _nearest_normal(generator, detector, correction, extractor(before).numpy())
        return _towards(generator, correction, extractor, broken, end)

    def nearest_normal() -> Mended:
        end = _nearest_normal(generator, detector, correction, extractor(before).numpy())
        return Mended(generator.generate(end), end)

    return {
        "uncorrected": lambda: Mended(before, broken),
        "ladder": lambda: run(replace(correction, descent=None)),
        "contrast descent": lambda: run(correction),
        "descent of random neurons": random_neurons,
        "random turn of the same angle": random_turn,
        "towards the nearest normal sample": towards_normal,
        "nearest normal sample": nearest_normal,
        "another sample": lambda: Mended(generator.generate(random), random),
    }


def dial(
    generator: Generator, detector: ArtifactDetector, correction: Correction, broken: Tensor
) -> Iterator[tuple[str, Mended]]:
    """All samples moved to one target, without the stop rule, for each share of `DIAL`.

    The last goes to 0.1, but no sample further than they go to 0.2 on average: a few that go far are most of what
    makes the mended alike.
    """
    assert correction.descent is not None
    descent = _fitted(generator, detector, correction, _contrast(generator, detector, correction))
    for number, quantile in enumerate(DIAL):
        moved = descend(generator, descent, broken, number)
        yield f"all moved to {quantile}", Mended(generator.generate(moved), moved)
        if quantile == 0.2:
            steps = math.ceil(np.radians(angles(broken, moved)).mean() / descent.step)
    moved = descend(generator, replace(descent, n_steps=steps), broken, DIAL.index(0.1))
    yield f"to 0.1, {steps} steps at most", Mended(generator.generate(moved), moved)


def angles(one: Tensor, other: Tensor) -> np.ndarray:
    """In degrees, (n,)."""
    return torch.rad2deg(
        torch.arccos(torch.cosine_similarity(one.double(), other.double(), dim=1).clamp(-1, 1))
    ).numpy()


def _own(generator: Generator, detector: ArtifactDetector, correction: Correction) -> tuple[Tensor, np.ndarray]:
    """Latents of the detector's own samples and their gate scores."""
    assert correction.gate is not None
    scores = correction.gate.score(detector.own_features_.astype(np.float64))
    return generator.latents(detector.n_reference, detector.seed + 1), scores


def _contrast(generator: Generator, detector: ArtifactDetector, correction: Correction) -> Contrast:
    assert correction.descent is not None
    return Contrast.measure(generator, *_own(generator, detector, correction), correction.descent.layers)


def _fitted(generator: Generator, detector: ArtifactDetector, correction: Correction, contrast: Contrast):
    latents, scores = _own(generator, detector, correction)
    calm = latents[torch.from_numpy(scores <= np.median(scores))]
    return fit_descent(generator, contrast, calm, correction.descent.layers, quantiles=DIAL)


def _random_descent(generator: Generator, detector: ArtifactDetector, correction: Correction, draws: torch.Generator):
    """As many random neurons with the same weights, and the levels that normal samples have of those."""
    contrast = _contrast(generator, detector, correction)
    shuffled = {
        layer: ratio.flatten()[torch.randperm(ratio.numel(), generator=draws)].view(ratio.shape)
        for layer, ratio in contrast.log_ratio.items()
    }
    descent = _fitted(generator, detector, correction, replace(contrast, log_ratio=shuffled))
    kept = tuple(DIAL.index(quantile) for quantile in correction.info["descents"])
    return replace(descent, targets=tuple(descent.targets[number] for number in kept))


def _turned(latents: Tensor, towards: Tensor, degrees: np.ndarray) -> Tensor:
    """Each latent turned by its angle towards a random direction; its norm is kept."""
    norm = latents.norm(dim=1, keepdim=True)
    place = latents / norm
    across = towards - (towards * place).sum(1, keepdim=True) * place
    angle = torch.from_numpy(np.radians(degrees)).float()[:, None]
    return norm * (angle.cos() * place + angle.sin() * across / across.norm(dim=1, keepdim=True))


def _nearest_normal(
    generator: Generator, detector: ArtifactDetector, correction: Correction, features: np.ndarray
) -> Tensor:
    """Latents of the own samples below the median gate score that are nearest in the gate's features."""
    latents, scores = _own(generator, detector, correction)
    normal = np.flatnonzero(scores <= np.median(scores))
    nearest = nearest_neighbors(detector.own_features_[normal], features, 1).indices[:, 0]
    return latents[torch.from_numpy(normal[nearest])]


def _towards(
    generator: Generator, correction: Correction, extractor: Callable[[Tensor], Tensor], start: Tensor, end: Tensor
) -> Mended:
    """Spherical steps to the nearest normal sample, the first that the stop rule takes for enough; else the last."""
    rule = correction.stop_rule
    normal = Manifold.from_radii(rule.features, rule.radii, k=rule.k)
    latents, images = start.clone(), generator.generate(start)
    going = np.arange(len(start))
    for share in _TOWARDS:
        latents[going] = _between(start[going], end[going], share)
        images[going] = generator.generate(latents[going])
        features = extractor(images[going]).numpy()
        scores = correction.gate.score(features.astype(np.float64))
        enough = rule.is_normal(scores, normal.score_samples(features)) & (scores <= rule.enough_gate_score)
        going = going[~enough]
        if not len(going):
            break
    return Mended(images, latents)


def _between(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Spherical interpolation (Shoemake 1985) of the directions, linear of the norms."""
    norms = [part.norm(dim=1, keepdim=True) for part in (start, end)]
    angle = torch.arccos((start / norms[0] * (end / norms[1])).sum(1, keepdim=True).clamp(-0.9999, 0.9999))
    mixed = (
        torch.sin((1 - share) * angle) * start / norms[0] + torch.sin(share * angle) * end / norms[1]
    ) / angle.sin()
    return mixed * ((1 - share) * norms[0] + share * norms[1])
