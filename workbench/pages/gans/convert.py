"""Pages of ``genmend convert``: a converted generator with samples, or the list of what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional

from genmend.workbench.pages.page import Answer, Facts, Number, Paragraph, Picture, Section, Table, write_report
from genmend.workbench.pages.pictures import gallery

__all__ = ["samples_picture", "write_convert_report", "write_misfit"]

COLUMNS, MOST_PIXELS = 8, 128  # a larger image is shrunk to that side


def samples_picture(images: Tensor) -> bytes:
    """A grid of images (n, 3, h, w) as PNG, large ones shrunk, small ones enlarged."""
    height, width = images.shape[2:]
    shrink = min(1.0, MOST_PIXELS / max(height, width))
    small = functional.interpolate(images, (max(1, round(height * shrink)), max(1, round(width * shrink))), mode="area")
    return gallery(small, COLUMNS, scale=max(1, MOST_PIXELS // 2 // max(height, width)))


def write_convert_report(path: Path, totals: dict[str, Any], picture: bytes) -> None:
    """Write the page of a conversion; `totals` is what ``summary.json`` holds."""
    loaded = totals["loaded"]
    seen: list[Any] = [Paragraph("The generator was not loaded and nothing was drawn, as asked for.")]
    if loaded:
        seen = [
            Picture(f"{loaded['samples']['n']} samples of seed {loaded['samples']['seed']}.", picture),
            Table(
                f"Layers that other commands inspect; a latent has shape {loaded['latent_shape']}.",
                ["layer", "output of one sample"],
                [[layer, " x ".join(map(str, shape))] for layer, shape in loaded["layers"].items()],
            ),
        ]
    groups: list[Any] = [
        Paragraph(
            f"All {totals['n_arrays']} arrays of group {totals['group']!r} have the names and shapes of "
            f"{totals['family']}; a file where one does not fit is refused, with a list."
        )
    ]
    if totals["other_groups"]:
        rows = [[name, n] for name, n in totals["other_groups"].items()]
        groups.append(Table("What else is in the file and was not taken.", ["group", "arrays"], rows))
    write_report(
        path,
        f"genmend convert: {totals['source']}",
        Answer(
            f"{totals['source']} holds a generator of the family {totals['family']} with {totals['n_parameters']:,} "
            f"parameters{_draws(loaded)}.",
            Number(
                "Arrays of the names and shapes of that family",
                f"{totals['n_arrays']} of {totals['n_arrays']}",
                "a file where one does not fit is refused",
            ),
            ["Look whether the samples are as they should be: names and shapes that fit are no proof of what it is."],
            pictures=seen[:1],
        ),
        [
            *([Section("Layers", seen[1:], True)] if seen[1:] else []),
            Section("What was taken", groups, True),
            Section("How it was read", [Facts("The process that read it, and digests", totals)], True),
        ],
    )


def _draws(loaded: dict[str, Any] | None) -> str:
    if not loaded:
        return ""
    _, height, width = loaded["image_shape"]
    return f", which draws images of {width} x {height} pixels"


def write_misfit(path: Path, source: str, asked: dict[str, Any], message: str) -> None:
    """Write the page of a file whose arrays are not the family's: all of them, often more than a terminal shows."""
    head, *listed = message.split("\n  ")
    blocks: list[Any] = [Paragraph(head)]
    if listed:
        blocks = [Table(head, ["array"], [[line] for line in listed])]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_report(
        path,
        f"genmend convert: {source} does not fit",
        "Nothing was converted. Is it another family (--family) or another of the file's models (--group)? A fork of a "
        "public implementation often names its arrays otherwise.",
        [Section("What does not fit", blocks), Section("Settings", [Facts("What was asked for", asked)])],
    )
