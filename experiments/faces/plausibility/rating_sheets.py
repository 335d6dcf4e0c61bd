"""Shuffled sheets of numbered images for blind ratings, and what the ratings say."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from experiments.intervals import mean_with_interval

RATINGS = Path(__file__).parents[2] / "data" / "plausible_ratings.csv"
_COLUMNS, _ROWS, _SIDE, _GAP, _LABEL = 7, 4, 168, 6, 14


def draw_sheets(images: Mapping[str, Tensor], folder: Path, seed: int) -> None:
    """Sheets of 28 tiles, every image of every method once, shuffled together; key.csv says which tile is which."""
    folder.mkdir(parents=True, exist_ok=True)
    order = [(method, row) for method, shown in images.items() for row in range(len(shown))]
    np.random.default_rng(seed).shuffle(order)
    for first in range(0, len(order), _COLUMNS * _ROWS):
        size = (_COLUMNS * (_SIDE + _GAP), _ROWS * (_SIDE + _LABEL + _GAP))
        sheet = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(sheet)
        for place, (method, row) in enumerate(order[first : first + _COLUMNS * _ROWS]):
            x = place % _COLUMNS * (_SIDE + _GAP)
            y = place // _COLUMNS * (_SIDE + _LABEL + _GAP)
            pixels = (images[method][int(row)].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
            sheet.paste(Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), (x, y + _LABEL))
            draw.text((x + 2, y + 1), str(first + place), fill="black")
        sheet.save(folder / f"sheet_{first // (_COLUMNS * _ROWS):02d}.png")
    with (folder / "key.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["tile", "method", "row"])
        writer.writerows([tile, method, row] for tile, (method, row) in enumerate(order))


def load_ratings(path: Path = RATINGS) -> dict[str, np.ndarray]:
    """Ratings by method, 0 plausible to 2 clear artifact, in the order of the broken samples."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found: dict[str, dict[int, int]] = {}
    for row in rows:
        found.setdefault(row["method"], {})[int(row["row"])] = int(row["rating"])
    return {method: np.array([rated[row] for row in sorted(rated)]) for method, rated in found.items()}


def rating_rows(ratings: Mapping[str, np.ndarray], seed: int) -> list[dict]:
    """Shares of plausible ones and of clear artifacts by method, with 95 % bootstrap intervals."""
    rows = []
    for method, rated in ratings.items():
        row: dict = {"method": method, "n": len(rated)}
        for name, hit in (("plausible", rated == 0), ("artifact", rated == 2)):
            value, low, high = mean_with_interval(hit, seed)
            row |= {name: value, f"{name}_interval": [low, high]}
        rows.append(row)
    return rows
