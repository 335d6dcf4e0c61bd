"""The units behind a region that a person paints on a sample, beside those that any region of its shape would give.

Source of the idea: Bau et al., "Semantic Photo Manipulation with a Generative Image Prior" (GANPaint), SIGGRAPH 2019,
arXiv 2005.07727. The ranking and its control are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from genmend.activations import ScaleUnits, edited
from genmend.gans.generator import Generator, recorded_batches

__all__ = ["PaintedUnits", "RegionChange", "painted_units", "region_change"]

N_RANDOM = 200
LEVEL = 0.1


@dataclass(frozen=True)
class PaintedUnits:
    """The units of one layer beside a painted region of one sample, one row each.

    Attributes
    ----------
    layer : str
    inside, outside : ndarray (u,)
        Mean activation in the region and elsewhere.
    chance : ndarray (u,)
        Share of the random regions, the painted one counted, that have at least as high a mean: a p-value for one
        unit. Among many units some are low by chance: look at `n_by_chance`.
    n_random : int
        Regions of the same shape at other places of the same sample, laid round its edges.
    """

    layer: str
    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    chance: NDArray[np.float64]
    n_random: int

    @property
    def difference(self) -> NDArray[np.float64]:
        """Mean activation inside less that outside, (u,)."""
        return self.inside - self.outside

    def best(self, n: int, level: float = LEVEL) -> list[int]:
        """Up to n units of `chance` at most `level` that are higher inside, the greatest `difference` first."""
        order = np.argsort(-self.difference, kind="stable")
        return [int(unit) for unit in order if self.chance[unit] <= level and self.difference[unit] > 0][:n]

    def n_found(self, level: float = LEVEL) -> int:
        """How many units have `chance` of at most `level`."""
        return int((self.chance <= level).sum())

    def n_by_chance(self, level: float = LEVEL) -> float:
        """How many would, were the region one of the random ones."""
        return len(self.chance) * level

    def columns(self) -> dict[str, NDArray[Any]]:
        """The table, by falling `difference`."""
        order = np.argsort(-self.difference, kind="stable")
        names = ("inside", "outside", "difference", "chance")
        return {"unit": order} | {name: getattr(self, name)[order] for name in names}


def painted_units(
    generator: Generator,
    latent: Tensor,
    mask: NDArray[np.bool_],
    layers: Sequence[str] = (),
    *,
    n_random: int = N_RANDOM,
    seed: int = 0,
) -> dict[str, PaintedUnits]:
    """Rank the units of layers by their activation in a painted region of a sample.

    Parameters
    ----------
    generator : Generator
    latent : Tensor (1, *latent_shape)
    mask : ndarray (height, width) bool
        The region, True where painted, of any size: it is laid over the image.
    layers : sequence of str
        Those of the generator where empty; layers without maps (n, c, h, w) are left out.
    n_random : int
        Random regions to compare with.
    seed : int
        Of these.

    Returns
    -------
    dict layer -> PaintedUnits

    Raises
    ------
    ValueError
        If nothing or everything is painted, the mask has another shape than (height, width), or no layer has maps.
    """
    painted = _checked(mask)
    places = _placed(painted, n_random, np.random.default_rng(seed))
    found = {}
    batch = next(iter(recorded_batches(generator, latent, tuple(layers) or generator.layers, "painted units")))
    for layer, maps in batch.items():
        if maps.ndim == 4:
            found[layer] = _of_layer(layer, maps[0].double().cpu(), places)
    if not found:
        raise ValueError("None of the layers puts out maps (n, units, height, width), of which a region can be taken.")
    return found


@dataclass(frozen=True)
class RegionChange:
    """What switching units off changes in an image, in the painted region and elsewhere, beside random units.

    Mean absolute difference of pixels in 0..1; `random_inside` and `random_outside` hold one value a draw.
    """

    inside: float
    outside: float
    random_inside: tuple[float, ...]
    random_outside: tuple[float, ...]


def region_change(
    generator: Generator,
    latent: Tensor,
    mask: NDArray[np.bool_],
    layer: str,
    units: Sequence[int],
    n_units: int,
    *,
    strength: float = 0.0,
    n_draws: int = 3,
    seed: int = 0,
) -> RegionChange:
    """Scale units of a layer that has `n_units`, and as many others by lot, and see where the image changes."""
    painted = _checked(mask)
    rng = np.random.default_rng(seed)
    others = np.setdiff1d(np.arange(n_units), units)
    others = others if len(others) >= len(units) else np.arange(n_units)
    before = generator.generate(latent)
    inside = _weights(painted[None], before.shape[2], before.shape[3])[0]

    def change(chosen: Sequence[int]) -> tuple[float, float]:
        with edited(generator.module, ScaleUnits(layer, chosen, strength)):
            moved = (generator.generate(latent) - before).abs().mean(1)[0].double()
        return float((moved * inside).sum() / inside.sum()), float((moved * (1 - inside)).sum() / (1 - inside).sum())

    theirs = change(units)
    draws = [change(rng.choice(others, len(units), replace=False).tolist()) for _ in range(n_draws)]
    return RegionChange(*theirs, tuple(one for one, _ in draws), tuple(two for _, two in draws))


def _checked(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    painted = np.asarray(mask) != 0
    if painted.ndim != 2:
        raise ValueError(f"The mask has shape {painted.shape}; give (height, width), True where painted.")
    if not painted.any():
        raise ValueError("Nothing is painted: paint the region whose units you want to find.")
    if painted.all():
        raise ValueError("Everything is painted, so there is no elsewhere to compare with: paint a part.")
    return painted


def _placed(painted: NDArray[np.bool_], n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """The region, and n of its shape elsewhere, (1 + n, height, width)."""
    height, width = painted.shape
    shifts = rng.integers(1, height * width, n)
    moved = [np.roll(painted, divmod(int(shift), width), axis=(0, 1)) for shift in shifts]
    return np.stack([painted, *moved])


def _weights(regions: NDArray[np.bool_], height: int, width: int) -> Tensor:
    """Share of each cell of a map that a region covers, (n, height, width)."""
    return functional.adaptive_avg_pool2d(torch.from_numpy(regions)[:, None].double(), (height, width))[:, 0]


def _of_layer(layer: str, maps: Tensor, regions: NDArray[np.bool_]) -> PaintedUnits:
    """`maps` (u, h, w); the first of `regions` is the painted one."""
    weights = _weights(regions, *maps.shape[1:]).flatten(1)
    flat = maps.flatten(1)
    means = (flat @ (weights / weights.sum(1, keepdim=True)).T).numpy()  # (u, 1 + n)
    rest = 1 - weights[0]
    inside, random = means[:, 0], means[:, 1:]
    # Regions that cover the same cells differ by rounding.
    at_least = random >= inside[:, None] - 1e-9 * np.abs(inside[:, None])
    return PaintedUnits(
        layer,
        inside,
        (flat @ (rest / rest.sum())).numpy(),
        (1 + at_least.sum(axis=1)) / (1 + random.shape[1]),
        random.shape[1],
    )
