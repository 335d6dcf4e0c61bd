"""The smallest set of neurons that alone still supports one image, found by gates that learn to close.

Our reading of Jeon, Jeong, Choi, AAAI 2020, arXiv 1912.05827: the paper's smallest supporting generative boundary set
and its Bernoulli dropout. The bisection over the price and the tolerance as an RMSE are ours, and so are the gates:
exactly 0 or exactly 1 with positive probability, and yet with gradients. Source of these: Louizos, Welling, Kingma,
"Learning sparse neural networks through L0 regularization", ICLR 2018, arXiv 1712.01312, section 2.2, its equations and
constants.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from genmend.gans.boundaries.preactivation import activations_of, decode, masked_errors, squared_errors
from genmend.gans.boundaries.rankings import first_of, first_order_effects, smallest_prefix
from genmend.gans.boundaries.region import NoRegionError
from genmend.gans.generator import Generator, gradient_batch
from genmend.gans.settings import GateSettings
from genmend.storage.progress import with_progress

__all__ = [
    "Granularity",
    "SupportingSet",
    "compare_with_rankings",
    "expected_open",
    "open_gates",
    "sample_gates",
    "supporting_set",
]

BETA = 2 / 3  # temperature of a gate
GAMMA, ZETA = -0.1, 1.1  # the interval that a binary concrete variable is stretched to, before it is cut to [0, 1]

Granularity = Literal["neuron", "unit"]


@dataclass(frozen=True)
class SupportingSet:
    """Neurons (or units) of one layer which, kept alone, reproduce one latent's image within a tolerance.

    Attributes
    ----------
    layer : str
        Its activation layer.
    latent : Tensor
        (1, *latent_shape), the query.
    mask : Tensor
        bool, True for its members: (c, h, w) of neurons, (c,) of units.
    n_candidates : int
        Those whose output is not 0: only they can matter. A ReLU neuron that is off contributes 0, kept or not.
    rmse : float
        Between the image and the image with everything else set to 0; in the image's 0..1 range.
    tolerance : float
        What `rmse` was to stay within.
    """

    layer: str
    latent: Tensor = field(repr=False)
    mask: Tensor = field(repr=False)
    n_candidates: int
    rmse: float
    tolerance: float

    @property
    def granularity(self) -> Granularity:
        """Whether its members are neurons or units."""
        return "unit" if self.mask.ndim == 1 else "neuron"

    @property
    def n(self) -> int:
        """Number of members."""
        return int(self.mask.sum())

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON holds it."""
        return {
            "layer": self.layer,
            "granularity": self.granularity,
            "n": self.n,
            "n_candidates": self.n_candidates,
            "n_all": self.mask.numel(),
            "share_of_candidates": self.n / max(self.n_candidates, 1),
            "rmse": self.rmse,
            "tolerance": self.tolerance,
        }


def supporting_set(
    generator: Generator,
    latent: Tensor,
    layer: str,
    *,
    tolerance: float = 0.05,
    granularity: Granularity = "neuron",
    settings: GateSettings | None = None,
    progress: bool = False,
) -> SupportingSet:
    """Find a small set S of neurons with ``RMSE(G(z0), G_S(z0)) <= tolerance``, G_S keeping only S in this layer.

    Our reading of Jeon, Jeong, Choi, AAAI 2020, arXiv 1912.05827. Every candidate has a gate; gates minimise the
    expected squared error of the image, in units of the squared tolerance, plus a price for the expected share of open
    gates. Prices are bisected for the highest whose open gates, taken as a hard mask, meet the tolerance; the gates'
    order is then cut where it is just enough. The result is verified, not proven to be smallest.

    Parameters
    ----------
    generator : Generator
    latent : Tensor
        One query, (1, *latent_shape).
    layer : str
        An activation layer.
    tolerance : float
        RMSE in the image's 0..1 range, above 0.
    granularity : "neuron" or "unit"
        A gate for each scalar, or one for each whole feature map.
    settings : GateSettings, optional
    progress : bool

    Raises
    ------
    ValueError
        If there is more than one latent, the tolerance is not positive, or the layer is all zeros for this latent.
    """
    settings = settings or GateSettings()
    latent = _one_latent(generator, latent)
    if not tolerance > 0:
        raise ValueError(f"tolerance is {tolerance}; give an RMSE above 0 in the image's 0..1 range, e.g. 0.05.")
    values = activations_of(generator, latent, layer)
    weight = _by_granularity(values, granularity)
    candidates = weight.flatten().nonzero().flatten()
    if not len(candidates):
        raise NoRegionError(f"Layer {layer!r} outputs only zeros for this latent: it has no boundary to find.")
    scores = _learn_scores(generator, latent, layer, weight.shape, candidates, tolerance, settings, progress)
    order = candidates[scores.argsort(descending=True, stable=True)]
    n_open = int(open_gates(scores).sum())
    opened = first_of(order, n_open, weight.shape)[None]
    most = n_open if masked_errors(generator, latent, layer, opened)[0] <= tolerance else len(candidates)
    n = smallest_prefix(generator, latent, layer, order, weight.shape, tolerance, most)
    mask = first_of(order, n, weight.shape)
    rmse = float(masked_errors(generator, latent, layer, mask[None])[0])
    while rmse > tolerance and n < len(candidates):  # alone, not in a batch, it may be rounded over the edge
        n += 1
        mask = first_of(order, n, weight.shape)
        rmse = float(masked_errors(generator, latent, layer, mask[None])[0])
    return SupportingSet(layer, latent.cpu(), mask, len(candidates), rmse, tolerance)


