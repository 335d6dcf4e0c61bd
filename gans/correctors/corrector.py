"""The interface of all corrections: fit on a generator's samples, then edits or moved latents for any others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from genmend.activations import Edit, edited
from genmend.activations.layers import find_layer
from genmend.gans.generator import Generator, early_layers

__all__ = ["Corrector", "chosen_layers", "needed_broken"]


class Corrector(BaseEstimator):
    """Base of the correctors: a subclass overrides `fit`, and `edits` or `moved` or both.

    A *static* corrector gives the same edits for any latents, so they can be kept in a correction file; one that edits
    each sample in its own way gives edits for exactly the latents it was asked for, in their order.
    """

    def fit(
        self,
        generator: Generator,
        normal: Tensor,
        broken: Tensor | None = None,
        *,
        masks: Tensor | None = None,
        progress: bool = False,
    ) -> Self:
        """Learn from samples of the generator.

        Parameters
        ----------
        generator : Generator
        normal, broken : Tensor ``[n, *latent_shape]``
            Latents of normal samples, and of broken ones (by labels or by a detector) where the method needs some.
        masks : Tensor ``[n_broken, h, w]``, optional
            Where each broken sample is broken, 0..1, at the image's size.
        progress : bool
            Show progress bars.
        """
        raise NotImplementedError

    def edits(self, latents: Tensor) -> tuple[Edit, ...]:
        """The edits that mend the samples of these latents, in the order of the layers."""
        return ()

    def moved(self, latents: Tensor) -> Tensor:
        """Latents to generate from in place of these; the same ones where the method leaves latents alone."""
        return latents

    def correct(self, generator: Generator, latents: Tensor) -> Tensor:
        """Images ``[n, 3, h, w]`` in 0..1 of these latents, every one corrected; the model is as before afterwards."""
        return self.drawn(generator, self.moved(generator.checked_latents(latents)))

    def drawn(self, generator: Generator, moved: Tensor) -> Tensor:
        """Images of latents that `moved` gave."""
        images = []
        for batch in moved.split(generator.batch_size):
            with edited(generator.module, *self.edits(batch)):
                images.append(generator.generate(batch))
        return torch.cat(images)


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
