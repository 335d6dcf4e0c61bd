"""Toy models, one of each edit, and a snapshot of all that an edit must leave as it was."""

from __future__ import annotations

import inspect
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from genmend.activations import AblateNeurons, CapNeurons, Edit, PullToMean, ScaleUnits

Styled = namedtuple("Styled", ["features", "style"])


class Generator(nn.Module):
    """(n, 6, 1, 1) -> (n, 3, 8, 8), with in-place activations like the public ones."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(6, 8, 4),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(8, 5, 4, 2, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(5, 3, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.main(z)


class StyledBlock(nn.Module):
    """Returns (features, style) in the container asked for, as some StyleGAN2 ports do."""

    def __init__(self, container: Any) -> None:
        super().__init__()
        self.container = container

    def forward(self, x: torch.Tensor) -> Any:
        features, style = x * 2, x.sum()
        return Styled(features, style) if self.container is Styled else self.container([features, style])


class TupleNet(nn.Module):
    def __init__(self, container: Any = tuple) -> None:
        super().__init__()
        self.block = StyledBlock(container)

    def forward(self, x: torch.Tensor) -> Any:
        return self.block(x)


class BrokenAfter(nn.Module):
    """A generator with an error behind its edited layers."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        self.generator(z)
        raise ArithmeticError("the model broke")


def generator(seed: int = 0, dtype: torch.dtype = torch.float32) -> Generator:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Generator().eval().to(dtype)


def latents(n: int = 3, seed: int = 1, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(n, 6, 1, 1, generator=torch.Generator().manual_seed(seed)).to(dtype)


LAYER, SHAPE = "main.2", (8, 4, 4)  # the layer every edit below fits, and its output for one sample


def mask(shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(2)) > 0.4


def scale_units(layer: str = LAYER, strength: float = 1.0) -> Edit:
    return ScaleUnits(layer, [1, 6], torch.tensor([0.25, -1.5]), strength)


def ablate_neurons(layer: str = LAYER, strength: float = 1.0) -> Edit:
    return AblateNeurons(layer, mask(), strength=strength)


def cap_neurons(layer: str = LAYER, strength: float = 1.0) -> Edit:
    return CapNeurons(layer, torch.full(SHAPE, 0.1), mask(), strength)


def pull_to_mean(layer: str = LAYER, strength: float = 1.0) -> Edit:
    return PullToMean(layer, torch.linspace(-1, 1, 8), units=[0, 3, 7], strength=strength)


@dataclass(frozen=True, eq=False)
class Shift(Edit):
    layer: str
    by: float
    strength: float = 1.0

    def apply(self, output: torch.Tensor, strength: torch.Tensor | float | None = None) -> torch.Tensor:
        return output + self.by * (self.strength if strength is None else strength)


EDITS = [scale_units, ablate_neurons, cap_neurons, pull_to_mean]


def misfit(make: Any, layer: str = LAYER) -> Edit:
    """The same edit made for twice the units: it raises when it is applied."""
    return {
        scale_units: lambda: ScaleUnits(layer, [15], 0.5),
        ablate_neurons: lambda: AblateNeurons(layer, mask((16, 4, 4))),
        cap_neurons: lambda: CapNeurons(layer, torch.zeros(16, 4, 4), mask((16, 4, 4))),
        pull_to_mean: lambda: PullToMean(layer, torch.zeros(16)),
    }[make]()


def snapshot(model: nn.Module) -> dict[str, Any]:
    modules = {
        name: {
            "hooks": {
                key: [(number, id(hook)) for number, hook in table.items()]
                for key, table in vars(module).items()
                if key.endswith("_hooks") or "_hooks_" in key
                if isinstance(table, dict)
            },
            "training": module.training,
            "attributes": sorted(vars(module)),
            "signature": str(inspect.signature(module.forward)),
            "type": type(module),
        }
        for name, module in model.named_modules()
    }
    assert all(len(module["hooks"]) >= 6 for module in modules.values())  # or this snapshot sees no hooks
    return {
        "modules": modules,
        "parameters": [
            (name, id(value), value.requires_grad, same_bits_key(value)) for name, value in model.named_parameters()
        ],
        "buffers": [(name, id(value), same_bits_key(value)) for name, value in model.named_buffers()],
        "state": list(model.state_dict()),
    }


def same_bits_key(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and same_bits_key(one) == same_bits_key(other)
