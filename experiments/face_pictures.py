"""The pictures of the face experiment: the trade-off of every method, and faces before and after."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from experiments.face_correction import fold_correction
from experiments.face_methods import Space
from experiments.labelled_faces import LabelledFaces
from gans import Generator, corrected


def trade_off_figure(table: list[dict], title: str) -> Figure:
    """Still flagged against change of clean samples: a curve per fixed ladder, a point per method."""
    figure = Figure(figsize=(8.5, 5.2), layout="constrained")
    axes = figure.subplots()
    space = sorted(table[0]["clean_cosine"])[-1]
    position = {row["method"]: (1 - row["clean_cosine"][space], row["still_flagged"]) for row in table}
    for name, colour in (("ladder", "tab:blue"), ("random neurons", "tab:grey")):
        curve = [position["uncorrected"]] + [
            xy for method, xy in position.items() if method.startswith(f"{name}, rung")
        ]
        axes.plot(*zip(*curve, strict=True), "o-", color=colour, label=f"{name}, one rung on all")
    marks = {
        "rare R": ("s", "tab:orange"),
        "truncation": ("^", "tab:red"),
        "defective": ("D", "tab:purple"),
        "local": ("v", "tab:brown"),
        "manifold": ("P", "tab:cyan"),
        "ours": ("*", "tab:green"),
    }
    for method, (x, y) in position.items():
        for prefix, (marker, colour) in marks.items():
            if method.startswith(prefix):
                axes.plot(x, y, marker, color=colour, markersize=13 if marker == "*" else 7)
                axes.annotate(method, (x, y), xytext=(6, 4), textcoords="offset points", fontsize=8)
    axes.axhline(0.12, color="black", linewidth=0.7, linestyle=":")
    axes.axvline(0.05, color="black", linewidth=0.7, linestyle=":")
    axes.set_xlabel(f"change of clean samples: 1 - mean cosine in {space} (left is better)")
    axes.set_ylabel("consensus artifacts still flagged (lower is better)")
    axes.set_ylim(0, 1)
    axes.set_xlim(right=max(x for x, _ in position.values()) + 0.07)  # room for the last name
    axes.set_title(title)
    axes.legend(loc="lower right")
    return figure


def correction_picture(
    generator: Generator, faces: LabelledFaces, steer: Space, seed: int, columns: int = 16
) -> Image.Image:
    """Artifacts of one held-out fifth, above, and what the correction of the rest makes of them, below."""
    rng = np.random.default_rng(seed)
    test = np.zeros(len(faces.share), dtype=bool)
    test[rng.permutation(len(test))[: len(test) // 5]] = True
    correction = fold_correction(generator, faces, steer, np.flatnonzero(~test))
    rows = np.flatnonzero(test & faces.artifact)[:columns]
    result = corrected(generator, correction, extractor=steer.extractor)(faces.latents[rows])
    before = generator.generate(faces.latents[rows])
    strips = [np.concatenate(list(images.permute(0, 2, 3, 1).numpy()), axis=1) for images in (before, result.images)]
    picture = Image.fromarray((np.concatenate(strips) * 255).round().astype(np.uint8))
    return picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST)
