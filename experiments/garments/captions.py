"""Fashion-MNIST as captioned pictures: ten garments, and words that each picture itself bears out.

A caption names the garment and, at random, words for how bright, how patterned and how wide it is among its kind, and a
novelty word ("creative") that says nothing: it is there so that a model knows the word with any garment.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from experiments.images.data import clothes
from genmend.diffusion.reference.networks import GARMENTS

SYNONYMS = {"trousers": "pants", "pullover": "sweater", "sneaker": "trainer", "bag": "handbag", "ankle boot": "boot"}
TRAITS = (("dark", "bright"), ("plain", "patterned"), ("slim", "wide"))  # lowest and highest quarter of its kind
NOVELTY = ("creative", "unusual", "novel", "new", "typical")
TEMPLATES = ("{}", "a photo of {}", "a picture of {}", "an image of {}")
HELD_OUT = 1000  # last images of each garment: never trained on
SIDE = 32  # 28 pixels and a black border of 2


@cache
def training_images() -> tuple[np.ndarray, np.ndarray]:
    """About 60,000 images (n, 28, 28) uint8 and their garments (n,) int64; two empty rows of the source are missing."""
    return _join([clothes(label)[:-HELD_OUT] for label in range(len(GARMENTS))])


@cache
def held_out_images() -> tuple[np.ndarray, np.ndarray]:
    """10,000 images (n, 28, 28) uint8, 1,000 of each garment, and their garments (n,) int64."""
    return _join([clothes(label)[-HELD_OUT:] for label in range(len(GARMENTS))])


def _join(kinds: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(kinds), np.repeat(np.arange(len(kinds)), [len(kind) for kind in kinds])


def add_border(images: np.ndarray) -> np.ndarray:
    """The images (n, 28, 28) uint8 in the middle of (n, 32, 32) float32, black -1 to white 1."""
    margin = (SIDE - images.shape[-1]) // 2
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin)))
    return padded.astype(np.float32) / 127.5 - 1


def traits(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each image and pair of `TRAITS`: -1 lowest quarter of its kind, 1 highest, 0 between; (n, 3) int8."""
    pixels = images.astype(np.float32)
    inside = pixels > 25
    area = inside.sum((1, 2)).clip(1)
    brightness = (pixels * inside).sum((1, 2)) / area
    pairs = inside[:, :, 1:] & inside[:, :, :-1], inside[:, 1:] & inside[:, :-1]
    steps = np.abs(np.diff(pixels, axis=2)), np.abs(np.diff(pixels, axis=1))
    texture = sum((step * both).sum((1, 2)) / both.sum((1, 2)).clip(1) for step, both in zip(steps, pairs, strict=True))
    measured = np.stack([brightness, texture / brightness.clip(1), area.astype(np.float32)], axis=1)
    found = np.zeros(measured.shape, dtype=np.int8)
    for label in np.unique(labels):
        rows = labels == label
        low, high = np.quantile(measured[rows], (0.25, 0.75), axis=0)
        found[rows] = (measured[rows] >= high).astype(np.int8) - (measured[rows] <= low).astype(np.int8)
    return found


def caption(label: int, trait: np.ndarray, rng: np.random.Generator) -> str:
    """A prompt for one image: template, article, novelty word (1 in 5), each trait that it has (1 in 2), garment."""
    garment = GARMENTS[label]
    name = SYNONYMS[garment] if garment in SYNONYMS and rng.random() < 0.2 else garment
    words = [str(rng.choice(NOVELTY))] if rng.random() < 0.2 else []
    words += [pair[(value + 1) // 2] for pair, value in zip(TRAITS, trait, strict=True) if value and rng.random() < 0.5]
    return TEMPLATES[rng.integers(len(TEMPLATES))].format(with_article([*words, name]))


def with_article(words: list[str]) -> str:
    """The words with "a" or "an" before them; trousers, being many, have none."""
    if words[-1] in ("trousers", "pants"):
        return " ".join(words)
    return " ".join(["an" if words[0][0] in "aeiou" else "a", *words])


def vocabulary() -> list[str]:
    """Every word that a caption can hold."""
    names = [*GARMENTS, *SYNONYMS.values(), *NOVELTY, *(word for pair in TRAITS for word in pair)]
    return sorted({word for text in (*names, *TEMPLATES, "a", "an") for word in text.replace("{}", " ").split()})
