"""Rare versions of reference latents: Adam on latents, and of all iterates the best one that keeps every constraint.

Source: Lee, Han, Kim, Choi, "Diverse Rare Sample Generation with Pretrained GANs", AAAI 2025, arXiv 2412.19543. Ours:
the artifact score, the plausible latent and "feasible or nothing".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import chi2
from torch import Tensor
from tqdm import tqdm

from genmend.gans.generator import Generator
from genmend.gans.image_features import image_features
from genmend.gans.rare.objective import pair_distances, rare_loss
from genmend.gans.rare.samples import RareSamples
from genmend.gans.rare.space import RareSpace
from genmend.gans.settings import RareSearch
from genmend.manifold.regions.manifold import nearest_ball_distance

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
    reference, not above the artifact limit, and of a latent norm that the prior gives 99 % of the time. Where none was,
    or where the image generated anew breaks a constraint, the version is given up.

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
    best = torch.full((len(references) * search.n_versions, *generator.latent_shape), math.nan)
    steps = np.full(len(best), -1)
    at_once = max(1, generator.batch_size // search.n_versions)
    with tqdm(total=len(references) * search.n_steps, desc="rare", disable=not progress, leave=False) as bar:
        for first in range(0, len(references), at_once):
            rows = slice(first, min(first + at_once, len(references)))
            group = _Group(
                references[rows],
                torch.from_numpy(measured.features[rows]),
                torch.from_numpy(limits[rows]),
                _noise(generator, len(references[rows]) * search.n_versions, seed, (start + first) * search.n_versions),
            )
            of_versions = slice(rows.start * search.n_versions, rows.stop * search.n_versions)
            best[of_versions], steps[of_versions] = _descend(generator, group, space, search, bar)
    anchored = search.objective.anchor == "reference"
    return RareSamples.of(
        generator, space, search.n_versions, references, measured, limits, best, steps, anchored=anchored
    )


class _Group(NamedTuple):
    """References that are optimised together; their versions share no term of the loss."""

    latents: Tensor
    features: Tensor
    limits: Tensor
    noise: Tensor


def _noise(generator: Generator, n: int, seed: int, start: int) -> Tensor:
    # Far from the streams of `latents` of the same seed, so that noise never equals a sample's latent.
    return generator.latents(n, seed, start + (1 << 40))


def _descend(
    generator: Generator, group: _Group, space: RareSpace, search: RareSearch, bar: tqdm
) -> tuple[Tensor, NDArray[np.int64]]:
    """The best feasible latents of a group (NaN where none), and the step at which each came up (-1)."""
    n, objective = search.n_versions, search.objective
    anchors = group.features.to(generator.device).repeat_interleave(n, 0)
    limits = group.limits.to(generator.device).repeat_interleave(n, 0)
    latents = group.latents.repeat_interleave(n, 0) + search.noise * group.noise
    latents = latents.to(generator.device).requires_grad_(True)
    optimizer = torch.optim.Adam([latents], lr=search.learning_rate)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 50, 0.9)
    best = torch.full_like(latents, math.nan)
    best_loss = torch.full((len(latents),), math.inf, device=latents.device)
    best_step = np.full(len(latents), -1)
    for step in range(search.n_steps + 1):
        with torch.enable_grad():
            features = space.network(generator.images(latents)).float()
            if step == 0 and objective.anchor == "own_start":
                anchors = features.detach()
            losses = _losses(latents, features, anchors, limits, space, search)
        candidates = (losses.detach() < best_loss).cpu().numpy()
        rows = np.flatnonzero(candidates)
        rows = rows[_feasible(latents.detach()[rows], features.detach()[rows], anchors[rows], limits[rows], space)]
        best[rows], best_loss[rows] = latents.detach()[rows], losses.detach()[rows]
        best_step[rows] = step
        if step < search.n_steps:
            latents.grad = _gradient(losses, latents)
            optimizer.step()
            schedule.step()
            bar.update(len(group.latents))
    return best.cpu(), best_step


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


def _gradient(losses: Tensor, latents: Tensor) -> Tensor:
    """Of the sum of all losses; parameters of the user's modules get none."""
    gradient: Tensor = torch.autograd.grad(losses.sum(), latents)[0]
    return gradient


def _feasible(
    latents: Tensor, features: Tensor, anchors: Tensor, limits: Tensor, space: RareSpace
) -> NDArray[np.bool_]:
    """Which iterates keep every constraint: the cheap ones first, the exact manifold for those that are left."""
    distance = (features - anchors).double().norm(dim=1)
    kept = (distance <= limits) & plausible(latents) & (space.artifact_scores(features) <= space.max_artifact_score)
    feasible: NDArray[np.bool_] = kept.cpu().numpy()
    rows = np.flatnonzero(feasible)
    if len(rows):
        feasible[rows] = space.manifold.contains(features[rows].cpu().numpy())
    return feasible


def plausible(latents: Tensor) -> Tensor:
    """Whether each latent's norm is one that 99 % of standard normal ones do not exceed, (n,) bool."""
    flat = latents.flatten(1)
    return flat.square().sum(1) <= chi2.ppf(_NORM_QUANTILE, flat.shape[1])
