"""Explain the images of a folder: read, prepare, explain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from genmend.activations.digests import weights_digest
from genmend.concepts.classifiers import Classifier
from genmend.concepts.image_sources import read_images
from genmend.concepts.loop.explain import Explanations, explain
from genmend.concepts.settings import ExplainSettings
from genmend.storage.digests import sha256_of_array
from genmend.storage.notebook import NotebookResult
from genmend.storage.pieces import Work

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ExplainRun", "explain_images"]


@dataclass(frozen=True, repr=False)
class ExplainRun(NotebookResult):
    """What `explain_images` found, and of what.

    Attributes
    ----------
    classifier : Classifier
    names : list of str
        Of the images.
    inputs : Tensor
        As the classifier takes them.
    explanations : Explanations
    """

    classifier: Classifier
    names: list[str]
    inputs: Tensor
    explanations: Explanations

    @property
    def images(self) -> np.ndarray:
        """RGB in 0..1, shape ``(n, h, w, 3)``."""
        pixels: np.ndarray = self.classifier.shown(self.inputs).permute(0, 2, 3, 1).numpy()
        return pixels

    def columns(self) -> dict[str, np.ndarray]:
        """One row for each method: its mean in every measure, what it cost, its warnings."""
        explained = self.explanations.explained
        found = {"method": np.array([each.method for each in explained])}
        for measure in self.explanations.measures:
            found[measure.name] = np.array([each.mean(measure.name)[0] for each in explained], dtype=float)
        found["passes"] = np.array([each.passes for each in explained])
        found["seconds"] = np.array([each.seconds for each in explained])
        return found | {"warnings": np.array(["; ".join(each.warnings) for each in explained])}

    def plot(self) -> Figure:
        """Draw the maps of the best methods beside the images."""
        return self.explanations.plot(self.images, names=self.to_dict()["classes"])

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        classes = [self.classifier.class_name(int(number)) for number in self.explanations.targets]
        return {
            "model": self.classifier.name,
            "images": self.names,
            "classes": classes,
            **self.explanations.to_dict(),
        }


def explain_images(
    source: Any,
    classifier: Classifier,
    *,
    target: str = "",
    device: str = "cpu",
    settings: ExplainSettings | None = None,
    work: Work | None = None,
) -> ExplainRun:
    """Explain the first images of a source, see `genmend.concepts.explain`.

    Parameters are those of `genmend.concepts.circuits_of_images`, without a reference.

    Raises
    ------
    ValueError
        If the source holds something else, or there is no such class; and as `explain`.
    """
    settings, work = settings or ExplainSettings(), work or Work()
    names, inputs = read_images(source, classifier, settings.n_images)
    classifier.module.to(device)
    found = explain(
        classifier.module,
        inputs.to(device),
        classifier.class_number(target) if target else None,
        methods=settings.chosen_methods,
        thorough=settings.thorough,
        tune=settings.tune,
        seed=settings.seed,
        batch_size=settings.batch_size,
        progress=work.progress,
        work=work,
        key=f"{weights_digest(classifier.module)} {sha256_of_array(inputs.numpy())}",
    )
    return ExplainRun(classifier, names, inputs, found)
