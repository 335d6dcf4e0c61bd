"""Where a generator's latents have their mass: N(0, 1), or the mean and spread of own latents that are not normal.

The w of a StyleGAN2 and the truncated z of a BigGAN are other than N(0, 1); their mean and deviation are those of
latents that the generator draws itself. The number that chooses the class of a conditional generator's sample is no
coordinate to move along, and is left out of every norm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.stats import chi
from torch import Tensor, nn

from genmend.gans.generator import Generator

__all__ = ["FreeLatents", "LatentPrior", "free_latents", "latent_prior"]

N_OWN = 1_000
_FAR = 1 << 41  # rows of the stream of latents that nothing else draws


@dataclass(frozen=True)
class LatentPrior:
    """Mean and spread of flat latents (d,), and how long they are in units of it.

    Attributes
    ----------
    mean, std : Tensor (d,)
        0 and 1 of normal latents, and of the number that chooses a class.
    free : Tensor (d,) bool
        The coordinates that a search may move: all but that number, and but those that never vary.
    own_norms : Tensor (n,) or None
        `norms` of own latents, rising; None where they are normal, whose norms have the chi distribution.
    """

    mean: Tensor
    std: Tensor
    free: Tensor
    own_norms: Tensor | None = None

    @property
    def n_free(self) -> int:
        """Number of free coordinates."""
        return int(self.free.sum())

    def standardised(self, latents: Tensor) -> Tensor:
        """Flat latents (n, d) in standard deviations from the mean, the same shape."""
        return (latents.flatten(1) - self.mean.to(latents)) / self.std.to(latents)

    def latents(self, standardised: Tensor) -> Tensor:
        """Flat latents (n, d) of what `standardised` returned."""
        return self.mean.to(standardised) + self.std.to(standardised) * standardised

    def norms(self, latents: Tensor) -> Tensor:
        """Norm of the free coordinates in standard deviations, (n,)."""
        return self.standardised(latents)[:, self.free.to(latents.device)].norm(dim=1)

    def norm_at(self, share: float) -> float:
        """The norm that this share of own latents does not exceed."""
        if self.own_norms is None:
            return float(chi.ppf(share, self.n_free))
        return float(np.quantile(self.own_norms.numpy(), share))


def latent_prior(generator: Generator) -> LatentPrior:
    """The prior of a generator's latents: of those that are not normal, measured on 1,000 own ones."""
    width = int(np.prod(generator.latent_shape))
    free = torch.ones(width, dtype=torch.bool)
    if generator.last_chooses:
        free[-1] = False
    mean, std = torch.zeros(width), torch.ones(width)
    if generator.draw is None:
        return LatentPrior(mean, std, free)
    own = generator.latents(N_OWN, 0, _FAR).flatten(1)
    free &= own.std(0) > 0
    mean[free], std[free] = own.mean(0)[free], own.std(0)[free]
    prior = LatentPrior(mean, std, free)
    return LatentPrior(mean, std, free, prior.norms(own).sort().values)


@dataclass(frozen=True)
class FreeLatents:
    """One latent's surroundings in standardised coordinates: those that are free, the others as the latent has them.

    There a search that takes latents for normal is right in any space: in w, and beside a fixed class.

    Attributes
    ----------
    prior : LatentPrior
    latent : Tensor (1, *latent_shape)
    generator : Generator
        The same one, of latents (n, n_free).
    """

    prior: LatentPrior
    latent: Tensor
    generator: Generator

    def inner(self, latents: Tensor) -> Tensor:
        """Free coordinates (n, n_free), in standard deviations, of latents (n, *latent_shape)."""
        return self.prior.standardised(latents)[:, self.prior.free.to(latents.device)]

    def outer(self, inner: Tensor) -> Tensor:
        """Latents (n, *latent_shape) of what `inner` returned."""
        return _outer(inner, self.prior, self.latent)


def free_latents(generator: Generator, latent: Tensor) -> FreeLatents | None:
    """The free coordinates round a latent (1, *latent_shape); None where latents are normal and all of them free."""
    if generator.draw is None and not generator.last_chooses:
        return None
    prior, run = latent_prior(generator), generator.call

    def call(module: nn.Module, inner: Tensor) -> Tensor:
        latents = _outer(inner, prior, latent)
        raw: Tensor = module(latents) if run is None else run(module, latents)
        return raw

    inside = replace(generator, latent_shape=(prior.n_free,), call=call, draw=None, draw_shape=None, last_chooses=False)
    return FreeLatents(prior, latent, inside)


def _outer(inner: Tensor, prior: LatentPrior, latent: Tensor) -> Tensor:
    whole = prior.standardised(latent.to(inner)).repeat(len(inner), 1)
    whole[:, prior.free.to(inner.device)] = inner
    return prior.latents(whole).reshape(-1, *latent.shape[1:])
