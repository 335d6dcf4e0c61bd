"""The pictures of the face experiment: the trade-off of every method, and faces before and after."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from experiments.faces.correction import fold_correction
from experiments.faces.labelled import LabelledFaces
from experiments.faces.methods import Space
from genmend.gans import Generator, corrected

_KINDS = {
    "rare R": "rare neurons off",
    "truncation": "truncation",
    "defective": "defective units, all forms",
    "local": "local activation",
    "manifold": "manifold-guided gains",
    "latent": "latent optimisation",
    "ours": "ladder with stop rule",
}


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
        "latent": ("X", "tab:pink"),
        "ours": ("*", "tab:green"),
    }
    named: list[tuple[float, float]] = []
    for prefix, (marker, colour) in marks.items():
        of_kind = {method: xy for method, xy in position.items() if method.startswith(prefix)}
        if not of_kind:  # a method that this direction does not have
            continue
        size = 13 if marker == "*" else 7
        axes.plot(*zip(*of_kind.values(), strict=True), marker, color=colour, markersize=size, label=_KINDS[prefix])
        for method, xy in of_kind.items() if len(of_kind) <= 5 else ():  # more of them lie on one another
            if all(np.hypot(xy[0] - x, xy[1] - y) > 0.02 for x, y in named):
                axes.annotate(method, xy, xytext=(6, 4), textcoords="offset points", fontsize=8)
                named.append(xy)
    axes.axhline(0.12, color="black", linewidth=0.7, linestyle=":")
    axes.axvline(0.05, color="black", linewidth=0.7, linestyle=":")
    axes.set_xlabel(f"change of clean samples: 1 - mean cosine in {space} (left is better)")
    axes.set_ylabel("consensus artifacts still flagged (lower is better)")
    axes.set_ylim(0, 1.05)
    worst = max(x for method, (x, _) in position.items() if not method.startswith("random neurons for"))
    axes.set_xlim(-0.015, worst + 0.12)  # room for the last name; the control of rare neurons lies far outside
    axes.set_title(title, pad=12)
    axes.legend(loc="center right", fontsize=8)
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
