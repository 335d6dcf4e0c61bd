"""Do the circuits of flagged faces lead to the units that break them, and to those that dissection finds?

    python -m experiments.concepts.artifact_units

Three ways to rank the units of each layer without a label: how much more often a unit lies in the circuits of flagged
samples than in those of normal ones; how far from normal the images are that excite it most (dissection's unit-KID, on
other samples); how much of the detector's score its activation carries in flagged samples beyond normal ones (gradient
times activation). Compared by overlap against chance, and by the correction that switches a fifth of the early units
off or halves them, judged in MobileNetV2, which had no part. Writes results/artifact_units/results.json. Needs the
weights `faces`, `efficientnet-lite0` and `mobilenet-v2` (genmend fetch). A few minutes on one core; its cache is that
of experiments.concepts.masks.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.stats import hypergeom, spearmanr
from sklearn.model_selection import StratifiedKFold
from torch import Tensor
from tqdm import tqdm

from experiments.concepts.masks import RESULTS, STEER
from experiments.faces.correction import cosine, fit_judge
from experiments.faces.feature_cache import CachedExtractor
from experiments.faces.labelled import LabelledFaces, load_labelled_faces
from experiments.intervals import mean_with_interval
from experiments.pages import write_page
from genmend.activations import Gate, ScaleUnits, edited
from genmend.concepts import build_index, find_circuits
from genmend.gans import ArtifactDetector, Generator
from genmend.gans.detection.defect_masks import GateScore
from genmend.gans.detection.detect import fit_detector
from genmend.gans.dissection.artifact_units import unit_kid
from genmend.gans.dissection.measuring import unit_peaks
from genmend.gans.families.pretrained import load_faces
from genmend.gans.generator import early_layers, layer_shapes
from genmend.gans.settings import DetectorSettings
from genmend.manifold.features import load_extractor
from genmend.storage.pieces import Work
from genmend.storage.tables import write_json

JUDGE = "mobilenet-v2"
OUT = RESULTS.with_name("artifact_units")
N_QUERIES = 40  # flagged samples, and as many normal ones
SHARE = 0.2  # of a layer's units that are edited, as of defective units
SCALES = (0.5, 0.0)

Ranking = dict[str, np.ndarray]


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    faces, generator = load_labelled_faces(), load_faces()
    detector = fit_detector(generator, DetectorSettings(), Work(options.cache / "detector", progress=True))
    half = detector.n_reference // 2
    own = generator.latents(detector.n_reference, detector.seed + 1)
    flagged, normal = queries(detector, half, options.seed)
    rankings = {
        "circuits": Work(options.cache / "circuits").kept(
            "ranking",
            {"seed": options.seed, "flagged": flagged.tolist(), "normal": normal.tolist()},
            lambda: circuit_ranking(generator, own[half:], flagged - half, normal - half, options.seed),
        ),
        "dissection (unit-KID)": kid_ranking(generator, detector, own[:half], half),
        "gradient of the score": gradient_ranking(generator, detector, own[flagged], own[normal]),
    }
    results = {
        "seed": options.seed,
        "n_queries": len(flagged),
        "share": SHARE,
        "overlap": overlap_rows(rankings, generator.layers),
    }
    rankings |= {f"random units, draw {draw}": random_ranking(rankings["circuits"], draw) for draw in (1, 2)}
    results["correction"] = correction_rows(generator, faces, rankings, options)
    write_json(options.out / "results.json", results)
    write_page("concepts/artifact_units")


def queries(detector: ArtifactDetector, half: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the second half of the own samples the most broken of those flagged, and random ones of those normal."""
    scores = detector.own_scores_
    assert scores is not None
    rows = np.arange(half, len(scores))
    flagged = rows[detector.own_flagged_[half:]]
    normal = rows[detector.own_normal_[half:]]
    worst = flagged[np.argsort(-scores[flagged], kind="stable")[:N_QUERIES]]
    return worst, np.random.default_rng(seed).choice(normal, len(worst), replace=False)


def circuit_ranking(
    generator: Generator, latents: Tensor, flagged: np.ndarray, normal: np.ndarray, seed: int
) -> Ranking:
    """Share of the flagged samples' graphs that a unit lies in with an edge, less that of the normal samples'."""
    given = generator.checked_latents(latents)
    index = build_index(generator.module, generator.layers, lambda start, stop: given[start:stop], len(given))
    shares = []
    for rows in (flagged, normal):
        counts = {layer: np.zeros(len(index.means[layer])) for layer in generator.layers}
        for row in tqdm(rows, desc="circuits"):
            graph = find_circuits(generator.module, index, given[row : row + 1], seed=seed)
            for block, unit in {end for edge in graph.edges for end in (edge.source, edge.target)}:
                counts[graph.blocks[block]][unit] += 1 / len(rows)
        shares.append(counts)
    return {layer: shares[0][layer] - shares[1][layer] for layer in generator.layers}


