"""The exact judge of drawn vessels: read the factors off a picture, render them again, and compare.

A picture is intact where the vessel that is read and rendered again is the picture, up to what the pipeline leaves of
noise. Its kind, and whether it is typical, rare or of the part that was never shown, are said by the factors, so that
no network's taste decides what is new. Place, size, exposure and background are read, and never count.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from experiments.objects.world import (
    KINDS,
    PICTURE,
    SHAPE,
    Factors,
    Kind,
    is_held_out,
    is_typical,
    is_valid,
    nearest_typical,
    render,
)

WEIGHTS = Path(__file__).parents[1] / "data" / "vessel_reader.safetensors"
CONTINUOUS = (*SHAPE, "light", *PICTURE)  # standardised by their bounds
BOUNDS = dict.fromkeys(SHAPE, (0.1, 1.0)) | {"light": (-1.0, 1.0)} | PICTURE
CLASSES = {"handles": 3, "lid": 2, "texture": 4}
HUES = ("hue", "trim")
TRAITS = ("light", *CLASSES, *HUES)  # beside the shape
PATCH, BLUR = 6, 1.0  # pixels: what is broken is larger than noise and soft edges
LARGEST_RESIDUAL = 0.1  # intact vessels lie below it and broken ones above, see results/judge
SLACK = 0.03  # errors of reading that do not count, in units of the shape and of the circle of hues
N_REFINED = 30  # steps of gradient descent on the factors


def build_reader() -> nn.Module:
    """Convolutions from pictures (n, 3, 48, 48) in 0..1 to what `split_outputs` takes apart."""

    def block(before: int, after: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

    n_outputs = len(CONTINUOUS) + 2 * len(HUES) + sum(CLASSES.values())
    body = [*block(3, 24, 1), *block(24, 48, 2), *block(48, 96, 2), *block(96, 128, 2)]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(128 * 36, 256), nn.ReLU(), nn.Linear(256, n_outputs))


def split_outputs(outputs: Tensor) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Continuous factors (n, 10) standardised, a unit vector (n, 2) of each hue, logits (n, classes) of each other."""
    continuous, hues, logits = outputs.split([len(CONTINUOUS), 2 * len(HUES), sum(CLASSES.values())], dim=1)
    vectors = {name: hues[:, 2 * i : 2 * i + 2] for i, name in enumerate(HUES)}
    parts = logits.split(list(CLASSES.values()), dim=1)
    return continuous, vectors, dict(zip(CLASSES, parts, strict=True))


@torch.no_grad()
def read_factors(reader: nn.Module, pictures: Tensor) -> Factors:
    """Factors of pictures (n, 3, 48, 48) in 0..1, as the network reads them."""
    continuous, hues, logits = split_outputs(torch.cat([reader(part) for part in pictures.split(250)]))
    factors: Factors = {}
    for i, name in enumerate(CONTINUOUS):
        low, high = BOUNDS[name]
        factors[name] = low + (continuous[:, i] + 1) / 2 * (high - low)
    factors |= {name: torch.atan2(xy[:, 1], xy[:, 0]) / (2 * torch.pi) % 1 for name, xy in hues.items()}
    return factors | {name: values.argmax(1) for name, values in logits.items()}


