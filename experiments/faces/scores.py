"""Precision, recall and their kin of the face generator's samples before and after correction.

    python -m experiments.faces.scores

The reference is own-normal: unedited samples from seeds of their own, those that the detector flags left out. So all
numbers are relative to the model's own normal samples, not to photographs. Writes results/scores/tables.txt and
results.json; the images go to a work folder that git ignores. Needs the weights `faces`,
`efficientnet-lite0` and `mobilenet-v2` (genmend fetch).

The correction stops where EfficientNet-Lite0 finds a sample normal enough: scored with that extractor it judges itself.
MobileNetV2 had no part in it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from experiments.pages import write_page
from genmend.gans import ArtifactDetector, Generator, corrected, fit_correction
from genmend.gans.detection.detect import fit_detector
from genmend.gans.families.pretrained import load_faces
from genmend.gans.settings import DetectorSettings
from genmend.manifold import evaluate
from genmend.manifold.features.feature_set import features_of
from genmend.storage.atomic import whole_file
from genmend.storage.pieces import Work

RESULTS = Path(__file__).with_name("results") / "scores"
EXTRACTORS = {"efficientnet-lite0": "which steers the correction", "mobilenet-v2": "which had no part in it"}
METRICS = {
    "precision": "3",
    "recall": "3",
    "density": "5",
    "coverage": "5",
    "clipped_density": "5",
    "clipped_coverage": "5",
    "rarity_mean": "3",
    "rarity_percentile_mean": "3",
}
RELATIVE = "relative to the model's own normal samples, not to photographs"
REFERENCE_SEED, QUERY_SEED = 2_000_003, 0


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    settings = DetectorSettings(n_statistics=options.n_statistics, n_reference=options.n_own)
    generator = load_faces()
    detector = fit_detector(generator, settings, Work(options.work, progress=True))
    counts = write_samples(generator, detector, options.work, options.n)
    lines = [
        f"{options.n} samples each, {RELATIVE}.",
        f"Corrected: {counts['n_changed']} changed, {counts['n_given_up']} given up and left as they were.",
        f"own_normal_again: {options.n} more own normal samples, the control.",
        f"In brackets: 95 % intervals of {options.bootstrap} bootstrap resamples.",
    ]
    results: dict[str, Any] = {"about": RELATIVE, "samples": counts}
    for extractor, part in EXTRACTORS.items():
        names = ("own_normal", "own_normal_again", "before", "after")
        features = {name: features_of(options.work / name, extractor, progress=True).values for name in names}
        found = {
            name: evaluate(
                features["own_normal"], features[name], (3, 5), bootstrap=options.bootstrap, features=extractor
            ).to_dict()
            for name in names[1:]
        }
        results[extractor] = {
            name: {key: value[key] for key in ("k", "intervals", "kid")} for name, value in found.items()
        }
        section = ["", f"{extractor}, {part}; {RELATIVE}", *format_table(found), *verdicts(found)]
        print("\n".join(section), flush=True)
        lines += section
    (options.out / "tables.txt").write_text("\n".join(lines) + "\n")
    (options.out / "results.json").write_text(json.dumps(results, indent=1))
    write_page("faces/scores")


def write_samples(generator: Generator, detector: ArtifactDetector, work: Path, n: int) -> dict[str, int]:
    """Four folders of `n` PNGs: own_normal, own_normal_again (the control), and one set of latents before and after."""
    normal = normal_images(generator, detector, 2 * n)
    write_images_of(work / "own_normal", normal[:n])
    write_images_of(work / "own_normal_again", normal[n:])
    latents = generator.latents(n, QUERY_SEED)
    result = corrected(generator, fit_correction(generator, detector, progress=True))(latents, progress=True)
    write_images_of(work / "before", generator.generate(latents))
    write_images_of(work / "after", result.images)
    return {"n": n, "n_changed": int(result.changed.sum()), "n_given_up": int(result.given_up.sum())}


def normal_images(generator: Generator, detector: ArtifactDetector, n: int) -> Tensor:
    """The first `n` samples of the reference seed that the detector does not flag."""
    latents = generator.latents(int(1.3 * n) + 50, REFERENCE_SEED)
    kept = latents[~detector.score_measured(*detector.measure(generator, latents, progress=True)).flagged]
    if len(kept) < n:
        raise RuntimeError(f"only {len(kept)} of {len(latents)} samples are normal, {n} are needed: draw more")
    return generator.generate(kept[:n])


def write_images_of(folder: Path, images: Tensor) -> None:
    """A PNG for each image, named by its row."""
    folder.mkdir(parents=True, exist_ok=True)
    for row, pixels in enumerate((images.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)):
        with whole_file(folder / f"{row:05d}.png") as temporary:
            Image.fromarray(pixels).save(temporary, format="PNG")


def format_table(found: dict[str, dict[str, Any]]) -> list[str]:
    """A row a metric, a column a set, with bootstrap intervals where there are any."""
    lines = [f"  {'':22s} {'':3s}" + "".join(f"{name:>30s}" for name in found)]
    for metric, k in METRICS.items():
        cells = []
        for result in found.values():
            ends = (result.get("intervals") or {}).get(k, {}).get(metric)
            cells.append(f"{result['k'][k][metric]:.3f}" + (f" [{ends[0]:.3f},{ends[1]:.3f}]" if ends else ""))
        lines.append(f"  {metric:22s} k={k}" + "".join(f"{cell:>30s}" for cell in cells))
    return [*lines, f"  {'kid':22s}    " + "".join(f"{result['kid']:>30.5f}" for result in found.values())]


def verdicts(found: dict[str, dict[str, Any]]) -> list[str]:
    """How the correction moved each metric, and how far from the control, which is normal by choice, it ends."""
    lines = []
    for metric in ("precision", "recall"):
        control, before, after = (found[name]["k"]["3"][metric] for name in ("own_normal_again", "before", "after"))
        side = "above" if after > control else "below" if after < control else "at"
        ends = f"{abs(after - control):.3f} {side} the control"
        lines.append(f"  {metric}: {after - before:+.3f} by the correction, to {ends}")
    return lines


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, default=RESULTS / "cache")
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--n-own", type=int, default=2000, help="own samples behind the detector's manifold")
    parser.add_argument("--n-statistics", type=int, default=10_000)
    parser.add_argument("--bootstrap", type=int, default=100)
    return parser.parse_args()


if __name__ == "__main__":
    main()
