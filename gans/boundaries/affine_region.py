"""Regions of layers that are affine in the latent: convex polytopes whose walls are known."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from genmend.gans.boundaries.region import GenerativeRegion

__all__ = ["AffineRegion", "as_affine"]

N_PROBES = 8
EQUAL = 1e-9  # relative to the values, in float64


@dataclass(frozen=True, eq=False)
class AffineRegion(GenerativeRegion):
    """A region whose members' pre-activations are ``latents @ weight.T + bias``: no pass through the generator needed.

    Attributes
    ----------
    weight : Tensor (m, d)
        float64, of flat latents.
    bias : Tensor (m,)
        float64.
    """

    weight: Tensor = field(repr=False, kw_only=True)
    bias: Tensor = field(repr=False, kw_only=True)

    def values(self, latents: Tensor) -> Tensor:
        """Pre-activations of the members, (n, m), in the latents' precision."""
        return latents.flatten(1) @ self.weight.T.to(latents) + self.bias.to(latents)

    def in_float64(self) -> GenerativeRegion:
        """The region as the generator itself has it (`GenerativeRegion.in_float64`)."""
        return _as_the_generator_has_it(self).in_float64()


def as_affine(region: GenerativeRegion) -> GenerativeRegion:
    """An `AffineRegion` where the members are affine functions of the latent, to 1e-9; else the region as it is.

    Found by trying, in float64: half-way between latents, affine functions are half-way between their values.
    """
    if isinstance(region, AffineRegion):
        return region
    exact = region.in_float64()
    shape = region.query.shape[1:]
    probes = torch.randn(2 * N_PROBES, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = exact.values(torch.cat([probes, (probes[:N_PROBES] + probes[N_PROBES:]) / 2]))
    one, other, between = values.split(N_PROBES)
    if (between - (one + other) / 2).abs().max() > EQUAL * values.abs().max():
        return region
    units = torch.eye(shape.numel(), dtype=torch.float64).reshape(-1, *shape)
    found = exact.values(torch.cat([torch.zeros_like(units[:1]), units]))
    bias, weight = found[0], (found[1:] - found[0]).T
    if (probes.flatten(1) @ weight.T + bias - values[: len(probes)]).abs().max() > EQUAL * values.abs().max():
        return region
    device = region.members.device
    kept = {part.name: getattr(region, part.name) for part in fields(region)}
    return AffineRegion(**kept, weight=weight.to(device), bias=bias.to(device))


def _as_the_generator_has_it(region: AffineRegion) -> GenerativeRegion:
    return GenerativeRegion(**{part.name: getattr(region, part.name) for part in fields(GenerativeRegion)})
