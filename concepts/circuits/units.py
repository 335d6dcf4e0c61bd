"""The units of a layer's output: along which axis they lie, and how strongly each answers to a sample."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

__all__ = ["last_weighted", "unit_axis", "unit_means", "unit_scores"]

_CONVOLUTIONS = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
_LINEAR = (nn.Linear, nn.LayerNorm)


@contextmanager
def last_weighted(model: nn.Module) -> Iterator[list[nn.Module]]:
    """While open, a list of the convolution, linear layer or norm of the model that ran last; empty before the first.

    What it made tells along which axis the units lie, see `unit_axis`. Open it before hooks that ask.
    """
    last: list[nn.Module] = []

    def hook(module: nn.Module, inputs: object, output: object) -> None:
        last[:] = [module]

    handles = [
        module.register_forward_hook(hook)
        for module in model.modules()
        if isinstance(module, (*_CONVOLUTIONS, *_LINEAR))
    ]
    try:
        yield last
    finally:
        for handle in handles:
            handle.remove()


def unit_axis(output: Tensor, made_by: nn.Module | None = None) -> int:
    """Along which axis the units of an output lie.

    Parameters
    ----------
    output
        Maps ``(n, units, h, w)``, tokens ``(n, tokens, units)``, or ``(n, units)``; and, where a layer says so,
        sequences ``(n, units, steps)`` and maps ``(n, h, w, units)``.
    made_by
        The layer with weights that ran last, see `last_weighted`: what a convolution makes has its units along axis 1,
        what a linear layer makes along the last one, if its width fits.
    """
    if output.ndim == 3:
        width = getattr(made_by, "out_channels", getattr(made_by, "num_features", getattr(made_by, "num_channels", 0)))
        flat = not isinstance(made_by, nn.Conv2d | nn.Conv3d)  # an image's patches become tokens
        return 1 if flat and width == output.shape[1] else 2
    if output.ndim > 3 and isinstance(made_by, _LINEAR):
        width = made_by.out_features if isinstance(made_by, nn.Linear) else made_by.normalized_shape[-1]
        return output.ndim - 1 if width == output.shape[-1] else 1
    return 1


def unit_scores(output: Tensor, axis: int | None = None, *, share: float = 0.1) -> Tensor:
    """How strongly each unit answers to each sample: the mean of its largest values.

    Parameters
    ----------
    output
        See `unit_axis`.
    axis
        Of the units; None: by the output's shape alone.
    share
        Of the positions that count, published 0.1; at least one does.

    Returns
    -------
    Tensor
        Shape ``(n, units)``.
    """
    values = _by_position(output, axis)
    count = max(1, int(values.shape[2] * share))
    if count == 1:
        return values.amax(2)
    return values.topk(count, dim=2, sorted=False).values.mean(2)


def unit_means(output: Tensor, axis: int | None = None) -> Tensor:
    """The mean of each unit over positions, shape ``(n, units)``; of the same outputs as `unit_scores`."""
    return _by_position(output, axis).mean(2)


def _by_position(output: Tensor, axis: int | None) -> Tensor:
    """Units, then positions, shape ``(n, units, positions)``."""
    if output.ndim < 2:
        raise ValueError(f"A block's output has shape {tuple(output.shape)}, but (n, units, ...) is needed.")
    values = output.movedim(unit_axis(output) if axis is None else axis, 1)
    return values.flatten(2) if output.ndim > 2 else values.unsqueeze(2)
