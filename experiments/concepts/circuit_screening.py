"""Attribution patching: does a gradient tell which effects an exact test would find, and does it save time?

The effect of unit i on unit j is predicted by the gradient of j's mean by i's activation, times what the replacement
takes from it (Nanda, "Attribution patching", 2023): one backward pass of the block for each j. The exact test takes one
forward pass of the block for each i.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmend.concepts.circuits.block_calls import BlockCall, call_blocks
from genmend.concepts.circuits.find_circuits import find_circuits
from genmend.concepts.circuits.patching import unit_effects
from genmend.concepts.circuits.thresholds import beyond_random_units
from genmend.concepts.circuits.unit_index import UnitIndex
from genmend.concepts.classifiers import Classifier

SHARES = (0.05, 0.1, 0.2, 0.5)
BATCH = 32
N_RANDOM = 64


def screening(classifier: Classifier, index: UnitIndex, samples: list[Tensor], seed: int) -> dict[str, Any]:
    """Over samples and blocks: recall of the exact significant effects in the top share, and processor seconds."""
    rng = np.random.default_rng(seed)
    hits = dict.fromkeys(SHARES, 0)
    chance = dict.fromkeys(SHARES, 0)
    n_pairs = n_significant = n_sources = n_candidates = 0
    seconds = {"exact": 0.0, "gradient": 0.0}
    correlations = []
    for sample in samples:
        graph = find_circuits(classifier.module, index, sample)
        calls = call_blocks(classifier.module, index.blocks, sample)
        for number in range(len(calls) - 1):
            sources = [unit for block, unit in graph.units if block == number]
            scores = calls[number + 1].scores.numpy()
            candidates = np.flatnonzero(index.in_top(index.blocks[number + 1], scores, high=False))
            if not sources or not len(candidates):
                continue
            width = calls[number].n_units
            others = rng.choice(width, min(N_RANDOM, width), replace=False)
            began = time.process_time()
            exact = unit_effects(calls[number], calls[number + 1], [*sources, *others.tolist()]).double().numpy()
            seconds["exact"] += time.process_time() - began
            began = time.process_time()
            predicted = gradient_effects(calls[number], calls[number + 1], candidates)[sources]
            seconds["gradient"] += time.process_time() - began
            own, null = exact[: len(sources), candidates], exact[len(sources) :, candidates]
            significant = beyond_random_units(own, null)
            spread = np.maximum(np.median(np.abs(null - np.median(null, axis=0)), axis=0), 1e-12)
            order = np.argsort(-(np.abs(predicted) / spread).ravel())
            drawn = rng.permutation(order)
            n_pairs += significant.size
            n_significant += int(significant.sum())
            n_sources += len(sources) + len(others)
            n_candidates += len(candidates)
            for share in SHARES:
                most = max(1, round(share * len(order)))
                hits[share] += int(significant.ravel()[order[:most]].sum())
                chance[share] += int(significant.ravel()[drawn[:most]].sum())
            if own.size > 2 and own.std() > 0 and predicted.std() > 0:
                correlations.append(float(np.corrcoef(own.ravel(), predicted.ravel())[0, 1]))
    return {
        "shares": list(SHARES),
        "recall": [hits[share] / max(n_significant, 1) for share in SHARES],
        "recall_random": [chance[share] / max(n_significant, 1) for share in SHARES],
        "correlation": float(np.median(correlations)),
        "n_pairs": n_pairs,
        "n_significant": n_significant,
        "n_exact_runs": n_sources,
        "n_gradient_runs": n_candidates,
        "seconds": seconds,
        "n_queries": len(samples),
    }


def gradient_effects(source: BlockCall, target: BlockCall, candidates: np.ndarray) -> np.ndarray:
    """Predicted falls of some units of the next block without each unit of this one, ``(units, candidates)``."""
    output = source.output
    places = [place for place in range(1, output.ndim) if place != source.axis]
    found = []
    for some in torch.as_tensor(candidates).split(BATCH):
        given = output.repeat(len(some), *[1] * (output.ndim - 1)).requires_grad_()
        with torch.enable_grad():
            means = target.means(target(given))[torch.arange(len(some)), some]
            (gradient,) = torch.autograd.grad(means.sum(), given)
        effects = gradient * output
        found.append(effects.sum(places) if places else effects)
    predicted: np.ndarray = torch.cat(found).T.double().numpy()
    return predicted
