"""Edits that stay where vectors are: through the latent space of a small VAE.

Lee et al., Interspeech 2025 (arXiv 2506.00832), stage 2. Our reading: the residual form of the edit, which does not pay
for what the VAE cannot rebuild; one hidden layer of 64; the loss's weights.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genmend.tts.voices.seeding import use_seed

__all__ = ["VectorVAE", "edit_in_latents", "fit_vae"]


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
        """Encode (n, d) to mean and log variance of the latents, (n, n_latent) each."""
        mean, log_variance = self.encoder((vectors - self.mean) / self.scale).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latents: Tensor) -> Tensor:
        """Decode (n, n_latent) to (n, d)."""
        return self.decoder(latents) * self.scale + self.mean


def fit_vae(
    vectors: np.ndarray, *, n_latent: int = 16, beta: float = 0.1, n_steps: int = 1_500, seed: int = 0
) -> VectorVAE:
    """Fit a VAE to vectors (n, d) by Adam: squared error of standardised vectors plus beta times the KL divergence.

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


def edit_in_latents(
    vae: VectorVAE,
    vectors: np.ndarray,
    loss: Callable[[Tensor], Tensor],
    *,
    strength: float = 1.0,
    rate: float = 0.05,
    n_steps: int = 100,
) -> NDArray[np.float32]:
    """Edit vectors h in the VAE's latent space: ``h + strength * (Dec z* - Dec z0)``.

    z* lowers the loss of the decoded vectors, by Adam from z0 = Enc h on.

    Parameters
    ----------
    vectors
        (m, d) of the tokens to edit.
    loss
        (m, d) -> a number, e.g. ``lambda h: (probe(h) - wanted).square().sum()``.

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
