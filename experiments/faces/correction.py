"""Correction of the labelled artifacts, judged in a feature space that did not steer it.

In each of 5 folds the gate, the contrast of the neurons and every corrector see only the training folds and the
steering space; the judge is a soft-label logistic regression in the other space, trained on the training folds, its
threshold at 5 % false alarms on uncorrected consensus normals of the training folds. Form and steps of the ladder, and
the stop quantile 0.5, are defaults of the library that were settled by looking at these very samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from sklearn.model_selection import StratifiedKFold
from tqdm import tqdm

from experiments.faces.labelled import LabelledFaces
from experiments.faces.methods import Extractor, Space, fold_free_correctors, own_methods, published_methods
from genmend.activations import Correction
from genmend.gans import Generator, fit_correction
from genmend.gans.detection.soft_logistic import LinearScore, cross_validated_scores, fit_soft_logistic


@dataclass(frozen=True)
class Judge:
    score: LinearScore
    threshold: float

    def flags(self, features: np.ndarray) -> np.ndarray:
        return self.score(features) > self.threshold


@dataclass
class Outcome:
    """What one method did to every consensus sample, in the order of the labelled faces."""

    method: str
    flagged: np.ndarray
    cosines: dict[str, np.ndarray]
    pixel_mae: np.ndarray
    identical: np.ndarray
    given_up: np.ndarray
    features: dict[str, np.ndarray] = field(default_factory=dict)


def fit_judge(features: np.ndarray, shares: np.ndarray, normal: np.ndarray) -> Judge:
    score = fit_soft_logistic(features, shares)
    unseen = cross_validated_scores(features, shares, regularisation=score.regularisation)
    return Judge(score, float(np.quantile(unseen[normal], 0.95)))


def fold_correction(generator: Generator, faces: LabelledFaces, steer: Space, rows: np.ndarray) -> Correction:
    """Our ladder, with the gate trained on the labels of these rows; latents moved: `experiments.faces.plausible`."""
    labelled = steer.face_features[rows], faces.share[rows]
    return fit_correction(generator, steer.detector, descents=(), labelled=labelled)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def correction_outcomes(
    generator: Generator,
    faces: LabelledFaces,
    steer: Space,
    judge_space: Space,
    measured_in: dict[str, Extractor],
    *,
    seed: int,
    n_folds: int = 5,
) -> tuple[list[Outcome], list[dict]]:
    """Every method on every consensus sample, each by the fold that did not see it; and how each fold's gate did.

    `measured_in`: the feature spaces of the cosines and of diversity.
    """
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(faces.latents, np.round(faces.share * 4))
    collected: dict[str, dict[str, list]] = {}
    gates, order = [], []
    fold_free = fold_free_correctors(generator, faces.latents[faces.normal])
    for fold, (training, test) in enumerate(tqdm(list(folds), desc=f"{steer.name} -> {judge_space.name}")):
        rows = test[faces.consensus[test]]
        order.append(rows)
        judge = fit_judge(judge_space.face_features[training], faces.share[training], faces.normal[training])
        correction = fold_correction(generator, faces, steer, training)
        gates.append({"fold": fold} | _gate_figures(correction, judge, steer, judge_space, faces, rows))
        tqdm.write(str(gates[-1]))
        before = generator.generate(faces.latents[rows])
        originals = {name: extractor(before).numpy() for name, extractor in measured_in.items()}
        methods = (
            *own_methods(generator, faces.latents[rows], steer, correction, seed + fold),
            *published_methods(generator, faces, training, rows, steer, fold_free, seed + fold),
        )
        for method, make in methods:
            images, given_up = make()
            values = {
                "flagged": judge.flags(judge_space.extractor(images).numpy()),
                "pixel_mae": (images - before).abs().flatten(1).mean(1).numpy(),
                "identical": (images == before).flatten(1).all(1).numpy(),
                "given_up": np.zeros(len(rows), dtype=bool) if given_up is None else given_up,
            }
            for name, extractor in measured_in.items():
                found = extractor(images).numpy()
                values |= {f"cosine {name}": cosine(found, originals[name]), f"features {name}": found}
            slot = collected.setdefault(method, {})
            for key, value in values.items():
                slot.setdefault(key, []).append(value)
    ordered = np.argsort(np.concatenate(order))
    return [_outcome(method, slot, ordered, list(measured_in)) for method, slot in collected.items()], gates


def _gate_figures(
    correction: Correction, judge: Judge, steer: Space, judge_space: Space, faces: LabelledFaces, rows: np.ndarray
) -> dict:
    score = correction.gate.score(steer.face_features[rows].astype(np.float64))
    artifact, normal = faces.artifact[rows], faces.normal[rows]
    return {
        "gate_reach": float((score > correction.gate.threshold)[artifact].mean()),
        "n_artifacts": int(artifact.sum()),
        "uncorrected_false_alarms": float(judge.flags(judge_space.face_features[rows])[normal].mean()),
    }


def _outcome(method: str, slot: dict[str, list], order: np.ndarray, spaces: list[str]) -> Outcome:
    joined = {key: np.concatenate(parts)[order] for key, parts in slot.items()}
    return Outcome(
        method,
        joined["flagged"],
        {name: joined[f"cosine {name}"] for name in spaces},
        joined["pixel_mae"],
        joined["identical"],
        joined["given_up"],
        {name: joined[f"features {name}"] for name in spaces},
    )