def compare_with_rankings(
    generator: Generator, found: SupportingSet, *, n_random: int = 8, n_draws: int = 64, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Controls: the error of as many neurons chosen otherwise, and how many another choice needs for the tolerance.

    By ``magnitude`` of the activation, by ``first_order`` effect on the image (Jacobian column times activation), and
    at ``random`` among the candidates (mean of `n_random` draws). Each has ``rmse_at_n`` and ``n_needed``.
    """
    latent = found.latent
    weight = _by_granularity(activations_of(generator, latent, found.layer), found.granularity)
    candidates = weight.flatten().nonzero().flatten()
    effects = first_order_effects(generator, latent, found.layer, weight, n_draws, seed).flatten()[candidates]
    draw = torch.Generator().manual_seed(seed)
    orders = {
        "magnitude": [weight.flatten()[candidates].argsort(descending=True)],
        "first_order": [effects.argsort(descending=True)],
        "random": [torch.randperm(len(candidates), generator=draw).to(candidates.device) for _ in range(n_random)],
    }
    result = {}
    for name, positions in orders.items():
        errors, needed = [], []
        for order in (candidates[position] for position in positions):
            mask = first_of(order, found.n, weight.shape)[None]
            errors.append(float(masked_errors(generator, latent, found.layer, mask)[0]))
            needed.append(
                smallest_prefix(generator, latent, found.layer, order, weight.shape, found.tolerance, len(candidates))
            )
        result[name] = {"rmse_at_n": sum(errors) / len(errors), "n_needed": sum(needed) / len(needed)}
    return result


def _one_latent(generator: Generator, latent: Tensor) -> Tensor:
    latent = generator.checked_latents(latent)
    if len(latent) != 1:
        raise ValueError(f"{len(latent)} latents were given; a boundary set belongs to one: pass latents[i : i + 1].")
    return latent


def _by_granularity(values: Tensor, granularity: Granularity) -> Tensor:
    """Magnitude of each gate's part of the output (c, h, w): (c, h, w), or (c,) for whole units."""
    if granularity == "neuron":
        return values.abs()
    if granularity == "unit":
        return values.abs().flatten(1).sum(1) if values.ndim > 1 else values.abs()
    raise ValueError(f"granularity is {granularity!r}; give 'neuron' or 'unit'.")


def _learn_scores(
    generator: Generator,
    latent: Tensor,
    layer: str,
    shape: torch.Size,
    candidates: Tensor,
    tolerance: float,
    settings: GateSettings,
    progress: bool,
) -> Tensor:
    """log_alpha of the candidates at the highest price that was found to keep the hard mask within the tolerance."""
    draw = torch.Generator().manual_seed(settings.seed)
    with torch.no_grad():
        original = decode(generator, latent, layer)

    def as_gates(values: Tensor) -> Tensor:
        flat = values.new_zeros(len(values), shape.numel())
        return flat.index_copy(1, candidates, values).reshape(len(values), *shape)

    def learn(start: Tensor, price: float) -> Tensor:
        log_alpha = start.clone().requires_grad_()
        adam = torch.optim.Adam([log_alpha], lr=settings.learning_rate)
        for _ in range(settings.n_steps):
            gates = as_gates(sample_gates(log_alpha, settings.n_draws, draw))
            slopes = []
            for part in gates.detach().split(gradient_batch(generator)):
                opened = part.requires_grad_()
                error = squared_errors(decode(generator, latent, layer, opened), original).sum() / tolerance**2
                slopes.append(torch.autograd.grad(error / len(gates), opened)[0])
            cost = price * expected_open(log_alpha).mean() + (gates * torch.cat(slopes)).sum()
            (log_alpha.grad,) = torch.autograd.grad(cost, log_alpha)  # of nothing else: the module may be trainable
            adam.step()
        return log_alpha.detach()

    best = torch.full((len(candidates),), 3.0, device=original.device)
    fewest = len(candidates)
    price, enough, too_much = 1.0, 0.0, float("inf")
    for _ in with_progress(range(settings.n_rounds), "gates", settings.n_rounds, show=progress):
        trial = learn(best, price)
        n_open = int(open_gates(trial).sum())
        meets = float(masked_errors(generator, latent, layer, as_gates(open_gates(trial)[None].float()).bool())[0])
        if meets <= tolerance:
            enough = price
            if n_open <= fewest:
                best, fewest = trial, n_open
        else:
            too_much = price
        if too_much == float("inf"):
            price *= 4
        elif enough == 0:
            price /= 4
        else:
            price = (enough * too_much) ** 0.5
    return best


def sample_gates(log_alpha: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draw n gates in 0..1 for each location parameter, (n, *log_alpha.shape) (equations 10 and 11)."""
    uniform = torch.rand((n, *log_alpha.shape), generator=generator, dtype=log_alpha.dtype).to(log_alpha.device)
    uniform = uniform.clamp(1e-6, 1 - 1e-6)
    concrete = torch.sigmoid((uniform.log() - (1 - uniform).log() + log_alpha) / BETA)
    return (concrete * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def expected_open(log_alpha: Tensor) -> Tensor:
    """Probability that a gate is not 0, whose sum is the expected L0 norm (equation 12)."""
    return torch.sigmoid(log_alpha - BETA * math.log(-GAMMA / ZETA))


def open_gates(log_alpha: Tensor) -> Tensor:
    """Which gates are more than half open without noise (equation 13): exactly those with log_alpha > 0."""
    return log_alpha > 0
