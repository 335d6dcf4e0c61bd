"""Does an explanation of the artifact detector say where a face is broken, and does a correction by it mend more?

    python -m experiments.concepts.masks

The label-free detector's score of the labelled artifacts is explained by several methods; their masks are compared with
boxes drawn by hand, and take the place of these in the correction by defective units, judged in CLIP. Writes
results/masks/: results.json, masks.png. Needs the weights `faces`, `efficientnet-lite0` and `clip-vit-b16` (genmend
fetch) and captum. About a quarter of an hour on one core; interrupted, it goes on from its cache.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from experiments.faces.correction import Judge, cosine, fit_judge
from experiments.faces.feature_cache import CachedExtractor
from experiments.faces.labelled import LabelledFaces, load_labelled_faces
from experiments.intervals import mean_with_interval
from experiments.pages import write_page
from genmend.activations import Correction, Edit, Gate, edited
from genmend.concepts import ExplanationMasks
from genmend.concepts.explanation_masks import marked_pixels
from genmend.gans import ArtifactDetector, Generator, corrected, fit_correction
from genmend.gans.correctors import Corrector, DefectiveUnits, RandomUnits
from genmend.gans.correctors.ladder import default_rungs
from genmend.gans.detection.defect_classifier import DefectClassifier
from genmend.gans.detection.defect_masks import GateScore, attribution_masks, box_masks, mask_quality
from genmend.gans.detection.detect import fit_detector
from genmend.gans.families.pretrained import load_faces
from genmend.gans.settings import DetectorSettings
from genmend.manifold.features import load_extractor
from genmend.storage.pieces import Work
from genmend.storage.tables import write_json

RESULTS = Path(__file__).with_name("results") / "masks"
STEER, JUDGE = "efficientnet-lite0-layers", "clip-vit-b16"
SIDE = 64
# Equal passes for the two that take many; patches of 16 pixels for API.
EXPLAINED = {
    "distilled-gradient": {"n_steps": 11},
    "full-gradient": {},
    "integrated-gradients": {"n_steps": 12, "internal_batch_size": 8},
    "grad-cam": {},
    "positive-interactions": {"cells": 4, "n_orders": 2},
}
FEWER = {"positive-interactions": 38}  # samples that are explained by a method of many passes
CORRECTED = ("distilled-gradient", "full-gradient", "grad-cam")  # the judge takes half a minute each
PUBLISHED = "Grad-CAM of a classifier, published"
CONTROL = "random masks"


@dataclass(frozen=True)
class Measured:
    """What one set of masks does to the artifacts and to the normal faces, each in the order of the labelled faces."""

    flagged: np.ndarray
    gated_flagged: np.ndarray
    clean_cosine: np.ndarray
    gated_clean_same: np.ndarray


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    faces, generator = load_labelled_faces(), load_faces()
    steer, judge = (CachedExtractor(name, options.cache) for name in (STEER, JUDGE))
    detector = fit_detector(generator, DetectorSettings(), Work(options.cache / "detector", progress=True))
    rows = np.flatnonzero(faces.artifact)
    images = generator.generate(faces.latents[torch.from_numpy(rows)])
    maps = explained_maps(detector, images, Work(options.cache / "maps", progress=True))
    classifier = DefectClassifier(seed=options.seed)  # explained on the fold that trained it
    drawn = box_masks(faces.boxes[rows], SIDE, SIDE)
    results = {
        "seed": options.seed,
        "share": ExplanationMasks.share,
        "n": len(rows),
        "box_share": float(drawn.mean()),
        "settings": EXPLAINED,
    }
    results["quality"] = quality_rows(maps, drawn, options.seed)
    write_json(options.out / "results.json", results)
    masks = {name: marked_pixels(found, ExplanationMasks.share) for name, found in maps.items()}
    masks[CONTROL] = random_masks(drawn, ExplanationMasks.share, options.seed)
    masks_picture(images, drawn, masks).savefig(options.out / "masks.png", dpi=60)
    tried = {"boxes drawn by hand": drawn} | {name: masks[name] for name in (*CORRECTED, CONTROL)}
    outcomes = correction(generator, faces, detector, tried, classifier, steer, judge, seed=options.seed)
    results["correction"] = correction_rows(outcomes, options.seed)
    write_json(options.out / "results.json", results)
    write_page("concepts/masks")


def explained_maps(detector: ArtifactDetector, images: Tensor, work: Work) -> dict[str, Tensor]:
    """Positive attributions of the detector's learned score, (n, h, w), by method; kept as they are made.

    Of the methods in `FEWER` those of the first images alone.
    """
    learned = detector.learned_
    assert learned is not None
    gate = Gate(STEER, torch.from_numpy(learned.weights), learned.bias, detector.threshold_)
    score = GateScore(gate, load_extractor(STEER))
    found = {}
    for method, settings in EXPLAINED.items():
        explain = ExplanationMasks(method, settings=settings)

        def compute(start: int, stop: int, explain: ExplanationMasks = explain) -> dict[str, np.ndarray]:
            return {"maps": explain.maps(score, images[start:stop]).numpy()}

        n = FEWER.get(method, len(images))
        kept = work.pieces(compute, n, 8, inputs=(explain.name, learned.weights), description=method)
        found[method] = torch.from_numpy(kept["maps"])
    return found


def random_masks(like: Tensor, share: float, seed: int) -> Tensor:
    """Blots of random shape, as smooth as the masks are, at this share of the pixels: anywhere alike."""
    noise = np.random.default_rng(seed).standard_normal(like.shape)
    # Round the edges: a blur that repeats them would put most blots there.
    blurred = gaussian_filter(noise, (0, SIDE / 16, SIDE / 16), mode="wrap").reshape(len(like), -1)
    limit = np.quantile(blurred, 1 - share, axis=1, keepdims=True, method="lower")
    return torch.from_numpy((blurred > limit).reshape(like.shape)).float()


def quality_rows(maps: dict[str, Tensor], drawn: Tensor, seed: int) -> list[dict]:
    """How each method's maps agree with the boxes: pointing game, IoU and mass inside, with intervals.

    Beside each method's own maps those of other samples: what is left without looking at the sample.
    """
    n, share, one = len(drawn), float(drawn.mean()), 1 / SIDE**2
    side = round(SIDE * share**0.5)
    start = (SIDE - side) // 2
    square = box_masks([[start, start, start + side, start + side]], SIDE, SIDE).expand(n, -1, -1)
    mean = (drawn.sum(0) - drawn) / (n - 1)
    random = [random_masks(drawn, part, seed) for part in (share, one)]
    measured = {name: _quality(_marked(found, share), drawn) for name, found in maps.items()}
    others = {name: _quality(_marked(found.roll(1, 0), share), drawn) for name, found in maps.items()}
    measured["control: random"] = _quality((*random, torch.ones_like(drawn)), drawn)
    measured["control: centred square"] = _quality((square, square, square), drawn)
    measured["control: mean of the other samples' boxes"] = _quality(_marked(mean, share), drawn)
    rows = []
    for name, values in measured.items():
        row: dict = {"masks": name, "n": len(values["iou"])}
        for figure, each in values.items():
            row[figure] = _estimate(each, seed)
            row[f"{figure}_minus_random"] = _estimate(each - measured["control: random"][figure][: len(each)], seed)
            if name in others:
                row[f"{figure}_minus_others"] = _estimate(each - others[name][figure], seed)
        rows.append(row)
    return rows


def _marked(maps: Tensor, share: float) -> tuple[Tensor, Tensor, Tensor]:
    """The highest values at this share of the pixels, the highest of all, and the maps."""
    return marked_pixels(maps, share), marked_pixels(maps, 1 / SIDE**2), maps


def _quality(found: tuple[Tensor, Tensor, Tensor], drawn: Tensor) -> dict[str, np.ndarray]:
    """Per sample: whether the highest value lies inside, IoU at the boxes' mean area, share of mass inside."""
    marked, top, maps = found
    drawn = drawn[: len(maps)]
    mass = maps.flatten(1).double()
    inside = (mass * drawn.flatten(1)).sum(1) / mass.sum(1).clamp_min(1e-30)
    return {
        "pointing": mask_quality(top, drawn).hit,
        "iou": mask_quality(marked, drawn).iou,
        "mass": inside.numpy(),
    }


