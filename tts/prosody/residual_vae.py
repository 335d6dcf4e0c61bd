"""Edits that stay where vectors are: through the latent space of a small VAE, and near the nearest code of a codebook.

Lee et al., Interspeech 2025 (arXiv 2506.00832), stages 2 and 3. Our reading: the residual form of the edit (which does
not pay for what the VAE cannot rebuild), k-means as the codebook, one hidden layer of 64, the loss's weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genmend.tts.voices.seeding import use_seed

__all__ = ["Codebook", "VectorVAE", "fit_codebook", "fit_vae", "residual_edit"]


class VectorVAE(nn.Module):
    """A beta-VAE of encoder vectors (d,), standardised inside; mean latents only once it is fitted."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, n_latent: int = 16, width: int = 64) -> None:
        super().__init__()
        d = len(mean)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.encoder = nn.Sequential(nn.Linear(d, width), nn.SiLU(), nn.Linear(width, 2 * n_latent))
        self.decoder = nn.Sequential(nn.Linear(n_latent, width), nn.SiLU(), nn.Linear(width, d))

    def encode(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """(n, d) -> mean and log variance of the latents, (n, n_latent) each."""
        mean, log_variance = self.encoder((vectors - self.mean) / self.scale).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latents: Tensor) -> Tensor:
        """(n, n_latent) -> (n, d)."""
        return self.decoder(latents) * self.scale + self.mean


def fit_vae(
    vectors: np.ndarray, *, n_latent: int = 16, beta: float = 0.1, n_steps: int = 1_500, seed: int = 0
) -> VectorVAE:
    """Fit to vectors (n, d): squared error of the standardised vectors plus beta times the KL divergence, by Adam.

    Raises
    ------
    ValueError
        If there are fewer vectors than latents.
    """
    if len(vectors) <= n_latent:
        raise ValueError(f"There are {len(vectors)} vectors for {n_latent} latents; give more vectors.")
    given = torch.from_numpy(np.array(vectors, dtype=np.float32))
    with use_seed(seed):
        vae = VectorVAE(given.mean(0), given.std(0).clamp(min=1e-6), n_latent)
        optimiser = torch.optim.Adam(vae.parameters(), lr=3e-3)
        for _ in range(n_steps):
            batch = given[torch.randint(len(given), (256,))]
            mean, log_variance = vae.encode(batch)
            latents = mean + torch.randn_like(mean) * (log_variance / 2).exp()
            error = ((vae.decode(latents) - batch) / vae.scale).square().sum(1).mean()
            divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
            optimiser.zero_grad()
            (error + beta * divergence).backward()
            optimiser.step()
    return vae.eval().requires_grad_(False)


def residual_edit(
    vae: VectorVAE,
    vectors: np.ndarray,
    loss: Callable[[Tensor], Tensor],
    *,
    strength: float = 1.0,
    rate: float = 0.05,
    n_steps: int = 100,
) -> NDArray[np.float32]:
    """``h + strength * (Dec z* - Dec z0)``, where z* lowers the loss of the decoded vectors, from z0 = Enc h on.

    Parameters
    ----------
    vectors
        (m, d) of the tokens to edit.
    loss
        (m, d) -> a number, e.g. ``lambda h: (probe(h) - wanted).square().sum()``, with `Codebook.penalty` or without.

    Returns
    -------
    ndarray
        (m, d) float32.
    """
    original = torch.from_numpy(np.array(vectors, dtype=np.float32))
    start = vae.encode(original)[0]
    latents = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([latents], lr=rate)
    for _ in range(n_steps):
        optimiser.zero_grad()
        loss(vae.decode(latents)).backward()
        optimiser.step()
    with torch.no_grad():
        edited = original + strength * (vae.decode(latents) - vae.decode(start))
    return edited.numpy()


@dataclass(frozen=True)
class Codebook:
    """Prototypes of encoder vectors, by which an edit can be held to the sound it started from.

    Attributes
    ----------
    codes : Tensor
        (n_codes, d).
    """

    codes: Tensor

    def nearest(self, vectors: np.ndarray) -> NDArray[np.int64]:
        """(m, d) -> (m,) number of the nearest code."""
        given = torch.from_numpy(np.array(vectors, dtype=np.float32))
        return torch.cdist(given, self.codes).argmin(1).numpy()

    def penalty(self, original: np.ndarray, weight: float = 0.01) -> Callable[[Tensor], Tensor]:
        """A loss of new vectors (m, d): weight times their mean squared distance to the ORIGINAL vectors' codes."""
        fixed = self.codes[torch.from_numpy(self.nearest(original))]
        return lambda vectors: weight * (vectors - fixed).square().sum(1).mean()


def fit_codebook(vectors: np.ndarray, *, n_codes: int = 64, seed: int = 0) -> Codebook:
    """Codes of vectors (n, d) by k-means.

    Raises
    ------
    ValueError
        If there are fewer vectors than codes.
    """
    from sklearn.cluster import MiniBatchKMeans

    if len(vectors) < n_codes:
        raise ValueError(
            f"There are {len(vectors)} vectors for {n_codes} codes; give more vectors or ask for fewer codes."
        )
    means = MiniBatchKMeans(n_codes, random_state=seed, n_init=3).fit(vectors).cluster_centers_
    return Codebook(torch.from_numpy(means.astype(np.float32)))
