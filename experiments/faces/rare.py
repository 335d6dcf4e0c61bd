"""Rare samples of the face generator against plain sampling, truncation and best-of-n.

    python -m experiments.faces.rare

The searched space is EfficientNet-Lite0's, whose manifold, density and artifact gate steer the search. MobileNetV2 has
no part in it: its manifold of own normal samples, and a judge trained on the labelled faces, measure every method once
more. "Normal" is relative to the generator's own samples, not to photographs.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr
from torch import Tensor

from experiments.faces.correction import Judge, fit_judge
from experiments.faces.feature_cache import CachedExtractor
from experiments.faces.labelled import load_labelled_faces
from experiments.faces.rare_tables import SEARCHED, UNSEEN, tables, write_grid
from experiments.intervals import bootstrap
from experiments.pages import write_page
from genmend.gans import Generator
from genmend.gans.detection.detect import fit_detector
from genmend.gans.families.pretrained import load_faces
from genmend.gans.latent_prior import latent_prior
from genmend.gans.rare import RareSamples, RareSpace
from genmend.gans.rare.find import fit_space, search_references
from genmend.gans.settings import DetectorSettings, RareSearch, RareSettings
from genmend.manifold import Manifold, frechet_distance
from genmend.manifold.metrics.evaluation_sweep import rarity_percentile
from genmend.storage.pieces import Work

RESULTS = Path(__file__).with_name("results") / "rare"
WORK = RESULTS / "cache"
PLAIN_SEED, TRUNCATION_SEED, REFERENCE_SEED, LOCAL_SEED = 3_000_003, 3_100_003, 3_200_003, 3_300_003
LOCAL_NOISE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
N_PLAIN, N_TRUNCATED, N_MIN_FRECHET = 600, 300, 300


@dataclass(frozen=True)
class Row:
    """Samples of one method; `groups` are drawn together by the bootstrap (versions of one reference)."""

    method: str
    latents: Tensor
    groups: np.ndarray
    n_asked: int


@dataclass(frozen=True)
class Spaces:
    generator: Generator
    searched: RareSpace
    unseen: Manifold
    judge: Judge
    extractors: dict[str, CachedExtractor]

    def features(self, name: str, latents: Tensor) -> np.ndarray:
        return self.extractors[name](self.generator.generate(latents)).numpy()


def main() -> None:
    options = _options()
    generator = load_faces()
    settings = RareSettings(
        DetectorSettings(n_reference=options.n_reference),
        search=RareSearch(n_versions=options.n_versions, n_steps=options.n_steps),
    )
    space = fit_space(generator, settings, Work(WORK, progress=True))
    extractors = {name: CachedExtractor(name, WORK) for name in (SEARCHED, UNSEEN)}
    references = generator.latents(options.n_references, REFERENCE_SEED)
    samples = search_references(generator, references, space, settings, Work(WORK, progress=True))
    spaces = _spaces(generator, space, extractors, settings.detector, options.n_unseen)
    rows = [*_sample_rows(spaces, options), *_local(spaces, references, options), _ours(samples)]
    measured = [_figures(spaces, row) for row in rows]
    for extractor in extractors.values():
        extractor.save()
    own = space.measure_features(space.manifold.reference_)
    known = ~np.isnan(space.own_rarity)
    results = {
        "settings": vars(options),
        "seeds": {
            "plain": PLAIN_SEED,
            "truncation": TRUNCATION_SEED,
            "references": REFERENCE_SEED,
            "local": LOCAL_SEED,
        },
        "pearson_minus_log_prob_rarity": float(pearsonr(-own.log_prob[known], space.own_rarity[known])[0]),
        "n_own_normal": {SEARCHED: len(space.manifold.reference_), UNSEEN: len(spaces.unseen.reference_)},
        "references": _figures(spaces, Row("references", references, np.arange(len(references)), len(references))),
        "rows": measured,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "tables.txt").write_text(tables(results))
    write_grid(RESULTS / "grid.png", generator, samples)
    write_page("faces/rare")
    print((RESULTS / "tables.txt").read_text())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-reference", type=int, default=6_000, help="own samples of the detector")
    parser.add_argument("--n-unseen", type=int, default=2_000, help="own normal samples of the MobileNetV2 manifold")
    parser.add_argument("--n-references", type=int, default=16)
    parser.add_argument("--n-versions", type=int, default=4)
    parser.add_argument("--n-steps", type=int, default=40)
    parser.add_argument("--n-best-of", type=int, default=2_000, help="plain samples that best-of-n chooses from")
    parser.add_argument("--n-local", type=int, default=160, help="noisy versions of each reference to choose from")
    return parser.parse_args()


def _spaces(
    generator: Generator,
    space: RareSpace,
    extractors: dict[str, CachedExtractor],
    settings: DetectorSettings,
    n_unseen: int,
) -> Spaces:
    faces = load_labelled_faces()
    face_features = extractors[UNSEEN](generator.generate(faces.latents)).numpy()
    own = generator.latents(settings.n_reference, settings.seed + 1)  # those that the detector was fitted on
    # Which of them are normal does not depend on the features: their activations say.
    detector = fit_detector(generator, settings, Work(WORK))
    normal = own[np.flatnonzero(detector.own_normal_)[:n_unseen].copy()]
    unseen = Manifold(k=space.manifold.k).fit(extractors[UNSEEN](generator.generate(normal)).numpy())
    judge = fit_judge(face_features, faces.share, faces.normal)
    return Spaces(generator, space, unseen, judge, extractors)


def _sample_rows(spaces: Spaces, options: argparse.Namespace) -> list[Row]:
    """Plain sampling, truncation above 1, and the rarest of many plain samples that keep the constraints."""
    plain = spaces.generator.latents(options.n_best_of, PLAIN_SEED)
    wide = spaces.generator.latents(N_TRUNCATED, TRUNCATION_SEED)
    rows = [_independent("plain", plain[:N_PLAIN])]
    rows += [_independent(f"truncation {psi}", psi * wide) for psi in (1.3, 1.6)]
    n = options.n_references * options.n_versions
    found = spaces.searched.measure_features(spaces.features(SEARCHED, plain))
    for name, limit in (("best of n", np.inf), ("best of n, gated", spaces.searched.max_artifact_score)):
        kept = found.inside & (found.artifact_score <= limit)
        rows.append(_independent(name, plain[_highest(found.rarity_percentile, kept, n)], n))
    return rows


def _independent(method: str, latents: Tensor, n_asked: int | None = None) -> Row:
    return Row(method, latents, np.arange(len(latents)), len(latents) if n_asked is None else n_asked)


def _highest(values: np.ndarray, kept: np.ndarray, n: int) -> np.ndarray:
    rows = np.flatnonzero(kept)
    return rows[np.argsort(-values[rows], kind="stable")[:n]].copy()


def _local(spaces: Spaces, references: Tensor, options: argparse.Namespace) -> list[Row]:
    """Noise round each reference under the constraints of ours, the best kept by rarity or by log-density."""
    noise = spaces.generator.latents(len(references) * options.n_local, LOCAL_SEED).unflatten(0, (len(references), -1))
    scale = torch.tensor(LOCAL_NOISE).repeat(options.n_local)[: options.n_local]
    scale = scale.view(-1, *[1] * (references.ndim - 1))
    anchors = spaces.features(SEARCHED, references)
    limits = spaces.searched.neighbour_distance(anchors, RareSearch().k_reference)
    chosen: dict[str, list[Tensor]] = {"local best of n, by rarity": [], "local best of n, by density": []}
    prior, own = latent_prior(spaces.generator), spaces.searched.measure_features(anchors)
    each = zip(references, noise, anchors, limits, own.rarity, own.log_prob, strict=True)
    for reference, own_noise, anchor, limit, rarity, log_prob in each:
        # Mixed so that the latent stays as likely as before under the prior.
        tried = (1 - scale.square()).sqrt() * reference + scale * own_noise
        found = spaces.searched.measure_features(spaces.features(SEARCHED, tried))
        near = np.linalg.norm(found.features.astype(float) - anchor, axis=1) <= limit
        gated = found.artifact_score <= spaces.searched.max_artifact_score
        plausible = (prior.norms(tried) <= prior.norm_at(0.99)).numpy()
        rarer = found.rarer_than(*(np.repeat(values, len(tried)) for values in (rarity, log_prob)))
        kept = near & gated & found.inside & plausible & rarer
        for method, values in zip(chosen, (found.rarity_percentile, -found.log_prob), strict=True):
            chosen[method].append(tried[_highest(values, kept, options.n_versions)])
    n_asked = len(references) * options.n_versions
    return [
        Row(method, torch.cat(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts]), n_asked)
        for method, parts in chosen.items()
    ]


def _ours(samples: RareSamples) -> Row:
    rows = np.flatnonzero(samples.found)
    return Row("ours", torch.from_numpy(samples.latents[rows]), rows // samples.n_versions, len(samples.found))


def _figures(spaces: Spaces, row: Row) -> dict[str, Any]:
    searched = spaces.features(SEARCHED, row.latents)
    unseen = spaces.features(UNSEEN, row.latents)
    percentiles = {
        SEARCHED: spaces.searched.measure_features(searched).rarity_percentile,
        UNSEEN: rarity_percentile(spaces.unseen.rarity(unseen), spaces.unseen.rarity(leave_one_out=True)),
    }
    figures: dict[str, Any] = {"method": row.method, "n_asked": row.n_asked, "n_found": len(row.latents)}
    for name, percentile in percentiles.items():
        inside = ~np.isnan(percentile)
        figures[f"rarity_{name}"] = _interval(percentile[inside], row.groups[inside])
        figures[f"rarity_outside_0_{name}"] = float(np.nan_to_num(percentile).sum() / row.n_asked)
        figures[f"inside_{name}"] = _interval(inside.astype(float), row.groups)
    figures["artifact"] = _interval(spaces.judge.flags(unseen).astype(float), row.groups)
    figures["pairwise"] = float(pdist(unseen).mean()) if len(unseen) > 1 else None
    figures["frechet"] = None
    if len(unseen) >= N_MIN_FRECHET:  # of as many samples in every row, or the numbers would not compare
        reference = np.asarray(spaces.unseen.reference_)
        figures["frechet"] = float(frechet_distance(reference, unseen[:N_MIN_FRECHET]))
    return figures


def _interval(values: np.ndarray, groups: np.ndarray) -> list[float] | None:
    """Mean and its 95 % bootstrap interval; whole groups are drawn."""
    if not len(values):
        return None
    _, group = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(group, values), np.bincount(group)
    _, low, high = bootstrap(lambda rows: sums[rows].sum() / counts[rows].sum(), len(counts))
    return [float(values.mean()), low, high]


if __name__ == "__main__":
    main()
