"""A network with its batch norms folded into the convolutions before them: the same features, faster with gradients."""

from __future__ import annotations

import copy

import torch
from torch import nn

__all__ = ["folded"]


def folded(network: nn.Module) -> nn.Module:
    """A copy of a network in eval mode, channels last, in which no batch norm that follows a convolution is left.

    A batch norm is folded into the convolution that stands before it among its parent's modules, where their channels
    agree; that this is the order in which they run is for the caller to check, by the outputs. What a batch norm of
    timm does besides, dropout and activation, stays.
    """
    done = copy.deepcopy(network)
    for parent in list(done.modules()):
        before: nn.Conv2d | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                before = child
            elif isinstance(child, nn.BatchNorm2d) and before is not None:
                if child.num_features == before.out_channels and child.running_var is not None:
                    _fold(child, before)
                    setattr(parent, name, _rest_of(child))
                before = None
    return done.requires_grad_(False).to(memory_format=torch.channels_last)


def _fold(norm: nn.BatchNorm2d, conv: nn.Conv2d) -> None:
    """Give a convolution the weights and the bias with which it does both."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = (norm.running_var.double() + norm.eps).rsqrt()
    shift = -norm.running_mean.double() * gain
    if norm.affine:
        gain, shift = gain * norm.weight.double(), shift * norm.weight.double() + norm.bias.double()
    if conv.bias is not None:
        shift = shift + conv.bias.double() * gain
    dtype = conv.weight.dtype
    conv.weight = nn.Parameter((conv.weight.double() * gain.view(-1, 1, 1, 1)).to(dtype), requires_grad=False)
    conv.bias = nn.Parameter(shift.to(dtype), requires_grad=False)


def _rest_of(norm: nn.BatchNorm2d) -> nn.Module:
    """What a batch norm does after normalising: nothing, or timm's activation."""
    rest = [getattr(norm, name) for name in ("drop", "act") if isinstance(getattr(norm, name, None), nn.Module)]
    return nn.Sequential(*rest) if rest else nn.Identity()
