"""A StyleGAN2 as a `Generator`: which space latents live in, truncation, fixed noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genmend.gans.families.labels import ClassOfLatent, check_label, latent_width, latent_words
from genmend.gans.families.stylegan2 import NOISES, StyleGAN2
from genmend.gans.generator import Generator

__all__ = ["OPTIONS", "SPACES", "mean_style", "stylegan2_generator"]

SPACES = ("z", "w", "w+")
OPTIONS: Mapping[str, Any] = {"space": "z", "psi": 1.0, "cutoff": None, "noise": "const", "label": None}
_PIXELS_A_BATCH = 2**18
_SPACE_WORDS = {"w": "w, what the mapping network makes of z", "w+": "a w for each layer"}


@dataclass(frozen=True)
class _Styled:
    """How latents become images; `draw` makes latents of z."""

    space: str
    psi: float
    cutoff: int | None
    noise: str
    label: int | None
    n_classes: int

    def styles(self, module: StyleGAN2, latents: Tensor) -> Tensor:
        """w+ of z (with the number that chooses the class), truncated."""
        if not self.n_classes:
            return module.styles(latents, psi=self.psi, cutoff=self.cutoff)
        z, labels = ClassOfLatent(self.n_classes, self.label).split(latents)
        one_hot = functional.one_hot(labels, self.n_classes).to(z.dtype)
        return module.styles(z, one_hot, psi=self.psi, cutoff=self.cutoff)

    def draw(self, module: nn.Module, z: Tensor) -> Tensor:
        """Latents of z, which are w or w+."""
        assert isinstance(module, StyleGAN2)
        ws = self.styles(module, z)
        return ws if self.space == "w+" else ws[:, 0]

    def call(self, module: nn.Module, latents: Tensor) -> Tensor:
        """Raw images of latents."""
        assert isinstance(module, StyleGAN2)
        if self.space == "z":
            ws = self.styles(module, latents)
        else:
            ws = latents if self.space == "w+" else latents[:, None].expand(-1, module.synthesis.n_ws, -1)
        images: Tensor = module.synthesis(ws, self.noise)
        return images


def stylegan2_generator(
    module: StyleGAN2,
    name: str = "stylegan2",
    *,
    space: str = "z",
    psi: float = 1.0,
    cutoff: int | None = None,
    noise: str = "const",
    label: int | None = None,
) -> Generator:
    """A `Generator` round a StyleGAN2; its layers are the activations of all convolutions.

    Parameters
    ----------
    module : StyleGAN2
    name : str
        For reports; what differs from the defaults is added.
    space : {"z", "w", "w+"}
        What latents are: z (z_width,); w (w_width,), one for all layers; w+ (n_ws, w_width), one for each.
        Random w are those of random z, truncated: what the synthesis gets.
    psi : float
        Truncation: w is moved to the mean w by this factor; 1 leaves it.
    cutoff : int, optional
        Truncate this many of the w alone, the coarsest first; not in space "w", which has only one.
    noise : {"const", "none"}
        The noise inputs: the model's own constant ones, or zero. There is no random noise: comparisons of before and
        after would be confounded with it.
    label : int, optional
        Class of a conditional model; where None one more number of z chooses it (`ClassOfLatent`).

    Raises
    ------
    ValueError
        If an option has another value.
    """
    if space not in SPACES or noise not in NOISES:
        raise ValueError(f"space is {space!r} and noise {noise!r}; give one of {SPACES} and one of {NOISES}.")
    if not (isinstance(psi, int | float) and 0 <= psi <= 2):
        raise ValueError(f"psi is {psi!r}; give a number from 0 (the mean image) to 1 (no truncation), at most 2.")
    n_ws = module.synthesis.n_ws
    if cutoff is not None and not (isinstance(cutoff, int) and 0 <= cutoff <= n_ws and space != "w"):
        raise ValueError(f"cutoff is {cutoff!r} in space {space!r}; give a whole number of at most {n_ws}, and no w.")
    n_classes = module.mapping.embed.weight.shape[1] if hasattr(module.mapping, "embed") else 0
    styled = _Styled(space, float(psi), cutoff, noise, check_label(label, n_classes), n_classes)
    settings = {"space": space, "psi": float(psi), "cutoff": cutoff, "noise": noise, "label": label}
    w_width = len(module.mapping.w_avg)
    z_shape = (latent_width(module.mapping.z_width, n_classes, label),)
    side = module.synthesis.sides[-1]
    layers = tuple(
        f"synthesis.b{side}.{convolution}.activation"
        for side in module.synthesis.sides
        for convolution in ("conv0", "conv1")[side == module.synthesis.sides[0] :]
    )
    return Generator(
        module,
        latent_shape={"z": z_shape, "w": (w_width,), "w+": (n_ws, w_width)}[space],
        layers=layers,
        call=styled.call,
        name=_named(name, settings),
        batch_size=max(1, min(32, _PIXELS_A_BATCH // side**2)),
        draw=None if space == "z" else styled.draw,
        draw_shape=z_shape,
        settings=settings,
        known_layers=layers,
        latent_words=latent_words(module.mapping.z_width, n_classes, label) if space == "z" else _SPACE_WORDS[space],
        last_chooses=space == "z" and n_classes > 0 and label is None,
    )


def _named(name: str, settings: Mapping[str, Any]) -> str:
    chosen = [f"{key} {value}" for key, value in settings.items() if value != OPTIONS[key]]
    return f"{name} ({', '.join(chosen)})" if chosen else name


@torch.no_grad()
def mean_style(module: StyleGAN2, n: int = 10_000, seed: int = 0) -> Tensor:
    """The mean w of n random z, (w_width,): truncation's centre where a file has none."""
    draws = torch.randn(n, module.mapping.z_width, generator=torch.Generator().manual_seed(seed))
    return torch.cat([module.mapping(batch) for batch in draws.split(1000)]).mean(0)
