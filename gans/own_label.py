"""A class for a module of the user's own that takes one beside latents: in which form it takes it is tried out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genmend.gans.failed_pass import needed_inputs
from genmend.storage.named_object import error_told, users_line

__all__ = ["FixedLabel", "label_call"]

_CALLED = ("y", "c", "cls")
_CALLED_IN = re.compile(r"label|class|categor|condition|cond$")
_COUNTS = ("n_classes", "num_classes", "nclasses", "n_class", "num_class", "c_dim", "label_dim", "y_dim")


@dataclass(frozen=True)
class FixedLabel:
    """Calls ``module(latents, y)`` with one class for all, as `gans.Generator`'s `call`.

    Attributes
    ----------
    label : int
    name : str
        How ``forward`` calls its classes.
    form : "index", "shared" or "one-hot"
        Whole numbers (n,); what the module's own layer `shared` makes of them, as in BigGAN; or one-hot rows.
    n_classes : int
        For the last.
    """

    label: int
    name: str
    form: str
    n_classes: int = 0

    def __call__(self, module: nn.Module, latents: Tensor) -> Any:
        """What the module returns."""
        y: Any = torch.full((len(latents),), self.label, dtype=torch.int64, device=latents.device)
        if self.form == "shared":
            y = module.get_submodule("shared")(y)
        elif self.form == "one-hot":
            y = functional.one_hot(y, self.n_classes).to(latents.dtype)
        return module(latents, **{self.name: y})


@torch.no_grad()
def label_call(module: nn.Module, label: int, latent_shape: tuple[int, ...]) -> FixedLabel:
    """Find the form in which a module takes a class, by running it on a few latents.

    Raises
    ------
    ValueError
        If its ``forward`` takes nothing beside latents, the label is no class of it, or no form does.
    """
    needed = needed_inputs(module)
    takes = needed or needed_inputs(module, optional=True)
    names = [name for name in takes if name.lower() in _CALLED or _CALLED_IN.search(name.lower())] or list(needed)
    if not names:
        raise ValueError(
            f"--label is {label}, but {type(module).__name__} takes no class beside latents; leave it out."
        )
    if label < 0:
        raise ValueError(f"--label is {label}; give a class from 0.")
    place = next(module.parameters(), torch.zeros(1))
    latents = torch.zeros(3, *latent_shape).to(place)  # several: of one, any form would broadcast
    failed = []
    for form in _forms(module, label, names[0]):
        try:
            form(module, latents)
        except Exception as error:
            failed.append(f"as {form.form} it raised {error_told(error, users_line(error))}")
        else:
            return form
    raise ValueError(
        f"--label {label} could not be given to {type(module).__name__} as {names[0]!r}: {'; '.join(failed)}. Give a "
        "class that it has (and the right --latent-shape), or return a gans.Generator whose call= gives it."
    )


def _forms(module: nn.Module, label: int, name: str) -> Iterator[FixedLabel]:
    if isinstance(getattr(module, "shared", None), nn.Module):
        yield FixedLabel(label, name, "shared")
    yield FixedLabel(label, name, "index")
    counts = (getattr(module, attribute, None) for attribute in _COUNTS)
    n_classes = next((count for count in counts if isinstance(count, int) and count > label), 0)
    if n_classes:
        yield FixedLabel(label, name, "one-hot", n_classes)
