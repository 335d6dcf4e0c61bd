"""Train a detector on labels: of a generator's latents, or of two folders of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans.detection.artifact_detector import LabelledFeatures
from genmend.gans.detection.detect import fit_detector, measure_samples
from genmend.gans.detection.detector_file import AnyDetector, load_detector, save_detector
from genmend.gans.detection.discrimination import Discrimination, discrimination
from genmend.gans.detection.image_detector import ImageDetector
from genmend.gans.detection.labelled_images import LabelledImages, load_labelled_images
from genmend.gans.detection.labelled_samples import LabelledSamples, load_labelled
from genmend.gans.detection.soft_logistic import LinearScore, cross_validated_scores, fit_soft_logistic
from genmend.gans.generator import Generator, generator_facts
from genmend.gans.probing import Probe, probed
from genmend.gans.settings import TrainSettings
from genmend.manifold import Manifold
from genmend.storage.digests import sha256_of_array
from genmend.storage.notebook import NotebookResult
from genmend.storage.pieces import Work

__all__ = ["TrainRun", "train_detector"]

K = 3  # neighbours of the manifold of good images, as of `ArtifactDetector`


@dataclass(frozen=True, repr=False)
class TrainRun(NotebookResult):
    """Result of `train_detector`.

    Attributes
    ----------
    model : str
        The generator's name; empty where the detector was trained on images alone.
    detector : ArtifactDetector or ImageDetector
    names : list of n str
        Of the labelled samples: rows of latents, or files.
    shares : ndarray (n,)
        Their labels, 0 normal to 1 broken.
    scores : ndarray (n,)
        Of each by a model that did not see it; higher = more broken.
    measured : Discrimination
        Of these scores, on the samples whose label is clear.
    settings : dict
        Of the run, as JSON holds them.
    image : callable
        From the number of a labelled sample to its image (3, h, w) in 0..1.
    probe : Probe or None
        What two runs of two latents have shown of the generator, if there is one.
    """

    model: str
    detector: AnyDetector
    names: list[str]
    shares: NDArray[np.float64]
    scores: NDArray[np.float64]
    measured: Discrimination
    settings: dict[str, Any]
    image: Callable[[int], Tensor] = field(repr=False, compare=False)
    probe: Probe | None = field(default=None, repr=False, compare=False)

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Which labelled samples a model that did not see them flags."""
        return self.scores > self.detector.threshold_

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns of ``scores.csv``."""
        return {
            "name": np.array(self.names),
            "share": self.shares,
            "score": self.scores,
            "flagged": self.flagged.astype(int),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds."""
        normal, broken = self.shares == 0, self.shares == 1
        return {
            "model": self.model or None,
            "needs": ["images", "neurons"] if self.model else ["images"],
            "n": len(self.shares),
            "n_borderline": int((~normal & ~broken).sum()),
            **self.measured.to_dict(),
            "threshold": self.detector.threshold_,
            "normal_flagged": float(self.flagged[normal].mean()),
            "broken_flagged": float(self.flagged[broken].mean()),
            "settings": self.settings,
            "probe": None if self.probe is None else self.probe.to_dict(),
        }


def train_detector(
    generator: Generator | None = None,
    *,
    labels: LabelledSamples | str | Path | None = None,
    good: Any = None,
    bad: Any = None,
    settings: TrainSettings | None = None,
    work: Work | None = None,
) -> TrainRun:
    """Train a detector of broken samples on labels, and measure it by cross-validation.

    With a generator and `labels` it looks at image features and at rarely active neurons of the generator; what is
    normal is learnt from the own samples that it does not flag. With `good` and `bad` images it looks at features of
    images alone, whatever they come from.

    Parameters
    ----------
    generator : Generator, optional
        Whose latents are labelled.
    labels : LabelledSamples or path, optional
        A folder as `load_labelled` reads it.
    good, bad : optional
        Images, each a folder, a list of files, or an array (n, 3, h, w) in 0..1: in place of generator and labels.
    settings : TrainSettings, optional
    work : Work, optional
        Where what was measured is kept.

    Raises
    ------
    ValueError
        If neither or both kinds of labels are given, one side is absent or too small for the folds, lengths differ,
        or a label, a latent or an image is not finite.
    FileNotFoundError
        If a folder or a file in it is not there.
    """
    settings, work = settings or TrainSettings(), work or Work()
    by_images = good is not None or bad is not None
    if by_images == (labels is not None):
        raise ValueError(
            "Give labels in one of two forms: a generator with a folder of labels (latents.npy, labels.csv), or both "
            "good and bad images."
        )
    if by_images:
        if good is None or bad is None:
            raise ValueError(f"Only {'bad' if good is None else 'good'} images are given; give good ones and bad ones.")
        if generator is not None:
            raise ValueError(
                "Images show no neurons, so a detector trained on good and bad images has no generator: leave it out, "
                "or label latents of it."
            )
        images = load_labelled_images(
            good, bad, settings.detector.extractor, least=settings.n_folds, cache=work.resume, progress=work.progress
        )
        return _on_images(images, settings, work)
    assert labels is not None
    if generator is None:
        raise ValueError("Labels of latents need the generator that draws them: give it (MODEL on the command line).")
    if not isinstance(labels, LabelledSamples):
        labels = load_labelled(Path(labels), generator)
    return _on_latents(generator, labels, settings, work)