def kid_ranking(generator: Generator, detector: ArtifactDetector, latents: Tensor, half: int) -> Ranking:
    """Dissection's: kernel distance of each unit's top images (a tenth) to the other half's normal samples."""
    peaks = unit_peaks(generator, latents, generator.layers)
    reference = detector.own_features_[half:][detector.own_normal_[half:]]
    features = detector.own_features_[:half]
    return {layer: unit_kid(values, features, reference, n_top=half // 10) for layer, values in peaks.items()}


def gradient_ranking(generator: Generator, detector: ArtifactDetector, flagged: Tensor, normal: Tensor) -> Ranking:
    """First-order change of the detector's score by each unit, mean over flagged samples less that over normal ones."""
    learned = detector.learned_
    assert learned is not None
    gate = Gate(STEER, torch.from_numpy(learned.weights), learned.bias, detector.threshold_)
    score = GateScore(gate, load_extractor(STEER))
    sizes = {layer: shape[0] for layer, shape in layer_shapes(generator, generator.layers).items()}
    means = []
    for latents in (flagged, normal):
        totals: dict[str, Tensor] = {}
        for batch in tqdm(generator.checked_latents(latents).split(8), desc="gradients"):
            # By a factor of each unit that is 1, the gradient is the unit's activation times its own gradient.
            factors = {layer: torch.ones(1, n, 1, 1, requires_grad=True) for layer, n in sizes.items()}
            with edited(generator.module, {layer: partial(torch.mul, factor) for layer, factor in factors.items()}):
                total = score(generator.images(batch)).sum()
            gradients = torch.autograd.grad(total, list(factors.values()))
            for layer, gradient in zip(factors, gradients, strict=True):
                totals[layer] = totals.get(layer, 0) + gradient.flatten() / len(latents)
        means.append(totals)
    return {layer: (means[0][layer] - means[1][layer]).numpy() for layer in generator.layers}


def random_ranking(like: Ranking, draw: int) -> Ranking:
    rng = np.random.default_rng(draw)
    return {layer: rng.permutation(len(values)).astype(float) for layer, values in like.items()}


def overlap_rows(rankings: dict[str, Ranking], layers: tuple[str, ...]) -> list[dict]:
    """Of the top fifth of each pair of rankings, how many units are in both, and how many would be by chance."""
    rows = []
    names = list(rankings)
    for first, second in [(a, b) for place, a in enumerate(names) for b in names[place + 1 :]]:
        for layer in layers:
            one, other = rankings[first][layer], rankings[second][layer]
            n, k = len(one), round(SHARE * len(one))
            shared = len(set(highest(one, k)) & set(highest(other, k)))
            low, high = hypergeom.ppf((0.025, 0.975), n, k, k)
            correlation = spearmanr(one, other)
            rows.append(
                {
                    "first": first,
                    "second": second,
                    "layer": layer,
                    "n_units": n,
                    "top": k,
                    "shared": shared,
                    "chance": k * k / n,
                    "chance_interval": [float(low), float(high)],
                    "p": float(hypergeom.sf(shared - 1, n, k, k)),
                    "rank_correlation": float(correlation.statistic),
                    "rank_p": float(correlation.pvalue),
                }
            )
    return rows


def highest(values: np.ndarray, n: int) -> list[int]:
    return np.argsort(-values, kind="stable")[:n].tolist()


def correction_rows(
    generator: Generator, faces: LabelledFaces, rankings: dict[str, Ranking], options: argparse.Namespace
) -> list[dict]:
    """Still flagged by the fold's judge, and the change of normal faces, with every sample edited."""
    steer, judge_extractor = (CachedExtractor(name, options.cache) for name in (STEER, JUDGE))
    everything = generator.generate(faces.latents)
    judged = judge_extractor(everything).numpy()
    judges = []
    folds = StratifiedKFold(5, shuffle=True, random_state=options.seed).split(faces.latents, np.round(faces.share * 4))
    for training, test in folds:
        judge = fit_judge(judged[training], faces.share[training], faces.normal[training])
        judges.append((judge, test[faces.artifact[test]]))
    artifact, normal = torch.from_numpy(faces.artifact), torch.from_numpy(faces.normal)
    found: dict[tuple[str, float], tuple[np.ndarray, float]] = {}
    for name, ranking in {"uncorrected": {}, **rankings}.items():
        for scale in SCALES if ranking else (1.0,):
            edits = [
                ScaleUnits(layer, highest(ranking[layer], round(SHARE * len(ranking[layer]))), scale)
                for layer in early_layers(generator.layers)
                if ranking
            ]
            with edited(generator.module, *edits):
                broken, clean = (generator.generate(faces.latents[which]) for which in (artifact, normal))
            features = np.full_like(judged, np.nan)
            features[faces.artifact] = judge_extractor(broken).numpy()
            flagged = np.zeros(len(features), dtype=bool)
            for judge, rows in judges:
                flagged[rows] = judge.flags(features[rows])
            same = cosine(steer(clean).numpy(), steer(everything[normal]).numpy())
            found[name, scale] = flagged[faces.artifact], float(same.mean())
            print(name, scale, flagged[faces.artifact].mean(), same.mean(), flush=True)
            judge_extractor.save()
    return [_row(name, scale, found, options.seed) for name, scale in found]


def _row(name: str, scale: float, found: dict[tuple[str, float], tuple[np.ndarray, float]], seed: int) -> dict:
    own = found[name, scale][0].astype(float)
    row = {
        "units": name,
        "scale": scale,
        "still_flagged": _estimate(own, seed),
        "clean_cosine": found[name, scale][1],
        "minus_none": _estimate(own - found["uncorrected", 1.0][0], seed),
    }
    random = [flags for (other, at), (flags, _) in found.items() if other.startswith("random") and at == scale]
    if random and not name.startswith("random"):
        row["minus_random"] = _estimate(own - np.mean(random, axis=0), seed)
    return row


def _estimate(values: np.ndarray, seed: int) -> list[float]:
    return list(mean_with_interval(values, seed))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--cache", type=Path, default=RESULTS / "cache")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
