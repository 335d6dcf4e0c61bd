"""Detection and correction without labels on the eye generator, for which no labels exist.

    python -m experiments.faces.eyes

Run twice, with the same options. The first run scores samples, corrects them, and writes two numbered, unmarked
pictures into its cache folder: ``blind.png`` with the highest-scored samples and as many others,
``blind_corrected.png`` with what ours and random neurons made of some of them. A person rates them in
``experiments/data/eye_ratings.csv`` (seed, position, broken 0/1); the second run unblinds the ratings. "Normal" is
relative to the model's own samples, not to paintings.

Writes results/eyes/: tables.txt, results.json, pictures, and the page.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from sklearn.metrics import roc_auc_score
from torch import Tensor

from experiments.faces.methods import random_control
from experiments.intervals import bootstrap
from experiments.pages import write_page
from genmend.gans import ArtifactDetector, Detection, Generator, corrected, fit_correction
from genmend.gans.detection.detect import detector_facts, fit_detector, measure_samples
from genmend.gans.families.pretrained import EYE_COLOURS, load_eyes
from genmend.gans.settings import DetectorSettings
from genmend.manifold import Manifold
from genmend.manifold.features import extract, load_extractor
from genmend.manifold.figures.image_grid import to_pixels
from genmend.storage.digests import settings_key
from genmend.storage.pieces import Work

RESULTS, RATINGS = Path(__file__).with_name("results") / "eyes", Path(__file__).parents[1] / "data" / "eye_ratings.csv"
WORK = Work(RESULTS / "cache", progress=True)
QUERY_SEED, SHUFFLE_SEED, CONTROL_SEED, N_PAIRS = 2_000_003, 5, 0, 20
JUDGE = "mobilenet-v2"
Arrays = dict[str, np.ndarray]


def main() -> None:
    options = _options()
    RESULTS.mkdir(parents=True, exist_ok=True)
    generator = load_eyes()
    settings = DetectorSettings(n_statistics=options.n_statistics, n_reference=options.n_reference)
    detector = fit_detector(generator, settings, WORK)
    latents = generator.latents(options.n_query, QUERY_SEED)
    detection = detector.score_measured(*measure_samples(generator, detector, latents, WORK))
    order = np.argsort(-detection.combined, kind="stable")
    draw = np.random.default_rng(SHUFFLE_SEED)
    n_shown = options.n_shown
    shown = np.concatenate([order[:n_shown], draw.permutation(order[n_shown:])[:n_shown]])
    places = draw.permutation(len(shown))
    _sheet(generator.generate(latents[shown[places]]), "blind.png", first=0)
    _sheet(generator.generate(latents[order[:n_shown].copy()]), "highest_scored.png")
    _sheet(generator.generate(latents[order[::-1][:n_shown].copy()]), "lowest_scored.png")
    results = {
        "settings": vars(options) | {"query_seed": QUERY_SEED, "judge": JUDGE},
        "detection": detection.to_dict(),
        "class": _class_figures(generator, latents, detection, order[:n_shown]),
    }
    rated = _ratings(len(shown))
    broken = np.empty(len(shown), dtype=bool)
    broken[places] = rated[: len(shown)] if len(rated) else False
    if len(rated):
        results["rated"] = _rated_figures(broken, _scores(detection, shown), options.n_query)
    if not options.detection_only:
        fit = settings_key(detector_facts(generator, settings))
        facts = {"fit": fit, "shown": shown.tolist(), "control": CONTROL_SEED}
        outcome = WORK.kept("corrected", facts, lambda: _correct(generator, detector, latents[shown.copy()]))
        results["correction"] = _correction_figures(outcome, n_shown)
        pairs = np.flatnonzero(outcome["ours_rung"][:n_shown] >= 0)[:N_PAIRS]
        after = [(name, int(row)) for name in ("ours", "random") for row in pairs]
        after_places = draw.permutation(len(after))
        _write_pictures(outcome, n_shown, [after[place] for place in after_places])
        if len(rated) == len(shown) + len(after):
            mended = np.empty(len(after), dtype=bool)
            mended[after_places] = rated[len(shown) :]
            results["rated_corrected"] = {
                "n": len(pairs),
                "before": _mean(broken[pairs]),
                "ours": _mean(mended[: len(pairs)]),
                "random neurons": _mean(mended[len(pairs) :]),
            }
    (RESULTS / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "tables.txt").write_text(_table(results))
    print(_table(results))
    write_page("faces/eyes")


def _correct(generator: Generator, detector: ArtifactDetector, latents: Tensor) -> Arrays:
    """What ours and the control return for these samples, and whether each image is normal to the judge."""
    correction = fit_correction(generator, detector, progress=True)
    judge = load_extractor(JUDGE)
    own = generator.latents(detector.n_reference, detector.seed + 1)[torch.from_numpy(detector.own_normal_)]
    normal = Manifold(detector.k).fit(extract(judge, generator.generate(own, progress=True)))
    arrays: Arrays = {"before_images": generator.generate(latents).numpy()}
    for name, made in (("ours", correction), ("random", random_control(correction, CONTROL_SEED))):
        done = corrected(generator, made)(latents)
        arrays |= {f"{name}_images": done.images.numpy(), f"{name}_rung": done.rung, f"{name}_given_up": done.given_up}
    for name in ("before", "ours", "random"):
        features = extract(judge, torch.from_numpy(arrays[f"{name}_images"]))
        arrays |= {f"{name}_features": features, f"{name}_inside": normal.score_samples(features) <= 1}
    return arrays


def _correction_figures(outcome: Arrays, n_shown: int) -> dict:
    """Of the highest-scored samples, and of the random others that the gate should leave alone."""
    before = outcome["before_images"]
    figures: dict = {}
    for group, rows in (("highest", slice(0, n_shown)), ("others", slice(n_shown, None))):
        for name in ("before", "ours", "random"):
            images, features = outcome[f"{name}_images"][rows], outcome[f"{name}_features"][rows]
            found = {
                "inside": _mean(outcome[f"{name}_inside"][rows]),
                "spread": float(np.linalg.norm(features - features.mean(0), axis=1).mean()),
                "contrast": float(images.std(axis=(1, 2, 3)).mean()),
            }
            if name != "before":
                rung = outcome[f"{name}_rung"][rows]
                change = np.abs(images - before[rows]).mean(axis=(1, 2, 3))
                edited = rung >= 0
                found |= {
                    "changed": int(edited.sum()),
                    "given_up": int(outcome[f"{name}_given_up"][rows].sum()),
                    "median_rung": float(np.median(rung[edited])) if edited.any() else None,
                    "change_where_changed": float(change[edited].mean()) if edited.any() else None,
                    "inside_before_where_changed": _mean(outcome["before_inside"][rows][edited]),
                    "inside_where_changed": _mean(outcome[f"{name}_inside"][rows][edited]),
                }
            figures[f"{group}, {name}"] = found
    return figures


def _class_figures(generator: Generator, latents: Tensor, detection: Detection, highest: np.ndarray) -> dict:
    """Whether class decides the score: counts, and the share of the score's variance that class explains."""
    _, labels = generator.call.split(latents)  # type: ignore[union-attr]
    labels, score = labels.numpy(), detection.combined
    means = np.array([score[labels == label].mean() for label in range(len(EYE_COLOURS))])
    counts = {
        colour: [int((labels[highest] == label).sum()), int((labels == label).sum())]
        for label, colour in enumerate(EYE_COLOURS)
    }
    return {"highest_and_all": counts, "variance_explained": float(means[labels].var() / score.var())}


