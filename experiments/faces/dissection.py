"""Dissect the face generator: what its units detect, whether they cause glasses, and which units break faces.

    python -m experiments.faces.dissection

Writes results/dissection/: tables.txt, results.json, a chart of the concepts of each segmenter, and the page; what an
interrupted run goes on from goes to its cache folder, which git ignores. Needs the weights `faces`,
`efficientnet-lite0` and `face-parser` (genmend fetch). About half an hour on two cores, most of it the face parser's.

The control gives every sample the masks of the one before it: units that then detect a concept do so by chance.

Normal is relative to the model's own normal samples, not to photographs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from experiments.faces.labelled import LabelledFaces, load_labelled_faces
from experiments.pages import write_page
from genmend.activations import ScaleUnits, edited
from genmend.gans import ArtifactDetector, Generator, dissect
from genmend.gans.detection.detect import fit_detector
from genmend.gans.dissection import detects, unit_peaks
from genmend.gans.dissection.artifact_units import unit_kid
from genmend.gans.dissection.chance import adjusted
from genmend.gans.dissection.concepts import load_concepts
from genmend.gans.dissection.dissection import DissectRun
from genmend.gans.dissection.mask_store import MaskStore
from genmend.gans.dissection.stages import Stages
from genmend.gans.families.pretrained import load_faces
from genmend.gans.settings import CausalSettings, DetectorSettings, DissectSettings
from genmend.manifold.features import extract, load_extractor
from genmend.storage.pieces import Work

RESULTS = Path(__file__).with_name("results") / "dissection"
POOL_SEED, N_POOL, N_TOP = 5, 2_000, 200
N_WORST, N_DRAWS = 20, 20
LAYER = "main.2"
CONTROL_LAYER = "main.5"
PARTS = ("classical", "face-parser", "control", "units")


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    generator = load_faces()
    causal = CausalSettings(n_segmented=options.n_causal)
    runs = {
        "face-parser": DissectSettings(
            segmenters=("face-parser",),
            causal=("glasses@main.5",),
            causal_settings=causal,
            n_images=options.n_images,
        ),
        "classical": DissectSettings(thresholds="fixed", rule="paper"),
    }
    kept = options.out / "results.json"
    results = json.loads(kept.read_text()) if kept.is_file() else {}
    for name in options.parts:
        if name == "units":
            found, lines = artifact_units(generator, load_labelled_faces(), options.cache, options.seed)
        elif name == "control":
            found, lines = chance_control(generator, runs["face-parser"], options.cache)
        else:
            run = dissect(generator, settings=runs[name], work=Work(options.cache / name / "work", progress=True))
            run.plot().savefig(options.out / f"concepts_{name}.png", dpi=110)
            found, lines = run.to_dict(), dissection_lines(name, run)
        results[name] = {"lines": lines, "found": found}
        kept.write_text(json.dumps(results, indent=1))
        tables = [line for part in PARTS if part in results for line in results[part]["lines"]]
        (options.out / "tables.txt").write_text("\n".join(tables) + "\n")
        print("\n".join(lines), flush=True)
    write_page("faces/dissection")


class OtherMasks(MaskStore):
    """The masks of each file's samples, moved on by one sample: none has its own."""

    def chunk(self, start: int, n: int, seed: int) -> Tensor:
        return super().chunk(start, n, seed).roll(1, dims=0)


def chance_control(generator: Generator, settings: DissectSettings, cache: Path) -> tuple[dict[str, Any], list[str]]:
    """How many units of a layer detect a concept, by each rule alone and beyond chance, with own and others' masks."""
    stages = Stages(generator, (CONTROL_LAYER,), settings.seed, Work(None, progress=True))
    masks = Work(cache / "face-parser" / "work", progress=True)
    concepts = load_concepts("face-parser")
    found: dict[str, Any] = {"layer": CONTROL_LAYER}
    lines = [f"Units of {CONTROL_LAYER} that detect a part of a face, by the rule alone / and beyond chance"]
    for whose, kind in (("own", MaskStore), ("others'", OtherMasks)):
        store = kind(generator, "face-parser", concepts, masks)
        agreement, n = stages.agreement(
            store, settings.n_images, "iqr", stages.statistics(N_POOL, settings.tail, 1), settings.n_shuffles
        )
        table = agreement[CONTROL_LAYER]
        by_iou, beyond = (values.argmax(1)[:, None] for values in (table.iou, table.above_null))
        p_adjusted = adjusted(table.p_value.numpy())
        row: dict[str, list[int]] = {}
        for rule in ("paper", "code"):
            alone, sure = (
                [values.gather(1, best)[:, 0].numpy() for values in (table.iou, table.accuracy, table.quality)]
                for best in (by_iou, beyond)
            )
            level = np.take_along_axis(p_adjusted, beyond.numpy(), 1)[:, 0]
            row[rule] = [int(detects(*alone, rule).sum()), int(detects(*sure, rule, level).sum())]
        found[whose] = row | {"n_judged": n, "n_units": len(table.iou)}
        told = ", ".join(f"rule {rule} {one} / {two} of {len(table.iou)}" for rule, (one, two) in row.items())
        lines.append(f"  {whose} masks ({n} samples): {told}")
    return found, [*lines, ""]


