"""What the defaults do without a label, on the labelled faces: the new ones beside those before them.

    python -m experiments.faces.defaults

Writes results/defaults/results.json and docs/results/faces-defaults.md. Detector and correction learn from the
generator's own samples alone, which none of the labelled ones is among. The judge is another extractor, trained on the
labels of the other folds, its threshold at 5 % false alarms on uncorrected consensus normals there. Needs the weights
`faces`, `efficientnet-lite0` and the judge's (`mobilenet-v2`; --judge names another).
"""

from __future__ import annotations

import argparse
import copy
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from experiments.faces.correction import fit_judge
from experiments.faces.feature_cache import CachedExtractor
from experiments.faces.labelled import LabelledFaces, load_labelled_faces
from experiments.faces.methods import random_control
from experiments.intervals import bootstrap, mean_with_interval
from experiments.pages import write_page
from genmend.activations import Correction
from genmend.gans import ArtifactDetector, Generator, corrected, fit_correction
from genmend.gans.detection.evidence import known_thresholds
from genmend.gans.detection.learned_score import SUSPECTS, early_activity, fit_learned_score, suspicion
from genmend.gans.detection.soft_logistic import cross_validated_scores
from genmend.gans.families.pretrained import load_faces

RESULTS = Path(__file__).with_name("results") / "defaults"
LITE, LAYERS = "efficientnet-lite0", "efficientnet-lite0-layers"
VISIBLE = 0.05  # RMSE in 0..1, the tolerance of `genmend explore` for the same picture
FALSE_SHARES = (0.05, 0.1, 0.2, 0.3, 0.5)
OWN_SHARES = (0.25, 0.3, 0.4, 0.5)  # of the own samples flagged: what wider gates would do
MOST_VISIBLE = 0.03


@dataclass(frozen=True)
class Climbed:
    """Every consensus sample tried whatever its gate score: images before and after, and the scores before."""

    before: Tensor
    after: Tensor
    gate_before: np.ndarray
    rung: np.ndarray


@dataclass(frozen=True)
class Treated:
    """What a gate at one threshold makes of them, as booleans by sample."""

    tried: np.ndarray
    changed: np.ndarray
    visible: np.ndarray
    flagged: np.ndarray
    flagged_before: np.ndarray


def main() -> None:
    run("defaults", load_labelled_faces(), load_faces())
    write_page("faces/defaults")


def run(page: str, faces: LabelledFaces, generator: Generator) -> None:
    """Both defaults on these samples of the generator; writes results/PAGE/results.json."""
    options = _options()
    folder = RESULTS.with_name(page)
    folder.mkdir(parents=True, exist_ok=True)
    cache = options.cache or folder / "cache"
    judge = CachedExtractor(options.judge, cache)
    extractors = {name: CachedExtractor(name, cache) for name in (LAYERS, LITE)}
    new = ArtifactDetector(extractors[LAYERS]).fit(generator)
    old = _before(generator, extractors[LITE])
    measured = {
        "new": new.measure(generator, faces.latents),
        "before": old.measure(generator, faces.latents),
    }
    for extractor in extractors.values():
        extractor.save()
    corrections = {"new": fit_correction(generator, new), "before": fit_correction(generator, old, descents=())}
    corrections["random neurons"] = random_control(corrections["new"], options.seed)
    rows = np.flatnonzero(faces.consensus)
    latents = faces.latents[torch.from_numpy(rows)]
    climbed = {
        name: _climb(generator, correction, extractors[LITE if name == "before" else LAYERS], latents)
        for name, correction in corrections.items()
    }
    for extractor in extractors.values():
        extractor.save()
    thresholds = _thresholds(new, corrections)
    judged = _judged(generator, faces, rows, climbed, thresholds, judge, options.seed)
    judge.save()
    results = {
        "seed": options.seed,
        "judge": options.judge,
        "tail": new.tail_.to_dict(),
        "rate": new.rare_.rate,
        "own_flagged": float(new.own_flagged_.mean()),
        "detection": [
            *_detection(faces, {"new": new, "before": old}, measured, options.seed),
            *_other_scores(generator, faces, new, measured["new"][0], options.seed),
        ],
        "gates": [_row(name, treated, faces, rows, options.seed) for name, treated in judged.items()],
        "choice": _choice(faces, rows, climbed["new"], new, options.seed),
        "folds": _fold_figures(judged["default"], faces, rows, options.seed),
    }
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


def _before(generator: Generator, extractor: CachedExtractor) -> ArtifactDetector:
    """The detector of the defaults before: R = 0.1, the mean of both scores, the top 5 % of the own samples."""
    made = ArtifactDetector(extractor, rate=0.1, flagged_share=0.05).fit(generator)
    before = copy.copy(made)
    before.learned_ = before.own_scores_ = before.tail_ = None
    rare = before.own_counts_.sum(axis=1)
    before._learn_own(rare <= np.quantile(rare, 0.95))
    return before


