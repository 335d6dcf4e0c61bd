"""Where the labelled faces are broken, and whether local activation finds which are: masks and estimators compared.

    python -m experiments.faces.defects

Writes results/defects/: masks.csv, local_activation.csv, results.json. Needs the weights `faces` and
`efficientnet-lite0` (genmend fetch). Both parts choose and train on one half of the labels and report on the other.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from torch import Tensor

from experiments.faces.labelled import FOLDER, LabelledFaces, load_labelled_faces
from experiments.pages import write_page
from genmend.gans import Generator, RareActivation
from genmend.gans.detection.defect_classifier import DefectClassifier
from genmend.gans.detection.defect_masks import METHODS, attribution_masks, box_masks, mask_quality
from genmend.gans.detection.local_activation import ESTIMATORS, LocalActivation
from genmend.gans.families.pretrained import load_faces
from genmend.storage.atomic import whole_file

RESULTS = Path(__file__).with_name("results") / "defects"
EPSILONS = (0.1, 0.2, 0.4)
SLOW_METHODS = ("integrated-gradients", "occlusion")  # dozens of passes an image: on the first few boxes only
N_SLOW = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", nargs="+", default=["main.2", "main.5", "main.8", "main.11"])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    faces, generator = load_labelled_faces(), replace(load_faces(), batch_size=256)
    halves = train_test_split(
        np.arange(len(faces.latents)), test_size=0.5, random_state=options.seed, stratify=np.round(faces.share * 4)
    )
    rows, chosen = local_activation_rows(generator, faces, *halves, options.layers, options.seed)
    _write_table(options.out / "local_activation.csv", rows)
    for row in rows:
        if row["kind"] != "candidate" or row is chosen:
            print(row)
    masks = mask_rows(generator, faces, *halves, options.seed)
    _write_table(options.out / "masks.csv", masks)
    for row in masks:
        print(row)
    result = {"seed": options.seed, "chosen_estimator": chosen, "local_activation": rows, "masks": masks}
    with whole_file(options.out / "results.json") as temporary:
        Path(temporary).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    write_page("faces/defects")


def local_activation_rows(
    generator: Generator, faces: LabelledFaces, choice: np.ndarray, report: np.ndarray, layers: list[str], seed: int
) -> tuple[list[dict], dict]:
    """AUROC of every estimator, eps and layer on both halves; and the row that the first half's consensus chooses."""
    own = generator.latents(2_000, 1_000_003)
    rows = []
    for estimator in ESTIMATORS:
        for eps in EPSILONS if estimator != "differential" else (None,):
            local = LocalActivation(estimator, eps=eps or 0.2, layers=layers, seed=seed).fit(generator, own)
            scores = local.unit_scores(generator, faces.latents, progress=True)
            by_layer = {layer: local.layer_score(found) for layer, found in scores.items()}
            for layer, found in (by_layer | {"all": np.mean(list(by_layer.values()), axis=0)}).items():
                name = {"kind": "candidate", "score": estimator, "eps": eps, "layer": layer}
                rows.append(name | _aurocs(found, faces, choice, report))
    chosen = max(rows, key=lambda row: row["choice_consensus"])
    rare = RareActivation(layers=layers).fit(generator, generator.latents(10_000, 1_000_003))
    controls = {
        "rare activation, R = 0.1, same layers": rare.score(generator, faces.latents),
        "distance from the latent mean": faces.latents.norm(dim=1).numpy(),
    }
    for name, found in controls.items():
        rows.append(
            {"kind": "control", "score": name, "eps": None, "layer": "all"} | _aurocs(found, faces, choice, report)
        )
    return rows, chosen


def mask_rows(
    generator: Generator, faces: LabelledFaces, training: np.ndarray, report: np.ndarray, seed: int
) -> list[dict]:
    """IoU and pointing game of each kind of mask against the boxes of the half that trained nothing."""
    boxes = load_boxes()
    train_boxed = [index for index in training if index in boxes]
    boxed = [index for index in report if index in boxes]
    drawn = box_masks([boxes[index] for index in boxed], 64, 64)
    known = box_masks([boxes[index] for index in train_boxed], 64, 64)
    images = generator.generate(faces.latents[torch.tensor(boxed)])
    classifier = DefectClassifier(seed=seed).fit(
        generator.generate(faces.latents[torch.from_numpy(training)]), faces.share[training], progress=True
    )
    few = slice(0, N_SLOW)
    rows = []
    for name, soft, threshold in control_masks(drawn, known, seed):
        rows.append({"mask": name, **mask_quality(soft, drawn, threshold=threshold).to_dict()})
        rows.append({"mask": name, **mask_quality(soft[few], drawn[few], threshold=threshold).to_dict()})
    for method in METHODS:
        where = few if method in SLOW_METHODS else slice(None)
        soft = attribution_masks(classifier, images[where], method, threshold=None, progress=True)
        rows.append({"mask": method, **mask_quality(soft, drawn[where]).to_dict()})
        if where != few:
            rows.append({"mask": method, **mask_quality(soft[few], drawn[few]).to_dict()})
    return rows


def control_masks(drawn: Tensor, known: Tensor, seed: int) -> list[tuple[str, Tensor, float]]:
    """Masks that have not seen the image: name, soft masks and the threshold of their IoU."""
    n, area = len(drawn), float(known.mean())
    side = round(64 * area**0.5)
    start = (64 - side) // 2
    centred = box_masks([[start, start, start + side, start + side]], 64, 64).expand(n, -1, -1)
    random = torch.rand(drawn.shape, generator=torch.Generator().manual_seed(seed))
    everywhere = torch.ones_like(drawn)
    return [
        ("control: centred square of the mean area", centred, 0.5),
        ("control: random pixels of the mean area", random, 1 - area),
        ("control: mean of the other half's boxes", known.mean(0).expand(n, -1, -1), 0.5),
        ("control: whole image", everywhere, 0.5),
    ]


def load_boxes() -> dict[int, list[int]]:
    """Index of a labelled face -> x0, y0, x1, y1, for those that rater A has drawn one on."""
    with (FOLDER / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["x0"]]
    return {int(row["index"]): [int(row[corner]) for corner in ("x0", "y0", "x1", "y1")] for row in rows}


def _aurocs(scores: np.ndarray, faces: LabelledFaces, choice: np.ndarray, report: np.ndarray) -> dict[str, float]:
    found = {}
    for name, half in (("choice", choice), ("report", report)):
        agreed = half[faces.consensus[half]]
        found[f"{name}_consensus"] = round(float(roc_auc_score(faces.artifact[agreed], scores[agreed])), 4)
        found[f"{name}_full"] = round(float(roc_auc_score(faces.full[half], scores[half])), 4)
    return found


def _write_table(path: Path, rows: list[dict]) -> None:
    with whole_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
