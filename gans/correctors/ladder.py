"""Find the neurons that break a generator's samples, and make a correction of them.

Two ways to choose the neurons of a layer:

- *rare* (Choi, Chang, Choi, IJCAI 2022, arXiv 2201.06346): those with 0 < activation rate <= R, switched off where
  positive, layer after layer, each layer seeing the already corrected input;
- *contrast*, ours: those that fire more often in broken own samples than in normal ones, by the log ratio of the two
  rates, cut down to their mean over normal samples; optionally after a pull of the whole first layer towards that mean.

A correction is a ladder of such edits from weak to strong, and before them the moves of the latent that silence the
same neurons (genmend.gans.correctors.contrast_descent); with a gate that says which samples need it and a stop rule
that says what is enough (genmend.gans.correctors.gated).
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from genmend.activations import (
    AblateNeurons,
    CapNeurons,
    Correction,
    Edit,
    Gate,
    PullToMean,
    StopRule,
)
from genmend.gans.correctors.contrast import Contrast
from genmend.gans.correctors.contrast_descent import DESCENTS, fit_descent
from genmend.gans.detection.artifact_detector import ArtifactDetector
from genmend.gans.detection.detect import check_detector
from genmend.gans.detection.evidence import known_thresholds
from genmend.gans.detection.rare_activation import RareActivation
from genmend.gans.detection.soft_logistic import cross_validated_scores, fit_soft_logistic
from genmend.gans.generator import Generator, early_layers
from genmend.manifold import Manifold

__all__ = ["Rung", "default_rungs", "fit_correction", "gate_and_stop_rule", "rung_edits"]

# Share of the neurons that are capped, and pull of the first layer to its mean. Small steps: a sample stops at the
# first rung that is enough, so what it is changed beyond need is at most one step.
_CONTRAST_LADDER = (
    (0.05, 0.0),
    (0.1, 0.0),
    (0.15, 0.025),
    (0.2, 0.05),
    (0.25, 0.075),
    (0.3, 0.1),
    (0.4, 0.15),
    (0.5, 0.2),
    (0.6, 0.2),
    (0.8, 0.25),
)
# Recorded in every correction, so that gate and stop rule can be moved without fitting it anew.
LABELLED_QUANTILE, OWN_QUANTILE = 0.95, 0.98  # of the normal samples' gate scores, where a gate is trained anew
ENOUGH_QUANTILE, NORMAL_QUANTILE, MANIFOLD_QUANTILE = 0.5, 0.95, 0.99  # where the stop rule draws its limits
QUANTILES = (0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99)


@dataclass(frozen=True)
class Rung:
    """One step of a ladder.

    Attributes
    ----------
    select : "rare" or "contrast"
    amount : float
        For "rare" the activation rate R up to which a neuron is switched off; for "contrast" the share of a layer's
        neurons, those with the highest contrast. In (0, 1].
    layers : tuple of str
    strength : float
        0 (nothing) to 1 (switched off, or cut down to the normal mean).
    pull : float
        For "contrast": share of the way, 0 to 1, that all of the first layer is pulled to its normal mean beforehand.
    """

    select: Literal["rare", "contrast"]
    amount: float
    layers: tuple[str, ...]
    strength: float = 1.0
    pull: float = 0.0

    def __post_init__(self) -> None:
        if self.select not in ("rare", "contrast"):
            raise ValueError(f"select is {self.select!r}; give 'rare' or 'contrast'.")
        if not 0 < self.amount <= 1:
            raise ValueError(f"amount is {self.amount}; give a rate or share in (0, 1].")
        if not self.layers:
            raise ValueError("layers is empty; name at least one layer to edit.")


def default_rungs(layers: Sequence[str], select: Literal["rare", "contrast"] = "contrast") -> tuple[Rung, ...]:
    """A ladder over the `early_layers` of the inspected ones."""
    early = early_layers(layers)
    if select == "rare":
        return tuple(Rung("rare", rate, early) for rate in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3))
    return tuple(Rung("contrast", share, early, pull=pull) for share, pull in _CONTRAST_LADDER)


def rung_edits(rung: Rung, rare: RareActivation, contrast: Contrast | None) -> tuple[Edit, ...]:
    """The edits of one rung: one a layer, and the pull where there is one.

    Raises
    ------
    ValueError
        If the rung selects by contrast and none was measured, or names a layer without rates.
    """
    if rung.select == "rare":
        masks = rare.masks(rung.amount, rung.layers)
        return tuple(AblateNeurons(layer, mask, strength=rung.strength) for layer, mask in masks.items())
    if contrast is None:
        raise ValueError("This rung selects neurons by contrast, and none was measured: pass a Contrast.")
    first = rung.layers[0]
    pull = (PullToMean(first, contrast.normal_mean[first], strength=rung.pull),) if rung.pull else ()
    caps = tuple(
        CapNeurons(layer, contrast.normal_mean[layer], contrast.mask(layer, rung.amount), strength=rung.strength)
        for layer in rung.layers
    )
    return pull + caps


def fit_correction(
    generator: Generator,
    detector: ArtifactDetector,
    *,
    rungs: Sequence[Rung] | None = None,
    descents: Sequence[float] = DESCENTS,
    labelled: tuple[NDArray[np.floating], NDArray[np.floating]] | None = None,
    gate_quantile: float | None = None,
    stop_quantile: float = ENOUGH_QUANTILE,
    normal_quantile: float = NORMAL_QUANTILE,
    manifold_quantile: float = MANIFOLD_QUANTILE,
    progress: bool = False,
) -> Correction:
    """Make a correction from a fitted detector.

    Parameters
    ----------
    generator, detector
        The detector has to be fitted on this generator, with an extractor given by name.
    rungs : sequence of Rung, optional
        Weak to strong; `default_rungs` of the generator's layers where None.
    descents : sequence of float
        How far latents are moved, before a rung is tried: until no early layer marks the sample more as broken than
        this share of normal samples. From weak to strong, so falling; empty for the rungs alone. Nothing is moved where
        no rung selects by contrast, or no gradient comes back to the latents.
    labelled : (features (n, d), shares (n,)), optional
        The gate is trained on these (share of artifact in [0, 1]). Without labels it is the detector's learned score;
        where there is none, it is trained to find the own samples that the detector flags.
    gate_quantile : float, optional
        The gate opens above this quantile of the normal samples' gate scores: 0.98 leaves 98 % of them untouched. None:
        at the detector's own threshold, so that it flags the same samples; where gate and detector have not the same
        score, at 0.95 of labelled normal samples, 0.98 of own ones.
    stop_quantile : float
        A rung is enough once the gate score is below this quantile of the normal samples' gate scores. Where no rung
        gets there, the one of the lowest score is taken if it is below `normal_quantile`; else the sample is given up.
    normal_quantile, manifold_quantile : float
        A sample is inside the normal manifold while its gate score is below the first quantile of the normal samples',
        and its distance / radius below the second of the own normal samples'.
    progress : bool
        Show progress bars.

    Returns
    -------
    Correction
        Ladder, descent, gate, stop rule and settings; figures measured later go into its `info`.

    Raises
    ------
    ValueError
        If the detector was fitted on another generator.
    """
    check_detector(detector, generator)
    rungs = default_rungs(generator.layers) if rungs is None else tuple(rungs)
    gate, contrasted, normal_scores = _gate(detector, labelled, gate_quantile)
    contrast, descent = None, None
    if any(rung.select == "contrast" for rung in rungs):
        layers = tuple(dict.fromkeys(layer for rung in rungs for layer in rung.layers))
        latents = generator.latents(detector.n_reference, detector.seed + 1)
        contrast = Contrast.measure(generator, latents, contrasted, layers, progress=progress)
        if descents:
            calm = latents[torch.from_numpy(contrasted <= np.median(contrasted))]
            descent = fit_descent(generator, contrast, calm, layers, quantiles=descents, progress=progress)
    return Correction.of(
        generator.module,
        [rung_edits(rung, detector.rare_, contrast) for rung in rungs],
        gate=gate,
        stop_rule=_stop_rule(detector, normal_scores, stop_quantile, normal_quantile, manifold_quantile),
        generator_settings=generator.settings,
        descent=descent,
        info={
            "method": f"{'' if descent is None else 'latents moved by contrast, else '}sequential correction of "
            "neurons, gated, least sufficient rung",
            "generator": generator.name,
            "rungs": [asdict(rung) for rung in rungs],
            "descents": [] if descent is None else list(descents),
            "gate_score_quantiles_of_normal": {str(q): float(np.quantile(normal_scores, q)) for q in QUANTILES},
            "gate_trained_on": "labels" if labelled else "own samples that the detector suspects",
            "tail": None if labelled or detector.tail_ is None else detector.tail_.to_dict(),
            "thresholds": {} if labelled else known_thresholds(detector),
            "seed": detector.seed,
            "versions": {name: version(name) for name in ("torch", "numpy", "scikit-learn")}
            | {"python": platform.python_version()},
        },
    )


def gate_and_stop_rule(detector: ArtifactDetector) -> tuple[Gate, StopRule]:
    """What `fit_correction` makes of a fitted detector beside the edits, for edits that come from elsewhere."""
    gate, _, normal_scores = _gate(detector, None, None)
    return gate, _stop_rule(detector, normal_scores, ENOUGH_QUANTILE, NORMAL_QUANTILE, MANIFOLD_QUANTILE)


def _stop_rule(
    detector: ArtifactDetector,
    normal_scores: NDArray[np.float64],
    stop_quantile: float,
    normal_quantile: float,
    manifold_quantile: float,
) -> StopRule:
    """The limits at these quantiles of the normal samples, whose gate scores are given."""
    reference = detector.manifold_.reference_
    # In half precision where it fits, so that the file stays small; the radii are those of the rounded features.
    if np.abs(reference).max() < np.finfo(np.float16).max:
        reference = reference.astype(np.float16)
    normal = Manifold(detector.k).fit(reference)
    return StopRule(
        enough_gate_score=float(np.quantile(normal_scores, stop_quantile)),
        normal_gate_score=float(np.quantile(normal_scores, normal_quantile)),
        normal_manifold_score=float(np.quantile(normal.score_samples(leave_one_out=True), manifold_quantile)),
        k=detector.k,
        features=torch.from_numpy(reference),
        radii=torch.from_numpy(normal.radii_),
    )


def _gate(
    detector: ArtifactDetector,
    labelled: tuple[NDArray[np.floating], NDArray[np.floating]] | None,
    quantile: float | None,
) -> tuple[Gate, NDArray[np.float64], NDArray[np.float64]]:
    """The gate, the own samples' scores by it, and those of normal samples.

    Scores of normal samples are by models that did not see them: those of a model's own training set look too normal.
    """
    score, own_scores = detector.learned_, detector.own_scores_
    if labelled is None and score is not None and own_scores is not None:
        normal_scores = own_scores[detector.own_normal_]
        threshold = detector.threshold_ if quantile is None else float(np.quantile(normal_scores, quantile))
    else:
        features, shares = labelled or (detector.own_features_, detector.own_flagged_.astype(float))
        score = fit_soft_logistic(features, shares)
        unseen = cross_validated_scores(features, shares, regularisation=score.regularisation)
        normal_scores, own_scores = unseen[np.asarray(shares) == 0], score(detector.own_features_)
        default = LABELLED_QUANTILE if labelled else OWN_QUANTILE
        threshold = float(np.quantile(normal_scores, default if quantile is None else quantile))
    name = detector.extractor if isinstance(detector.extractor, str) else "own callable"
    return Gate(name, torch.from_numpy(score.weights), score.bias, threshold), own_scores, normal_scores