def dissection_lines(name: str, run: DissectRun) -> list[str]:
    way = run.settings["thresholds"]
    lines = [f"{name}: {run.n_judged[name]} samples, thresholds {way}, rule {run.settings['rule']}"]
    for layer, units in run.layers.items():
        counts = run.detectors(layer)
        best = int(units.above_null.argmax())
        listed = ", ".join(f"{concept} {count}" for concept, count in counts.most_common(8))
        low, high = units.interval[best]
        lines.append(
            f"  {layer:8s} {int(units.detector.sum()):4d} of {len(units.iou)} units detect {len(counts)} concepts; "
            f"best: unit {best} {run.label(layer, best)} IoU {units.iou[best]:.3f} [{low:.3f}, {high:.3f}], by chance "
            f"{units.null[best]:.3f}; {listed}"
        )
    for study in run.causal:
        effect = study.effect
        draws = ", ".join(
            f"{erased:.2f}/{added:.2f}" for erased, added in zip(effect.random_erased, effect.random_added, strict=True)
        )
        lines.append(
            f"  {effect.concept} by {len(effect.units)} units of {effect.layer} ({study.ranking}): erased "
            f"{effect.erased:.2f} (n {effect.n_present}), added {effect.added:.2f} (n {effect.n_absent}); "
            f"random draws erased/added {draws}"
        )
    return [*lines, ""]


def artifact_units(
    generator: Generator, faces: LabelledFaces, cache: Path, seed: int
) -> tuple[dict[str, Any], list[str]]:
    """Rank the units of one layer by unit-KID; do they tell labelled artifacts, and does it help to switch them off?"""
    settings = DetectorSettings()
    detector = fit_detector(generator, settings, Work(cache / "units", progress=True))
    kid = _unit_kid(generator, detector, cache)
    worst = np.argsort(-kid)[:N_WORST]
    rng = np.random.default_rng(seed)
    draws = [rng.choice(np.setdiff1d(np.arange(len(kid)), worst), N_WORST, replace=False) for _ in range(N_DRAWS)]
    peaks = unit_peaks(generator, faces.latents, [LAYER])[LAYER].numpy()
    scaled = (peaks - peaks.mean(0)) / np.maximum(peaks.std(0), 1e-12)
    judged = faces.consensus
    auroc = [roc_auc_score(faces.artifact[judged], scaled[judged][:, chosen].mean(1)) for chosen in (worst, *draws)]
    flagged = {"none": _flagged(generator, detector, faces, [])}
    flagged["worst"] = _flagged(generator, detector, faces, worst)
    random = [_flagged(generator, detector, faces, chosen) for chosen in draws[:5]]
    found = {
        "layer": LAYER,
        "worst": worst.tolist(),
        "kid_of_worst": kid[worst].tolist(),
        "kid_median": float(np.median(kid)),
        "auroc": auroc[0],
        "auroc_random": auroc[1:],
        "flagged": flagged,
        "flagged_random": random,
    }
    lines = [
        f"Units of {LAYER} whose top {N_TOP} of {N_POOL} images are furthest from own-normal (unit-KID, "
        f"{settings.extractor}): {worst.tolist()}",
        f"  unit-KID of these {kid[worst].min():.4f} to {kid[worst].max():.4f}, median of all {np.median(kid):.4f}",
        f"  AUROC of their mean peak for the labelled artifacts: {auroc[0]:.3f}; of 20 random units "
        f"{np.mean(auroc[1:]):.3f} (sd {np.std(auroc[1:]):.3f}, largest {max(auroc[1:]):.3f} of {N_DRAWS} draws)",
        "  further from own-normal images than 95 % of them are, artifacts / normals:",
    ]
    for name, row in (
        ("unedited", flagged["none"]),
        ("worst 20 off", flagged["worst"]),
        *((f"random 20 off, draw {number}", row) for number, row in enumerate(random, 1)),
    ):
        lines.append(f"    {name:24s} {row['artifact']:.3f} / {row['normal']:.3f}")
    return found, lines


def _unit_kid(generator: Generator, detector: ArtifactDetector, cache: Path) -> np.ndarray:
    def compute() -> dict[str, np.ndarray]:
        latents = generator.latents(N_POOL, POOL_SEED)
        features = extract(load_extractor(detector.extractor), generator.generate(latents), progress=True)
        peaks = unit_peaks(generator, latents, [LAYER])[LAYER].numpy()
        return {"kid": unit_kid(peaks, features, detector.manifold_.reference_, n_top=N_TOP)}

    return Work(cache / "units").kept(f"kid-{LAYER}-{POOL_SEED}-{N_POOL}-{N_TOP}", None, compute)["kid"]


def _flagged(
    generator: Generator, detector: ArtifactDetector, faces: LabelledFaces, units: np.ndarray | list[int]
) -> dict[str, float]:
    """Shares of the consensus artifacts and normals that lie far from own-normal images with the units off.

    Far: further than 95 % of the normal ones from each other. The detector's other score counts active neurons, which
    an edit changes by itself, so it has no say here.
    """
    rows = np.flatnonzero(faces.consensus)
    with edited(generator.module, ScaleUnits(LAYER, [int(unit) for unit in units], 0.0)):
        distance = detector.score(generator, faces.latents[torch.from_numpy(rows)]).distance_to_normal
    flags = distance > np.quantile(detector.manifold_.radii_, 0.95)
    artifact = faces.artifact[rows]
    return {"artifact": float(flags[artifact].mean()), "normal": float(flags[~artifact].mean())}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--cache", type=Path, default=RESULTS / "cache")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--n-images", type=int, default=2_000, help="images that the face parser segments")
    parser.add_argument("--n-causal", type=int, default=480, help="images segmented for the causal test, up to 1200")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
