"""Which layers a corrector edits, and what it needs of the samples."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from activations import find_layer
from gans.generator import Generator, early_layers

__all__ = ["chosen_layers", "needed_broken"]


def chosen_layers(generator: Generator, layers: Sequence[str] | None) -> tuple[str, ...]:
    """The named layers, or `early_layers` of the generator's own list where None.

    Raises
    ------
    UnknownLayerError
        If the generator has no such layer.
    ValueError, TypeError
        If the list is empty, or a plain string.
    """
    if isinstance(layers, str):
        raise TypeError(f"layers is the string {layers!r}, but a list of layer names is needed; write [{layers!r}].")
    if layers is None:
        return early_layers(generator.layers)
    if not layers:
        raise ValueError("layers is empty; name at least one, or give None for the generator's early layers.")
    for layer in layers:
        find_layer(generator.module, layer)
    return tuple(layers)


def needed_broken(generator: Generator, broken: Tensor | None, corrector: object) -> Tensor:
    """The checked latents of the broken samples, or an error if there are none."""
    if broken is None:
        raise ValueError(
            f"{type(corrector).__name__} learns from broken samples and got none; give broken=, by labels or by a "
            "detector such as gans.ArtifactDetector."
        )
    return generator.checked_latents(broken)
