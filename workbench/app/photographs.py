"""Photographs that scikit-learn and scikit-image carry: examples to explain, and crops of them as a reference."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from genmend.storage.atomic import write_bytes

__all__ = ["crops", "photographs"]

_CARRIED = (
    ("skimage", "data", ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png", "motorcycle_left.png")),
    ("sklearn", "datasets/images", ("china.jpg", "flower.jpg")),
)
_NAMES = {"chelsea": "cat", "china": "temple", "motorcycle_left": "motorcycle"}


def photographs(folder: Path) -> dict[str, Path]:
    """Copies of the photographs below `folder`, by what they show; those of packages that are missing are left out."""
    found = {}
    for package, place, names in _CARRIED:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            continue
        for name in names:
            original = Path(spec.origin).parent / place / name
            if original.is_file():
                copy = folder / name
                if not copy.is_file():
                    folder.mkdir(parents=True, exist_ok=True)
                    write_bytes(copy, original.read_bytes())
                found[_NAMES.get(copy.stem, copy.stem)] = copy
    return found


def crops(paths: list[Path], n: int, *, side: int = 224, seed: int = 0) -> np.ndarray:
    """`n` square crops of each photograph at random places and of random sizes, ``(n, side, side, 3)`` uint8."""
    rng, found = np.random.default_rng(seed), []
    for path in paths:
        with Image.open(path, formats=("PNG", "JPEG")) as opened:
            photo = opened.convert("RGB")
        for _ in range(n):
            length = int(min(photo.size) * rng.uniform(0.35, 1.0))
            left, top = (int(rng.integers(0, size - length + 1)) for size in photo.size)
            part = photo.crop((left, top, left + length, top + length)).resize((side, side))
            found.append(np.asarray(part))
    return np.stack(found)
