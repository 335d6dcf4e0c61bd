"""The interface of all corrections: fit on a generator's samples, then edits or moved latents for any others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from genmend.activations import Edit, edited
from genmend.gans.generator import Generator, early_layers
from genmend.gans.generator_layers import checked_layers

__all__ = ["Corrector", "FitSamples", "choose_layers"]


@dataclass(frozen=True)
class FitSamples:
    """What a corrector learns from: a generator, latents of normal and of broken samples, masks of the broken ones."""

    generator: Generator
    normal: Tensor
    broken: Tensor | None
    masks: Tensor | None

    def require_broken(self, corrector: Corrector) -> Tensor:
        """The latents of the broken samples; ValueError if there are none."""
        if self.broken is None:
            raise ValueError(
                f"{type(corrector).__name__} learns from broken samples and got none; give broken=, by labels or by a "
                "detector such as gans.ArtifactDetector."
            )
        return self.broken


class Corrector(BaseEstimator):
    """Base of the correctors: a subclass overrides `_fit`, and `edits` or `move` or both.

    A *static* corrector (`is_static`) gives the same edits for any latents and moves none, so they can be kept in a
    correction file; one that edits each sample in its own way gives edits for exactly the latents it was asked for, in
    their order.
    """

    @property
    def is_static(self) -> bool:
        """Whether it is; a subclass that is says so."""
        return False

    def fit(
        self,
        generator: Generator,
        normal: Tensor,
        broken: Tensor | None = None,
        *,
        masks: Tensor | None = None,
        progress: bool = False,
    ) -> Self:
        """Check the latents, and learn from samples of the generator.

        Parameters
        ----------
        generator : Generator
        normal, broken : Tensor (n, *latent_shape)
            Latents of normal samples, and of broken ones (by labels or by a detector) where the method needs some.
        masks : Tensor (n_broken, h, w), optional
            Where each broken sample is broken, 0..1, at the image's size.
        progress : bool
            Show progress bars.

        Raises
        ------
        ValueError
            If a parameter of the corrector is out of range, the latents are not the generator's, or broken samples or
            masks are missing that it needs.
        """
        samples = FitSamples(
            generator,
            generator.checked_latents(normal),
            None if broken is None else generator.checked_latents(broken),
            masks,
        )
        self._fit(samples, progress)
        return self

    def _fit(self, samples: FitSamples, progress: bool) -> None:
        """Check the parameters and learn from checked samples."""
        raise NotImplementedError

    def edits(self, latents: Tensor) -> tuple[Edit, ...]:
        """The edits that mend the samples of these latents, in the order of the layers."""
        return ()

    def move(self, latents: Tensor) -> Tensor:
        """Return latents to generate from in place of these; the same ones where the method leaves latents alone."""
        return latents

    def correct(self, generator: Generator, latents: Tensor) -> Tensor:
        """Generate images (n, 3, h, w) in 0..1 of these latents, every one corrected; then the model is as before."""
        return self.generate(generator, self.move(generator.checked_latents(latents)))

    def generate(self, generator: Generator, moved: Tensor) -> Tensor:
        """Generate images (n, 3, h, w) of latents that `move` returned, under the edits."""
        images = []
        for batch in moved.split(generator.batch_size):
            with edited(generator.module, *self.edits(batch)):
                images.append(generator.generate(batch))
        return torch.cat(images)


def choose_layers(generator: Generator, layers: Sequence[str] | None) -> tuple[str, ...]:
    """Return the named layers as `checked_layers` does, or `early_layers` of the generator's own list where None.

    Raises
    ------
    UnknownLayerError
        If the generator has no such layer.
    ValueError, TypeError
        If the list is empty, or a plain string.
    """
    return early_layers(generator.layers) if layers is None else checked_layers(generator, layers)
