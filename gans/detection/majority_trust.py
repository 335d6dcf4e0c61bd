"""Whether a generator's own majority can be trusted to say what is normal.

Where most samples are blurred, the sharp ones are far from the majority and are flagged: the score is upside down, and
a correction blurs what was good. It shows without labels. Then the samples scored most broken are the sharper ones, and
the score rises with sharpness among all the others, too. Broken samples of a good generator may be sharp (noise) or
blurred; but sharpness does not rank its normal ones.

Sharpness is *detail*: the share of an image's contrast that is lost when each 2 x 2 pixels become their mean, after
shrinking to at most 128 pixels. Contrast grows with the distance of a latent from the centre in any network, untrained
ones too, and the score with it; so it is divided by, and its ranks are taken out of the correlation.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from genmend.gans.detection.artifact_detector import ArtifactDetector
from genmend.gans.detection.detector_file import AnyDetector
from genmend.gans.generator import Generator, generator_facts
from genmend.gans.image_features import image_batches
from genmend.storage.pieces import Work

__all__ = [
    "MajorityTrust",
    "blurred",
    "check_majority",
    "contrast_of",
    "detail_of",
    "in_words",
    "majority_trust",
    "warn_of_majority",
]

N_SAMPLES, MOST_PIXELS = 300, 128
TOP, OTHERS = 0.9, 0.8  # quantiles of the score: the samples scored most broken, and those that nobody would flag
# Independent of the score, sharpness would pass the second limit in fewer than one of 10 million generators: 5.4
# standard deviations of Spearman's correlation of 240 samples.
LEAST_AUROC, LEAST_CORRELATION = 0.75, 0.35
HALF_A_LEVEL = 1 / 512  # of 8-bit images: of what is flat to the eye nothing is said
LOST = float(np.log(2 / 3))


@dataclass(frozen=True)
class MajorityTrust:
    """How a label-free score depends on sharpness, over the generator's own samples.

    Attributes
    ----------
    n : int
        Own samples looked at.
    sharper : float
        AUROC of detail for the tenth scored most broken: 0.5 where these are as sharp as the others, 1 where each is
        sharper.
    correlation : float
        Spearman's partial one, of detail and score given contrast, among the 80 % scored least broken.
    doubted : bool
        Whether both are high: `sharper` at least 0.75, `correlation` at least 0.35.
    """

    n: int
    sharper: float
    correlation: float
    doubted: bool

    def to_dict(self) -> dict[str, Any]:
        """Return JSON's view."""
        return asdict(self)


def check_majority(generator: Generator, detector: AnyDetector, work: Work | None = None) -> MajorityTrust | None:
    """Look at 300 own samples; None where labels or normal images say what is normal, so that no majority has to.

    Parameters
    ----------
    generator : Generator
    detector : ArtifactDetector or ImageDetector
        Fitted on this generator, if on one.
    work : Work, optional
        Where the samples' detail is kept.
    """
    if not isinstance(detector, ArtifactDetector) or detector.supervised_ is not None or detector.normal_given_:
        return None
    work, n = work or Work(), min(N_SAMPLES, len(detector.own_features_))

    def compute() -> dict[str, NDArray[Any]]:
        latents = generator.latents(n, detector.seed + 1)  # the first of the reference samples
        batches = image_batches(generator, latents, "sharpness", work.progress)
        parts = [np.stack([detail_of(images), contrast_of(images)], axis=1) for images in batches]
        return {"detail": np.concatenate(parts)}

    facts: dict[str, Any] = {}
    if work.folder is not None:
        facts = generator_facts(generator) | {"seed": detector.seed, "n": n}
    detail = work.kept("detail", facts, compute)["detail"]
    own = detector.score_measured(detector.own_features_[:n], detector.own_counts_[:n])
    return majority_trust(own.combined, detail[:, 0], detail[:, 1])