def _scores(detection: Detection, rows: np.ndarray) -> Arrays:
    parts = ("combined", "rare_activation", "distance_to_normal")
    return {name: getattr(detection, name)[rows] for name in parts}


def _rated_figures(broken: np.ndarray, scores: Arrays, n_query: int) -> dict:
    """Shares rated broken, and AUROC; samples are weighted by how many of the query each stands for.

    Intervals: 95 %, 2,000 bootstrap resamples inside each of the two groups.
    """
    n_shown = len(broken) // 2
    weight = np.ones(len(broken))
    weight[n_shown:] = (n_query - n_shown) / n_shown

    def interval(figure: Callable[[np.ndarray], float]) -> list[float]:
        return [round(value, 3) for value in bootstrap(figure, (n_shown, n_shown), SHUFFLE_SEED)]

    def auroc(score: np.ndarray, rows: np.ndarray) -> float:
        both = 0 < broken[rows].sum() < len(rows)
        return roc_auc_score(broken[rows], score[rows], sample_weight=weight[rows]) if both else 0.5

    return {
        "highest": interval(lambda rows: broken[rows][:n_shown].mean()),
        "others": interval(lambda rows: broken[rows][n_shown:].mean()),
        "difference": interval(lambda rows: broken[rows][:n_shown].mean() - broken[rows][n_shown:].mean()),
        "auroc": {name: interval(lambda rows, s=score: auroc(s, rows)) for name, score in scores.items()},
    }


