"""Search for the units that cause a concept: weights alpha, by gradient through generator and segmenter."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from genmend.activations.outputs import first_tensor, with_first_tensor
from genmend.activations.runs import hooked
from genmend.gans.dissection.causal import CausalProbe, UntestableError
from genmend.gans.dissection.concepts import Concepts, SoftConcepts
from genmend.gans.generator import Generator
from genmend.storage.progress import with_progress

__all__ = ["optimise_alpha", "top_units"]

WEIGHTS = {"norm": 0.1, "squared": 0.005}


def optimise_alpha(
    generator: Generator,
    probe: CausalProbe,
    concepts: Concepts,
    iou: Tensor,
    *,
    penalty: Literal["norm", "squared"] = "norm",
    weight: float | None = None,
    n_steps: int = 100,
    batch_size: int = 4,
    learning_rate: float = 0.01,
    seed: int = 0,
    progress: bool = False,
) -> Tensor:
    """Weights (u,) in 0..1 of how much each unit of the probe's layer causes the concept.

    Units are softly ablated, ``(1 - alpha) * r``, in samples that have the concept, and softly put in, ``alpha * value
    + (1 - alpha) * r`` in the usual cells, in samples that lack it. What Adam maximises, delta, is the concept's soft
    amount with the units in less that with them off, each over its usual amount. alpha starts at the IoU over its
    largest and is clamped to 0..1 after each step.

    Parameters
    ----------
    concepts : SoftConcepts
    iou : Tensor (u,)
        Of each unit with the concept.
    penalty : "norm" or "squared"
        ``-delta + weight * ||alpha||_2``, the paper's form, or ``-delta + weight * ||alpha||_2 ** 2``, the form of its
        code. The paper's weight is 100 and the code's 0.005: they belong to deltas on scales of their own and do not
        transfer; ours is in units of the concept's usual amount, with weights of 0.1 and 0.005 as defaults.
    n_steps, batch_size, learning_rate
        Adam's; samples of each kind a step. The learning rate is that of the code, which takes 10 times 1,000 samples.

    Raises
    ------
    TypeError
        If the segmenter has no `soft`, so that no gradient can reach the units.
    UntestableError
        For a concept that has no gradient to the image, as a position.
    ValueError
        For another penalty.
    """
    if not isinstance(concepts, SoftConcepts):
        raise TypeError(
            f"The segmenter {type(concepts).__name__} gives bool masks alone, and the search for causal units follows "
            "gradients: give it a method soft(images) of values in 0..1, or take the units of highest IoU."
        )
    if penalty not in WEIGHTS:
        raise ValueError(f"penalty is {penalty!r}; accepted are 'norm' and 'squared'.")
    weight = WEIGHTS[penalty] if weight is None else weight
    alpha = (iou.float() / iou.max().clamp(min=1e-12)).clamp(0, 1).detach().cpu().requires_grad_(True)
    optimiser = torch.optim.Adam([alpha], lr=learning_rate)
    rng = np.random.default_rng(seed)
    for _ in with_progress(range(n_steps), "search for causal units", n_steps, show=progress):
        present, absent = (samples[rng.choice(len(samples), batch_size)] for samples in (probe.present, probe.absent))
        off = _amount(generator, probe, concepts, present, lambda r: _blend(r, alpha, None))
        put_in = _amount(generator, probe, concepts, absent, lambda r: _blend(r, alpha, probe))
        delta = put_in[:, probe.place].mean() / probe.place_amount - off.mean() / probe.amount
        if not delta.requires_grad:
            name = concepts.names[probe.concept]
            raise UntestableError(f"The concept {name!r} does not depend on the image's content.")
        length = alpha.norm()
        loss = -delta + weight * (length if penalty == "norm" else length.square())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            alpha.clamp_(0, 1)
    return alpha.detach()


def top_units(alpha: Tensor, iou: Tensor, n: int) -> list[int]:
    """The n units of highest alpha; ties by IoU, then by index."""
    order = np.lexsort((np.arange(len(alpha)), -iou.cpu().numpy(), -alpha.cpu().numpy()))
    return order[:n].tolist()


def _blend(maps: Tensor, alpha: Tensor, probe: CausalProbe | None) -> Tensor:
    share = alpha.to(maps.device).view(-1, 1, 1)
    if probe is None:
        return (1 - share) * maps
    blended = share * probe.value.to(maps.device).view(-1, 1, 1) + (1 - share) * maps
    return torch.where(probe.cells.to(maps.device), blended, maps)


def _amount(
    generator: Generator,
    probe: CausalProbe,
    concepts: SoftConcepts,
    latents: Tensor,
    change: Callable[[Tensor], Tensor],
) -> Tensor:
    """The concept's soft mask in the changed samples, (n, h, w)."""
    with _changed(generator, probe.layer, change):
        images = generator.images(latents).cpu()
    return concepts.soft(images)[:, probe.concept].cpu()


def _changed(generator: Generator, layer: str, change: Callable[[Tensor], Tensor]) -> AbstractContextManager[None]:
    # Not `activations.edited`: it cuts an edit's tensors from the graph, and alpha needs its gradient.
    def hook(module: nn.Module, inputs: object, output: Any) -> Any:
        return with_first_tensor(output, change(first_tensor(output, layer)), layer)

    return hooked(generator.module, layer, hook)
