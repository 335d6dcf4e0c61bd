"""The exact judge of drawn vessels: read the factors off a picture, render them again, and compare.

A picture is intact where the vessel that is read and rendered again is the picture, up to what the pipeline leaves of
noise. Its kind, and whether it is typical, rare or of the part that was never shown, are said by the factors, so that
no network's taste decides what is new. Place, size, exposure and background are read, and never count.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from experiments.objects.world import KINDS, PICTURE, SHAPE, Factors, is_held_out, is_typical, is_valid, render

WEIGHTS = Path(__file__).parents[1] / "data" / "vessel_reader.safetensors"
CONTINUOUS = (*SHAPE, "light", *PICTURE)  # standardised by their bounds
BOUNDS = dict.fromkeys(SHAPE, (0.1, 1.0)) | {"light": (-1.0, 1.0)} | PICTURE
CLASSES = {"handles": 3, "lid": 2, "texture": 4}
HUES = ("hue", "trim")
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
        Mean absolute difference to the vessel that was read and rendered again, in 0..1.
    intact, right, rare, held_out : Tensor of bool
        Residual small enough; the shape is one of the kind; neither typical nor held out; of the part never shown.
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


def judge_pictures(reader: nn.Module, pictures: Tensor, kind: str, largest_residual: float) -> Verdict:
    """Judge pictures (n, 3, 48, 48) in 0..1 that were to be of a kind."""
    factors = refine_factors(read_factors(reader, pictures), pictures)
    with torch.no_grad():
        residual = (render(factors) - pictures).abs().mean((1, 2, 3))
    one = KINDS[kind]
    held_out = is_held_out(factors, one, slack=SLACK)
    rare = ~is_typical(factors, one, slack=SLACK) & ~is_held_out(factors, one, slack=-SLACK)
    return Verdict(residual, residual <= largest_residual, is_valid(factors, one, SLACK), rare, held_out, factors)


def load_reader() -> nn.Module:
    """The reader with its trained weights, in evaluation mode."""
    reader = build_reader()
    reader.load_state_dict(load_file(WEIGHTS))
    return reader.eval()