def _ratings(n_least: int) -> np.ndarray:
    """By position: whether rated broken; empty where nothing is rated yet."""
    if not RATINGS.is_file():
        return np.empty(0, dtype=bool)
    with RATINGS.open() as file:
        rated = {int(row["position"]): row["broken"] == "1" for row in csv.DictReader(file)}
    if len(rated) < n_least or sorted(rated) != list(range(len(rated))):
        raise ValueError(f"{RATINGS} rates {len(rated)} positions; rate each from 0 to {n_least - 1} at least, once.")
    return np.array([rated[position] for position in range(len(rated))])


def _write_pictures(outcome: Arrays, n_shown: int, after: list[tuple[str, int]]) -> None:
    before, ours, random = (torch.from_numpy(outcome[f"{name}_images"]) for name in ("before", "ours", "random"))
    if after:
        chosen = torch.stack([torch.from_numpy(outcome[f"{name}_images"][row]) for name, row in after])
        _sheet(chosen, "blind_corrected.png", first=len(before))
    edited = np.flatnonzero(outcome["ours_rung"][:n_shown] >= 0)[:30]
    rows = [part for ten in np.split(edited, range(10, len(edited), 10)) for part in _triple(before, ours, random, ten)]
    if len(edited):
        _sheet(torch.cat(rows), "before_ours_random.png")


def _triple(before: Tensor, ours: Tensor, random: Tensor, rows: np.ndarray) -> list[Tensor]:
    """Three rows of ten, filled up with white."""
    blank = before.new_ones(10 - len(rows), *before.shape[1:])
    return [torch.cat([images[rows], blank]) for images in (before, ours, random)]


def _sheet(images: Tensor, name: str, *, first: int | None = None, columns: int = 10) -> None:
    """A contact sheet: numbered from `first`, for rating, in the cache; without numbers beside the results, too."""
    side = images.shape[-1]
    sheet = Image.new("RGB", (columns * (side + 4), -(-len(images) // columns) * (side + 18)), "white")
    for place, pixels in enumerate(to_pixels(images)):
        left, top = place % columns * (side + 4), place // columns * (side + 18)
        sheet.paste(Image.fromarray(pixels), (left, top + 14))
        if first is not None:
            ImageDraw.Draw(sheet).text((left + 2, top), str(first + place), fill="black", font_size=13)
    sheet.save(RESULTS / "cache" / name)
    if first is None:
        half = sheet.resize((sheet.width // 2, sheet.height // 2), Image.Resampling.LANCZOS)
        half.quantize(96).save(RESULTS / name, optimize=True)


def _mean(values: np.ndarray) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None


def _table(results: dict) -> str:
    lines = ["Eyes, without labels; normal is relative to the model's own samples, not to paintings.", ""]
    for title, part in results.items():
        lines += [title, *(f"  {name}: {value}" for name, value in part.items()), ""]
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-statistics", type=int, default=2_000)
    parser.add_argument("--n-reference", type=int, default=1_000)
    parser.add_argument("--n-query", type=int, default=600)
    parser.add_argument("--n-shown", type=int, default=40, help="highest-scored samples to rate, and random others")
    parser.add_argument("--detection-only", action="store_true", help="leave the correction out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
