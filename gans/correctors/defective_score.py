"""How well the place where a unit is active agrees with the place where a sample is broken.

Source: Tousi, Jeong, Han, Choi, Choi, "Automatic correction of internal units in generative neural networks", CVPR
2021, arXiv 2104.06118. Our reading of it: the mean over samples of the IoU of each sample, with a unit's map made
binary either between its own extremes in that sample, or at a quantile over normal samples as in GAN dissection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat

import torch
from torch import Tensor
from torch.nn import functional

from genmend.activations import record
from genmend.gans.generator import Generator
from genmend.storage.progress import with_progress

__all__ = ["checked_masks", "defective_score", "unit_masks"]

_MOST_VALUES = 1 << 20  # of enlarged maps at once: what stays in the processor's cache


def unit_masks(maps: Tensor, size: tuple[int, int], threshold: float | Tensor) -> Tensor:
    """Where units are active, bool (n, c, *size), from their maps (n, c, h, w) enlarged bilinearly.

    Parameters
    ----------
    maps : Tensor
    size : (int, int)
        Height and width of the masks to compare with.
    threshold : float or Tensor (c,)
        A number in (0, 1): above this share of the way from the map's lowest to its highest value in this very sample;
        a constant map, as of a dead unit, is active nowhere. A tensor: above this activation, one for each unit.
    """
    enlarged = _enlarge(maps, size)
    if isinstance(threshold, Tensor):
        return enlarged > threshold.to(enlarged)[:, None, None]
    low, high = enlarged.amin((2, 3), keepdim=True), enlarged.amax((2, 3), keepdim=True)
    return (enlarged > low + threshold * (high - low)) & (high > low)


def _enlarge(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """What bilinear ``functional.interpolate`` returns, by two matrix products: 100 times as fast on a CPU."""
    rows, columns = (
        functional.interpolate(torch.eye(old, device=maps.device)[None], size=new, mode="linear")[0].T.to(maps)
        for old, new in zip(maps.shape[2:], size, strict=True)
    )
    return rows @ maps @ columns.T


def checked_masks(masks: Tensor, n: int) -> Tensor:
    """Masks (n, h, w) as bool on the CPU, true from 0.5 up.

    Raises
    ------
    ValueError
        If the shape is another, a value lies outside 0..1, or no mask marks anything.
    """
    masks = torch.as_tensor(masks).cpu()
    if masks.dim() != 3 or len(masks) != n:
        raise ValueError(f"masks have shape {tuple(masks.shape)} for {n} broken samples; give [{n}, height, width].")
    if masks.dtype != torch.bool:
        if not ((masks >= 0) & (masks <= 1)).all():  # also NaN
            raise ValueError("A mask has values outside 0..1 or NaN; give 0 for intact and 1 for broken pixels.")
        masks = masks >= 0.5
    if not masks.any():
        raise ValueError("No mask reaches 0.5 anywhere, so nothing is marked as broken; check how they were made.")
    return masks


@torch.no_grad()
def defective_score(
    generator: Generator,
    latents: Tensor,
    masks: Tensor,
    layers: Sequence[str],
    *,
    thresholds: float | Mapping[str, Tensor] = 0.5,
    progress: bool = False,
) -> dict[str, Tensor]:
    """Mean IoU of each unit with the samples' masks: (c,) float64 in 0..1 by layer, higher = more at fault.

    Parameters
    ----------
    generator : Generator
        Its module may carry edits: the score is that of the edited outputs.
    latents : Tensor (n, *latent_shape)
    masks : Tensor (n, h, w)
        What `checked_masks` takes. A sample whose mask is empty says nothing and is left out of the mean.
    layers : sequence of str
    thresholds : float, or dict layer -> Tensor (c,)
        As `unit_masks` has them.
    progress : bool
        Show a progress bar.
    """
    checked = generator.checked_latents(latents)
    masks = checked_masks(masks, len(checked))
    telling = masks.flatten(1).any(1)
    checked, masks = checked[telling], masks[telling]
    totals: dict[str, Tensor] = {}
    batches = zip(checked.split(generator.batch_size), masks.split(generator.batch_size), strict=True)
    n_batches = -(-len(checked) // generator.batch_size)
    for batch, marked in with_progress(batches, "defective score", n_batches, show=progress):
        with record(generator.module, layers, stop=True) as outputs:
            generator.run(batch)
        for layer in layers:
            threshold = thresholds if isinstance(thresholds, int | float) else thresholds[layer]
            total = torch.cat([part.sum(0) for part in _ious(outputs[layer].float(), marked, threshold)])
            totals[layer] = totals.get(layer, 0) + total
    return {layer: total / len(checked) for layer, total in totals.items()}


def _ious(maps: Tensor, masks: Tensor, threshold: float | Tensor) -> Iterator[Tensor]:
    """IoU of each unit in each sample, (n, some units) float64, a few units at a time."""
    size = (masks.shape[1], masks.shape[2])
    marked = masks.flatten(1).to(maps)  # (n, h * w)
    # Two sums over the pixels in one product: of those in the mask, and of all. Exact in float32 below 2^24 pixels.
    sums = torch.stack([marked, torch.ones_like(marked)], 2)
    n_units = max(1, _MOST_VALUES // marked.numel())
    for some, part in zip(maps.split(n_units, 1), _split(threshold, n_units), strict=False):
        active = unit_masks(some, size, part).flatten(2).to(maps)
        both, alone = (active @ sums).double().unbind(2)
        either = alone + marked.sum(1, keepdim=True) - both
        yield (both / either).cpu()  # no mask is empty here, so neither is a union


def _split(threshold: float | Tensor, n_units: int) -> Iterator[float | Tensor]:
    return iter(threshold.split(n_units)) if isinstance(threshold, Tensor) else repeat(threshold)
