"""Rare versions of reference latents: Adam on latents, and of all iterates the best one that keeps every constraint.

Source: Lee, Han, Kim, Choi, "Diverse Rare Sample Generation with Pretrained GANs", AAAI 2025, arXiv 2412.19543. Ours:
the artifact score, the plausible latent and "feasible or nothing".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans.generator import Generator, gradient_batch, normal_numbers
from genmend.gans.image_features import image_features
from genmend.gans.latent_prior import LatentPrior, latent_prior
from genmend.gans.rare.objective import pair_distances, rare_loss
from genmend.gans.rare.samples import RareSamples
from genmend.gans.rare.space import RareSpace
from genmend.gans.settings import RareSearch
from genmend.manifold.features.extractor_device import at_extractor
from genmend.manifold.regions.manifold import nearest_ball_distance
from genmend.storage.progress import with_progress

__all__ = ["rare_samples"]

# A squared latent norm beyond this quantile of the prior's is as implausible as the generator's training ever saw.
_NORM_QUANTILE = 0.99


def rare_samples(
    generator: Generator,
    reference_latents: Tensor | NDArray[np.floating],
    space: RareSpace,
    search: RareSearch | None = None,
    *,
    seed: int = 0,
    start: int = 0,
    progress: bool = False,
) -> RareSamples:
    """Find diverse rare versions of each reference inside the normal manifold and within d*, or give a version up.

    Kept is, for every version, the iterate of the lowest loss among those inside the manifold, within d* of the
    reference, rarer than it, not above the artifact limit, and of a latent norm that the prior gives 99 % of the time.
    Where none was, or where the image generated anew breaks a constraint, the version is given up. Rarer: of a higher
    rarity, or of a lower density where the reference lies outside the manifold and has no rarity.

    Latents that are not normal (w, truncated z) move in units of their own standard deviations (`latent_prior`), and
    so do noise and norm; the class of a conditional generator's sample stays the reference's.

    Parameters
    ----------
    generator : Generator
        Never changed; only latents are optimised.
    reference_latents : (r, *latent_shape)
    space : RareSpace
        Its extractor has to be differentiable.
    search : RareSearch, optional
    seed, start : int
        Row i starts from noise that depends on ``(seed, start + i)`` alone: references can be done in any pieces.
    progress : bool
        Show a progress bar.

    Raises
    ------
    ValueError
        If the latents do not fit the generator, d* asks for more samples than there are, or the extractor gives no
        gradient.
    """
    search = search or RareSearch()
    references = generator.checked_latents(reference_latents)
    measured = space.measure_features(image_features(generator, references, space.network))
    limits = space.neighbour_distance(measured.features, search.k_reference)
    prior = latent_prior(generator)
    best = torch.full((len(references) * search.n_versions, *generator.latent_shape), math.nan)
    steps = np.full(len(best), -1)
    at_once = max(1, generator.batch_size // search.n_versions)
    for first in range(0, len(references), at_once):
        rows = slice(first, min(first + at_once, len(references)))
        group = _Group(
            references[rows],
            torch.from_numpy(measured.features[rows]),
            torch.from_numpy(limits[rows]),
            measured.rarity[rows],
            measured.log_prob[rows],
            _noise(generator, len(references[rows]) * search.n_versions, seed, (start + first) * search.n_versions),
        )
        of_versions = slice(rows.start * search.n_versions, rows.stop * search.n_versions)
        best[of_versions], steps[of_versions] = _descend(generator, group, space, prior, search, progress)
    anchored = search.objective.anchor == "reference"
    return RareSamples.of(
        generator, space, search.n_versions, references, measured, limits, best, steps, anchored=anchored
    )


class _Group(NamedTuple):
    """References that are optimised together; their versions share no term of the loss."""

    latents: Tensor
    features: Tensor
    limits: Tensor
    rarity: NDArray[np.float64]
    log_prob: NDArray[np.float64]
    noise: Tensor


def _noise(generator: Generator, n: int, seed: int, start: int) -> Tensor:
    """Standard normal noise (n, *latent_shape)."""
    # Far from the streams of `latents` of the same seed, so that noise never equals a sample's latent.
    return normal_numbers(n, seed, start + (1 << 40), generator.latent_shape)


def _descend(
    generator: Generator, group: _Group, space: RareSpace, prior: LatentPrior, search: RareSearch, progress: bool
) -> tuple[Tensor, NDArray[np.int64]]:
    """The best feasible latents of a group (NaN where none), and the step at which each came up (-1)."""
    n, objective = search.n_versions, search.objective
    anchors = group.features.to(generator.device).repeat_interleave(n, 0)
    limits = group.limits.to(generator.device).repeat_interleave(n, 0)
    rarity, log_prob = np.repeat(group.rarity, n), np.repeat(group.log_prob, n)
    free = prior.free.to(generator.device)
    noise = search.noise * group.noise.flatten(1) * prior.free
    # Moved are latents in their own standard deviations; normal ones are so as they are.
    moving = prior.standardised(group.latents.repeat_interleave(n, 0)) + noise
    moving = moving.to(generator.device).requires_grad_(True)
    optimizer = torch.optim.Adam([moving], lr=search.learning_rate)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 50, 0.9)
    shape = (-1, *generator.latent_shape)

    def features_of(some: Tensor) -> Tensor:
        images = generator.images(prior.latents(some).reshape(shape))
        return space.network(at_extractor(space.network, images)).float().to(some.device)

    best = torch.full((len(moving), *generator.latent_shape), math.nan, device=generator.device)
    best_loss = torch.full((len(moving),), math.inf, device=generator.device)
    best_step = np.full(len(moving), -1)
    n_steps = search.n_steps + 1
    for step in with_progress(range(n_steps), "rare", n_steps, show=progress):
        with torch.enable_grad():
            features = _features(features_of, moving, gradient_batch(generator))
            if step == 0 and objective.anchor == "own_start":
                anchors = features.detach()
            losses = _losses(moving[:, free], features, anchors, limits, space, search)
        latents = prior.latents(moving.detach()).reshape(shape)
        rows = np.flatnonzero((losses.detach() < best_loss).cpu().numpy())
        within = (prior.norms(latents[rows]) <= prior.norm_at(_NORM_QUANTILE)).cpu().numpy()
        rows = rows[within]
        rows = rows[
            _feasible(features.detach()[rows], anchors[rows], limits[rows], rarity[rows], log_prob[rows], space)
        ]
        best[rows], best_loss[rows] = latents[rows], losses.detach()[rows]
        best_step[rows] = step
        if step < search.n_steps:
            moving.grad = _gradient(losses, moving, features, features_of, gradient_batch(generator)) * free
            optimizer.step()
            schedule.step()
    return best.cpu(), best_step


def _features(features_of: Callable[[Tensor], Tensor], moving: Tensor, at_once: int) -> Tensor:
    """Features of all versions: in one graph where they fit, else without the graph of the images."""
    if len(moving) <= at_once:
        return features_of(moving)
    with torch.no_grad():
        found = torch.cat([features_of(part) for part in moving.split(at_once)])
    return found.requires_grad_(True)


def _losses(
    latents: Tensor, features: Tensor, anchors: Tensor, limits: Tensor, space: RareSpace, search: RareSearch
) -> Tensor:
    """Loss of every version (r * n,)."""
    by_reference = (len(features) // search.n_versions, search.n_versions)
    limit = limits.to(features) / space.unit
    zero = features.new_zeros(len(features))
    artifact = manifold = zero
    if search.objective.artifact and math.isfinite(space.max_artifact_score):
        artifact = (space.artifact_scores(features) - space.max_artifact_score) / space.artifact_std
    if search.objective.manifold:
        manifold = nearest_ball_distance(features, *space.tensors(features)) - 1
    losses = rare_loss(
        search.objective,
        log_prob=(space.density.log_prob(features) / space.density.n_dims_).float().view(by_reference),
        distance=((features - anchors).norm(dim=1) / space.unit).view(by_reference),
        limit=limit.view(by_reference),
        between=pair_distances(features.view(*by_reference, -1)) / space.unit,
        latents=latents.view(*by_reference, -1),
        artifact_excess=artifact.view(by_reference),
        manifold_excess=manifold.view(by_reference),
    )
    return losses.flatten()


def _gradient(
    losses: Tensor, moving: Tensor, features: Tensor, features_of: Callable[[Tensor], Tensor], at_once: int
) -> Tensor:
    """Of the sum of all losses; parameters of the user's modules get none."""
    if len(moving) <= at_once:
        whole: Tensor = torch.autograd.grad(losses.sum(), moving)[0]
        return whole
    # Through the features alone first, then through the images, a few at a time: their graphs are the large ones.
    direct, of_features = torch.autograd.grad(losses.sum(), [moving, features])
    parts = []
    with torch.enable_grad():
        for part, slope in zip(moving.split(at_once), of_features.split(at_once), strict=True):
            again = part.detach().requires_grad_(True)
            parts.append(torch.autograd.grad(features_of(again), again, slope)[0])
    return direct + torch.cat(parts)


def _feasible(
    features: Tensor,
    anchors: Tensor,
    limits: Tensor,
    rarity: NDArray[np.float64],
    log_prob: NDArray[np.float64],
    space: RareSpace,
) -> NDArray[np.bool_]:
    """Which iterates keep every constraint: the cheap ones first, the exact manifold for those that are left.

    `rarity` and `log_prob` are the references'.
    """
    distance = (features - anchors).double().norm(dim=1)
    kept = (distance <= limits) & (space.artifact_scores(features) <= space.max_artifact_score)
    feasible: NDArray[np.bool_] = kept.cpu().numpy()
    rows = np.flatnonzero(feasible)
    if len(rows):
        found = space.measure_features(features[rows].cpu().numpy())
        feasible[rows] = found.inside & found.rarer_than(rarity[rows], log_prob[rows])
    return feasible
