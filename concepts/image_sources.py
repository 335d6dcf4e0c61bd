"""Images of a folder or an array as a classifier takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmend.concepts.classifiers import Classifier
from genmend.manifold.features.sources import Samples, samples_of
from genmend.storage.digests import sha256_of
from genmend.storage.pieces import Work
from genmend.storage.progress import with_progress

__all__ = ["PreparedImages", "images_of", "open_images", "read_images"]


def read_images(source: Any, classifier: Classifier, most: int) -> tuple[list[str], Tensor]:
    """Names of the first images of a source, and the images as the classifier takes them.

    Raises
    ------
    ValueError
        If the source holds something else, one cannot be used, or they are prepared to several sizes.
    """
    samples = images_of(source)
    images = PreparedImages(samples, tuple(range(min(most, len(samples.names)))), classifier, "", ())
    return [Path(samples.names[number]).name for number in images.numbers], images(0, len(images.numbers))


@dataclass(frozen=True)
class PreparedImages:
    """Images that are read when their turn comes; ``images(start, stop)`` is a batch ``(n, 3, h, w)``.

    Attributes
    ----------
    samples : Samples
    numbers : tuple of int
        Of those that are used, among the samples.
    classifier : Classifier
    digest : str
        Of their content, in their order.
    skipped : tuple of (str, str)
        Names of images that cannot be used, and why.
    """

    samples: Samples
    numbers: tuple[int, ...]
    classifier: Classifier
    digest: str
    skipped: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def __call__(self, start: int, stop: int) -> Tensor:
        """The images of consecutive places, a batch."""
        return self.some(range(start, stop))

    def some(self, places: Sequence[int]) -> Tensor:
        """The images at these places, a batch."""
        loaded = (self.samples.load(self.numbers[place])[1] for place in places)
        prepared = [self.classifier.prepare(image.unsqueeze(0).float()) for image in loaded]
        if len({each.shape for each in prepared}) > 1:
            raise ValueError(f"{self.classifier.name} prepares images of several sizes: let it give one size.")
        return torch.cat(prepared)


def open_images(
    source: Any, classifier: Classifier, *, most: int = 0, seed: int = 0, work: Work | None = None
) -> PreparedImages:
    """The images of a source that can be read; others are left out and named.

    Parameters
    ----------
    source
        See `genmend.manifold.features.sources.samples_of`.
    classifier
    most
        Drawn at random, in their order, where there are more; 0 takes all.
    seed
        Of that choice.
    work
        Keeps which images can be read, so that a second run does not decode them twice.

    Raises
    ------
    ValueError
        If the source holds no images, or none that can be used.
    """
    samples, work = images_of(source), work or Work()
    numbers = np.arange(len(samples.names))
    if 0 < most < len(numbers):
        numbers = np.sort(np.random.default_rng(seed).choice(len(numbers), most, replace=False))
    digests: dict[int, str] = {}
    reasons: dict[int, str] = {}
    for number in numbers.tolist():
        try:
            digests[number] = samples.digest(number).hex()
        except ValueError as error:
            reasons[number] = getattr(error, "reason", str(error))
    first = {name: number for number, name in reversed(digests.items())}

    def reasons_of(names: list[str]) -> list[str]:
        shown = with_progress(names, "reading images", len(names), show=work.progress)
        return [_why_not(samples, first[name]) for name in shown]

    found = work.entries("images that cannot be used", list(digests.values()), reasons_of)
    reasons.update({number: found[name] for number, name in digests.items() if found[name]})
    used = [number for number in numbers.tolist() if number not in reasons]
    skipped = tuple((samples.names[number], reasons[number]) for number in sorted(reasons))
    if not used:
        raise ValueError(
            f"None of the {len(numbers)} images of {samples.description} can be used; {skipped[0][0]}: {skipped[0][1]}."
        )
    return PreparedImages(samples, tuple(used), classifier, sha256_of([digests[number] for number in used]), skipped)


def _why_not(samples: Samples, number: int) -> str:
    try:
        samples.load(number)
    except ValueError as error:
        return str(getattr(error, "reason", error))
    return ""


def images_of(source: Any) -> Samples:
    """The images of a folder, a file, or an array, in memory or in a file; ValueError if it holds something else."""
    samples = samples_of(source)
    if samples.kind != "images":
        raise ValueError(f"{samples.description} holds {samples.kind}, but images are needed.")
    return samples
