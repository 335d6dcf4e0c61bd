"""Circuits of a convolutional classifier among the units that a gradient of the class's score points at."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from experiments.concepts.circuits import index_of, kept_json, prepared, queries, unit_values
from experiments.concepts.clip_circuits import query_row
from genmend.concepts.circuits.blocks import find_blocks
from genmend.concepts.classifiers import load_classifier
from genmend.storage.pieces import Work

MODEL = "mobilenet-v2"
SCREENS = (1.0, 0.05)
N_REFERENCE = 400


def photograph_rows(work: Work, n_queries: int, n_draws: int, seed: int) -> dict[str, Any]:
    """For each share of units, falls without each part of the circuits of photographs of ImageNet."""
    classifier = load_classifier(MODEL)
    blocks = find_blocks(classifier.module, prepared(classifier, np.zeros((8, 8, 3), dtype=np.uint8)))
    facts = {"model": MODEL, "n": N_REFERENCE, "seed": seed, "n_draws": n_draws}
    index = index_of(blocks, unit_values(classifier, blocks, N_REFERENCE, seed, work, facts))
    samples = [prepared(classifier, query.pixels) for query in queries(1, seed)[: 2 * n_queries : 2]]
    rows: dict[str, list[dict[str, Any]]] = {str(screen): [] for screen in SCREENS}
    for number, sample in enumerate(samples):
        for screen in SCREENS:
            row = partial(query_row, classifier.module, index, sample, screen, n_draws)
            rows[str(screen)].append(kept_json(work, f"photograph-{number}-{screen}", facts, row))
        print(MODEL, number, flush=True)
    return {"model": MODEL, "n_reference": N_REFERENCE, "queries": rows}
