"""What the page on relaxed decision regions says; every figure comes from a results.json."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from experiments.markdown import document, estimate, interval, number, percent, picture, table

Row = dict[str, Any]
#: Column -> what it is called in the results, the one of the layer's output where it is held place by place.
WAYS = {
    "nearest by distance": "euclidean of output",
    "by angle": "cosine of output",
    "by angle of means": "cosine of mean output",
    "by states": "states",
}
SHOWN = {
    "same layer, by distance": "euclidean of output",
    "same layer, by angle": "cosine of output",
    "means over positions, by distance": "euclidean of mean output",
    "means over positions, by angle": "cosine of mean output",
    "states of all neurons": "states",
}


def regions(results: dict[str, Any]) -> str:
    """How pure regions are, whether kinds of artifact hold, how fast neighbours are found."""
    purity, search = results["purity"], results["search"]
    rows = list(chain.from_iterable(purity.values()))
    return document(
        "# What do the members of a relaxed decision region share?",
        "**Asked**: do samples whose neurons are in a query's states carry its fine label, which nobody told the model "
        "or the rule? Do regions found from flagged samples name kinds of artifact? How long does a search take?",
        "**On**: drawings of emoji with their 98 subcategories (in 10 categories), and Fashion-MNIST; half of the "
        "images make the rules, the others are held out. 100 queries a set; CLIP, whose places are too many, sees "
        "every third of the emoji, by channels alone. Labelled faces and portraits of two "
        "generators.",
        f"**Command**: `python -m experiments.concepts.regions` (seed {results['seed']}).",
        "**Controls**: as many images held out that are nearest to the query, by distance and by angle of the same "
        "layer's output, of its mean over positions, and by the states of all neurons; all images; for kinds, random "
        "sets of as many samples.",
        "## Purity on images held out",
        "Share of the members with the query's fine label, with 95 % bootstrap intervals over queries; other columns: "
        "as many images chosen otherwise. The default rule was chosen on one layer of the first set, "
        "blocks.6.0.bn1.act, with a look at three other layers, some of them of the other network and of clothes; a "
        "floor of how much a neuron must tell was added after looking at the sets but CLIP's, and moved no share by "
        "more than 0.002.",
        *(part for name, own in purity.items() for part in (f"### {_title(name)}", _purity_table(own))),
        picture("alike.png", "Emoji held out: above in the region of the first image, below the nearest by angle"),
        "## Inside the query's own category",
        "The same among images of the query's coarse label alone: can the hidden subclass be seen inside its class?",
        _within_table(rows),
        "## Against its controls",
        "The region's share less that of as many nearest images, paired by query; bold where the interval leaves "
        "out 0.",
        _difference_table(rows),
        "## Kinds of artifact",
        _kinds_table(results["kinds"]),
        "Kinds are found in one half of the labelled samples and judged on the other, five times. Beyond chance: "
        "hypergeometric, 5 % for all kinds of a split together. Lift: flagged share of the members over that of all.",
        picture("kinds_faces.png", "Kinds of faces in main.5: members held out, flagged, and below not"),
        "## Corrected kind by kind",
        "Units at fault in drawn boxes, learnt from the flagged samples of one kind, from all flagged ones, and, as "
        f"the control, from as many flagged at random; applied to the {results['corrections']['n_samples']} flagged "
        f"members held out of {results['corrections']['n_kinds']} kinds, and judged by MobileNetV2 on the labels of "
        "the half that the kinds were found in.",
        _corrections_table(results["corrections"]),
        "## One query among a million",
        f"The 8 nearest of {search['n_samples']:,} configurations of {search['n_neurons']:,} bits: "
        f"{number(search['seconds'], 2)} s (the slowest {number(search['slowest'], 2)} s), "
        f"{number(search['processor_seconds'], 2)} s of processor time; the bits are "
        f"{number(search['bits_gigabytes'], 2)} GB in memory and the search adds "
        f"{number(search['added_by_search'], 2)} GB.",
        "## What it shows",
        _said(rows, results["kinds"], results["corrections"]),
    )


def _title(name: str) -> str:
    model, images = name.split()
    return f"{model}, {images}"


def _purity_table(rows: list[Row]) -> str:
    head = ("layer", "rule", "with members", "members, median", "region", *WAYS, "all")
    return table(head, (_purity_cells(row) for row in rows))


def _purity_cells(row: Row) -> Sequence[object]:
    share = percent(row["with_members"] / row["queries"])
    start = (_short(row["layer"]), row["recipe"], share, f"{row['median_members']:g}")
    if "region" not in row:
        return (*start, *["-"] * (len(WAYS) + 2))
    ways = (number(row[name][0]) if name in row else "-" for name in WAYS.values())
    return (*start, estimate(row["region"][0], row["region"][1:]), *ways, number(row["base"][0]))


def _short(layer: str) -> str:
    return layer.replace("network.tower.vision_model.encoder.", "").replace(".mlp.activation_fn", "")


def _within_table(rows: list[Row]) -> str:
    wanted = [row for row in rows if row["recipe"].startswith(("default", "published")) and "region in class" in row]
    return table(
        ("model, images", "layer", "rule", "region", *WAYS, "all of the category"),
        (
            (
                f"{row['model']}, {row['images']}",
                _short(row["layer"]),
                row["recipe"].split(":")[0],
                estimate(row["region in class"][0], row["region in class"][1:]),
                *(number(row[f"{way} in class"][0]) if f"{way} in class" in row else "-" for way in WAYS.values()),
                number(row["base in class"][0]),
            )
            for row in wanted
        ),
    )


def _difference_table(rows: list[Row]) -> str:
    wanted = [row for row in rows if row["recipe"].startswith(("default", "published")) and "region" in row]
    return table(
        ("model, images", "layer", "rule", *SHOWN),
        (
            (
                f"{row['model']}, {row['images']}",
                _short(row["layer"]),
                row["recipe"].split(":")[0],
                *(_difference(row.get(f"region - {name}")) for name in SHOWN.values()),
            )
            for row in wanted
        ),
    )


def _difference(found: list[float] | None) -> str:
    if found is None:
        return "-"
    text = f"{number(found[0], sign=True)} {interval(found[1:], sign=True)}"
    return f"**{text}**" if found[1] > 0 or found[2] < 0 else text


def _kinds_table(rows: list[Row]) -> str:
    return table(
        (
            "samples",
            "layer",
            "neurons",
            "flagged",
            "kinds beyond chance",
            "of random sets",
            "share of members flagged",
            "nearest by distance",
            "by angle",
            "lift",
            "flagged ones held",
        ),
        (
            (
                row["samples"],
                row["layer"],
                row["sight"],
                percent(row["flagged_share"]),
                number(row["beyond_chance"], 1),
                number(row["random_beyond_chance"], 2),
                *(number(row[name], 2) for name in ("share", "euclidean", "cosine")),
                _lifts(row["lifts"]),
                percent(row["reach"]),
            )
            for row in rows
        ),
    )


def _corrections_table(found: Row) -> str:
    rows = {name: values for name, values in found.items() if isinstance(values, dict)}
    return table(
        ("learnt from", "still flagged", "the kind less this", "mean change of a pixel"),
        (
            (
                name,
                estimate(values["still_flagged"][0], values["still_flagged"][1:]),
                "-" if name == "the kind" else _difference(values["kind_less_this"]),
                number(values["pixel_change"], 4),
            )
            for name, values in rows.items()
        ),
    )


def _lifts(lifts: list[list[float]]) -> str:
    every = list(chain.from_iterable(lifts))
    return f"{number(min(every), 1)} to {number(max(every), 1)}" if every else "-"


def _said(rows: list[Row], kinds: list[Row], corrections: Row) -> str:
    lines = []
    for start, called in (("published", "The published rule"), ("default", "The default rule")):
        own = [row for row in rows if row["recipe"].startswith(start)]
        told = []
        for name, key in SHOWN.items():
            found = [row[f"region - {key}"] for row in own if f"region - {key}" in row]
            if found:
                better, worse = sum(each[1] > 0 for each in found), sum(each[2] < 0 for each in found)
                told.append(f"{name}: purer in {better}, less pure in {worse} of {len(found)}")
        lines.append(f"* **{called}**, against as many nearest images ({'; '.join(told)}).")
    best = max(kinds, key=lambda row: (row["beyond_chance"], row["reach"]))
    most_random = max(row["random_beyond_chance"] for row in kinds)
    lines.append(
        f"* **Kinds of artifact**: up to {number(best['beyond_chance'], 1)} kinds a split are beyond chance "
        f"({best['samples']}, {best['layer']}, {best['sight']}), where random sets have at most "
        f"{number(most_random, 2)}; they hold {percent(best['reach'])} of the flagged samples held out."
    )
    against = corrections["all flagged"]["kind_less_this"]
    verdict = (
        "mends more"
        if against[2] < 0
        else "mends less"
        if against[1] > 0
        else "makes no difference beyond the interval"
    )
    kind, every = (corrections[name]["still_flagged"][0] for name in ("the kind", "all flagged"))
    lines.append(
        f"* **Correction learnt kind by kind** {verdict}: still flagged {number(kind)} against {number(every)} learnt "
        f"from all flagged samples at once ({_difference(against)})."
    )
    return "\n".join(lines)
