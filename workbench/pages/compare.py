"""The page of ``genmend score`` of several sets: one table with ranks, samples side by side, what is chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genmend.manifold.comparison.directions import RANKED
from genmend.manifold.figures.charts import precision_recall_plane
from genmend.manifold.figures.galleries import most_common, rarest, thumbnail, worst_missed, worst_outside
from genmend.manifold.figures.image_grid import png
from genmend.manifold.metrics.meanings import MEANINGS, meaning_of
from genmend.workbench.pages.page import (
    Answer,
    Beside,
    Facts,
    Figure,
    Paragraph,
    Picture,
    Players,
    Section,
    Table,
    write_report,
)
from genmend.workbench.pages.score import clip
from genmend.workbench.pages.score_classes import class_tables

__all__ = ["compare_answer", "worse_in_words", "write_compare_report"]

N_SHOWN = 9  # samples of each set in a gallery
NAMED = ("precision", "recall", "coverage")  # in the first sentence

NO_K = "none"  # among the ranks: of what does not depend on k
_TIE = "\N{NO-BREAK SPACE}="

Choose = Callable[[Any, int, int], np.ndarray]


def write_compare_report(path: Path, run: Any) -> None:
    """Write ``report.html`` of a `genmend.workbench.commands.compare.CompareRun`."""
    result = run.to_dict()
    answer = compare_answer(result)
    sections = [
        Section("Samples side by side", _side_by_side(run)),
        Section("Differences", _differences(result)),
        Section("All metrics", _all_metrics(result), True),
        Section("Classes", class_tables({name: one.by_class for name, one in run.runs.items()})),
        Section(f"Notes ({len(result['warnings'])})", [Paragraph(f"{note}.") for note in result["warnings"]], True),
        Section("How it was made", _provenance(run, result), True),
    ]
    shown = Answer(answer.sentence, pictures=[_overview(result), *_plane(run)])
    title = f"genmend score: {_listed(list(run.runs))} against {Path(run.reference.source).name}"
    write_report(path, title, shown, [section for section in sections if section.blocks])


def compare_answer(result: Mapping[str, Any]) -> Answer:
    """What ``summary.json`` says: who is best in what, and where that is a tie."""
    names = list(result["models"])
    n = result["reference"]["n"]
    sizes = {name: one["n_query"] for name, one in result["models"].items()}
    counted = ", ".join(f"{name} ({size} samples)" for name, size in sizes.items())
    nothing: tuple[str, dict[str, Any]] = ("", {})
    k, ranks = next(iter(result["ranks"].items()), nothing)
    told = [f"{metric}: {_best_in_words(ranks[metric])}" for metric in NAMED if metric in ranks]
    said = (
        f" {'T' if k == NO_K else f'With k = {k}, t'}he best {'; '.join(told)}."
        if told
        else " Nothing is ranked: see the notes."
    )
    doubts = [f"{note}." for note in result["warnings"]]
    return Answer(f"{len(names)} sets against {n} reference samples: {counted}.{said}", doubts=doubts)


def worse_in_words(result: Mapping[str, Any]) -> str:
    """Where sets are worse than the first by more than chance, a line each."""
    first = next(iter(result["models"]))
    lines = []
    for one in result["worse_than_first"]:
        other, turn = (one["second"], 1) if one["first"] == first else (one["first"], -1)
        ends = sorted(turn * one[end] for end in ("low", "high"))
        metric = one["metric"] if one["k"] is None else f"{one['metric']}, k = {one['k']}"
        lines.append(
            f"Worse than {first}: {other} in {metric}, by {turn * one['value']:.3f} [{ends[0]:.3f}, {ends[1]:.3f}]."
        )
    return "\n".join(lines)


def _best_in_words(ranks: Mapping[str, Any]) -> str:
    best = [name for name, one in ranks.items() if one["rank"] == 1]
    if len(best) == len(ranks):
        return "none, all tie"
    return f"{_listed(best)}{' (a tie)' if len(best) > 1 else ''}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _overview(result: Mapping[str, Any]) -> Table:
    """What has a better direction, at the smallest k that it was computed for, each value with its rank."""
    names = list(result["models"])
    rows: list[list[Any]] = []
    marked: set[Any] = set()
    for k, ranks in _first_ranks(result):
        for metric in [name for name in RANKED if name in ranks]:
            cells = []
            for column, name in enumerate(names, 1):
                model = result["models"][name]
                value = (model if k == NO_K else model["k"][k])[metric]
                rank = ranks[metric].get(name)
                cells.append(f"{_text(value)}\N{NO-BREAK SPACE}{_rank_words(rank)}")
                if rank is not None and rank["rank"] == 1:
                    marked.add((len(rows), column))
            words = meaning_of(metric).words.replace(": compare with the next row", "")
            rows.append([metric, *cells, _of_sets_alike(result, k, metric), words])
    k = next(iter(result["ranks"]), NO_K)
    at = "With" if k == NO_K else f"At k = {k}, with"
    caption = (
        f"{at} the rank in brackets; = marks a tie, no difference beyond chance. Marked: nobody is better."
        if rows
        else "Nothing is ranked: see the notes."
    )
    return Table(caption, ["metric", *names, "sets alike", "what it says"], rows, marked=marked)


def _first_ranks(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Those of the smallest k, and of what has none."""
    with_k = [(k, ranks) for k, ranks in result["ranks"].items() if k != NO_K]
    return with_k[:1] + ([(NO_K, result["ranks"][NO_K])] if NO_K in result["ranks"] else [])


