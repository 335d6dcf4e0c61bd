"""What the page on painted regions of the face generator says."""

from __future__ import annotations

from typing import Any

from experiments.markdown import document, estimate, number, table


def painted(results: dict[str, Any]) -> str:
    """Do the units behind a painted region change that region?"""
    layers = results["layers"]
    middle = layers["main.5"]
    return document(
        "# Paint on a face: are those the units behind it?",
        "**Asked**: the page of `genmend serve` names the units behind a region that somebody paints on a sample. Do "
        "they change that region when they are switched off, and not the rest?",
        f"**On**: the face generator, {results['n']} samples of seed {results['seed']}, a disc of 6 to 13 pixels' "
        f"radius at a random place of each; the {results['n_units']} units ranked first, layer by layer.",
        "**Command**: `python -m experiments.faces.painted`.",
        "**Controls**: as many random units of the layer, 3 draws; and the units that are ranked first for the same "
        "disc half an image away. Mean absolute change of the pixels (0 to 1); intervals: 95 % bootstrap over samples.",
        f"In main.5 they change the painted pixels by {number(middle['painted inside'][0], 3)} and the others by "
        f"{number(middle['painted outside'][0], 3)}; random units {number(middle['random inside'][0], 3)} and "
        f"{number(middle['random outside'][0], 3)}. From there on, the later the layer, the less its "
        "units keep to a place.",
        "Change inside over change outside, above 1 is more in the painted region:",
        table(
            ("layer", "samples", "units behind it", "random units", "units behind another place"),
            (
                (layer, found["n"], *(estimate(found[f"{name} ratio"][0], found[f"{name} ratio"][1:]) for name in SETS))
                for layer, found in layers.items()
            ),
        ),
        "Change inside:",
        table(
            ("layer", "units behind it", "random units", "units behind another place"),
            (
                (layer, *(estimate(found[f"{name} inside"][0], found[f"{name} inside"][1:]) for name in SETS))
                for layer, found in layers.items()
            ),
        ),
        f"A disc at a random place is itself a random region, so about {number(100 * results['level'], 0)} % of the "
        "units pass the test against random regions: "
        + ", ".join(f"{layer} {number(100 * found['share found'][0], 1)} %" for layer, found in layers.items())
        + ". Where none does, in this layer or for the other place, the sample is left out.",
    )


SETS = ("painted", "random", "elsewhere")
