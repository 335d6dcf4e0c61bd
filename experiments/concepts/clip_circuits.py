"""Circuits of a CLIP tower: hidden units of its MLPs, on emoji whose kinds are the classes."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.concepts.circuit_falls import fall, parts_of
from experiments.concepts.circuits import index_of, kept_json
from experiments.images.data import emoji
from genmend.activations.recording import record
from genmend.concepts.circuits.ablation import ablation_drop, units_in_common
from genmend.concepts.circuits.block_calls import call_blocks
from genmend.concepts.circuits.blocks import find_blocks
from genmend.concepts.circuits.circuit import CircuitGraph, read_graph
from genmend.concepts.circuits.find_circuits import find_circuits
from genmend.concepts.circuits.on_target import predicted_effects
from genmend.concepts.circuits.unit_index import UnitIndex
from genmend.concepts.circuits.units import unit_means, unit_scores
from genmend.concepts.labelled_classes import fit_classes
from genmend.manifold.features import load_extractor
from genmend.manifold.features.image_extractor import ImageExtractor
from genmend.storage.pieces import Work

MODEL = "clip-vit-b16"
N_KINDS = 40
N_OF_A_KIND = 14  # in the reference; others of the kind are queries
BATCH = 16
N_RANDOM = 16  # units of a block that the significance test compares with
SCREEN = 0.02  # of each block's units, by the gradient of the score


def clip_rows(
    work: Work, n_queries: int, n_draws: int, n_stability: int, n_unscreened: int, seed: int
) -> dict[str, Any]:
    """Falls of the score of the query's kind without each part of its circuits, and without its controls.

    Of the first `n_stability` queries also the stability, and of `n_unscreened` the circuits without screening.
    """
    extractor = load_extractor(MODEL)
    assert isinstance(extractor, ImageExtractor)
    reference, labels, queries, own = split(n_queries, seed)
    facts = {"model": MODEL, "reference": reference.tolist(), "seed": seed}
    blocks = find_blocks(extractor.network, prepared(extractor, emoji().images[:1]))
    values = work.kept("units", facts, partial(unit_values, extractor, blocks, reference))
    scores, right = fit_classes(values["features"], labels)
    model = nn.Sequential(extractor.network, scores).eval()
    blocks = [f"0.{block}" for block in blocks]
    renamed = {name.replace(".", ".0.", 1): rows for name, rows in values.items() if name != "features"}
    index = index_of(blocks, renamed)
    rows = []
    kept = {**facts, "n_random": N_RANDOM, "n_draws": n_draws}
    for query, kind in zip(queries.tolist(), own, strict=True):
        sample = prepared(extractor, emoji().images[query : query + 1])
        row = kept_json(work, f"clip-{query}", kept, partial(query_row, model, index, sample, SCREEN, n_draws))
        rows.append({"name": emoji().kinds[query], "right": row["kind"] == kind, **row})
        print(rows[-1], flush=True)
    some = [prepared(extractor, emoji().images[query : query + 1]) for query in queries.tolist()]
    stable = stability(work, {**facts, "n_random": N_RANDOM}, model, blocks, renamed, some[:n_stability], seed)
    for row, query, sample in zip(rows, queries.tolist(), some[:n_unscreened], strict=False):
        whole = partial(query_row, model, index, sample, 1.0, n_draws)
        row["whole"] = kept_json(work, f"clip-{query}-whole", kept, whole)
        print(row["whole"], flush=True)
    return {
        "model": MODEL,
        "n_blocks": len(blocks),
        "n_units": sum(len(index.means[block]) for block in blocks),
        "n_reference": len(reference),
        "n_classes": N_KINDS,
        "n_random": N_RANDOM,
        "screen": SCREEN,
        "right": right,
        "queries": rows,
        "index_seconds": float(values["seconds"][0]),
        "stability": stable,
    }


def split(n_queries: int, seed: int) -> tuple[np.ndarray, list[int], np.ndarray, list[int]]:
    """Numbers of emoji in the reference, number of the kind of each, and queries of kinds in turn, and theirs."""
    kinds = np.array(emoji().kinds)
    rng = np.random.default_rng(seed)
    chosen = [kind for kind, _ in Counter(kinds.tolist()).most_common(N_KINDS)]
    orders = [rng.permutation(np.flatnonzero(kinds == kind)) for kind in chosen]
    reference = np.concatenate([order[:N_OF_A_KIND] for order in orders])
    asked = rng.permutation(N_KINDS)[:n_queries]
    labels = np.repeat(np.arange(N_KINDS), N_OF_A_KIND).tolist()
    return reference, labels, np.array([orders[kind][N_OF_A_KIND] for kind in asked]), asked.tolist()


def prepared(extractor: ImageExtractor, images: np.ndarray) -> Tensor:
    return extractor.prepare(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)


def unit_values(extractor: ImageExtractor, blocks: list[str], rows: np.ndarray) -> dict[str, np.ndarray]:
    """Scores and means of all units, and features, of the reference; in bfloat16, which ranks images as well."""
    began = time.process_time()
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(rows), BATCH):
        batch = prepared(extractor, emoji().images[rows[start : start + BATCH]])
        with (
            torch.no_grad(),
            torch.autocast("cpu", dtype=torch.bfloat16),
            record(extractor.network, blocks, reduce=lambda made: (unit_scores(made), unit_means(made))) as outputs,
        ):
            features = extractor.network(batch)
        parts.setdefault("features", []).append(features.float().numpy())
        for block in blocks:
            for name, values in zip(("scores", "means"), outputs[block], strict=True):
                parts.setdefault(f"{name}.{block}", []).append(values.float().numpy())
    found = {name: np.concatenate(each) for name, each in parts.items()}
    return found | {"seconds": np.array([time.process_time() - began])}


def query_row(model: nn.Module, index: UnitIndex, sample: Tensor, screen: float, n_draws: int) -> dict[str, Any]:
    """What the score of the best class loses without each part of the query's circuits."""
    with torch.no_grad():
        scores = model(sample)[0]
    target = int(scores.argmax())
    began = time.process_time()
    graph = find_circuits(model, index, sample, target, screen=screen, n_random=N_RANDOM, batch_size=16)
    row: dict[str, Any] = {
        "kind": target,
        "score": float(scores[target]),
        "seconds": time.process_time() - began,
        "n_roots": len(graph.roots),
        "n_edges": len(graph.edges),
    }
    parts = parts_of(graph)
    for name, part in parts.items():
        row[name] = fall(model, index, part, sample, target, n_draws)
    row["class"]["gradient"] = fall_by_gradient(model, index, parts["class"], sample, target)
    return row


