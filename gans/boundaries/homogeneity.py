"""How alike the images of a set of latents are, and sets to compare them with.

Our reading of Jeon, Jeong, Choi, AAAI 2020, arXiv 1912.05827: samples of a generative region against samples of an
epsilon-ball round the query. The set rotated round the query, as a control, is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from genmend.activations import MeanVariance
from genmend.gans.boundaries.boundary_set import SupportingSet
from genmend.gans.boundaries.bounds import random_directions
from genmend.gans.boundaries.exploration import mean_distance
from genmend.gans.boundaries.preactivation import activations_of
from genmend.gans.generator import Generator
from genmend.gans.image_features import image_batches
from genmend.manifold.features import extract

__all__ = ["Homogeneity", "ball_round", "homogeneity", "random_set", "rotate_round"]


@dataclass(frozen=True)
class Homogeneity:
    """How alike images are; lower = more alike.

    Attributes
    ----------
    pixel_variance : float
        Variance over the images (unbiased) of each value in 0..1, mean over pixels and channels.
    feature_distance : float, optional
        Mean distance between the features of two images; None without an extractor.
    """

    pixel_variance: float
    feature_distance: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON holds it."""
        return asdict(self)


def homogeneity(
    generator: Generator, latents: Tensor, extractor: Callable[[Tensor], Tensor] | None = None
) -> Homogeneity:
    """Measure how alike the images of latents (n, *latent_shape) are.

    Both figures grow with the spread of the latents: compare sets of equal spread.

    Raises
    ------
    ValueError
        If there are fewer than two latents.
    """
    if len(latents) < 2:
        raise ValueError(f"{len(latents)} latents have no variance; give two or more.")
    pixels, features = MeanVariance(), []
    for images in image_batches(generator, latents):
        pixels.update(images)
        if extractor is not None:
            features.append(torch.from_numpy(extract(extractor, images)).double())
    pixel_variance = float(pixels.variance.mean()) * len(latents) / (len(latents) - 1)
    distance = float(torch.pdist(torch.cat(features)).mean()) if features else None
    return Homogeneity(pixel_variance, distance)


def rotate_round(query: Tensor, latents: Tensor, seed: int = 0) -> Tensor:
    """The latents after one random rotation (or reflection) round the query that keeps the query's direction.

    ``z0 + R (z - z0)`` with R uniform among the orthogonal maps that fix z0: distances to the query and between the
    latents stay, and so do their norms, hence their density under N(0, 1). Where they lie in the generator's eyes does
    not: that is what a region is to beat. Float32 on the CPU, computed in float64.

    Parameters
    ----------
    query : Tensor
        (1, *latent_shape).
    latents : Tensor
        (n, *latent_shape).
    seed : int
    """
    start = query.cpu().double().flatten()
    away = latents.cpu().double().flatten(1) - start
    axis = start / start.norm().clamp(min=1e-300)  # a query of 0 has no direction to keep
    along = (away @ axis)[:, None] * axis
    left, sizes, _ = torch.linalg.svd(away - along, full_matrices=False)
    # What is across the axis has a dimension less than there are: the last one of a full set is 0.
    n_across = min(len(away), len(start) - bool(axis.any()))
    draw = torch.Generator().manual_seed(seed)
    frame = torch.randn(len(start), n_across, generator=draw, dtype=torch.float64)
    frame, triangle = torch.linalg.qr(frame - axis[:, None] * (axis @ frame))
    frame = frame * triangle.diagonal().sign()  # without it the frame would not be uniform
    turned = start + along + (left * sizes)[:, :n_across] @ frame.T
    return turned.float().reshape(latents.shape)


def ball_round(query: Tensor, n: int, distance: float, norm: Literal["l2", "linf"] = "l2", seed: int = 0) -> Tensor:
    """Draw latents (n, *latent_shape) from an epsilon-ball round a query whose mean distance to it is `distance`.

    Uniform in the ball of the Euclidean norm, or in the cube of the maximum norm; scaled, so that the mean Euclidean
    distance is exactly `distance`. In many dimensions their norms exceed the query's: they are rarer under N(0, 1).

    Raises
    ------
    ValueError
        If `norm` is another, n is below 1 or the distance is negative.
    """
    if norm not in ("l2", "linf") or n < 1 or not distance >= 0:
        raise ValueError(f"norm={norm!r}, n={n}, distance={distance}: give 'l2' or 'linf', at least 1, 0 or more.")
    centre = query.cpu().float()
    draw = torch.Generator().manual_seed(seed)
    flat = centre.flatten(1).repeat(n, 1)
    if norm == "l2":
        radii = torch.rand(n, 1, generator=draw) ** (1 / flat.shape[1])
        steps = random_directions(flat, draw) * radii
    else:
        steps = torch.rand(flat.shape, generator=draw) * 2 - 1
    scale = distance / mean_distance(steps, torch.zeros_like(steps[:1]))
    return (flat + steps * scale).reshape(n, *centre.shape[1:])


def random_set(generator: Generator, found: SupportingSet, seed: int = 0) -> Tensor:
    """Mask of ``found.n`` neurons (or units) drawn without repetition from the layer's active ones; bool.

    Active ones alone, as the supporting set has no others: a region of inactive neurons bounds other things. Ours; the
    paper compares with epsilon-balls. Its region (`generative_region`) has as many walls as the supporting set's, but a
    spread of its own: compare each with its own rotation (`rotate_round`).
    """
    values = activations_of(generator, found.latent, found.layer).cpu()
    if found.granularity == "unit":
        values = values.abs().flatten(1).sum(1) if values.ndim > 1 else values
    candidates = values.flatten().nonzero()[:, 0]
    order = torch.randperm(len(candidates), generator=torch.Generator().manual_seed(seed))
    mask = torch.zeros(found.mask.shape, dtype=torch.bool)
    mask.view(-1)[candidates[order[: found.n]]] = True
    return mask
