"""What the pages on units, boundaries and rare samples of the face generator say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.faces.pages.correction import LITE, NORMAL
from experiments.markdown import document, estimate, number, percent, picture, table


def boundaries(results: dict[str, Any]) -> str:
    """Are the images inside a generative region more alike?"""
    found, ratios = results["bouncing"]["queries"], results["bouncing"]["ratios"]
    mean = {name: np.mean(values) for name, values in found.items()}
    region, ball = (ratios[f"pixel_variance: region / {control}"] for control in ("rotated", "l2_ball"))
    random, beyond = (
        ratios[f"pixel_variance: {name}"] for name in ("random_set / its rotated", "the first ratio over the last")
    )
    mixing = {
        name: {key: np.mean([row[key] for row in rows]) for key in rows[0]} for name, rows in results["mixing"].items()
    }
    return document(
        "# Generative boundaries: are the images of a region more alike?",
        "**Asked**: the few boundaries of a layer that reproduce an image enclose a region of latents. Are images of "
        "that region more alike than its size explains?",
        f"**On**: the face generator, {len(found['n_members'])} queries, layer main.2, 32 latents each by walks that "
        "bounce off the walls (and by the published tree).",
        "**Command**: `python -m experiments.faces.boundaries` (seed 0).",
        "**Controls**: the same latents rotated round the query, balls of the same mean distance, and regions of as "
        "many random boundaries. Intervals: 95 % bootstrap over the queries.",
        f"{number(mean['n_members'], 0)} of {number(mean['n_candidates'], 0)} active neurons reproduce an image within "
        f"the tolerance; by magnitude {number(mean['magnitude_n_needed'], 0)} are needed, by first-order effect "
        f"{number(mean['first_order_n_needed'], 0)}, at random {number(mean['random_n_needed'], 0)}.",
        "Ratios of the means over the queries, below 1 is more alike:",
        table(
            ("ratio", "bouncing walks", "tree"),
            (
                (
                    name.replace("_", " "),
                    *(
                        estimate(results[m]["ratios"][name][0], results[m]["ratios"][name][1:])
                        for m in ("bouncing", "tree")
                    ),
                )
                for name in ratios
            ),
        ),
        picture("regions.png", "Four queries (left), samples of their regions, and below the same samples rotated"),
        "## How long a walk has to be",
        table(
            ("walk or tree", "CPU seconds", "split R-hat", "effective size", "distance to the query", "spread"),
            (
                (
                    name,
                    number(row["cpu seconds"], 2),
                    number(row.get("split R-hat"), 3),
                    number(row.get("effective size"), 0),
                    number(row["distance to the query"], 2),
                    number(row["spread"], 2),
                )
                for name, row in mixing.items()
            ),
        ),
        "## What it shows",
        f"Samples on the query's side of all boundaries vary by {estimate(region[0], region[1:])} of what the same "
        f"latents rotated round the query do, and by {estimate(ball[0], ball[1:])} of an L2 ball (pixel variance); "
        f"the walks converge (split R-hat {number(mean['r_hat'])} on average).",
        f"But **a random set of as many boundaries does no worse**: its region is smaller, and varies by "
        f"{estimate(random[0], random[1:])} of its own rotation (the first ratio over this one: "
        f"{estimate(beyond[0], beyond[1:])}). What makes a region alike is that it has walls, not which.",
    )


def dissection(results: dict[str, Any]) -> str:
    """What units detect and cause."""
    found, units, control = (results[part]["found"] for part in ("face-parser", "units", "control"))
    effect = found["causal"][0]
    erased = [percent(share) for share in sorted(effect["random_erased"])]
    settings = found["settings"]
    own, by_chance = control["own"], control["others'"]
    random = [row["artifact"] for row in units["flagged_random"]]
    fewer = units["flagged"]["worst"]["artifact"] < min(units["flagged"]["none"]["artifact"], *random)
    effect_of_worst = (
        "a small effect, where the ladder of corrections mends most."
        if fewer
        else "they mark broken images, but switching them off mends nothing. The ladder of corrections does."
    )
    return document(
        "# Dissecting the face generator",
        "**Asked**: which units detect a concept more than chance does, do the units that agree with glasses cause "
        "them, and do units far from normal break faces?",
        f"**On**: the face generator; {found['n_judged']['face-parser']} samples segmented by a face parser, "
        f"{results['classical']['found']['n_judged']['classical']} by colour, edges and brightness.",
        f"**Command**: `python -m experiments.faces.dissection --n-images {settings['n_images']} --n-causal "
        f"{settings['causal_settings']['n_segmented']}` (seed {settings['seed']}).",
        f"**Controls**: the masks of {settings['n_shuffles']} other samples for each sample, for every unit and "
        "concept; every sample with the masks of another one; random units of the same layer, as many, in every causal "
        f"test. {NORMAL}",
        "## Units that detect a concept beyond chance",
        table(
            (
                "segmenter",
                "rule",
                "layer",
                "units that detect",
                "of",
                "concepts",
                "median IoU of these",
                "by chance",
                "most frequent",
            ),
            (
                (
                    segmenter,
                    results[segmenter]["found"]["settings"]["rule"],
                    layer,
                    row["n_detectors"],
                    row["n_units"],
                    row["n_concepts"],
                    number(row["median_iou_of_detectors"]),
                    number(row["median_null_of_detectors"]),
                    ", ".join(f"{concept} {n}" for concept, n in list(row["detectors"].items())[:4]),
                )
                for segmenter in ("face-parser", "classical")
                for layer, row in results[segmenter]["found"]["layers"].items()
            ),
        ),
        "Face parser: thresholds by IQR; classical: the paper's fixed threshold. A unit detects where the rule holds "
        "and its agreement is more than that with other samples' masks, at most 5 % false over all units and concepts. "
        "Best unit of each layer, with 95 % intervals:",
        _lines([line for part in ("face-parser", "classical") for line in results[part]["lines"]]),
        picture("concepts_face-parser.png", "Concepts by layer, face parser"),
        picture("concepts_classical.png", "Concepts by layer, colours, edges and brightness"),
        "## How many units detect something by chance",
        f"Layer {control['layer']}, parts of a face: with its own masks, and with those of another sample, where no "
        "unit can detect anything.",
        table(
            ("masks", "rule", "by the rule alone", "and beyond chance", "of"),
            (
                (whose, rule, *row[rule], row["n_units"])
                for whose, row in (("own", own), ("another sample's", by_chance))
                for rule in ("paper", "code")
            ),
        ),
        "## Units that cause glasses",
        f"Switching the {len(effect['units'])} units of {effect['layer']} that agree best with glasses off erases "
        f"{percent(effect['erased'])} of the glasses' area in {effect['n_present']} images, as many random units "
        f"{erased[0]} to {erased[-1]}. Switching them on adds glasses to {percent(effect['added'])} (random: "
        f"{percent(min(effect['random_added']))} to {percent(max(effect['random_added']))}).",
        "## Units far from normal",
        _lines(results["units"]["lines"][1:]),
        "## What it shows",
        f"The paper's rule finds {by_chance['paper'][0]} of {by_chance['n_units']} units with the masks of "
        f"other samples ({own['paper'][0]} with their own), so it says little; that of its code finds "
        f"{by_chance['code'][0]} ({own['code'][0]}). Beyond chance, parts of the face have units, and "
        "erasing works; adding does not. Colours, edges and brightness with the paper's fixed threshold find few "
        f"units. Switching the {len(units['worst'])} units furthest from normal off changes the share of artifacts far "
        f"from normal from {number(units['flagged']['none']['artifact'])} to "
        f"{number(units['flagged']['worst']['artifact'])}, as many random units to {number(min(random))} to "
        f"{number(max(random))}: {effect_of_worst}",
    )


def rare(results: dict[str, Any]) -> str:
    """Rare versions of reference samples."""
    by_method = {row["method"]: row for row in results["rows"]}
    own, plain, gated = (by_method[name] for name in ("ours", "plain", "best of n, gated"))
    settings = results["settings"]

    def cell(row: dict[str, Any], name: str) -> str:
        value = row[name]
        return estimate(value[0], value[1:]) if isinstance(value, list) else number(value)

    columns = {
        "rarity percentile": f"rarity_{LITE}",
        "inside": f"inside_{LITE}",
        "rarity percentile, MobileNetV2": "rarity_mobilenet-v2",
        "inside, MobileNetV2": "inside_mobilenet-v2",
        "flagged as artifact": "artifact",
        "pairwise distance": "pairwise",
        "Fréchet distance": "frechet",
    }
    return document(
        "# Rare faces",
        "**Asked**: does the search for rare versions of reference samples find what is rare, normal, and not broken?",
        f"**On**: the face generator, {settings['n_references']} references, {settings['n_versions']} versions each. "
        "EfficientNet-Lite0 steers the search; MobileNetV2 has no part in it, and neither has the judge, which is "
        f"trained on the labelled faces at 5 % false alarms. {NORMAL}",
        "**Command**: `python -m experiments.faces.rare`.",
        f"**Controls**: plain sampling, wider sampling, the rarest of {settings['n_best_of']} plain samples (with and "
        f"without the search's artifact limit), the rarest of {settings['n_local']} samples round the reference.",
        table(
            ("method", "found", *columns),
            (
                (
                    row["method"],
                    f"{row['n_found']} of {row['n_asked']}",
                    *(cell(row, name) for name in columns.values()),
                )
                for row in (results["references"], *results["rows"])
            ),
        ),
        "Rarity: mean rarity percentile of what is inside. In Lite0, ours, the gated and the local rows are inside by "
        "construction. Correlation of -log p with rarity over own normal samples: "
        f"{number(results['pearson_minus_log_prob_rarity'])}.",
        picture("grid.png", "A reference a row, its versions beside it with their rarity percentiles"),
        "## What it shows",
        f"The search reaches a mean rarity percentile of {cell(own, f'rarity_{LITE}')} (plain sampling: "
        f"{number(plain[f'rarity_{LITE}'][0])}), all inside the manifold it searched, near their references; the judge "
        f"flags {cell(own, 'artifact')} of them (plain: {number(plain['artifact'][0])}).",
        f"It **fails** its marks of 0.90 for rarity and of no more artifacts than plain sampling. Taking the rarest "
        f"{gated['n_found']} of {settings['n_best_of']} plain samples under the same limits reaches "
        f"{number(gated[f'rarity_{LITE}'][0])}, without a reference and with {number(gated['artifact'][0])} flagged: "
        "on this generator what is rare is often broken.",
    )


def _lines(lines: list[str]) -> str:
    return "```text\n" + "\n".join(line for line in lines if line.strip()) + "\n```"


PAGES: tuple[Callable[[Any], str], ...] = (boundaries, dissection, rare)