def _climb(generator: Generator, correction: Correction, extractor: CachedExtractor, latents: Tensor) -> Climbed:
    done = corrected(generator, correction, gate=False, extractor=extractor)(latents)
    return Climbed(done.before, done.images, done.gate_before, done.rung)


def _thresholds(new: ArtifactDetector, corrections: dict[str, Correction]) -> dict[str, tuple[str, float]]:
    """Row of the table -> whose ladder, and the gate score above which it is tried."""
    known = known_thresholds(new)
    enough = corrections["new"].stop_rule.enough_gate_score
    return {
        "before: fixed 5 %, Lite0": ("before", corrections["before"].gate.threshold),
        "fixed 5 %": ("new", known["top 5 %"]),
        "default": ("new", new.threshold_),
        "wide": ("new", known["wide"]),
        "widest": ("new", known["widest"]),
        **{f"{share:.0%} of own": ("new", float(np.quantile(new.own_scores_, 1 - share))) for share in OWN_SHARES},
        "all but what is normal enough": ("new", enough),
        "random neurons, default": ("random neurons", new.threshold_),
    }


def _judged(
    generator: Generator,
    faces: LabelledFaces,
    rows: np.ndarray,
    climbed: dict[str, Climbed],
    thresholds: dict[str, tuple[str, float]],
    judge: CachedExtractor,
    seed: int,
) -> dict[str, Treated]:
    all_features = judge(generator.generate(faces.latents)).numpy()
    lowest = {who: min(t for w, t in thresholds.values() if w == who) for who in climbed}
    after = {}
    for who, done in climbed.items():  # the judge looks only at what some threshold changes
        looked = (done.gate_before > lowest[who]) & (done.rung >= 0)
        features = all_features[rows].copy()
        if looked.any():
            features[looked] = judge(done.after[torch.from_numpy(looked)]).numpy()
        after[who] = features
    flags = {who: np.zeros(len(rows), bool) for who in ("none", *climbed)}
    for training, test in _folds(faces, seed):
        judging = fit_judge(all_features[training], faces.share[training], faces.normal[training])
        here = np.isin(rows, test)
        flags["none"][here] = judging.flags(all_features[rows[here]])
        for who, features in after.items():
            flags[who][here] = judging.flags(features[here])
    found = {}
    for name, (who, threshold) in thresholds.items():
        done = climbed[who]
        tried = done.gate_before > threshold
        changed = tried & (done.rung >= 0)
        flagged = np.where(changed, flags[who], flags["none"])
        found[name] = Treated(tried, changed, changed & (_rmse(done) > VISIBLE), flagged, flags["none"])
    nothing = np.zeros(len(rows), bool)
    return {"uncorrected": Treated(nothing, nothing, nothing, flags["none"], flags["none"]), **found}


def _rmse(done: Climbed) -> np.ndarray:
    return (done.after - done.before).square().flatten(1).mean(1).sqrt().numpy()


