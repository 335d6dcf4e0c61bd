"""The page of ``genmend score``: totals in plain words, figures, the samples behind them, and what was left out."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from genmend.manifold.figures import charts as figures
from genmend.manifold.figures.galleries import most_common, rarest, worst_missed, worst_outside
from genmend.manifold.metrics.meanings import MEANINGS, meaning_of
from genmend.workbench.pages.page import Answer, Audio, Facts, Figure, Number, Paragraph, Section, Table, write_report
from genmend.workbench.pages.samples.copies import copies_blocks, copies_in_words
from genmend.workbench.pages.score_classes import class_tables

__all__ = ["clip", "score_answer", "write_score_report"]

N_NAMED, N_CLIPS, CLIP_SECONDS = 10, 3, 4.0

Chosen = tuple[str, str, np.ndarray, str]  # what they are, whose, rows, name of the value behind


def write_score_report(path: Path, run: Any) -> None:
    """Write ``report.html`` of a `genmend.workbench.commands.score.ScoreRun`."""
    result = run.to_dict()
    sections = [
        Section("Samples", _samples(run), True),
        Section("Copies of the training set", copies_blocks(run, _Images), True),
        Section("Metrics", [_metric_table(result), *_set_table(result)], True),
        Section("Figures", _charts(run.evaluation), True),
        Section("Classes", class_tables({_name(run.query): run.by_class}), True),
        Section(f"Notes ({len(result['warnings'])})", [Paragraph(f"{note}.") for note in result["warnings"]], True),
        Section("How it was made", _provenance(run, result), True),
    ]
    sections = [section for section in sections if section.blocks]
    title = f"genmend score: {_name(run.query)} against {_name(run.reference)}"
    answer = score_answer(result)
    write_report(path, title, replace(answer, doubts=(), pictures=_glance(run.evaluation)), sections)


def _name(features: Any) -> str:
    return Path(str(features.source)).name


def score_answer(result: dict[str, Any]) -> Answer:
    """What ``summary.json`` says: each share beside what two sets alike would reach; its notes are the doubts."""
    return Answer(_sentence(result), _precision(result), doubts=[f"{note}." for note in result["warnings"]])


def _precision(result: dict[str, Any]) -> Number | None:
    by_k: dict[str, dict[str, Any]] = result["k"]
    k = next(iter(by_k), "")
    totals = by_k.get(k, {})
    if totals.get("precision") is None:
        return None
    alike = totals.get("expected_precision")
    interval = ((result.get("intervals") or {}).get(k) or {}).get("precision")
    value = f"{totals['precision']:.1%}"
    if interval and None not in interval:
        value += f" [{interval[0]:.1%}, {interval[1]:.1%}]"
    return Number(f"Precision, k = {k}", value, "" if alike is None else f"sets that are alike: {alike:.1%}")


def _sentence(result: dict[str, Any]) -> str:
    by_k: dict[str, dict[str, Any]] = result["k"]
    k, totals = next(iter(by_k.items()), ("", {}))
    words = (
        ("precision", "expected_precision", "{:.1%} of the query lie on the manifold of the reference (precision)"),
        ("recall", "expected_precision", "{:.1%} of the reference lie on that of the query (recall)"),
        ("coverage", "expected_coverage", "{:.1%} of the reference samples have a query near (coverage)"),
    )
    said = []
    for name, expected, text in words:
        if totals.get(name) is not None:
            alike = totals.get(expected)
            # Recall counts in the query's balls: the reference's own say what it would be for sets of one size only.
            known = alike is not None and (name != "recall" or result["n_query"] == result["n_reference"])
            said.append(text.format(totals[name]) + (f", where alike sets have {alike:.1%}" if known else ""))
    sizes = f"{result['n_query']} query and {result['n_reference']} reference samples, {result['n_features']} features"
    copied = copies_in_words(result)
    return " ".join(
        [f"{sizes}.", *([f"With k = {k}: {'; '.join(said)}."] if said else []), *([f"{copied}."] if copied else [])]
    )


def _glance(evaluation: Any) -> list[Figure]:
    """Where the query stands in the plane of fidelity and diversity, if both were asked for."""
    ks = sorted(int(k) for k in evaluation.to_dict()["k"])
    if not ks or not {"precision", "recall"} <= set(evaluation[ks[0]].totals):
        return []
    plane = figures.precision_recall_plane(evaluation, ks[0])
    return [Figure(f"Fidelity to the right, diversity upwards; k = {ks[0]}.", plane)]


def _metric_table(result: dict[str, Any]) -> Table:
    """A row for each metric, a column for each k; intervals in brackets."""
    ks = list(result["k"])
    computed = {name for totals in result["k"].values() for name in totals}
    names = [name for name in MEANINGS if name in computed] + sorted(computed - set(MEANINGS))
    intervals = result.get("intervals") or {}
    rows = [
        [
            name,
            *(_cell(result["k"][k].get(name), intervals.get(k, {}).get(name), bool(intervals)) for k in ks),
            meaning_of(name).better,
            meaning_of(name).words,
        ]
        for name in names
    ]
    method = result.get("interval_method", "")
    caption = "Metrics for each number of neighbours k." + (f" In brackets: {method}." if intervals else "")
    return Table(caption, ["metric", *(f"k = {k}" for k in ks), "better", "what it says"], rows)


def _cell(value: Any, interval: Any, text: bool) -> Any:
    """A number; text where others of its column have an interval behind them, so that all begin at the left."""
    if value is None or not text:
        return value
    if interval is None or None in interval:
        return f"{value:.3f}"
    return f"{value:.3f} [{interval[0]:.3f},\N{NO-BREAK SPACE}{interval[1]:.3f}]"


def _set_table(result: dict[str, Any]) -> list[Table]:
    """The metrics that no k is needed for, where there are any."""
    names = [name for name in result if name in MEANINGS or name.startswith("frechet_")]
    rows = [[name, result[name], *meaning_of(name)] for name in names]
    return [Table("Metrics without neighbours.", ["metric", "value", "better", "what it says"], rows)] if rows else []


def _charts(evaluation: Any) -> list[Any]:
    ks = [int(k) for k in evaluation.to_dict()["k"]]
    if not ks:
        return [Paragraph("None: no metric of the nearest neighbours was asked for.")]
    smallest = min(ks)
    drawn: list[tuple[str, Callable[[], Any]]] = [
        (f"The metrics at k = {smallest}.", lambda: figures.metric_bars(evaluation, smallest)),
        ("The metrics over k.", lambda: figures.k_sweep(evaluation)),
        (f"Rarity at k = {smallest}.", lambda: figures.rarity_histogram(evaluation, smallest)),
        (f"Distance from the manifold at k = {smallest}.", lambda: figures.score_histogram(evaluation, smallest)),
    ]
    if len(ks) == 1:
        drawn.pop(1)  # a sweep over one k shows nothing
    for k in sorted(ks)[1:]:
        drawn.append((f"Rarity at k = {k}.", partial(figures.rarity_histogram, evaluation, k)))
    blocks: list[Any] = []
    for caption, draw in drawn:
        try:
            blocks.append(Figure(caption, draw()))
        except ValueError:  # its metric was not asked for
            continue
    return blocks or [Paragraph("None: no metric that is drawn was asked for.")]


def _samples(run: Any) -> list[Any]:
    evaluation = run.evaluation
    blocks: list[Any] = []
    k = min((int(k) for k in evaluation.to_dict()["k"]), default=0)
    galleries: list[tuple[str, Callable[..., Any], Any, Callable[..., np.ndarray], str]] = [
        ("Off the manifold, farthest first", figures.off_manifold_gallery, run.query, worst_outside, "score"),
        ("The rarest on the manifold", figures.rare_gallery, run.query, rarest, "rarity"),
        ("The most common on the manifold", figures.common_gallery, run.query, most_common, "rarity"),
        ("Missed: reference samples with no query near", figures.missed_gallery, run.reference, worst_missed, "radius"),
    ]
    arrays = evaluation.per_sample()
    for title, draw, features, choose, value in galleries:
        try:
            rows = choose(evaluation, k)
        except ValueError:  # its metric was not asked for
            continue
        if features.kind == "images" and features.sample is not None and len(rows):
            blocks.append(Figure(f"{title}.", draw(evaluation, _Images(features), k)))
        if features.kind == "audio" and features.sample is not None:
            blocks += [clip(f"{title}: {features.names[row]}", features.sample(row)) for row in rows[:N_CLIPS]]
        named = [[int(row), str(features.names[row]), float(arrays[f"k{k}_{value}"][row])] for row in rows[:N_NAMED]]
        if named:
            blocks.append(Table(f"{title}: the first {len(named)}.", ["row", "name", f"{value} (k = {k})"], named))
        else:
            blocks.append(Paragraph(f"{title}: there are none."))
    return [*blocks, Paragraph("Every sample: per_sample.npz.")]


class _Images(Sequence[Any]):
    """The images of a set by row, each read when it is looked at."""

    def __init__(self, features: Any) -> None:
        self._features = features

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, row: Any) -> Any:
        return self._features.sample(row)


def clip(caption: str, sound: tuple[np.ndarray, int]) -> Audio:
    """The first seconds of a sound as 16-bit mono WAV."""
    samples, rate = sound
    mono = np.asarray(samples, dtype=np.float64)[: int(CLIP_SECONDS * rate)]
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(int(rate))
        file.writeframes((np.clip(mono, -1, 1) * 32767).astype("<i2").tobytes())
    return Audio(caption, buffer.getvalue())


def _provenance(run: Any, result: dict[str, Any]) -> list[Any]:
    blocks: list[Any] = []
    for role, about in result["sources"].items():
        facts = {"source": about["source"], "kind": about["kind"], "samples": about["n"], **about["pipeline"]}
        blocks.append(Facts(f"The {role}, and what turned it into features.", facts))
        if about["skipped"]:
            blocks.append(Table(f"Files of the {role} that were left out.", ["file", "why"], about["skipped"]))
    balls = "closed (distance <= radius)" if run.settings.closed else "open (distance < radius)"
    engine = "{name} ({reason})".format(**result["engine"])
    beside = {"stands beside": result["published_tables"]} if result.get("published_tables") else {}
    return [*blocks, Facts("Settings of this run.", {**beside, "balls": balls, **result["settings"], "engine": engine})]
