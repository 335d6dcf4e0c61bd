"""The latents on the query's side of some generative boundaries.

Our reading of Jeon, Jeong, Choi, AAAI 2020, arXiv 1912.05827: a neuron's generative boundary is where its
pre-activation is zero; a set of neurons and a query bound the region where all their signs are the query's.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from genmend.gans.boundaries.preactivation import preactivations, unit_means
from genmend.gans.generator import Generator

__all__ = ["GenerativeRegion", "NoRegionError", "generative_region"]


class NoRegionError(ValueError):
    """A query has no region that could be explored; others may have one."""


@dataclass(frozen=True, eq=False)
class GenerativeRegion:
    """Where every member's pre-activation has the query's sign, by more than a margin; `generative_region` makes it.

    For a layer that only affine steps precede it is a convex polytope; deeper, a union of polytopes.

    Attributes
    ----------
    generator : Generator
    layer : str
    query : Tensor
        (1, *latent_shape), inside.
    members : Tensor
        int64 (m,): flat indices of neurons, or indices of units.
    signs, margins : Tensor
        (m,): the side, -1 or 1, and how far from the boundary, in the pre-activation's units.
    whole_units : bool
        Members are units, whose value is the mean of their pre-activations over all positions.
    """

    generator: Generator
    layer: str
    query: Tensor
    members: Tensor
    signs: Tensor
    margins: Tensor
    whole_units: bool = False
    allow_smooth: bool = field(default=False, repr=False)

    def values(self, latents: Tensor) -> Tensor:
        """Pre-activations of the members, (n, m), in the latents' precision."""
        parts = []
        for batch in latents.split(self.generator.batch_size):
            found = preactivations(self.generator, batch, self.layer, allow_smooth=self.allow_smooth)
            flat = unit_means(found) if self.whole_units else found.flatten(1)
            parts.append(flat[:, self.members])
        return torch.cat(parts)

    def slack(self, latents: Tensor) -> Tensor:
        """Distance of the tightest member to its margin, (n,), on the latents' device; 0 or more is inside."""
        beyond = self.values(latents) * self.signs - self.margins
        return beyond.amin(1).to(latents.device)

    def contains(self, latents: Tensor) -> Tensor:
        """Whether each latent is inside: bool (n,)."""
        return self.slack(latents) >= 0

    def in_float64(self) -> GenerativeRegion:
        """The same region, margins left out, computed in float64 on the CPU: what a rounding error cannot fool."""
        module = copy.deepcopy(self.generator.module).cpu().double()
        return replace(
            self,
            generator=self.generator.with_module(module),
            query=self.query.cpu().double(),
            members=self.members.cpu(),
            signs=self.signs.cpu().double(),
            margins=torch.zeros_like(self.margins, device="cpu", dtype=torch.float64),
        )


def generative_region(
    generator: Generator,
    query: Tensor,
    layer: str,
    mask: Tensor,
    *,
    margin: float = 1e-4,
    allow_smooth: bool = False,
) -> GenerativeRegion:
    """The region of the masked neurons' signs round a query.

    Parameters
    ----------
    generator : Generator
    query : Tensor
        (1, *latent_shape).
    layer : str
        An activation layer.
    mask : Tensor
        bool, (c, h, w) of neurons or (c,) of units, e.g. `SupportingSet.mask`.
    margin : float
        In units of the members' root mean square at the query; halved towards a member that is closer to its boundary.
        It keeps rounding errors from counting as sides.
    allow_smooth : bool
        Also activations with no kink (`preactivations`).

    Raises
    ------
    ValueError
        If there is more than one query, the mask is empty or does not fit the layer, or the margin is negative.
    """
    query = generator.checked_latents(query)
    if len(query) != 1:
        raise ValueError(f"{len(query)} latents were given; a region belongs to one: pass latents[i : i + 1].")
    if not margin >= 0:
        raise ValueError(f"margin is {margin}; give 0 or more, e.g. 1e-4.")
    query = query.to(generator.device)
    found = preactivations(generator, query, layer, allow_smooth=allow_smooth)
    whole_units = mask.ndim == 1 and found.ndim > 2
    if tuple(mask.shape) != (tuple(found.shape[1:2]) if whole_units else tuple(found.shape[1:])):
        raise ValueError(
            f"The mask has shape {tuple(mask.shape)}; layer {layer!r} takes {tuple(found.shape[1:])} (neurons) or "
            f"{tuple(found.shape[1:2])} (units)."
        )
    members = mask.flatten().nonzero().flatten().to(found.device)
    if mask.dtype != torch.bool or not len(members):
        raise ValueError(f"The mask has dtype {mask.dtype} and {len(members)} members; give bool with at least one.")
    values = (unit_means(found) if whole_units else found.flatten(1))[0, members]
    size = values.abs()
    # A value of 0 is switched off by every activation of the family, as a negative one is.
    signs = torch.where(values > 0, 1.0, -1.0).to(values)
    margins = torch.minimum(margin * size.square().mean().sqrt(), size / 2)
    return GenerativeRegion(generator, layer, query, members, signs, margins, whole_units, allow_smooth)
