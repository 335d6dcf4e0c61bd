"""Find and mend the labelled artifacts of the face generator: the tables of the README.

    python -m experiments.faces.artifacts
    python -m experiments.faces.artifacts --directions 2

Directions are pairs of steering and judging space: 1 layers of Lite0 -> CLIP, 2 CLIP -> Lite0, 3 Lite0 -> CLIP; what
earlier runs measured of the others stays in the tables. Writes results/artifacts/: tables.txt, results.json,
trade_off_*.png, corrected.png. Needs the weights `faces`, `efficientnet-lite0` and `clip-vit-b16` (genmend fetch).
About half an hour on two cores; interrupted, it goes on from the features that its cache holds.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np

from experiments.faces.correction import Outcome, Space, correction_outcomes
from experiments.faces.detection import detection_rows
from experiments.faces.feature_cache import CachedExtractor
from experiments.faces.labelled import LabelledFaces, load_labelled_faces
from experiments.faces.pictures import correction_picture, trade_off_figure
from experiments.intervals import mean_with_interval
from experiments.pages import write_page
from genmend.gans import ArtifactDetector
from genmend.gans.families.pretrained import load_faces

RESULTS = Path(__file__).with_name("results") / "artifacts"
N_REFERENCE = {"efficientnet-lite0": 10_000, "efficientnet-lite0-layers": 4_000, "clip-vit-b16": 4_000}
PUBLISHED = "rare R=0.2 main.2+5+8"  # the recipe that the differences are taken to


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    faces, generator = load_labelled_faces(), load_faces()
    spaces, measured = {}, {}
    for name, n_reference in N_REFERENCE.items():
        bfloat16 = name == "clip-vit-b16" and not options.float32
        extractor = CachedExtractor(name, options.cache, bfloat16=bfloat16)
        detector = ArtifactDetector(extractor, n_reference=n_reference).fit(generator, progress=True)
        measured[name] = detector.measure(generator, faces.latents, progress=True)
        extractor.save()
        spaces[name] = Space(name, extractor, detector, measured[name][0])
    lines = [_header(options)]
    rows, _ = detection_rows(faces, {n: s.detector for n, s in spaces.items()}, measured, options.seed)
    detection = ["", "Detection, AUROC [95 % bootstrap interval over samples]", *map(str, rows)]
    print("\n".join([_header(options), *detection]), flush=True)
    kept = options.out / "results.json"
    results = json.loads(kept.read_text()) if kept.is_file() else {}
    results["detection"] = [asdict(row) for row in rows]
    lite, layers, clip = spaces.values()
    directions = ((layers, clip), (clip, lite), (lite, clip))
    for number in options.directions:
        steer, judge = directions[number - 1]
        measured_in = {space.name: space.extractor for space in (lite, judge)}
        outcomes, gates = correction_outcomes(generator, faces, steer, judge, measured_in, seed=options.seed)
        table = [correction_row(outcome, faces, outcomes, options.seed) for outcome in outcomes]
        title = _title(steer, judge)
        results[title] = {"clip": _precision(options), "folds": gates, "table": table}
        stem = f"{steer.name}_judged_by_{judge.name}"
        trade_off_figure(table, title).savefig(options.out / f"trade_off_{stem}.png", dpi=110)
        for space in spaces.values():
            space.extractor.save()
        print("\n".join(_section(title, results[title])), flush=True)
        sections = [_section(name, results[name]) for name in (_title(*pair) for pair in directions) if name in results]
        lines = [_header(options), *detection, *(line for section in sections for line in section)]
        (options.out / "tables.txt").write_text("\n".join(lines) + "\n")
        kept.write_text(json.dumps(results, indent=1))
    correction_picture(generator, faces, layers, options.seed).save(options.out / "corrected.png")
    write_page("faces/artifacts")


def _title(steer: Space, judge: Space) -> str:
    return f"Correction steered in {steer.name}, judged in {judge.name}"


def _section(title: str, result: dict) -> list[str]:
    return [
        "",
        f"{title} (CLIP {result['clip']})",
        *(f"  fold {gate}" for gate in result["folds"]),
        *map(format_row, result["table"]),
    ]


def correction_row(outcome: Outcome, faces: LabelledFaces, everyone: list[Outcome], seed: int) -> dict:
    """One row: shares and means, with paired bootstrap intervals against `uncorrected` and the published recipe."""
    artifact = faces.artifact[faces.consensus]
    by_method = {other.method: other.flagged[artifact].astype(float) for other in everyone}
    own = by_method[outcome.method]
    diversity = {
        space: _spread(features[artifact]) / _spread(everyone[0].features[space][artifact])
        for space, features in outcome.features.items()
    }
    return {
        "method": outcome.method,
        "still_flagged": float(own.mean()),
        "still_flagged_interval": _interval(own, seed),
        "minus_uncorrected": _interval(own - by_method["uncorrected"], seed),
        "minus_published": _interval(own - by_method[PUBLISHED], seed),
        "artifacts_changed": float((~outcome.identical[artifact]).mean()),
        "given_up": float(outcome.given_up[artifact].mean()),
        "clean_flagged": float(outcome.flagged[~artifact].mean()),
        "clean_identical": float(outcome.identical[~artifact].mean()),
        "clean_cosine": {space: float(values[~artifact].mean()) for space, values in outcome.cosines.items()},
        "clean_pixel_mae": float(outcome.pixel_mae[~artifact].mean()),
        "artifact_cosine": {space: float(values[artifact].mean()) for space, values in outcome.cosines.items()},
        "diversity": diversity,
        "normal_spread": {
            space: _spread(everyone[0].features[space][~artifact]) / _spread(everyone[0].features[space][artifact])
            for space in outcome.features
        },
    }


def format_row(row: dict) -> str:
    low, high = row["still_flagged_interval"]
    against = " ".join(f"[{a:+.2f},{b:+.2f}]" for a, b in (row["minus_uncorrected"], row["minus_published"]))
    cosines = " ".join(f"{name.split('-')[0][:4]} {value:.3f}" for name, value in sorted(row["clean_cosine"].items()))
    spread = " ".join(f"{value:.2f}" for _, value in sorted(row["diversity"].items()))
    return (
        f"{row['method']:48s} flagged {row['still_flagged']:.3f} [{low:.2f},{high:.2f}] diff none/published {against} "
        f"changed {row['artifacts_changed']:.2f} gave up {row['given_up']:.2f} | clean: cos {cosines} "
        f"mae {row['clean_pixel_mae']:.4f} identical {row['clean_identical']:.3f} flagged {row['clean_flagged']:.3f} "
        f"| diversity {spread}"
    )


def _spread(features: np.ndarray) -> float:
    """Mean Euclidean distance over all pairs."""
    squared = (features**2).sum(1)
    distances = np.sqrt(np.maximum(squared[:, None] + squared[None] - 2 * features @ features.T, 0))
    return float(distances[np.triu_indices(len(features), 1)].mean())


def _interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """Of the mean."""
    _, low, high = mean_with_interval(values, seed)
    return low, high


def _header(options: argparse.Namespace) -> str:
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "numpy", "scikit-learn", "timm", "transformers")
    )
    return (
        f"face_artifacts, seed {options.seed}, Python {platform.python_version()}, {versions}; CLIP "
        f"{_precision(options)}.\n"
        "700 labelled latents: 76 consensus artifacts, 201 consensus normals. Normal is relative to the model's own "
        "normal samples, not to photographs."
    )


def _precision(options: argparse.Namespace) -> str:
    return "in float32" if options.float32 else "under bfloat16 autocast"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--cache", type=Path, default=RESULTS / "cache")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--directions", type=int, nargs="+", choices=(1, 2, 3), default=[1, 2])
    parser.add_argument("--float32", action="store_true", help="CLIP in float32: three times as long")
    return parser.parse_args()


if __name__ == "__main__":
    main()