def refine_factors(factors: Factors, pictures: Tensor, steps: int = N_REFINED) -> Factors:
    """Move the continuous factors so that the vessel, rendered, comes nearer to the picture; the renderer is smooth."""
    free = {name: factors[name].clone().requires_grad_() for name in (*CONTINUOUS, *HUES)}
    optimizer = torch.optim.Adam(free.values(), lr=0.01)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - step / steps)
        loss = (render(factors | free) - pictures).abs().mean((1, 2, 3)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return factors | {name: values.detach() for name, values in free.items()}


@dataclass(frozen=True)
class Verdict:
    """What the judge says of pictures of one kind, each (n,).

    Attributes
    ----------
    residual : Tensor
        How far the worst patch is from the vessel that was read and rendered again, see `worst_patch`, in 0..1.
    intact, right, rare, held_out : Tensor of bool
        Residual small enough; the shape is one of the kind; neither typical nor held out; of the part never shown. What
        a typical vessel of the kind looks like, up to the largest residual, is neither rare nor held out.
    factors : Factors
    """

    residual: Tensor
    intact: Tensor
    right: Tensor
    rare: Tensor
    held_out: Tensor
    factors: Factors

    @property
    def creative(self) -> Tensor:
        """Intact, right and new: rare or held out."""
        return self.intact & self.right & (self.rare | self.held_out)

    def traits(self, kind: str) -> Tensor:
        """What sets vessels of a kind apart, (n, 10): shape in widths of its box, the other factors as they are."""
        f, one = self.factors, KINDS[kind]
        shape = [(f[name] - getattr(one, name)[0]) / (getattr(one, name)[1] - getattr(one, name)[0]) for name in SHAPE]
        return torch.stack([*shape, *(f[name].float() for name in TRAITS)], dim=1)


def judge_pictures(reader: nn.Module, pictures: Tensor, kind: str) -> Verdict:
    """Judge pictures (n, 3, 48, 48) in 0..1 that were to be of a kind."""
    factors = refine_factors(read_factors(reader, pictures), pictures)
    residual = worst_patch(pictures, render(factors))
    one = KINDS[kind]
    held_out = is_held_out(factors, one, slack=SLACK)
    rare = ~is_typical(factors, one, slack=SLACK) & ~is_held_out(factors, one, slack=-SLACK)
    looks_typical = residual_of_typical(pictures, factors, one) <= LARGEST_RESIDUAL
    right = is_valid(factors, one, SLACK)
    new = ~looks_typical
    return Verdict(residual, residual <= LARGEST_RESIDUAL, right, rare & new, held_out & new, factors)


def residual_of_typical(pictures: Tensor, factors: Factors, kind: Kind) -> Tensor:
    """How far the worst patch is from the nearest typical vessel of the kind at the same place, (n,).

    A faint or noisy texture can be read as another one: it is new only where no typical vessel looks like it.
    """
    fits = [worst_patch(pictures, render(nearest_typical(factors, kind, texture))) for texture in kind.textures]
    return torch.stack(fits).amin(0)


def worst_patch(pictures: Tensor, rendered: Tensor) -> Tensor:
    """Mean absolute difference in the 6x6 patch where it is largest, both blurred by one pixel: (n,), 0..1."""
    one, other = (gaussian_blur(values, [7, 7], [BLUR, BLUR]) for values in (pictures, rendered))
    return nn.functional.avg_pool2d((one - other).abs().mean(1, keepdim=True), PATCH, PATCH // 3).amax((1, 2, 3))


def spread_of(traits: NDArray[np.floating], kinds: NDArray[np.integer]) -> float:
    """How far apart vessels of a kind are: the mean over pairs of a kind, and over traits, in 0..1; NaN without pairs.

    Shape in widths of the kind's box, light in half of its range, hues in half a circle; another number of handles, lid
    or texture is 1. Traits as `Verdict.traits` returns them, (n, 10); kinds are numbers, (n,).
    """
    means = []
    for kind in np.unique(kinds):
        of_kind = traits[kinds == kind]
        if len(of_kind) > 1:
            apart = np.abs(of_kind[:, None] - of_kind[None])
            n_shape, n_classes = len(SHAPE), len(CLASSES)
            classes = slice(n_shape + 1, n_shape + 1 + n_classes)
            hues = slice(n_shape + 1 + n_classes, None)
            apart[..., n_shape] /= 2
            apart[..., classes] = apart[..., classes] > 0
            apart[..., hues] = 2 * np.minimum(apart[..., hues] % 1, 1 - apart[..., hues] % 1)
            means.append(apart[np.triu_indices(len(of_kind), 1)].mean())
    return float(np.mean(means)) if means else float("nan")


def load_reader() -> nn.Module:
    """The reader with its trained weights, in evaluation mode."""
    reader = build_reader()
    reader.load_state_dict(load_file(WEIGHTS))
    return reader.eval()