def correction(
    generator: Generator,
    faces: LabelledFaces,
    detector: ArtifactDetector,
    masks: dict[str, Tensor],
    classifier: DefectClassifier,
    steer: CachedExtractor,
    judge_extractor: CachedExtractor,
    *,
    seed: int,
) -> dict[str, Measured]:
    """Every set of masks by the fold that did not see the sample: units from the training rows, judged on the others.

    `masks` are those of the consensus artifacts, in their order.
    """
    place = np.cumsum(faces.artifact) - 1
    everything = generator.generate(faces.latents)
    judged_features, steered_features = judge_extractor(everything).numpy(), steer(everything).numpy()
    folds = StratifiedKFold(5, shuffle=True, random_state=seed).split(faces.latents, np.round(faces.share * 4))
    parts: dict[str, list[tuple]] = {}
    tested = []
    for training, test in folds:
        rows = test[faces.consensus[test]]
        tested.append(rows)
        judge = fit_judge(judged_features[training], faces.share[training], faces.normal[training])
        behind = fit_correction(
            generator,
            detector,
            rungs=default_rungs(generator.layers, "rare")[:1],
            descents=(),
            labelled=(steered_features[training], faces.share[training]),
        )
        learn = partial(_fitted, generator, faces, training)
        of_training = torch.from_numpy(place[training[faces.artifact[training]]])
        correctors = {name: learn(DefectiveUnits(contrast=True), found[of_training]) for name, found in masks.items()}
        shown = everything[torch.from_numpy(training)]
        classifier.fit(shown, faces.share[training])
        published = attribution_masks(classifier, shown[torch.from_numpy(faces.artifact[training])])
        correctors[PUBLISHED] = learn(DefectiveUnits(contrast=True), published)
        correctors["random units"] = learn(
            RandomUnits(correctors["distilled-gradient"], seed=seed), masks["distilled-gradient"][of_training]
        )
        before = everything[torch.from_numpy(rows)]
        flags = partial(_flags, judge, judge_extractor)
        for name, corrector in {"uncorrected": None, **correctors}.items():
            edits = () if corrector is None else corrector.edits(faces.latents[:1])
            made = _tried(generator, faces, rows, before, edits, behind, steer, flags)
            parts.setdefault(name, []).append(made)
        judge_extractor.save()
        steer.save()
        print(len(tested), {name: round(float(np.mean(found[-1][0])), 3) for name, found in parts.items()}, flush=True)
    normals = np.argsort(np.concatenate([rows[faces.normal[rows]] for rows in tested]))
    artifacts = np.argsort(np.concatenate([rows[faces.artifact[rows]] for rows in tested]))
    orders = artifacts, artifacts, normals, normals
    return {
        name: Measured(
            *(np.concatenate(column)[order] for column, order in zip(zip(*found, strict=True), orders, strict=True))
        )
        for name, found in parts.items()
    }