def fall_by_gradient(model: nn.Module, index: UnitIndex, part: CircuitGraph, sample: Tensor, target: int) -> float:
    """Without as many units of each block as a part has, those that a gradient predicts the largest falls for."""
    if not part.units:
        return 0.0
    predicted = predicted_effects(
        model, call_blocks(model, index.blocks, sample), sample, target, [None] * len(index.blocks)
    )
    sizes = Counter(block for block, _ in part.units)
    best = {block: predicted[block].topk(size).indices.tolist() for block, size in sizes.items()}
    units = tuple((block, unit) for block, own in best.items() for unit in own)
    return ablation_drop(model, CircuitGraph(part.blocks, units, ()), index, sample, target, n_draws=0).circuit


def stability(
    work: Work,
    facts: dict[str, Any],
    model: nn.Module,
    blocks: list[str],
    values: dict[str, np.ndarray],
    samples: list[Tensor],
    seed: int,
) -> list[dict[str, float]]:
    """Units in common (Jaccard) with the circuits by another seed, by 80 % of the reference, and of another query."""
    n = len(values[f"scores.{blocks[0]}"])
    some = np.sort(np.random.default_rng(seed).choice(n, round(0.8 * n), replace=False))
    whole, part = index_of(blocks, values), index_of(blocks, values, some)
    rows = []
    before: CircuitGraph | None = None
    for number, sample in enumerate(samples):
        graphs = {
            name: read_graph(
                kept_json(work, f"clip-{number} {name}", facts, partial(_graph, model, index, sample, of_seed))
            )
            for name, index, of_seed in (("own", whole, 0), ("seed", whole, 1), ("subsample", part, 0))
        }
        own = graphs.pop("own")
        others = graphs | ({} if before is None else {"other query": before})
        row = {name: units_in_common(own, other) for name, other in others.items()}
        row |= {
            f"{name}, class": units_in_common(own.towards_target(), other.towards_target())
            for name, other in others.items()
        }
        before = own
        rows.append(row)
        print(row, flush=True)
    return rows


def _graph(model: nn.Module, index: UnitIndex, sample: Tensor, seed: int) -> dict[str, Any]:
    with torch.no_grad():
        target = int(model(sample)[0].argmax())
    found = find_circuits(model, index, sample, target, screen=SCREEN, n_random=N_RANDOM, batch_size=16, seed=seed)
    return found.to_dict()