def _of_sets_alike(result: Mapping[str, Any], k: str, metric: str) -> str | None:
    """What the metric is for two sets of one source, where that is known and the same for all sets."""
    if k == NO_K:
        return _text(0.0)  # kid
    models = result["models"].values()
    if metric == "recall" and {one["n_query"] for one in models} != {result["reference"]["n"]}:
        return None  # counts in the query's balls: those of the reference say it for sets of its size only
    expected = {"precision": "expected_precision", "recall": "expected_precision", "coverage": "expected_coverage"}
    found = {one["k"][k].get(expected.get(metric, "")) for one in models}
    value = found.pop()
    return None if found or value is None else _text(value)


def _rank_words(rank: Mapping[str, Any] | None) -> str:
    return "(not ranked)" if rank is None else f"({rank['rank']}{_TIE if rank['tied_with'] else ''})"


def _plane(run: Any) -> list[Figure]:
    evaluations = run.comparison.evaluations
    first = next(iter(evaluations.values()))
    k = next(iter(first.at), None)
    if k is None or not {"precision", "recall"} <= set(first[k].totals):
        return []
    return [Figure(f"Fidelity to the right, diversity upwards; k = {k}. Bars: 95 % intervals of each set alone.",
                   precision_recall_plane(evaluations, k))]  # fmt: skip


def _side_by_side(run: Any) -> list[Any]:
    """The same kinds of samples of each set, beside each other."""
    evaluations = run.comparison.evaluations
    k = min(next(iter(evaluations.values())).at, default=0)
    kinds: list[tuple[str, str, Choose | None, str]] = [
        ("The first samples of each, as they were given.", "query", None, ""),
        ("Farthest off the manifold of the reference: distance / radius of the nearest ball.", "query", worst_outside,
         "score"),
        ("The rarest on the manifold: rarity, in feature units.", "query", rarest, "rarity"),
        ("The most common on the manifold: rarity, in feature units.", "query", most_common, "rarity"),
        ("Reference samples that no sample of the set is near: radius, in feature units.", "reference", worst_missed,
         "radius"),
    ]  # fmt: skip
    blocks: list[Any] = []
    for caption, role, choose, value in kinds:
        columns, sounds = [], []
        for name, one in run.runs.items():
            features = one.query if role == "query" else one.reference
            rows, labels = _chosen(one.evaluation, features, choose, k, value)
            if features.sample is None or rows is None:
                continue
            if features.kind == "images":
                shown = [
                    Picture(label, png(_coloured(thumbnail(features.sample(int(row))))))
                    for row, label in zip(rows, labels, strict=True)
                ]
                columns.append((name if len(rows) else f"{name}: none", shown))
            elif features.kind == "audio" and len(rows):
                sounds.append(clip(f"{name}: {features.names[int(rows[0])]}", features.sample(int(rows[0]))))
        if any(shown for _, shown in columns):
            blocks.append(Beside(caption, columns))
        if sounds:
            blocks.append(Players(caption, sounds))
    if not blocks:
        return []
    return [*blocks, Paragraph("Every set has a page of its own, with more of them, in the folder of its name.")]