def _folds(faces: LabelledFaces, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return list(folds.split(faces.latents, np.round(faces.share * 4)))


def _row(name: str, treated: Treated, faces: LabelledFaces, rows: np.ndarray, seed: int) -> dict:
    artifact = faces.artifact[rows]
    normal = ~artifact
    anew = treated.flagged & ~treated.flagged_before
    # Of those that the judge flags before: what the raters' "fewer clear artifacts" is nearest to.
    before = treated.flagged_before & artifact
    figures = {
        "reach": treated.tried[artifact],
        "still_flagged": treated.flagged[artifact],
        "normals_tried": treated.tried[normal],
        "normals_changed": treated.changed[normal],
        "normals_visible": treated.visible[normal],
        "normals_flagged_anew": anew[normal],
    }
    row: dict = {"gate": name, "fewer": float(1 - treated.flagged[before].mean())}
    for figure, values in figures.items():
        row[figure] = list(mean_with_interval(values, seed))
    return row


def _fold_figures(treated: Treated, faces: LabelledFaces, rows: np.ndarray, seed: int) -> list[dict]:
    found = []
    for _, test in _folds(faces, seed):
        here, artifact = np.isin(rows, test), faces.artifact[rows]
        found.append(
            {
                "reach": float(treated.tried[here & artifact].mean()),
                "still_flagged": float(treated.flagged[here & artifact].mean()),
                "normals_visible": float(treated.visible[here & ~artifact].mean()),
            }
        )
    return found


def _choice(faces: LabelledFaces, rows: np.ndarray, done: Climbed, detector: ArtifactDetector, seed: int) -> dict:
    """For each fold the false share of most reach that visibly changes at most 3 % of the other folds' normals."""
    artifact, visible = faces.artifact[rows], (_rmse(done) > VISIBLE) & (done.rung >= 0)
    open_at = {s: done.gate_before > detector.tail_.threshold(detector.own_scores_, s) for s in FALSE_SHARES}
    chosen, reach, seen = [], np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    for training, test in _folds(faces, seed):
        there, here = np.isin(rows, training), np.isin(rows, test)
        fits = [s for s in FALSE_SHARES if (open_at[s] & visible)[there & ~artifact].mean() <= MOST_VISIBLE]
        best = max(fits, key=lambda s: (open_at[s][there & artifact].mean(), -s), default=FALSE_SHARES[0])
        chosen.append(best)
        reach[here], seen[here] = open_at[best][here], (open_at[best] & visible)[here]
    return {
        "chosen": chosen,
        "reach": float(reach[artifact].mean()),
        "normals_visible": float(seen[~artifact].mean()),
        "by_share": [
            {
                "false_share": s,
                "own_flagged": float((detector.own_scores_ > detector.tail_.threshold(detector.own_scores_, s)).mean()),
                "reach": float(open_at[s][artifact].mean()),
                "normals_tried": float(open_at[s][~artifact].mean()),
                "normals_visible": float((open_at[s] & visible)[~artifact].mean()),
            }
            for s in FALSE_SHARES
        ],
    }


def _detection(faces: LabelledFaces, detectors: dict[str, ArtifactDetector], measured: dict, seed: int) -> list[dict]:
    table = []
    for name, detector in detectors.items():
        found = detector.score_measured(*measured[name])
        parts = {"rare activation": found.rare_activation, "distance to normal": found.distance_to_normal}
        if found.learned is None:
            parts["mean of both: decides"] = found.combined
        else:
            parts["mean of both"] = _without_learned(detector).score_measured(*measured[name]).combined
            parts["learned: decides"] = found.learned
        for part, scores in parts.items():
            table.append({"defaults": name, "score": part, **_figures(faces, scores, seed)})
    return table


def _other_scores(
    generator: Generator, faces: LabelledFaces, new: ArtifactDetector, features: np.ndarray, seed: int
) -> list[dict]:
    """Scores that do not decide: learnt without neurons, on neurons, and from the labels of the other folds."""
    rare = new.own_counts_.sum(axis=1)
    by_two = suspicion(rare, copy.copy(new)._learn_own(rare <= np.quantile(rare, 1 - SUSPECTS)))
    own = generator.latents(new.n_reference, new.seed + 1)
    of_image, _, _ = fit_learned_score(new.own_features_, by_two, new.seed)
    of_neurons, _, _ = fit_learned_score(early_activity(generator, own), by_two, new.seed)
    scores = {
        "learned on images alone": of_image(features),
        "learned on neurons": of_neurons(early_activity(generator, faces.latents)),
        "trained on labels of other folds": cross_validated_scores(features, faces.share, seed=seed),
    }
    return [
        {"defaults": "no default", "score": name, **_figures(faces, values, seed)} for name, values in scores.items()
    ]


def _figures(faces: LabelledFaces, scores: np.ndarray, seed: int) -> dict[str, list[float]]:
    """AUROC on both tasks, and what a gate on the score could reach if it knew where 3 % of the normals lie."""
    artifact, agreed = faces.artifact[faces.consensus], scores[faces.consensus]

    def reach(rows: np.ndarray) -> float:
        broken = artifact[rows]
        if not 0 < broken.sum() < len(rows):
            return float("nan")
        return float((agreed[rows][broken] > np.quantile(agreed[rows][~broken], 1 - MOST_VISIBLE)).mean())

    return {
        "consensus": _auroc(artifact, agreed, seed),
        "full": _auroc(faces.full, scores, seed),
        "reach_at_few": list(bootstrap(reach, len(artifact), seed, 1_000)),
    }


def _without_learned(detector: ArtifactDetector) -> ArtifactDetector:
    """The same detector without its learned score: the mean of the first two decides."""
    other = copy.copy(detector)
    other.learned_ = other.own_scores_ = other.tail_ = None
    return other


def _auroc(truth: np.ndarray, scores: np.ndarray, seed: int) -> list[float]:
    def figure(rows: np.ndarray) -> float:
        both = 0 < truth[rows].sum() < len(rows)
        return float(roc_auc_score(truth[rows], scores[rows])) if both else float("nan")

    return list(bootstrap(figure, len(truth), seed, 1_000))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", default="mobilenet-v2")
    parser.add_argument("--cache", type=Path, help="by default beside the results")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
