"""The page of ``genmend score``: totals in plain words, figures, the samples behind them, and what was left out."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from genmend.manifold.figures import charts as figures
from genmend.manifold.figures.galleries import most_common, rarest, worst_missed, worst_outside
from genmend.manifold.metrics.meanings import MEANINGS, meaning_of
from genmend.workbench.pages.page import Audio, Facts, Figure, Paragraph, Section, Table, write_report

__all__ = ["score_summary", "write_score_report"]

N_NAMED, N_CLIPS, CLIP_SECONDS = 10, 3, 4.0

Chosen = tuple[str, str, np.ndarray, str]  # what they are, whose, rows, name of the value behind


def write_score_report(path: Path, run: Any) -> None:
    """Write ``report.html`` of a `genmend.workbench.commands.score.ScoreRun`."""
    result = run.to_dict()
    sections = [
        Section("Metrics", [_metric_table(result), *_set_table(result)]),
        Section("Figures", _charts(run.evaluation)),
        Section("Samples", _samples(run)),
        Section("How it was made", _provenance(run, result)),
    ]
    title = f"genmend score: {_name(run.query)} against {_name(run.reference)}"
    write_report(path, title, score_summary(result), sections)


def _name(features: Any) -> str:
    return Path(str(features.source)).name


def score_summary(result: dict[str, Any]) -> str:
    """What a reader in a hurry should know of ``summary.json``; a warning a paragraph."""
    by_k: dict[str, dict[str, Any]] = result["k"]
    k, totals = next(iter(by_k.items()), ("", {}))
    words = {
        "precision": "{:.1%} of the query lie on the manifold of the reference (precision)",
        "recall": "{:.1%} of the reference lie on that of the query (recall)",
        "coverage": "{:.1%} of the reference samples have a query near (coverage)",
    }
    said = [text.format(totals[name]) for name, text in words.items() if totals.get(name) is not None]
    if totals.get("coverage") is not None and totals.get("expected_coverage") is not None:
        said[-1] += f", where two alike sets would have {totals['expected_coverage']:.1%}"
    sizes = f"{result['n_query']} query and {result['n_reference']} reference samples, {result['n_features']} features."
    warned = "".join(f"\n\nMind: {warning}." for warning in result["warnings"])
    return (f"{sizes} With k = {k}: {'; '.join(said)}." if said else sizes) + warned


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
    caption = "Metrics for each number of neighbours k." + (
        " In brackets: 95 % bootstrap intervals over both sets." if intervals else ""
    )
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
        (f"Fidelity and diversity at k = {smallest}.", lambda: figures.precision_recall_plane(evaluation, smallest)),
        (f"Rarity at k = {smallest}.", lambda: figures.rarity_histogram(evaluation, smallest)),
        (f"Distance from the manifold at k = {smallest}.", lambda: figures.score_histogram(evaluation, smallest)),
    ]
    drawn.pop(2 if len(ks) > 1 else 1)  # a sweep over one k shows nothing
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
        if features.kind == "images" and len(rows):
            blocks.append(Figure(f"{title}.", draw(evaluation, _files(features), k)))
        if features.kind == "audio":
            blocks += [_clip(f"{title}: {features.names[row]}", _files(features)[row]) for row in rows[:N_CLIPS]]
        named = [[int(row), str(features.names[row]), float(arrays[f"k{k}_{value}"][row])] for row in rows[:N_NAMED]]
        if named:
            blocks.append(Table(f"{title}: the first {len(named)}.", ["row", "name", f"{value} (k = {k})"], named))
        else:
            blocks.append(Paragraph(f"{title}: there are none."))
    return [*blocks, Paragraph("Every sample: per_sample.npz.")]


def _files(features: Any) -> list[Path]:
    return [Path(features.source) / name for name in features.names]


def _clip(caption: str, path: Path) -> Audio:
    """The first seconds of a sound as 16-bit mono WAV."""
    from genmend.manifold.features import read_audio

    samples, rate = read_audio(path)
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
    return [*blocks, Facts("Settings of this run.", {"balls": balls, **result["settings"]})]
