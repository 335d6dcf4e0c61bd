"""A classifier out of a network that gives features (a CLIP tower): its classes are learnt from labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from genmend.activations.digests import weights_digest
from genmend.concepts.classifiers import Classifier, prepared_by
from genmend.concepts.image_sources import open_images
from genmend.manifold.features import load_extractor
from genmend.manifold.features.image_extractor import ImageExtractor
from genmend.storage.pieces import Work
from genmend.storage.progress import with_progress

__all__ = ["ClassScores", "classifier_of_folders", "fit_classes"]

MOST_OF_A_CLASS = 20  # images; a linear probe needs few
LEAST_OF_A_CLASS = 2
PENALTY = 10.0  # scikit-learn's C: inverse strength of the penalty on the weights


class ClassScores(nn.Module):
    """A score of each class for features: a linear map of the features at unit length.

    Parameters
    ----------
    weights : Tensor
        Shape ``(classes, d)``.
    biases : Tensor
        Shape ``(classes,)``.
    """

    def __init__(self, weights: Tensor, biases: Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(weights.shape[1], weights.shape[0])
        self.linear.weight.data.copy_(weights)
        self.linear.bias.data.copy_(biases)

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``(n, classes)`` of features ``(n, d)``."""
        scores: Tensor = self.linear(functional.normalize(features, dim=1))
        return scores


def fit_classes(features: NDArray[np.float32], labels: Sequence[int]) -> tuple[ClassScores, float]:
    """Learn scores of classes from features: a linear probe, multinomial logistic regression on unit-length features.

    Parameters
    ----------
    features
        Shape ``(n, d)``.
    labels
        Number of the class of each, 0 and on, at least 2 of each.

    Returns
    -------
    scores : ClassScores
        From all features.
    right : float
        Share of the features that probes of the other half name right, 0..1: the halves are drawn class by class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    probe = LogisticRegression(C=PENALTY, max_iter=1000)
    right = cross_val_score(probe, unit, labels, cv=StratifiedKFold(2, shuffle=True, random_state=0)).mean()
    probe.fit(unit, labels)
    weights, biases = probe.coef_, probe.intercept_
    if len(weights) == 1:  # of two classes scikit-learn gives the second one's
        weights, biases = np.concatenate([-weights, weights]) / 2, np.concatenate([-biases, biases]) / 2
    return ClassScores(torch.from_numpy(weights).float(), torch.from_numpy(biases).float()).eval(), float(right)


def classifier_of_folders(name: str, source: Any, *, device: str = "cpu", work: Work | None = None) -> Classifier:
    """A classifier whose classes are the folders that labelled images lie in, on the features of an extractor.

    A CLIP tower without its text side has no classes: these come from a linear probe, see `fit_classes`, of up to 20
    images of each folder.

    Parameters
    ----------
    name
        Of an image extractor, e.g. 'clip-vit-b16', see `genmend.manifold.features.load_extractor`.
    source
        A folder with a folder of images for each class.
    device
        Where features are computed.
    work
        Keeps the features.

    Raises
    ------
    ValueError
        If there are no two folders with two images each, or the extractor is not of images.
    """
    extractor = load_extractor(name)
    if not isinstance(extractor, ImageExtractor):
        raise ValueError(f"{name} gives no features of images, but circuits of images need such.")
    network, work = extractor.network, work or Work()
    bare = prepared_by(extractor, name, network, ())
    images = open_images(source, bare, work=work)
    folders = [str(Path(images.samples.names[number]).parent) for number in images.numbers]
    classes = sorted(folder for folder in set(folders) if folders.count(folder) >= LEAST_OF_A_CLASS)
    if len(classes) < 2:
        raise ValueError(
            f"{name} gives features and no classes, and {images.samples.description} has {len(classes)} folders of at "
            f"least {LEAST_OF_A_CLASS} images: give --reference FOLDER, with a folder of images for each class."
        )
    rng = np.random.default_rng(0)
    places = [np.flatnonzero(np.array(folders) == each) for each in classes]
    chosen = [np.sort(rng.permutation(own)[:MOST_OF_A_CLASS]) for own in places]
    rows, labels = np.concatenate(chosen), np.repeat(np.arange(len(classes)), [len(own) for own in chosen])

    def compute() -> dict[str, np.ndarray]:
        network.to(device)
        starts = range(0, len(rows), 16)
        with torch.no_grad():
            found = [
                network(images.some(rows[start : start + 16].tolist()).to(device)).float().cpu().numpy()
                for start in with_progress(starts, "features of the classes", len(starts), show=work.progress)
            ]
        return {"features": np.concatenate(found)}

    facts = {"weights": weights_digest(network), "images": images.digest, "rows": rows.tolist()}
    features = work.kept("features of the classes", facts, compute)["features"]
    scores, right = fit_classes(features, labels.tolist())
    made = (
        f"{name} gives features; a linear probe of {len(rows)} images of the reference makes scores of its "
        f"{len(classes)} folders of them, and probes of half of them name {right:.0%} of the other half right."
    )
    return prepared_by(extractor, name, nn.Sequential(network, scores), tuple(classes), made)
