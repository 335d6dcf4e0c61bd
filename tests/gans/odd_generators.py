"""Modules as users bring them, each odd in one way: built for tests of the probe and of the commands."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 8
Named = namedtuple("Named", "latents picture")


@dataclass
class Output:
    latents: Tensor
    sample: Tensor


class Shared(nn.Module):
    """One activation module behind each of three layers; images (n, 3, 16, 16) in -1..1."""

    def __init__(self) -> None:
        super().__init__()
        self.paint = nn.ConvTranspose2d(5, 3, 4, 2, 1)
        self.act = nn.LeakyReLU(0.1)
        self.widen = nn.ConvTranspose2d(6, 5, 4, 2, 1)
        self.start = nn.Linear(WIDTH, 6 * 16)

    def forward(self, z: Tensor) -> Tensor:
        x = self.act(self.start(z).view(-1, 6, 4, 4))
        return torch.tanh(4 * self.paint(self.act(self.widen(x))))


class Returning(Shared):
    """The images as `form` wraps them."""

    def __init__(self, form) -> None:
        super().__init__()
        self.form = form

    def forward(self, z: Tensor):
        return self.form(super().forward(z), z)


class Functional(nn.Module):
    """Activations that are functions, behind norms or without."""

    def __init__(self, norm: bool = False, activate=functional.relu) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.ConvTranspose2d(WIDTH, 8, 4), nn.ConvTranspose2d(8, 6, 4, 2, 1)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(8), nn.BatchNorm2d(6)]) if norm else [nn.Identity()] * 2
        self.paint = nn.ConvTranspose2d(6, 3, 4, 2, 1)
        self.activate = activate

    def forward(self, z: Tensor) -> Tensor:
        x = z[:, :, None, None]
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = self.activate(norm(layer(x)))
        return torch.tanh(4 * self.paint(x))


class Reversed(nn.Module):
    """Registered from the end to the beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.paint = nn.ConvTranspose2d(5, 3, 4, 2, 1)
        self.late = nn.ReLU()
        self.widen = nn.ConvTranspose2d(6, 5, 4, 2, 1)
        self.early = nn.ReLU()
        self.start = nn.ConvTranspose2d(WIDTH, 6, 4)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(4 * self.paint(self.late(self.widen(self.early(self.start(z[:, :, None, None]))))))


class Noisy(Shared):
    """Draws noise in each pass, behind its first layer."""

    def forward(self, z: Tensor) -> Tensor:
        x = self.act(self.start(z).view(-1, 6, 4, 4))
        return torch.tanh(self.paint(self.act(self.widen(x + torch.randn_like(x)))))


class Tokens(nn.Module):
    """A transformer block on 16 tokens; with `conv` two convolutions behind it."""

    def __init__(self, conv: bool) -> None:
        super().__init__()
        self.start = nn.Linear(WIDTH, 16 * 12)
        self.block = nn.TransformerEncoderLayer(12, 2, 24, activation=nn.GELU(), batch_first=True)
        self.mix = nn.Conv2d(12, 7, 3, padding=1) if conv else nn.Identity()
        self.paint = nn.Conv2d(7, 3, 3, padding=1) if conv else nn.Linear(12, 3)

    def forward(self, z: Tensor) -> Tensor:
        x = self.block(self.start(z).view(-1, 16, 12))
        if isinstance(self.mix, nn.Conv2d):
            return torch.tanh(self.paint(functional.relu(self.mix(x.transpose(1, 2).reshape(-1, 12, 4, 4)))))
        return torch.tanh(self.paint(x)).transpose(1, 2).reshape(-1, 3, 4, 4)


class Along(nn.Module):
    """Convolutions in one, two or three dimensions."""

    def __init__(self, n_axes: int) -> None:
        super().__init__()
        layer = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[n_axes - 1]
        self.main = nn.Sequential(layer(WIDTH, 6, 4), nn.ReLU(), layer(6, 1, 4, 2, 1), nn.Tanh())
        self.n_axes = n_axes

    def forward(self, z: Tensor) -> Tensor:
        return self.main(z.view(*z.shape, *[1] * self.n_axes))


class Dense(nn.Module):
    """No maps at all."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(nn.Linear(WIDTH, 20), nn.ReLU(), nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 48))

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.main(z)).view(-1, 3, 4, 4)


class Conditional(Shared):
    """Takes classes beside latents: as numbers, as one-hot rows, or as its layer `shared` makes them."""

    def __init__(self, form: str = "index") -> None:
        super().__init__()
        self.form, self.n_classes = form, 5
        if form == "shared":
            self.shared = nn.Embedding(5, WIDTH)
        else:
            self.embed = nn.Embedding(5, WIDTH) if form == "index" else nn.Linear(5, WIDTH)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return super().forward(z + (y if self.form == "shared" else self.embed(y)))


class Lazy(nn.Module):
    """Layers that learn their sizes, and get their weights, in the first pass."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(nn.LazyConvTranspose2d(6, 4), nn.ReLU(), nn.LazyConvTranspose2d(3, 4, 2, 1))

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.main(z[:, :, None, None]))


class Late(nn.Module):
    """Builds its layers in the first pass."""

    def __init__(self) -> None:
        super().__init__()
        self.net: nn.Module | None = None

    def forward(self, z: Tensor) -> Tensor:
        if self.net is None:
            self.net = made(Shared)
        return self.net(z)


FORMS = {
    "tuple": lambda x, z: (x, z),
    "list behind the latents": lambda x, z: [z, x],
    "dict": lambda x, z: {"w": z, "image": x},
    "ordered dict of images": lambda x, z: OrderedDict(latents=z, images=x),
    "dataclass": lambda x, z: Output(z, x),
    "array": lambda x, z: x.numpy(),
}


def made(kind, *arguments, seed: int = 0, **named) -> nn.Module:
    """A module of this seed in eval mode, whose weights need no gradient."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(*arguments, **named).eval().requires_grad_(False)