def _chosen(
    evaluation: Any, features: Any, choose: Choose | None, k: int, value: str
) -> tuple[np.ndarray | None, list[str]]:
    """Rows of a gallery, and a line under each; None where its metric was not asked for."""
    if choose is None:
        rows = np.arange(min(N_SHOWN, len(features)))
        return rows, [features.names[int(row)] for row in rows]
    try:
        rows = choose(evaluation, k, N_SHOWN)
    except ValueError:
        return None, []
    values = evaluation[k].arrays[value]
    return rows, [f"{values[row]:.3g}" for row in rows]


def _coloured(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def _differences(result: Mapping[str, Any]) -> list[Any]:
    rows: list[list[Any]] = []
    marked: set[Any] = set()
    for one in result["differences"]:
        if one["metric"] not in (*RANKED, "vendi"):
            continue
        if one["better"]:
            verdict = f"{one['better']} is better"
            marked.add((len(rows), 4))
        else:
            verdict = "a tie" if one["tie"] else _undecided(one)
        pair = f"{one['first']} \N{MINUS SIGN} {one['second']}"
        rows.append(
            [
                one["metric"],
                "" if one["k"] is None else one["k"],
                pair,
                _with_ends(one["value"], one["low"], one["high"]),
                verdict,
            ]
        )
    if not rows:
        return []
    caption = "Differences of the sets, two by two." + (
        f" In brackets: {result['difference_method']}." if result["difference_method"] else ""
    )
    heads = ["metric", "k", "first \N{MINUS SIGN} second", "difference", "so"]
    return [Table(caption, heads, rows, searchable=True, marked=marked)]


def _undecided(one: Mapping[str, Any]) -> str:
    """What is said of a difference that makes no set better."""
    if not one["comparable"]:
        return "sizes differ"
    if one["low"] is None:
        return "no more samples than features: its scatter is not known" if one["metric"] == "vendi" else "not known"
    if one["low"] <= 0 <= one["high"]:
        return "no difference beyond chance"
    return f"{one['first'] if one['low'] > 0 else one['second']} is more varied, which noise is, too"


def _all_metrics(result: Mapping[str, Any]) -> list[Any]:
    """For each k a table of all totals, with the intervals of each set alone; then what needs no k."""
    models, tables = result["models"], []
    first = next(iter(models.values()))
    for k, totals in first["k"].items():
        rows = []
        for name in [*(one for one in MEANINGS if one in totals), *(one for one in totals if one not in MEANINGS)]:
            cells = []
            for model in models.values():
                ends = ((model.get("intervals") or {}).get(k) or {}).get(name) or (None, None)
                cells.append(_with_ends(model["k"][k][name], *ends))
            rows.append([name, *cells, meaning_of(name).better])
        method = f" In brackets: {first['interval_method']}." if first.get("interval_method") else ""
        tables.append(Table(f"k = {k}.{method}", ["metric", *models, "better"], rows))
    others = [name for name in first if name in MEANINGS or name.startswith("frechet_")]
    if others:
        rows = [[name, *(model[name] for model in models.values()), meaning_of(name).better] for name in others]
        caption = "Metrics without neighbours; of cmmd and a Fréchet distance no interval of differences is known."
        tables.append(Table(caption, ["metric", *models, "better"], rows))
    return tables


def _with_ends(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return _text(value)
    return f"{value:.3f} [{low:.3f},\N{NO-BREAK SPACE}{high:.3f}]"


def _text(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{value:.3f}"


def _provenance(run: Any, result: Mapping[str, Any]) -> list[Any]:
    sources = {"reference": result["reference"]} | {name: one["source"] for name, one in result["models"].items()}
    rows = [[name, one["source"], one["kind"], one["n"], one["n_skipped"]] for name, one in sources.items()]
    blocks: list[Any] = [Table("The sets.", ["set", "source", "kind", "samples", "left out"], rows)]
    skipped = [[name, *entry] for name, one in sources.items() for entry in one["skipped"]]
    if skipped:
        blocks.append(Table("Files that were left out.", ["set", "file", "why"], skipped))
    blocks.append(Facts("What turned samples into features.", result["reference"]["pipeline"]))
    balls = "closed (distance <= radius)" if run.settings.closed else "open (distance < radius)"
    engine = "{name} ({reason})".format(**result["engine"])
    return [*blocks, Facts("Settings of this run.", {"balls": balls, **result["settings"], "engine": engine})]
