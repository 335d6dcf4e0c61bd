"""Rarely active neurons, switched off layer after layer: a correction that needs no label and no other network.

Source: Choi, Chang, Choi, "Can we find neurons that cause unrealistic images in deep generative networks?", IJCAI 2022,
arXiv 2201.06346, with the rate 0.3 and the rule of the paper's code.
"""

from __future__ import annotations

from collections.abc import Sequence

from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from genmend.activations import AblateNeurons, Edit
from genmend.activations.contract import check_strength
from genmend.gans.correctors.corrector import Corrector, FitSamples, choose_layers
from genmend.gans.detection.rare_activation import activation_rates, check_rate

__all__ = ["RareNeurons"]


class RareNeurons(Corrector):
    """Switch off, where positive, neurons that are active in a share of samples in (0, rate].

    Parameters
    ----------
    rate : float in (0, 1]
    layers : sequence of str, optional
        In the order of depth, each seeing the already corrected output of the earlier ones; the first half of the
        generator's layers where None.
    n_samples : int, optional
        Own samples of the generator, of any quality, that the rates are measured on. None: on the normal ones alone.
    strength : float in [0, 1]
        1 sets to zero, 0 changes nothing.
    seed : int
        Of the own samples.

    Attributes
    ----------
    rates_ : dict layer -> Tensor (c, h, w) float64
    edits_ : tuple of Edit
    """

    def __init__(
        self,
        rate: float = 0.3,
        layers: Sequence[str] | None = None,
        *,
        n_samples: int | None = 10_000,
        strength: float = 1.0,
        seed: int = 1_000_003,
    ) -> None:
        self.rate = rate
        self.layers = layers
        self.n_samples = n_samples
        self.strength = strength
        self.seed = seed

    @property
    def is_static(self) -> bool:
        """Yes."""
        return True

    def _fit(self, samples: FitSamples, progress: bool) -> None:
        """Measure the rates on the uncorrected generator; broken samples and masks are not needed."""
        check_rate(self.rate)
        check_strength(self.strength)
        generator = samples.generator
        layers = choose_layers(generator, self.layers)
        latents = samples.normal if self.n_samples is None else generator.latents(self.n_samples, self.seed)
        self.rates_ = activation_rates(generator, latents, layers, progress=progress)
        self.edits_: tuple[Edit, ...] = tuple(
            AblateNeurons(layer, (rates > 0) & (rates <= self.rate), strength=self.strength)
            for layer, rates in self.rates_.items()
        )

    def edits(self, latents: Tensor) -> tuple[Edit, ...]:
        """The same edits for any latents, one a layer."""
        check_is_fitted(self, "edits_")
        return self.edits_
