"""The eye generator, most of whose samples are blurred: what fails on it by default, and what serves it.

    python -m experiments.faces.eyes

Compared on 80 samples that were rated blind (``eye_ratings.csv``; the 40 highest by the old default score and 40
random others): scores without labels, old and of today; with normal images (of 200 other rated samples those rated
normal, ``eye_labels.csv``; controls: random ones, eyes of the face generator); with labels (these 200; control:
shuffled). And whether `check_majority` warns of this generator and of no other one. Then broken samples are corrected
with labels, with normal images, and on random neurons: the first run draws sheets into its cache folder, they are rated
in ``eye_corrected.csv``, and the second run tells. All ratings are by a model, blind, once.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from sklearn.metrics import roc_auc_score
from torch import Tensor

from experiments.faces.methods import random_control
from experiments.intervals import bootstrap, mean_with_interval
from experiments.pages import write_page
from genmend.activations import Correction
from genmend.gans import DCGAN, ArtifactDetector, Generator, corrected, train_detector
from genmend.gans.correctors.fitting import fit_method
from genmend.gans.detection.detect import fit_detector, measure_samples
from genmend.gans.detection.detector_file import AnyDetector
from genmend.gans.detection.labelled_samples import LabelledSamples
from genmend.gans.detection.majority_trust import MajorityTrust, check_majority, contrast_of, detail_of, majority_trust
from genmend.gans.detection.normal_images import fitted_image, normal_features
from genmend.gans.detection.soft_logistic import cross_validated_scores, fit_soft_logistic
from genmend.gans.families.pretrained import load_eyes, load_faces
from genmend.gans.settings import DetectorSettings, TrainSettings
from genmend.manifold import Manifold
from genmend.manifold.engine.nearest import nearest_neighbors
from genmend.manifold.figures.image_grid import to_pixels
from genmend.storage.pieces import Work

RESULTS, DATA = Path(__file__).with_name("results") / "eyes", Path(__file__).parents[1] / "data"
WORK = Work(RESULTS / "cache", progress=True)
QUERY_SEED, LABEL_SEED, SEED, N_QUERY, N_SHOWN, N_MENDED = 2_000_003, 3_000_017, 5, 600, 40, 24
EXTRACTOR = "efficientnet-lite0"
EYES_OF_A_FACE = ((24, 17), (24, 33))  # top, left of 14 x 14 pixels of 64 x 64
Scores = dict[str, np.ndarray]
OTHERS = DetectorSettings(EXTRACTOR, rate=0.1, n_statistics=600, n_reference=400)
METHODS = ("labels", "normal images", "random neurons")


def main() -> None:
    options = _options()
    RESULTS.mkdir(parents=True, exist_ok=True)
    eyes = load_eyes()
    sizes = {"n_statistics": options.n_statistics, "n_reference": options.n_reference}
    settings = DetectorSettings(EXTRACTOR, rate=0.1, **sizes)  # of the old default, whatever the new one is
    rows, broken, labelled = *_ratings(), _labels(eyes)
    query = eyes.latents(N_QUERY, QUERY_SEED)
    base = fit_detector(eyes, settings, WORK)
    today = fit_detector(eyes, DetectorSettings(**sizes), WORK)
    scores = _old_scores(eyes, base, query)
    by_today = today.score_measured(*measure_samples(eyes, today, query[torch.from_numpy(rows)], WORK)).combined
    normal = eyes.generate(labelled.latents[torch.from_numpy(labelled.normal)])
    served = _served(eyes, settings, query, labelled, normal)
    given, trained = served.pop("given"), served.pop("trained")
    scores |= served
    results: dict[str, Any] = {
        "settings": vars(options)
        | {"query_seed": QUERY_SEED, "label_seed": LABEL_SEED, "extractor": settings.extractor},
        "labels": {kind: int(getattr(labelled, kind).sum()) for kind in ("normal", "broken")}
        | {"n": len(labelled.share)},
        "rated": _rated_shares(broken),
        "auroc": {name: _auroc(score[rows], broken) for name, score in scores.items()},
        "trained": trained.training_,
        "flagged": {
            "own": given.beyond_normal_,
            **_flagged(eyes, given, trained, query[torch.from_numpy(rows)], broken),
        },
        "trust": _trust(eyes, base),
    }
    results["auroc"] = {"today's default": _auroc(by_today, broken)} | results["auroc"]
    results["trust"]["eyes, today's default"] = _in_dict(check_majority(eyes, today, WORK))
    results["auroc"]["labels, the 80 by folds"] = _auroc(_by_folds(eyes, base, query, rows, broken), broken)
    results["auroc"]["labels, shuffled 20 times (control)"] = _shuffled(eyes, base, query, labelled, rows, broken)
    order = np.argsort(-scores["the old default"], kind="stable")
    _sheet(eyes.generate(query[order[:N_SHOWN].copy()]), "highest_scored.png")
    _sheet(eyes.generate(query[order[::-1][:N_SHOWN].copy()]), "lowest_scored.png")
    _sheet(eyes.generate(query[np.argsort(-served["labels, 200 others"])[:N_SHOWN].copy()]), "highest_by_labels.png")
    chosen = rows[broken][:N_MENDED]
    features = normal_features(normal, eyes, settings.extractor, WORK)
    mended = _mended(eyes, settings, trained, features, query[torch.from_numpy(chosen)])
    results["corrected"] = _corrected_figures(mended)
    results["rated_corrected"] = {"by majority, the old default": _old_corrections()} | _rate(mended)
    _write_triples(mended)
    (RESULTS / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "tables.txt").write_text(_table(results))
    print(_table(results))
    write_page("faces/eyes")


def _old_scores(eyes: Generator, detector: ArtifactDetector, query: Tensor) -> Scores:
    """The score of the release before: rare activation and distance to normal, in equal parts."""
    features, counts = measure_samples(eyes, detector, query, WORK)
    own = detector.own_counts_.sum(axis=1)
    normal = own <= np.quantile(own, 0.95)
    manifold = Manifold(detector.k).fit(detector.own_features_[normal])
    alone = np.empty(len(own))
    alone[normal] = manifold.radii_
    alone[~normal] = _distance(manifold, detector.own_features_[~normal])
    rare = (counts.sum(axis=1) - own.mean()) / own.std()
    distance = (_distance(manifold, features) - alone.mean()) / alone.std()
    return {"the old default": (rare + distance) / 2, "rare activation": rare, "distance to normal": distance}


def _distance(manifold: Manifold, features: np.ndarray) -> np.ndarray:
    return nearest_neighbors(manifold.reference_, features, manifold.k).distances[:, -1]


def _served(
    eyes: Generator, settings: DetectorSettings, query: Tensor, labelled: LabelledSamples, normal: Tensor
) -> dict[str, Any]:
    """Scores of the query with normal images and with labels, and their controls; the two detectors."""
    draw = np.random.default_rng(SEED)
    any_of_them = draw.permutation(len(labelled.latents))[: len(normal)]
    faces = load_faces().sample(len(normal), LABEL_SEED)
    folders = {
        f"normal images, {len(normal)} rated normal": normal,
        f"{len(normal)} random samples as normal (control)": eyes.generate(labelled.latents[any_of_them]),
        f"{2 * len(normal)} eyes of the face generator as normal": _eyes_of(faces),
    }
    found: dict[str, Any] = {}
    for name, images in folders.items():
        features = normal_features(images, eyes, settings.extractor, WORK)
        detector = fit_detector(eyes, settings, WORK, features)
        found[name] = detector.score_measured(*measure_samples(eyes, detector, query, WORK)).combined
        found.setdefault("given", detector)
    run = train_detector(eyes, labels=labelled, settings=TrainSettings(detector=settings), work=WORK)
    measured = measure_samples(eyes, run.detector, query, WORK)
    found["labels, 200 others"] = run.detector.score_measured(*measured).combined
    found["trained"] = run.detector
    return found


def _eyes_of(faces: Tensor) -> Tensor:
    crops = [face[:, top : top + 14, left : left + 14] for face in faces for top, left in EYES_OF_A_FACE]
    return torch.cat([fitted_image(crop, 128, 128) for crop in crops])


def _by_folds(
    eyes: Generator, detector: ArtifactDetector, query: Tensor, rows: np.ndarray, broken: np.ndarray
) -> np.ndarray:
    features, counts = measure_samples(eyes, detector, query, WORK)
    inputs, shares = detector.supervised_inputs(features[rows], counts[rows]), broken.astype(float)
    fitted = fit_soft_logistic(inputs, shares)
    return cross_validated_scores(inputs, shares, regularisation=fitted.regularisation)


def _shuffled(
    eyes: Generator,
    detector: ArtifactDetector,
    query: Tensor,
    labelled: LabelledSamples,
    rows: np.ndarray,
    broken: np.ndarray,
) -> list[float]:
    """AUROC of detectors trained on the labels in another order: mean of 20, and the middle 95 %."""
    known = detector.supervised_inputs(*measure_samples(eyes, detector, labelled.latents, WORK))
    features, counts = measure_samples(eyes, detector, query, WORK)
    inputs, draw = detector.supervised_inputs(features[rows], counts[rows]), np.random.default_rng(SEED)
    weight = _weights()
    found = [
        roc_auc_score(
            broken,
            fit_soft_logistic(known, draw.permutation(labelled.share), regularisation=1e-2)(inputs),
            sample_weight=weight,
        )
        for _ in range(20)
    ]
    return [round(float(value), 3) for value in (np.mean(found), *np.quantile(found, (0.025, 0.975)))]


def _trust(eyes: Generator, detector: ArtifactDetector) -> dict[str, Any]:
    """Whether the check warns: of the eyes, of the faces, of an untrained network; of parts of each, and by chance."""
    torch.manual_seed(SEED)
    untrained = Generator(DCGAN().eval().requires_grad_(False), (100,), name="untrained")
    found = {}
    for generator, fitted in ((eyes, detector), (load_faces(), None), (untrained, None)):
        fitted = fitted or fit_detector(generator, OTHERS, WORK)
        images = generator.sample(fitted.n_reference, fitted.seed + 1, progress=True)
        detail, contrast = detail_of(images), contrast_of(images)
        scores = fitted.score_measured(fitted.own_features_, fitted.own_counts_).combined
        draw = np.random.default_rng(SEED)
        drawn = [draw.permutation(len(scores))[:300] for _ in range(200)]
        parts = [majority_trust(scores[rows], detail[rows], contrast[rows]) for rows in drawn]
        by_chance = [
            majority_trust(scores[:300], detail[rows], contrast[rows])
            for rows in (draw.permutation(300) for _ in range(2_000))
        ]
        found[generator.name] = _in_dict(check_majority(generator, fitted, WORK)) | {
            "parts_doubted": float(np.mean([part.doubted for part in parts])),
            "parts_sharper": [min(p.sharper for p in parts), max(p.sharper for p in parts)],
            "parts_correlation": [min(p.correlation for p in parts), max(p.correlation for p in parts)],
            "doubted_by_chance": sum(one.doubted for one in by_chance),
            "highest_correlation_by_chance": max(one.correlation for one in by_chance),
        }
    return found


def _in_dict(found: MajorityTrust | None) -> dict[str, Any]:
    return {} if found is None else found.to_dict()


def _flagged(
    eyes: Generator, given: ArtifactDetector, trained: AnyDetector, latents: Tensor, broken: np.ndarray
) -> dict[str, Any]:
    """Shares of the rated samples that are flagged."""
    found = {}
    for name, detector in (("normal images", given), ("labels", trained)):
        flagged = detector.score_measured(*measure_samples(eyes, detector, latents, WORK)).flagged
        found[name] = {"broken": _mean(flagged[broken]), "not broken": _mean(flagged[~broken])}
    return found


def _mended(
    eyes: Generator, settings: DetectorSettings, trained: AnyDetector, normal: np.ndarray, latents: Tensor
) -> dict[str, np.ndarray]:
    """Images of broken samples before and after each correction, and the rungs that were taken."""
    by_labels = fit_method(eyes, settings=settings, work=WORK, detector=trained).correction
    by_normal = fit_method(eyes, settings=settings, work=WORK, normal=normal).correction
    made: dict[str, Correction] = dict(
        zip(METHODS, (by_labels, by_normal, random_control(by_labels, SEED)), strict=True)
    )
    arrays = {"before": eyes.generate(latents).numpy()}
    for name, correction in made.items():
        done = corrected(eyes, correction)(latents, progress=True)
        arrays |= {name: done.images.numpy(), f"{name}, rung": done.rung, f"{name}, given up": done.given_up}
    return arrays


def _corrected_figures(mended: dict[str, np.ndarray]) -> dict[str, Any]:
    before = detail_of(torch.from_numpy(mended["before"]))
    figures = {}
    for name in METHODS:
        changed = mended[f"{name}, rung"] >= 0
        after = detail_of(torch.from_numpy(mended[name]))
        figures[name] = {
            "n": len(changed),
            "changed": int(changed.sum()),
            "given_up": int(mended[f"{name}, given up"].sum()),
            "detail_gained": _mean((after - before)[changed]),
        }
    return figures


def _rate(mended: dict[str, np.ndarray]) -> dict[str, Any]:
    """Draw the sheets that are to be rated, unmarked, with a key beside them; read the ratings where all are there."""
    tiles = [("before", row, -1) for row in range(len(mended["before"]))]
    for name in METHODS:
        tiles += [(name, row, int(rung)) for row, rung in enumerate(mended[f"{name}, rung"]) if rung >= 0]
    tiles = [tiles[place] for place in np.random.default_rng(SEED).permutation(len(tiles))]
    images = torch.stack([torch.from_numpy(mended[name][row]) for name, row, _ in tiles])
    for first in range(0, len(images), 40):
        _sheet(images[first : first + 40], f"blind_{first // 40}.png", first=first, columns=8)
    (RESULTS / "cache" / "key.csv").write_text("".join(f"today,{name},{row},{rung},\n" for name, row, rung in tiles))
    rated = _rated_tiles()
    if not rated.keys() >= set(tiles):
        return {}
    by_name = {
        kind: {row: rated[name, row, rung] for name, row, rung in sorted(tiles) if name == kind}
        for kind in ("before", *METHODS)
    }
    return _rated_figures(by_name)


def _rated_figures(by_name: dict[str, dict[int, bool]]) -> dict[str, Any]:
    found = {}
    for name in METHODS:
        # What was not changed, or given up, is as before.
        after = np.array([by_name[name].get(row, was) for row, was in by_name["before"].items()])
        was, changed = np.array(list(by_name["before"].values())), np.array(list(by_name[name]))
        share = mean_with_interval(after, SEED)
        change = after.astype(float) - was
        gained = mean_with_interval(change, SEED)
        found[name] = {
            "before": _mean(was),
            "after": [round(value, 3) for value in share],
            "difference": [round(value, 3) for value in gained],
            "changed_before": _mean(was[changed]) if len(changed) else None,
            "changed_after": _mean(after[changed]) if len(changed) else None,
        }
    return found


def _rated_tiles() -> dict[tuple[str, int, int], bool]:
    """Whether rated broken, by correction, row and rung."""
    with (DATA / "eye_corrected.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["correction"] == "today"]
    return {(row["made"], int(row["row"]), int(row["rung"])): row["broken"] == "1" for row in rows}


def _old_corrections() -> dict[str, Any]:
    """What the release before made of 20 of the samples that it scored highest: shares rated broken."""
    with (DATA / "eye_corrected.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["correction"] == "old"]
    shares = {
        made: _mean(np.array([row["broken"] == "1" for row in rows if row["made"] == made]))
        for made in ("before", "ours", "random")
    }
    return {"n": len(rows) // 3, **shares}


def _ratings() -> tuple[np.ndarray, np.ndarray]:
    """Rows of the query that were rated, the 40 highest by the old score first, and whether they are broken."""
    with (DATA / "eye_ratings.csv").open() as file:
        rated = [(int(row["row"]), row["broken"] == "1") for row in csv.DictReader(file)]
    return np.array([row for row, _ in rated]), np.array([broken for _, broken in rated])


def _labels(eyes: Generator) -> LabelledSamples:
    with (DATA / "eye_labels.csv").open() as file:
        share = np.array([int(row["rater_a"]) / 2 for row in csv.DictReader(file)])
    return LabelledSamples(eyes.latents(len(share), LABEL_SEED), share)


def _rated_shares(broken: np.ndarray) -> dict[str, list[float]]:
    """Shares rated broken, with 95 % intervals: 2,000 bootstrap resamples inside each of the two groups."""
    figures: dict[str, Callable[[np.ndarray], float]] = {
        "highest": lambda rows: broken[rows][:N_SHOWN].mean(),
        "others": lambda rows: broken[rows][N_SHOWN:].mean(),
        "difference": lambda rows: broken[rows][:N_SHOWN].mean() - broken[rows][N_SHOWN:].mean(),
    }
    return {name: [round(v, 3) for v in bootstrap(f, (N_SHOWN, N_SHOWN), SEED)] for name, f in figures.items()}


def _auroc(score: np.ndarray, broken: np.ndarray) -> list[float]:
    """AUROC for rated broken; each sample weighs as many of the query as it stands for."""
    weight = _weights()

    def figure(rows: np.ndarray) -> float:
        both = 0 < broken[rows].sum() < len(rows)
        return roc_auc_score(broken[rows], score[rows], sample_weight=weight[rows]) if both else 0.5

    return [round(value, 3) for value in bootstrap(figure, (N_SHOWN, N_SHOWN), SEED)]


def _weights() -> np.ndarray:
    return np.repeat([1.0, (N_QUERY - N_SHOWN) / N_SHOWN], N_SHOWN)


def _write_triples(mended: dict[str, np.ndarray]) -> None:
    """Rows: before, with labels, with normal images, random neurons; ten samples that labels changed."""
    rows = np.flatnonzero(mended["labels, rung"] >= 0)[:10]
    if len(rows):
        _sheet(
            torch.cat([torch.from_numpy(mended[name][rows]) for name in ("before", *METHODS)]),
            "corrected.png",
            columns=len(rows),
        )


def _sheet(images: Tensor, name: str, *, first: int | None = None, columns: int = 10) -> None:
    """A contact sheet: numbered from `first`, for rating, in the cache; without numbers beside the results."""
    side = images.shape[-1]
    sheet = Image.new("RGB", (columns * (side + 4), -(-len(images) // columns) * (side + 18)), "white")
    for place, pixels in enumerate(to_pixels(images)):
        left, top = place % columns * (side + 4), place // columns * (side + 18)
        sheet.paste(Image.fromarray(pixels), (left, top + 14))
        if first is not None:
            ImageDraw.Draw(sheet).text((left + 2, top), str(first + place), fill="black", font_size=13)
    if first is not None:
        sheet.save(RESULTS / "cache" / name)
        return
    half = sheet.resize((sheet.width // 2, sheet.height // 2), Image.Resampling.LANCZOS)
    half.quantize(96).save(RESULTS / name, optimize=True)


def _mean(values: np.ndarray) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None


def _table(results: dict) -> str:
    parts = ([title, *(f"  {name}: {value}" for name, value in part.items()), ""] for title, part in results.items())
    return "\n".join(line for part in parts for line in part)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-statistics", type=int, default=2_000)
    parser.add_argument("--n-reference", type=int, default=1_000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
