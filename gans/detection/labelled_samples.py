"""A folder of latents that people have judged: ``latents.npy`` beside ``labels.csv``, with boxes or masks if drawn."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans.detection.defect_masks import box_masks, brush_masks
from genmend.gans.detection.detect import load_latents
from genmend.gans.generator import Generator
from genmend.storage.digests import sha256_of_array
from genmend.storage.numpy_files import read_numbers

__all__ = ["LabelledSamples", "load_labelled"]

_RATERS, _BOX = ("rater_a", "rater_b"), ("x0", "y0", "x1", "y1")


@dataclass(frozen=True)
class LabelledSamples:
    """n judged latents.

    Attributes
    ----------
    latents : Tensor (n, *latent_shape)
    share : ndarray (n,)
        Mean of the raters, 0 normal to 1 clear artifact.
    masks : Tensor (n, h, w) or None
        Where each sample is broken, 0..1; zeros where nobody drew anything.
    masks_from : str
        In words; empty without masks.
    """

    latents: Tensor
    share: NDArray[np.float64]
    masks: Tensor | None = None
    masks_from: str = ""

    @property
    def normal(self) -> NDArray[np.bool_]:
        """Normal for every rater."""
        return self.share == 0

    @property
    def broken(self) -> NDArray[np.bool_]:
        """A clear artifact for every rater."""
        return self.share == 1

    @property
    def digest(self) -> str:
        """Names exactly these samples, labels and masks."""
        masks = self.latents.new_zeros(0) if self.masks is None else self.masks
        return "-".join(sha256_of_array(part)[:16] for part in (self.latents, torch.from_numpy(self.share), masks))


def load_labelled(folder: Path, generator: Generator, masks_file: Path | None = None) -> LabelledSamples:
    """Read the folder, and the masks of a .npy array (n, h, w); else those of the boxes in ``labels.csv``, if any.

    Raises
    ------
    ValueError
        If ``labels.csv`` lacks a column, a label is not 0, 1 or 2, lengths differ, one kind is absent, or masks don't
        fit.
    FileNotFoundError
        If one of the files is not there.
    """
    latents = load_latents(_file(folder, "latents.npy"), generator)
    with _file(folder, "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if len(rows) != len(latents):
        raise ValueError(f"{folder} has {len(latents)} latents and {len(rows)} rows of labels; give one row a latent.")
    raters = _RATERS if rows and "rater_b" in rows[0] else _RATERS[:1]
    ratings = np.array([[_rating(folder, row, rater) for rater in raters] for row in rows])
    share = ratings.sum(axis=1) / (2 * len(raters))
    if not (share == 0).any() or not (share == 1).any():
        raise ValueError(
            f"{folder} has {int((share == 0).sum())} samples that are normal for every rater (0) and "
            f"{int((share == 1).sum())} that are broken for every rater (2); a dozen of each or more are needed."
        )
    boxes = np.array([[float(row.get(side) or "nan") for side in _BOX] for row in rows])
    drawn = np.isfinite(boxes).all(axis=1)
    if masks_file is None and not drawn[share == 1].any():
        return LabelledSamples(latents, share)
    height, width = generator.generate(latents[:1]).shape[2:]
    if masks_file is not None:
        painted = _painted(masks_file, len(latents))
        return LabelledSamples(latents, share, brush_masks(painted, height, width), f"drawn masks ({masks_file.name})")
    masks = torch.zeros(len(latents), height, width)
    masks[torch.from_numpy(drawn)] = box_masks(boxes[drawn], height, width)
    return LabelledSamples(latents, share, masks, "drawn boxes (labels.csv)")


def _file(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise FileNotFoundError(
            f"{folder} has no {name}; labels are a folder with latents.npy and labels.csv (columns rater_a and, "
            "of a second one, rater_b: 0 normal, 1 borderline, 2 clear artifact; if boxes were drawn x0, y0, x1, y1 "
            "in pixels)."
        )
    return folder / name


def _rating(folder: Path, row: dict[str, str], rater: str) -> int:
    value = row.get(rater)
    if value not in ("0", "1", "2"):
        raise ValueError(
            f"{folder / 'labels.csv'} has {rater} = {value!r}; give 0, 1 or 2 in rater_a, and in rater_b if there is "
            "one."
        )
    return int(value)


def _painted(path: Path, n: int) -> NDArray[np.generic]:
    masks = read_numbers(path)
    if masks.ndim != 3 or len(masks) != n:
        raise ValueError(
            f"{path} holds {masks.shape}; give one mask a labelled latent, [{n}, h, w] "
            "(zeros for normal ones), 1 where broken."
        )
    return masks
