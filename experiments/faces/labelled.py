"""Labelled latents: 700 of the face generator, 300 of the portraits (experiments/data/*/README.md)."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "data" / "face_artifacts"
PORTRAITS = FOLDER.with_name("portraits")


@dataclass(frozen=True)
class LabelledFaces:
    """Latents and two raters' labels, 0 normal to 2 clear artifact.

    `share` is the raters' mean in [0, 1]; `artifact` and `normal` are the consensus task (2 for both, 0 for both);
    `full` is the full task, a + b >= 3 against the rest. `boxes` (n, 4): x0, y0, x1, y1 in pixels round what is
    broken, NaN where rater A drew none.
    """

    latents: Tensor
    share: np.ndarray
    artifact: np.ndarray
    normal: np.ndarray
    full: np.ndarray
    boxes: np.ndarray

    @property
    def consensus(self) -> np.ndarray:
        return self.artifact | self.normal


def load_labelled_faces(folder: Path = FOLDER) -> LabelledFaces:
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    a = np.array([int(row["rater_a"]) for row in rows])
    b = np.array([int(row["rater_b"]) for row in rows])
    latents = torch.from_numpy(np.load(folder / "latents.npy", allow_pickle=False))
    boxes = np.array([[float(row[side] or "nan") for side in ("x0", "y0", "x1", "y1")] for row in rows])
    return LabelledFaces(latents, (a + b) / 4, (a == 2) & (b == 2), (a == 0) & (b == 0), a + b >= 3, boxes)


def load_labelled_portraits(folder: Path = PORTRAITS) -> LabelledFaces:
    """The same of one rater, whose label stands for both; he drew no boxes."""
    with (folder / "labels.csv").open(newline="") as file:
        label = np.array([int(row["rater_a"]) for row in csv.DictReader(file)])
    latents = torch.from_numpy(np.load(folder / "latents.npy", allow_pickle=False))
    return LabelledFaces(latents, label / 2, label == 2, label == 0, label == 2, np.full((len(label), 4), np.nan))
