"""Units that are active where samples are broken: switched off, scaled down, pulled to what normal samples have.

Source: Tousi, Jeong, Han, Choi, Choi, "Automatic correction of internal units in generative neural networks", CVPR
2021, arXiv 2104.06118: `mode="global"` and `"sequential"`. `"pull"` and `"cap"`, and the contrast score, are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from genmend.activations import CapNeurons, Edit, MeanVariance, PullToMean, ScaleUnits, UnitQuantiles, edited
from genmend.activations.contract import check_strength
from genmend.gans.correctors.corrector import Corrector, FitSamples, choose_layers
from genmend.gans.correctors.defective_score import checked_masks, defective_score
from genmend.gans.detection.defect_classifier import DefectClassifier
from genmend.gans.generator import Generator, layer_shapes, recorded_batches
from genmend.gans.image_features import image_batches

__all__ = ["DefectiveUnits"]

_UNIT_THRESHOLDS = {"minmax": 0.5, "quantile": 0.99}


class DefectiveUnits(Corrector):
    """Score units by the agreement of their maps with the masks of broken samples; correct those that score highest.

    Our reading of arXiv 2104.06118: lambda, alpha and the form of a unit's mask are not known to us.

    Parameters
    ----------
    mode : "sequential", "global", "pull" or "cap"
        - *sequential*: in each layer, the units of the highest score are scaled, ``r <- keep * (1 - score) * r``; each
          layer sees the already corrected output of the earlier ones;
        - *global*: the `n_units` units of the highest score of one layer are switched off in every sample;
        - *pull*: ``r <- keep * r + (1 - keep) * mean`` with the mean over normal samples;
        - *cap*: what exceeds a quantile of the normal samples is cut off, ``r <- min(r, quantile)``.
    layers : sequence of str, optional
        In the order of depth. Where None the first half of the generator's layers; with mode "global" the last of
        these alone.
    n_units : int
        Units switched off by mode "global".
    share : float in (0, 1]
        Share of each layer's units that the other modes act on (alpha).
    keep : float in [0, 1]
        How much of an activation modes "sequential" and "pull" keep (lambda).
    quantile : float in (0, 1]
        Of mode "cap", over normal samples and positions.
    per : "unit" or "neuron"
        Whether mode "pull" takes one mean for a unit, or one for each position in its map.
    contrast : bool
        Subtract from the score the same agreement in normal samples, under masks of broken ones drawn at random: so a
        unit that is simply active over the whole face is not at fault.
    unit_mask : "minmax" or "quantile"
        Where a unit counts as active in a sample: above a share of the way between the extremes of its map there, or
        above a quantile of its activations in normal samples.
    unit_threshold : float in (0, 1), optional
        That share (0.5 where None), or that quantile (0.99).
    rescore : bool
        Score each layer on samples in which the earlier layers are already corrected. Where False all layers are scored
        on the uncorrected generator, and only the corrections act one after another.
    classifier : DefectClassifier, optional
        Makes Grad-CAM masks where `fit` gets none. One that is not fitted is trained on the images of `fit`'s normal
        and broken latents.
    strength : float in [0, 1]
        Of every edit; 0 changes nothing.
    seed : int
        Of the masks' order under `contrast`.

    Attributes
    ----------
    scores_ : dict layer -> Tensor (c,) float64
        In 0..1, with `contrast` in -1..1; higher = more at fault.
    units_ : dict layer -> tuple of int
        The corrected units, highest score first; none has a score of 0 or below.
    edits_ : tuple of Edit
    """

    def __init__(
        self,
        mode: Literal["sequential", "global", "pull", "cap"] = "sequential",
        layers: Sequence[str] | None = None,
        *,
        n_units: int = 20,
        share: float = 0.2,
        keep: float = 0.5,
        quantile: float = 0.95,
        per: Literal["unit", "neuron"] = "unit",
        contrast: bool = False,
        unit_mask: Literal["minmax", "quantile"] = "minmax",
        unit_threshold: float | None = None,
        rescore: bool = False,
        classifier: DefectClassifier | None = None,
        strength: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.mode = mode
        self.layers = layers
        self.n_units = n_units
        self.share = share
        self.keep = keep
        self.quantile = quantile
        self.per = per
        self.contrast = contrast
        self.unit_mask = unit_mask
        self.unit_threshold = unit_threshold
        self.rescore = rescore
        self.classifier = classifier
        self.strength = strength
        self.seed = seed

    @property
    def is_static(self) -> bool:
        """Yes."""
        return True

    def _fit(self, samples: FitSamples, progress: bool) -> None:
        """Score the units and choose those to correct."""
        self._check_parameters()
        generator, normal, broken = samples.generator, samples.normal, samples.require_broken(self)
        layers = choose_layers(generator, self.layers)
        if self.mode == "global":
            layers = self._one_layer(layers)
        for layer, shape in layer_shapes(generator, layers).items():
            if len(shape) != 3:
                raise ValueError(
                    f"Layer {layer!r} puts out {('n', *shape)}, but DefectiveUnits compares maps (n, c, h, w) with "
                    "masks of images: name layers with such outputs, or take another method, e.g. rare-neurons."
                )
        masks = samples.masks
        if masks is None:
            masks = self._attributed(generator, normal, broken, progress)
        marked = checked_masks(masks, len(broken))
        thresholds = self._thresholds(generator, normal, layers, progress)
        self.scores_: dict[str, Tensor] = {}
        self.units_: dict[str, tuple[int, ...]] = {}
        self.edits_: tuple[Edit, ...] = ()
        for group in [[layer] for layer in layers] if self.rescore else [layers]:
            with edited(generator.module, *self.edits_):
                scores = defective_score(generator, broken, marked, group, thresholds=thresholds, progress=progress)
                if self.contrast:
                    other = self._shuffled(marked, len(normal))
                    usual = defective_score(generator, normal, other, group, thresholds=thresholds, progress=progress)
                    scores = {layer: score - usual[layer] for layer, score in scores.items()}
            self.scores_ |= scores
            self.units_ |= {layer: self._highest(scores[layer]) for layer in group}
            self.edits_ += tuple(self._edit(generator, normal, layer, progress) for layer in group)

    def edits(self, latents: Tensor) -> tuple[Edit, ...]:
        """The same edits for any latents, one a layer."""
        check_is_fitted(self, "edits_")
        return self.edits_

    def _check_parameters(self) -> None:
        for name, accepted in (
            ("mode", ("sequential", "global", "pull", "cap")),
            ("per", ("unit", "neuron")),
            ("unit_mask", tuple(_UNIT_THRESHOLDS)),
        ):
            if getattr(self, name) not in accepted:
                raise ValueError(f"{name} is {getattr(self, name)!r}; give one of {', '.join(map(repr, accepted))}.")
        check_strength(self.strength)
        if self.n_units < 1:
            raise ValueError(f"n_units is {self.n_units}; give at least 1.")
        if not 0 <= self.keep <= 1:
            raise ValueError(f"keep is {self.keep}; give a share in [0, 1]: above 1 the units would be amplified.")
        for name in ("share", "quantile"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give a share in (0, 1].")
        if self.unit_threshold is not None and not 0 < self.unit_threshold < 1:
            raise ValueError(f"unit_threshold is {self.unit_threshold}; give a number in (0, 1).")

    def _one_layer(self, layers: tuple[str, ...]) -> tuple[str, ...]:
        if self.layers is not None and len(layers) > 1:
            raise ValueError(
                f"layers is {list(layers)}, but mode 'global' edits one layer; name one, or choose mode 'sequential'."
            )
        return layers[-1:]

    def _attributed(self, generator: Generator, normal: Tensor, broken: Tensor, progress: bool) -> Tensor:
        from genmend.gans.detection.defect_masks import attribution_masks

        classifier = DefectClassifier() if self.classifier is None else self.classifier
        if not classifier.fitted:
            labels = torch.cat([torch.ones(len(broken)), torch.zeros(len(normal))])
            classifier = classifier.fit_samples(generator, torch.cat([broken, normal]), labels, progress=progress)
        batches = image_batches(generator, broken, "masks", progress)
        return torch.cat([attribution_masks(classifier, images).bool() for images in batches])

    def _thresholds(
        self, generator: Generator, normal: Tensor, layers: tuple[str, ...], progress: bool
    ) -> float | dict[str, Tensor]:
        level = _UNIT_THRESHOLDS[self.unit_mask] if self.unit_threshold is None else self.unit_threshold
        if self.unit_mask == "minmax":
            return level
        return _unit_quantiles(generator, normal, layers, level, progress)

    def _shuffled(self, masks: Tensor, n: int) -> Tensor:
        """`n` of the masks in random order, each as often as the others or once more."""
        rounds = -(-n // len(masks))
        draw = torch.Generator().manual_seed(self.seed)
        order = torch.cat([torch.randperm(len(masks), generator=draw) for _ in range(rounds)])
        return masks[order[:n]]

    def _highest(self, score: Tensor) -> tuple[int, ...]:
        count = self.n_units if self.mode == "global" else max(1, round(self.share * len(score)))
        order = score.sort(descending=True, stable=True).indices[:count]
        return tuple(order[score[order] > 0].tolist())

    def _edit(self, generator: Generator, normal: Tensor, layer: str, progress: bool) -> Edit:
        units = self.units_[layer]
        if self.mode == "global":
            return ScaleUnits(layer, units, 0.0, self.strength)
        if self.mode == "sequential":
            return ScaleUnits(layer, units, self.keep * (1 - self.scores_[layer][list(units)]), self.strength)
        if self.mode == "pull":
            statistic = MeanVariance(per=self.per)
            for outputs in recorded_batches(generator, normal, [layer], "normal statistics", progress):
                statistic.update(outputs[layer])
            mean = statistic.mean.float().cpu()
            return PullToMean(layer, mean, units=units, strength=self.strength * (1 - self.keep))
        ceiling = _unit_quantiles(generator, normal, (layer,), self.quantile, progress)[layer]
        shape = layer_shapes(generator, [layer])[layer]
        mask = torch.zeros(shape, dtype=torch.bool)
        mask[list(units)] = True
        return CapNeurons(layer, ceiling.float()[:, None, None].expand(shape), mask, self.strength)


def _unit_quantiles(
    generator: Generator, latents: Tensor, layers: Sequence[str], level: float, progress: bool
) -> dict[str, Tensor]:
    """A quantile of each unit's activations over samples and positions: (c,) float64 by layer."""
    statistics = {layer: UnitQuantiles(len(latents), tail=max(1 - level, 1e-9)) for layer in layers}
    for outputs in recorded_batches(generator, latents, layers, "quantiles of normal samples", progress):
        for layer in layers:
            statistics[layer].update(outputs[layer])
    return {layer: statistic.quantile(level).cpu() for layer, statistic in statistics.items()}