def majority_trust(
    scores: NDArray[np.floating], detail: NDArray[np.floating], contrast: NDArray[np.floating]
) -> MajorityTrust:
    """Compare the score of own samples (n,), higher = more broken, with their detail and contrast (n,)."""
    top, others = scores > np.quantile(scores, TOP), scores <= np.quantile(scores, OTHERS)
    if not top.any() or min(np.ptp(scores[others]), np.ptp(detail[others])) == 0:  # nothing is ranked
        return MajorityTrust(len(scores), 0.5, 0.0, False)
    sharper = float(roc_auc_score(top, detail))
    correlation = _partial_correlation(scores[others], detail[others], contrast[others])
    doubted = sharper >= LEAST_AUROC and correlation >= LEAST_CORRELATION
    return MajorityTrust(len(scores), sharper, correlation, doubted)


def detail_of(images: Tensor) -> NDArray[np.float64]:
    """Log share of the contrast that lies in the finest detail, (n,), of images (n, 3, h, w) in 0..1."""
    grey = _shrunk(images)
    coarse = interpolate(avg_pool2d(grey, 2), scale_factor=2, mode="nearest")
    return np.log((_deviation(grey - coarse) + HALF_A_LEVEL) / (_deviation(grey) + HALF_A_LEVEL))


def contrast_of(images: Tensor) -> NDArray[np.float64]:
    """Standard deviation of the grey values, (n,), of images (n, 3, h, w) in 0..1."""
    return _deviation(_shrunk(images))


def _shrunk(images: Tensor) -> Tensor:
    """Grey images (n, 1, h, w) of at most about 128 pixels and an even number."""
    grey = images.mean(1, keepdim=True).double()
    grey = avg_pool2d(grey, max(1, min(grey.shape[-2:]) // MOST_PIXELS))
    return grey[..., : grey.shape[-2] // 2 * 2, : grey.shape[-1] // 2 * 2]


def _deviation(grey: Tensor) -> NDArray[np.float64]:
    values: NDArray[np.float64] = grey.flatten(1).std(1, correction=0).cpu().numpy()
    return values


def _partial_correlation(
    first: NDArray[np.floating], second: NDArray[np.floating], given: NDArray[np.floating]
) -> float:
    """Correlation of the ranks of two after those of a third are regressed out of both; 0 where nothing is left."""
    ranks = [rankdata(values) - (len(values) + 1) / 2 for values in (first, second, given)]
    third = ranks[2]
    left = [one - third * (one @ third) / max(third @ third, 1.0) for one in ranks[:2]]
    size = float(np.sqrt((left[0] @ left[0]) * (left[1] @ left[1])))
    return float(left[0] @ left[1]) / size if size > 1e-9 * len(first) ** 3 else 0.0


def blurred(detail: NDArray[np.floating]) -> dict[str, Any]:
    """Whether a correction blurs: of detail before and after it, (n, 2), the share that lost a third or more."""
    share = float((detail[:, 1] - detail[:, 0] <= LOST).mean()) if len(detail) else 0.0
    return {"share": share, "doubted": share > 0.5}


def warn_of_majority(found: Mapping[str, Any] | None) -> None:
    """Warn where `MajorityTrust.to_dict` doubts, and say what to do."""
    if found is not None and found["doubted"]:
        warnings.warn(in_words(found), stacklevel=3)


def in_words(found: Mapping[str, Any]) -> str:
    """What was found, and what to do."""
    if not found["doubted"]:
        return (
            "What is normal is learnt from the model's own majority, and sharpness gives no reason to doubt it: for "
            f"the tenth scored most broken it has an AUROC of {found['sharper']:.2f} (0.5 is as sharp as the rest), "
            f"and among the others it correlates with the score by {found['correlation']:.2f}; doubt begins where "
            f"these reach {LEAST_AUROC} and {LEAST_CORRELATION}."
        )
    return (
        "Normal by majority can't be trusted here: the own samples scored most broken are sharper than the rest (AUROC "
        f"{found['sharper']:.2f}; 0.5 is equal), and among the others the score rises with sharpness, too (correlation "
        f"{found['correlation']:.2f}), so most samples may be blurred and the good ones be flagged. Give a folder of "
        "images that are normal (--normal FOLDER), or judge some samples and use genmend train-detector."
    )