def _on_latents(generator: Generator, labels: LabelledSamples, settings: TrainSettings, work: Work) -> TrainRun:
    shares = labels.share
    if len(shares) != len(labels.latents):
        raise ValueError(f"There are {len(labels.latents)} latents and {len(shares)} labels; give one a latent.")
    _check(shares, settings)
    probe = probed(generator)
    latents = generator.checked_latents(labels.latents)
    base = fit_detector(generator, settings.detector, work)
    features, counts = measure_samples(generator, base, latents, work)
    inputs = base.supervised_inputs(features, counts)
    facts = generator_facts(generator) | {"layers": generator.layers, "labels": labels.digest}
    score, scores, threshold = _fitted(inputs, shares, settings, work, facts)

    def fit() -> AnyDetector:
        base.supervised_, base.labelled_ = score, LabelledFeatures(features, shares)
        detector = base.trust_labels(threshold)
        detector.training_ = _training(scores, shares, settings)
        return detector

    detector = work.kept("trained", facts | asdict(settings), fit, save=save_detector, load=load_detector)
    names = [str(row) for row in range(len(shares))]
    run = _run(
        generator.name, detector, names, scores, shares, settings, lambda row: generator.generate(latents[row, None])[0]
    )
    return replace(run, probe=probe)


def _on_images(images: LabelledImages, settings: TrainSettings, work: Work) -> TrainRun:
    features, shares = images.features, images.shares
    _check(shares, settings)
    facts = {"features": sha256_of_array(features), "shares": sha256_of_array(shares)}
    score, scores, threshold = _fitted(features, shares, settings, work, facts)
    detector = ImageDetector(
        settings.detector.extractor,
        score,
        threshold,
        Manifold(K).fit(features[shares == 0]),
        LabelledFeatures(features, shares),
        images.size,
        _training(scores, shares, settings),
    )
    return _run("", detector, images.names, scores, shares, settings, images.image)


def _check(shares: NDArray[np.float64], settings: TrainSettings) -> None:
    """Raise ValueError where the folds would lack a kind."""
    if not ((shares >= 0) & (shares <= 1)).all():  # NaN is neither
        raise ValueError("A label is NaN or outside [0, 1]; give 0 for normal, 1 for broken, 0.5 for borderline.")
    counts = {"normal": int((shares == 0).sum()), "broken": int((shares == 1).sum())}
    least = max(settings.n_folds, K + 1)
    if min(counts.values()) < least:
        raise ValueError(
            f"{counts['normal']} samples are labelled normal and {counts['broken']} broken; {settings.n_folds} folds "
            f"need {least} of each at least, and a dozen or more are better."
        )


def _fitted(
    inputs: NDArray[Any], shares: NDArray[np.float64], settings: TrainSettings, work: Work, facts: dict[str, Any]
) -> tuple[LinearScore, NDArray[np.float64], float]:
    """The score fitted on all, that of each sample by a model that did not see it, and the threshold.

    The strength of the regularisation is chosen once, on all folds' log-loss: scores of different strengths could not
    be ranked together.
    """

    def compute() -> dict[str, NDArray[Any]]:
        score = fit_soft_logistic(inputs, shares, seed=settings.detector.seed)
        scores = cross_validated_scores(
            inputs, shares, regularisation=score.regularisation, n_folds=settings.n_folds, seed=settings.detector.seed
        )
        return {
            "weights": score.weights,
            "others": np.array([score.bias, score.regularisation]),
            "scores": scores,
        }

    kept = work.kept("cross_validated", facts | asdict(settings), compute)
    bias, regularisation = (float(value) for value in kept["others"])
    threshold = float(np.quantile(kept["scores"][shares == 0], 1 - settings.false_alarms))
    return LinearScore(kept["weights"], bias, regularisation), kept["scores"], threshold


def _measured(scores: NDArray[np.float64], shares: NDArray[np.float64], settings: TrainSettings) -> Discrimination:
    clear = (shares == 0) | (shares == 1)
    return discrimination(scores[clear], shares[clear] == 1, seed=settings.detector.seed)


def _training(scores: NDArray[np.float64], shares: NDArray[np.float64], settings: TrainSettings) -> dict[str, Any]:
    found = _measured(scores, shares, settings)
    return {
        "auroc": found.auroc,
        "interval": list(found.interval),
        "n_normal": found.n_normal,
        "n_broken": found.n_broken,
        "n_folds": settings.n_folds,
    }


def _run(
    model: str,
    detector: AnyDetector,
    names: list[str],
    scores: NDArray[np.float64],
    shares: NDArray[np.float64],
    settings: TrainSettings,
    image: Callable[[int], Tensor],
) -> TrainRun:
    return TrainRun(
        model, detector, names, shares, scores, _measured(scores, shares, settings), asdict(settings), image
    )
