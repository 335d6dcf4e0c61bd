"""Correction of the labelled artifacts, judged in a feature space that did not steer it.

In each of 5 folds the gate, the contrast of the neurons, and the choice among the candidate settings see only the
training folds and the steering space; the judge is a soft-label logistic regression in the other space, trained on the
training folds, its threshold at 5 % false alarms on uncorrected consensus normals of the training folds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold, train_test_split
from torch import Tensor
from tqdm import tqdm

from activations import Correction, PullToMean, edited
from experiments.labelled_faces import LabelledFaces
from gans import (
    ArtifactDetector,
    Generator,
    LinearScore,
    Rung,
    corrected,
    cross_validated_scores,
    default_rungs,
    fit_correction,
    fit_soft_logistic,
    rung_edits,
)

EARLY, WIDER = ("main.2", "main.5"), ("main.2", "main.5", "main.8")
LADDERS = {name: default_rungs(("main.2", "main.5", "main.8", "main.11"), name) for name in ("rare", "contrast")}
STOP_QUANTILES = (0.8, 0.5, 0.2)
PUBLISHED = {
    "rare R=0.1 main.2+5": Rung("rare", 0.1, EARLY),
    "rare R=0.2 main.2+5": Rung("rare", 0.2, EARLY),
    "rare R=0.3 main.2+5": Rung("rare", 0.3, EARLY),
    "rare R=0.2 main.2+5+8": Rung("rare", 0.2, WIDER),
}
TRUNCATIONS = (0.7, 0.5)
MAX_CLEAN_CHANGE = 0.04  # mean absolute pixel change of normal samples without the gate; pixels are in 0..1

Extractor = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Space:
    """A feature space with what was measured in it."""

    name: str
    extractor: Extractor
    detector: ArtifactDetector
    face_features: np.ndarray


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


def choose_settings(
    generator: Generator, faces: LabelledFaces, steer: Space, training: np.ndarray, seed: int
) -> tuple[str, float]:
    """Ladder and stop quantile, chosen inside the training folds and the steering space.

    One half trains the gate, the other a judge and supplies the samples to mend. Of the candidates that change normal
    samples by at most `MAX_CLEAN_CHANGE` (ungated) the one whose mended artifacts the judge finds most normal; of
    candidates that all change more, the gentlest.
    """
    gate_half, judge_half = train_test_split(
        training, test_size=0.5, random_state=seed, stratify=np.round(faces.share[training] * 4)
    )
    judge = fit_judge(steer.face_features[judge_half], faces.share[judge_half], faces.normal[judge_half])
    artifacts, normals = judge_half[faces.artifact[judge_half]], judge_half[faces.normal[judge_half]]
    results = []
    for ladder in LADDERS:
        correction = fold_correction(generator, faces, steer, gate_half, ladder, STOP_QUANTILES[0])
        for quantile in STOP_QUANTILES:
            adjusted = with_stop_quantile(correction, quantile)
            gated = corrected(generator, adjusted, extractor=steer.extractor)(faces.latents[artifacts])
            ungated = corrected(generator, adjusted, gate=False, extractor=steer.extractor)(faces.latents[normals])
            found = float(judge.score(steer.extractor(gated.images).numpy()).mean())
            change = float((ungated.images - generator.generate(faces.latents[normals])).abs().mean())
            results.append((found, change, ladder, quantile))
    gentle = [result for result in results if result[1] <= MAX_CLEAN_CHANGE]
    chosen = min(gentle) if gentle else min(results, key=lambda result: result[1])
    return chosen[2], chosen[3]


def fold_correction(
    generator: Generator, faces: LabelledFaces, steer: Space, rows: np.ndarray, ladder: str, stop_quantile: float
) -> Correction:
    return fit_correction(
        generator,
        steer.detector,
        rungs=LADDERS[ladder],
        labelled=(steer.face_features[rows], faces.share[rows]),
        stop_quantile=stop_quantile,
    )


def with_stop_quantile(correction: Correction, quantile: float) -> Correction:
    score = correction.info["gate_score_quantiles_of_normal"][str(quantile)]
    return replace(
        correction, info=correction.info | {"stop_rule": correction.info["stop_rule"] | {"enough_gate_score": score}}
    )


def random_control(correction: Correction, seed: int) -> Correction:
    """The same ladder on random neurons: in each layer as many as the correction's, capped to the same kind of mean.

    The pull of the first layer stays; a ladder of rare neurons is switched off at random places instead.
    """
    shuffle = torch.Generator().manual_seed(seed)

    def shuffled(mask: Tensor) -> Tensor:
        return mask.flatten()[torch.randperm(mask.numel(), generator=shuffle)].view(mask.shape)

    ladder = tuple(
        tuple(edit if isinstance(edit, PullToMean) else replace(edit, mask=shuffled(edit.mask)) for edit in rung)
        for rung in correction.ladder
    )
    return replace(correction, ladder=ladder)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def correction_outcomes(
    generator: Generator, faces: LabelledFaces, steer: Space, judge_space: Space, *, seed: int, n_folds: int = 5
) -> tuple[list[Outcome], list[dict]]:
    """Every method on every consensus sample, each by the fold that did not see it; and what each fold chose."""
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(faces.latents, np.round(faces.share * 4))
    collected: dict[str, dict[str, list]] = {}
    choices, order = [], []
    for fold, (training, test) in enumerate(tqdm(list(folds), desc=f"{steer.name} -> {judge_space.name}")):
        rows = test[faces.consensus[test]]
        order.append(rows)
        judge = fit_judge(judge_space.face_features[training], faces.share[training], faces.normal[training])
        ladder, quantile = choose_settings(generator, faces, steer, training, seed + fold)
        correction = fold_correction(generator, faces, steer, training, ladder, quantile)
        gate_score = correction.gate.score(steer.face_features[rows].astype(np.float64))
        reached = gate_score > correction.gate.threshold
        choices.append(
            {
                "fold": fold,
                "ladder": ladder,
                "stop_quantile": quantile,
                "gate_reach": float(reached[faces.artifact[rows]].mean()),
                "n_artifacts": int(faces.artifact[rows].sum()),
                "uncorrected_false_alarms": float(
                    judge.flags(judge_space.face_features[rows])[faces.normal[rows]].mean()
                ),
            }
        )
        tqdm.write(str(choices[-1]))
        before = generator.generate(faces.latents[rows])
        for method, images, given_up in _methods(generator, faces.latents[rows], steer, correction, seed + fold):
            found = {space.name: space.extractor(images).numpy() for space in (steer, judge_space)}
            slot = collected.setdefault(method, {})
            values = {
                "flagged": judge.flags(found[judge_space.name]),
                "pixel_mae": (images - before).abs().flatten(1).mean(1).numpy(),
                "identical": (images == before).flatten(1).all(1).numpy(),
                "given_up": given_up,
            }
            for space in (steer, judge_space):
                values[f"cosine {space.name}"] = cosine(found[space.name], space.face_features[rows])
                values[f"features {space.name}"] = found[space.name]
            for key, value in values.items():
                slot.setdefault(key, []).append(value)
    ordered = np.argsort(np.concatenate(order))
    outcomes = []
    for method, slot in collected.items():
        joined = {key: np.concatenate(parts)[ordered] for key, parts in slot.items()}
        outcomes.append(
            Outcome(
                method,
                joined["flagged"],
                {space.name: joined[f"cosine {space.name}"] for space in (steer, judge_space)},
                joined["pixel_mae"],
                joined["identical"],
                joined["given_up"],
                {space.name: joined[f"features {space.name}"] for space in (steer, judge_space)},
            )
        )
    return outcomes, choices


def _methods(
    generator: Generator, latents: Tensor, steer: Space, correction: Correction, seed: int
) -> Iterator[tuple[str, Tensor, np.ndarray]]:
    """Name, images and given-up marks of every method of the table."""
    nobody = np.zeros(len(latents), dtype=bool)
    yield "uncorrected", generator.generate(latents), nobody
    for psi in TRUNCATIONS:
        yield f"truncation psi={psi}", generator.generate(latents * psi), nobody
    for name, rung in PUBLISHED.items():
        yield name, _edited_images(generator, latents, rung_edits(rung, steer.detector.rare_, None)), nobody
    control = random_control(correction, seed)
    for which, made in (("chosen ladder", correction), ("random neurons", control)):
        for number, edits in enumerate(made.ladder):
            yield f"{which}, rung {number} on all", _edited_images(generator, latents, edits), nobody
    for which, made in (("ours", correction), ("random neurons", control)):
        for gated in (True, False):
            result = corrected(generator, made, gate=gated, extractor=steer.extractor)(latents)
            yield f"{which}, {'gated' if gated else 'ungated'}, stop rule", result.images, result.given_up


def _edited_images(generator: Generator, latents: Tensor, edits: tuple) -> Tensor:
    with edited(generator.module, *edits):
        return generator.generate(latents)
