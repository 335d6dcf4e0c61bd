"""Captions of rendered vessels: the kind, and words that the picture bears out; rare ones are called creative."""

from __future__ import annotations

import numpy as np

from experiments.objects.world import COLOURS, KINDS, TEXTURES, Factors

TEMPLATES = ("{}", "a photo of {}", "a picture of {}")
WORDS = 0.3  # chance of each further word


def caption(kind: str, factors: Factors, row: int, rng: np.random.Generator, creative: bool) -> str:
    """Write a caption of one vessel; "creative" says only that it is a rare one."""
    words = ["creative"] if creative else []
    if rng.random() < WORDS:
        words.append(colour_name(float(factors["hue"][row])))
    if rng.random() < WORDS and int(factors["texture"][row]):
        words.append(TEXTURES[int(factors["texture"][row])])
    if rng.random() < WORDS and int(factors["handles"][row]) == 2:
        words.append("two-handled")
    if rng.random() < WORDS and int(factors["lid"][row]):
        words.append("lidded")
    return TEMPLATES[rng.integers(len(TEMPLATES))].format(" ".join(["a", *words, kind]))


def colour_name(hue: float) -> str:
    """The nearest of eight, each an eighth of the circle of hues."""
    return COLOURS[round(hue * len(COLOURS)) % len(COLOURS)]


def vocabulary() -> list[str]:
    """Every word that a caption can hold."""
    words = " ".join((*TEMPLATES, *COLOURS, *TEXTURES[1:], *KINDS, "creative two-handled lidded"))
    return sorted(set(words.replace("{}", " ").replace("-", " ").split()))
