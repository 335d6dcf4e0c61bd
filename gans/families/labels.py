"""The class of a conditional generator's sample: fixed, or chosen by one more number of the latent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ClassOfLatent", "check_label", "latent_width", "latent_words"]


@dataclass(frozen=True)
class ClassOfLatent:
    """Calls ``module(z, one_hot)`` on flat latents, as `gans.Generator`'s `call`.

    Parameters
    ----------
    n_classes : int
    label : int, optional
        The class of every sample. Where None the latent's last number u chooses it: class k where Phi(u), the standard
        normal distribution function, is in [k / n, (k + 1) / n). So all classes are equally likely under N(0, 1), and a
        latent is still one vector of independent normal numbers.
    """

    n_classes: int
    label: int | None = None

    def __call__(self, module: nn.Module, latents: Tensor) -> Tensor:
        """Raw images."""
        z, labels = self.split(latents)
        images: Tensor = module(z, functional.one_hot(labels, self.n_classes).to(z.dtype))
        return images

    def split(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """The latents without the number that chooses, and the classes (n,)."""
        if self.label is not None:
            return latents, torch.full((len(latents),), self.label, device=latents.device)
        share = 0.5 * (1 + torch.erf(latents[:, -1].double() / math.sqrt(2)))
        return latents[:, :-1], (share * self.n_classes).long().clamp(max=self.n_classes - 1)


def latent_width(z_width: int, n_classes: int, label: int | None) -> int:
    """Numbers in one latent: one more than z has, where that one chooses the class."""
    return z_width + (n_classes > 0 and label is None)


def latent_words(z_width: int, n_classes: int, label: int | None) -> str:
    """What a latent's numbers are, for whoever brings latents of another width; empty where it is plain."""
    if not n_classes:
        return ""
    if label is None:
        return (
            f"{z_width} numbers of z, and last a standard normal one that chooses among {n_classes} classes; "
            f"for latents of {z_width} give the class (--label, or label=)"
        )
    return f"z alone, because the class is fixed to {label}; without --label a number more chooses it"


def check_label(label: int | None, n_classes: int) -> int | None:
    """The label, or None for a class drawn per sample.

    Raises
    ------
    ValueError
        If the generator has no such class.
    """
    if label is None or (isinstance(label, int) and not isinstance(label, bool) and 0 <= label < n_classes):
        return label
    accepted = f"a class from 0 to {n_classes - 1}, or None" if n_classes else "None: this generator has no classes"
    raise ValueError(f"label is {label!r}; give {accepted}.")
