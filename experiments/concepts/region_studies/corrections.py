"""Whether artifacts are mended better kind by kind than all at once, by units that are at fault in drawn boxes."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from experiments.concepts.region_studies.kinds import N_SPLITS, seen
from experiments.faces.correction import fit_judge
from experiments.faces.feature_cache import CachedExtractor
from experiments.faces.labelled import LabelledFaces
from experiments.intervals import mean_with_interval
from genmend.concepts.regions.study import stratified_halves, study_kinds
from genmend.concepts.settings import RegionsSettings
from genmend.gans import Generator
from genmend.gans.correctors.defective_units import DefectiveUnits
from genmend.gans.detection.defect_masks import box_masks

N_NORMAL = 150
LEARNT_FROM = ("the kind", "all flagged", "as many flagged at random")


def correction_figures(
    generator: Generator, faces: LabelledFaces, judge: CachedExtractor, layer: str, seed: int
) -> dict[str, Any]:
    """Still flagged after the correction of each kind's members held out, by what the correction was learnt from."""
    states = seen(generator, faces, layer, "learned", False)
    features = judge(generator.generate(faces.latents)).numpy()
    judge.save()
    flags: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    moved: dict[str, list[float]] = defaultdict(list)
    boxed = faces.full & np.isfinite(faces.boxes).all(1)
    for split in range(N_SPLITS):
        kept, _ = stratified_halves(faces.full, seed + split)
        judging = fit_judge(features[kept], faces.share[kept], faces.normal[kept])
        normal, broken = kept[faces.normal[kept]][:N_NORMAL], kept[boxed[kept]]
        rng = np.random.default_rng(seed + split)
        for kind in study_kinds(states, faces.full, RegionsSettings(seed=seed + split)).beyond_chance:
            own = kind.kind.flagged[boxed[kind.kind.flagged]]
            if len(own) < 4:
                continue
            before = generator.generate(faces.latents[kind.flagged])
            found = {"uncorrected": before}
            for learnt, rows in zip(
                LEARNT_FROM, (own, broken, rng.choice(broken, len(own), replace=False)), strict=True
            ):
                made = DefectiveUnits("sequential", contrast=True, seed=seed)
                masks = box_masks(faces.boxes[rows], *before.shape[2:])
                made.fit(generator, faces.latents[normal], faces.latents[rows], masks=masks)
                found[learnt] = made.correct(generator, faces.latents[kind.flagged])
            for name, images in found.items():
                moved[name].append(float((images - before).abs().mean()))
                for row, flag in zip(kind.flagged, judging.flags(judge(images).numpy()), strict=True):
                    flags[name][int(row)].append(float(flag))
    return _summary(flags, moved, seed)


def _summary(flags: dict[str, dict[int, list[float]]], moved: dict[str, list[float]], seed: int) -> dict[str, Any]:
    samples = sorted(flags["uncorrected"])
    means = {name: np.array([np.mean(of[row]) for row in samples]) for name, of in flags.items()}
    result: dict[str, Any] = {"n_samples": len(samples), "n_kinds": len(moved["uncorrected"])}
    for name, values in means.items():
        result[name] = {
            "still_flagged": _mean(values, seed),
            "kind_less_this": _mean(means[LEARNT_FROM[0]] - values, seed),
            "pixel_change": float(np.mean(moved[name])),
        }
    return result


def _mean(values: np.ndarray, seed: int) -> list[float]:
    return list(mean_with_interval(values, seed, 1_000))
