"""Polarity-like resampling: prefer latents at which the generator stretches volume, for there its density is low.

Our reading of Humayun, Balestriero, Baraniuk, "Polarity Sampling", CVPR 2022, arXiv 2203.01993: of many latents a few
are drawn with weight (product of the largest singular values of the generator's Jacobian) ** rho. Here the Jacobian is
seen along random orthonormal latent directions only, by central differences, and nothing else of theirs is taken over.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from genmend.gans.generator import Generator

__all__ = ["log_volumes", "polarity_rows"]


@torch.no_grad()
def log_volumes(
    generator: Generator,
    latents: Tensor,
    *,
    n_directions: int = 24,
    top_k: int = 16,
    step: float = 0.05,
    seed: int = 0,
    progress: bool = False,
) -> NDArray[np.float64]:
    """Log of the product of the `top_k` largest singular values of the Jacobian along random directions, (n,).

    The same `n_directions` orthonormal directions serve all latents, so values compare. Higher = the generator moves
    more pixels a step = lower density of images there.

    Parameters
    ----------
    latents : Tensor (n, *latent_shape)
    n_directions, top_k : int
        1 <= top_k <= n_directions <= the latent's number of values.
    step : float
        Length of the differences, in latent units.

    Raises
    ------
    ValueError
        If a setting is out of range.
    """
    checked = generator.checked_latents(latents)
    width = checked[0].numel()
    if not 1 <= top_k <= n_directions <= width or not step > 0:
        raise ValueError(
            f"top_k={top_k}, n_directions={n_directions}, step={step}: give 1 <= top_k <= n_directions <= {width}, "
            "the latent's number of values, and a positive step."
        )
    rng = np.random.default_rng(seed)
    directions, _ = np.linalg.qr(rng.standard_normal((width, n_directions)))
    moves = step * torch.from_numpy(directions.T).float().view(n_directions, *generator.latent_shape)
    found = np.empty(len(checked))
    for row, latent in enumerate(tqdm(checked, desc="volumes", disable=not progress, leave=False)):
        moved = torch.cat([latent + moves, latent - moves])
        raw = torch.cat([generator.run(batch).float().flatten(1) for batch in moved.split(generator.batch_size)])
        jacobian = (raw[:n_directions] - raw[n_directions:]).double() / (2 * step)
        # Singular values by the small Gram matrix: there are far more pixels than directions.
        squared = torch.linalg.eigvalsh(jacobian @ jacobian.T).flip(0)[:top_k]
        found[row] = 0.5 * float(squared.clamp(min=1e-30).log().sum())
    return found


def polarity_rows(log_volume: NDArray[np.float64], rho: float, n: int, seed: int = 0) -> NDArray[np.int64]:
    """`n` rows without replacement, drawn with weight exp(rho * log_volume); rho > 0 prefers low density.

    rho = 0 is plain sampling. With replacement the few heaviest rows would be most of the draw.

    Raises
    ------
    ValueError
        If there are fewer than `n` rows, or values are not finite.
    """
    if n > len(log_volume) or not np.isfinite(log_volume).all() or not np.isfinite(rho):
        raise ValueError(f"{n} of {len(log_volume)} rows are asked for; give finite volumes, and more rows than that.")
    # Gumbel's trick: the n largest perturbed log-weights are a draw without replacement.
    noise = np.random.default_rng(seed).gumbel(size=len(log_volume))
    rows: NDArray[np.int64] = np.sort(np.argsort(-(rho * log_volume + noise), kind="stable")[:n])
    return rows
