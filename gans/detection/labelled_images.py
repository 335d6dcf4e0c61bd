"""Two sets of images that somebody has sorted, good and bad: their features and labels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genmend.manifold.features import features_of
from genmend.manifold.features.sources import Samples, samples_of

__all__ = ["LabelledImages", "load_labelled_images"]


@dataclass(frozen=True)
class LabelledImages:
    """n judged images.

    Attributes
    ----------
    features : ndarray (n, d)
    shares : ndarray (n,)
        0 good, 1 bad.
    names : list of n str
    size : (height, width) or None
        Of all images; None where they differ.
    image : callable
        From a number to the image (3, h, w) in 0..1.
    """

    features: NDArray[np.float32]
    shares: NDArray[np.float64]
    names: list[str]
    size: tuple[int, int] | None
    image: Callable[[int], Tensor] = field(repr=False, compare=False)


def load_labelled_images(
    good: Any, bad: Any, extractor: str, *, least: int = 1, cache: bool = True, progress: bool = False
) -> LabelledImages:
    """Read both sets and extract their features.

    Parameters
    ----------
    good, bad
        A folder, a list of files, or an array of images, as `genmend.manifold.features.features_of` takes them.
    extractor : str
    least : int
        Images that each set needs; told before anything is extracted.
    cache : bool
        Whether features are kept and used again.
    progress : bool
        Show progress bars.

    Raises
    ------
    ValueError
        If a set holds no images or fewer than `least`, one of its files can't be read, or both sets share an image.
    FileNotFoundError
        If there is no such folder.
    """
    sets = {"good": samples_of(good), "bad": samples_of(bad)}
    for name, samples in sets.items():
        if samples.kind != "images":
            raise ValueError(f"The {name} set ({samples.description}) holds {samples.kind}; give images.")
        if len(samples.names) < least:
            raise ValueError(
                f"The {name} set ({samples.description}) holds {len(samples.names)} images; {least} are the least, and "
                "a dozen or more are better."
            )
    _check_apart(sets["good"], sets["bad"])
    sizes = {name: {_size(samples, i) for i in range(len(samples.names))} for name, samples in sets.items()}
    if not sizes["good"] & sizes["bad"]:
        warnings.warn(
            f"No good image has the size of a bad one ({_in_words(sizes['good'])} against {_in_words(sizes['bad'])} "
            "pixels): the detector may learn to tell sizes apart; bring all to one size first.",
            stacklevel=3,
        )
    parts = [
        features_of(source, extractor, cache=cache, progress=progress).values.astype(np.float32)
        for source in (good, bad)
    ]
    both, n_good = (*sizes["good"], *sizes["bad"]), len(sets["good"].names)

    def image(number: int) -> Tensor:
        chosen, row = (sets["good"], number) if number < n_good else (sets["bad"], number - n_good)
        picture: Tensor = chosen.load(row)[1]
        return picture

    return LabelledImages(
        np.concatenate(parts),
        np.repeat([0.0, 1.0], [len(part) for part in parts]),
        [f"{name}/{one}" for name, samples in sets.items() for one in samples.names],
        both[0] if len(set(both)) == 1 else None,
        image,
    )


def _check_apart(good: Samples, bad: Samples) -> None:
    """Raise ValueError where one and the same image stands in both sets."""
    known = {good.digest(row): row for row in range(len(good.names))}
    for row in range(len(bad.names)):
        if (same := known.get(bad.digest(row))) is not None:
            raise ValueError(
                f"{good.place(same)} and {bad.place(row)} are the same image, once good and once bad; take one away."
            )


def _size(samples: Samples, row: int) -> tuple[int, int]:
    """Height and width; of a file by its header alone."""
    if samples.paths is None:
        height, width = samples.load(row)[1].shape[1:]
        return int(height), int(width)
    from PIL import Image

    try:
        with Image.open(os.fspath(samples.paths[row])) as opened:
            return opened.height, opened.width
    except Exception:  # what can't be read is refused, by name and with the reason, when it is loaded
        return 0, 0


def _in_words(sizes: set[tuple[int, int]]) -> str:
    shown = [f"{height} x {width}" for height, width in sorted(sizes)]
    return ", ".join(shown[:3]) + (", ..." if len(shown) > 3 else "")