def _flags(judge: Judge, extractor: CachedExtractor, images: Tensor) -> np.ndarray:
    return judge.flags(extractor(images).numpy())


def _fitted(
    generator: Generator, faces: LabelledFaces, training: np.ndarray, corrector: Corrector, masks: Tensor
) -> Corrector:
    normal, broken = (faces.latents[training[which[training]]] for which in (faces.normal, faces.artifact))
    return corrector.fit(generator, normal, broken, masks=masks)


def _tried(
    generator: Generator,
    faces: LabelledFaces,
    rows: np.ndarray,
    before: Tensor,
    edits: tuple[Edit, ...],
    behind: Correction,
    steer: CachedExtractor,
    flags: Callable[[Tensor], np.ndarray],
) -> tuple[np.ndarray, ...]:
    """The fields of `Measured` of one fold: with every sample edited, and behind the fold's gate and stop rule."""
    artifact = torch.from_numpy(faces.artifact[rows])
    with edited(generator.module, *edits):
        after = generator.generate(faces.latents[rows])
    gated = before
    if edits:
        made = Correction.of(generator.module, [edits], gate=behind.gate, stop_rule=behind.stop_rule)
        gated = corrected(generator, made, extractor=steer)(faces.latents[rows]).images
    return (
        flags(after[artifact]),
        flags(gated[artifact]),
        cosine(steer(after[~artifact]).numpy(), steer(before[~artifact]).numpy()),
        (gated == before).flatten(1).all(1)[~artifact].numpy(),
    )


def correction_rows(outcomes: dict[str, Measured], seed: int) -> list[dict]:
    """One row a set of masks, with paired intervals to no correction, to random units and to the drawn boxes."""
    rows = []
    for name, found in outcomes.items():
        own = found.flagged.astype(float)
        row = {
            "masks": name,
            "still_flagged": _estimate(own, seed),
            "gated_still_flagged": _estimate(found.gated_flagged.astype(float), seed),
            "clean_cosine": float(found.clean_cosine.mean()),
            "gated_clean_same": float(found.gated_clean_same.mean()),
        }
        for other, key in (("uncorrected", "none"), ("random units", "random_units"), (CONTROL, "random_masks")):
            row[f"minus_{key}"] = _estimate(own - outcomes[other].flagged, seed)
        rows.append(row)
    return rows


def masks_picture(images: Tensor, drawn: Tensor, masks: dict[str, Tensor], n: int = 6) -> Figure:
    """The first artifacts, each method's mask in red over them, and the box."""
    shown = {"drawn by hand": drawn, **masks}
    figure = Figure(figsize=(1.5 * n, 1.5 * (len(shown) + 1)), layout="constrained")
    grid = figure.subplots(len(shown) + 1, n)
    for column in range(n):
        image = images[column].permute(1, 2, 0).numpy()
        grid[0][column].imshow(image)
        for row, found in enumerate(shown.values(), start=1):
            marked = found[column].numpy()[:, :, None] > 0.5
            grid[row][column].imshow(np.where(marked, 0.55 * image + 0.45 * np.array([1.0, 0, 0]), 0.6 * image))
    for line, name in zip(grid, ["", *shown], strict=True):
        for axes in line:
            axes.set_xticks([])
            axes.set_yticks([])
        line[0].set_ylabel(name.replace(", ", ",\n").replace("-", "-\n"), fontsize=8)
    return figure


def _estimate(values: np.ndarray, seed: int) -> list[float]:
    """Mean and 95 % bootstrap interval over samples."""
    return list(mean_with_interval(values, seed))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--cache", type=Path, default=RESULTS / "cache")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
