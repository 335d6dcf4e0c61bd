"""What the page on pnpxai's measures beside ours says; every figure comes from results.json."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.markdown import document, number, table

_WHY = {
    "MoRF": "nine points at 0, 10, ..., 80 % and the last at 100 %; equal attributions go in the order of their place",
    "LeRF": "as MoRF",
    "AbPC": "the two end points, at which the curves always meet, count in the mean: 8 of 10 points say something",
    "MuFidelity": "the kept pixels get noise that only darkens them, with the mean of the input added to it; 17 of 81 "
    "cells are removed, not 16",
    "Sensitivity": "channels are not summed before the norm; other draws of noise",
    "Sensitivity in an experiment": "the map as it is shown (summed, scaled to 0..1) against maps as they are computed",
    "Complexity": "entropy of a histogram of ten bins, of channels weighted as those of a grey image, in place of that "
    "of the shares of the pixels",
}


def pnpxai_measures(results: dict[str, Any]) -> str:
    """Six measures of pnpxai 0.1.3 beside ours, of the same maps."""
    return document(
        "# What pnpxai 0.1.3 measures, beside ours",
        "**Asked**: what do measures of the same names say of the same maps, and what is computed differently?",
        f"**On**: MobileNetV2's own class of {results['n']} photographs; MuFidelity by {results['n_draws']} draws.",
        "**Command**: `python -m experiments.concepts.pnpxai_measures` (seed 0), in an environment with pnpxai.",
        "**Control**: ours once more with what pnpxai does otherwise; the largest difference of an image then.",
        table(
            (
                "method",
                "measure",
                "pnpxai",
                "ours",
                "r over images",
                "left when computed as theirs",
                "what it does otherwise",
            ),
            (
                (
                    row["method"],
                    row["measure"],
                    number(float(np.mean(row["theirs"]))),
                    number(float(np.mean(row["ours"]))),
                    number(float(np.corrcoef(row["theirs"], row["ours"])[0, 1]), 2),
                    f"{row['largest_difference_as_theirs']:.1e}" if "largest_difference_as_theirs" in row else "-",
                    _WHY[row["measure"]],
                )
                for row in results["rows"]
            ),
        ),
        "## Complexity of maps whose answer is known",
        "Each over its largest possible value: 0 is as compact as can be, 1 as spread.",
        table(
            ("map", "pnpxai", "ours"),
            ((row["map"], number(row["theirs"]), number(row["ours"])) for row in results["extremes"]),
        ),
        "## What it shows",
        "* MoRF, LeRF, AbPC and Complexity of pnpxai come out of ours by a setting or a line: they differ in the "
        "definition alone; `flipping_curves(..., shares=)` has the first two.",
        "* pnpxai calls a constant map as compact as a single pixel; the definition that it cites has it the other way "
        "round.",
        "* In its experiments sensitivity compares maps of different scales.",
    )
