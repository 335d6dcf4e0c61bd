"""Circuits of real photographs: what falls without them, beside size-matched random units; stability, screening, cost.

    python -m experiments.concepts.circuits

Reference: crops of seven photographs (scikit-image, scikit-learn) and emoji, half each. Queries: twenty photographs of
ImageNet (foolbox) and a closer crop of each, and crops of the seven photographs that are not in the reference. The
weights by `genmend fetch mobilenet-v2 efficientnet-lite0`. What is done is kept in --cache. Writes
results/circuits/results.json and docs/results/concepts-circuits.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.concepts.circuit_falls import fall, parts_of
from experiments.concepts.circuit_screening import screening
from experiments.images.data import crops, emoji, imagenet_photographs, photographs
from experiments.pages import write_page
from genmend.activations.recording import record
from genmend.concepts.circuits.ablation import units_in_common
from genmend.concepts.circuits.blocks import find_blocks
from genmend.concepts.circuits.circuit import CircuitGraph
from genmend.concepts.circuits.find_circuits import find_circuits
from genmend.concepts.circuits.unit_index import UnitIndex, index_of_batches
from genmend.concepts.circuits.units import unit_means, unit_scores
from genmend.concepts.classifiers import Classifier, load_classifier
from genmend.storage.pieces import Work
from genmend.storage.tables import write_json

RESULTS = Path(__file__).with_name("results") / "circuits"
MODELS = ("mobilenet-v2", "efficientnet-lite0")
SIDE = 192  # pixels of a crop of a photograph
BATCH = 32
N_DRAWS = 3  # of each control of a query
N_STABILITY = 8  # queries
N_SUBSAMPLES = 2
N_SCREENED = 6  # queries
N_LARGE = 10_000  # samples of the index whose time is taken


@dataclass(frozen=True)
class Query:
    """A picture (h, w, 3) uint8, and the number of the photograph that it comes from."""

    name: str
    photograph: int
    pixels: np.ndarray


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    rows = [study(model, options, whole=model == options.models[0]) for model in options.models]
    results = {
        "seed": options.seed,
        "n_reference": options.n_reference,
        "n_queries": len(queries(options.n_crops, options.seed)),
        "n_draws": N_DRAWS,
        "n_large": N_LARGE,
        "models": rows,
    }
    write_json(options.out / "results.json", results)
    write_page("concepts/circuits")


def study(name: str, options: argparse.Namespace, *, whole: bool) -> dict[str, Any]:
    """All that is measured of one model; stability and screening where `whole`."""
    classifier, work = load_classifier(name), Work(options.cache, progress=True)
    facts = {"model": name, "n": options.n_reference, "seed": options.seed}
    blocks = find_blocks(classifier.module, prepared(classifier, np.zeros((8, 8, 3), dtype=np.uint8)))
    values = unit_values(classifier, blocks, options.n_reference, options.seed, work, facts)
    index = index_of(blocks, values)
    found: list[dict[str, Any]] = []
    asked = queries(options.n_crops, options.seed)
    for number, query in enumerate(asked):
        sample = prepared(classifier, query.pixels)
        row = kept_json(work, f"query-{query.name}", facts, partial(drops, classifier, index, sample))
        found.append({"name": query.name, "photograph": query.photograph, **row})
        print(f"{name}: {number + 1} of {len(asked)} queries", flush=True)
    some = [prepared(classifier, query.pixels) for query in asked[: 2 * N_STABILITY : 2]]
    results = {
        "model": name,
        "blocks": blocks,
        "n_units": sum(len(index.means[block]) for block in blocks),
        "n_top": index.high,
        "queries": found,
        "index_seconds": kept_json(work, "index-seconds", facts, lambda: index_seconds(classifier, blocks, some[0])),
    }
    if whole:
        results["stability"] = kept_json(
            work, "stability", facts, lambda: stability(classifier, blocks, index, values, some)
        )
        results["screening"] = kept_json(
            work, "screening by gradient", facts, lambda: screening(classifier, index, some[:N_SCREENED], options.seed)
        )
    return results


def queries(n_crops: int, seed: int) -> list[Query]:
    """The photographs, a closer crop of each, and crops of other photographs; the photographs in turn."""
    found = []
    images, _ = imagenet_photographs()
    for number, pixels in enumerate(images):
        height, width = (length // 5 for length in pixels.shape[:2])
        found.append(Query(f"photograph-{number}", number, pixels))
        found.append(Query(f"closer-{number}", number, pixels[height:-height, width:-width]))
    others = crops(photographs(), n_crops, seed + 1, SIDE)
    n_photographs = len(photographs())
    return found + [Query(f"crop-{n}", len(images) + n % n_photographs, others[n]) for n in range(n_crops)]


def prepared(classifier: Classifier, pixels: np.ndarray) -> Tensor:
    return classifier.prepare(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255)


def reference(n: int, seed: int) -> Callable[[int], np.ndarray]:
    """Picture by number: crops of photographs and emoji in turn."""
    drawings = emoji().images
    chosen = np.random.default_rng(seed).choice(len(drawings), n // 2, replace=False)
    pictures = crops(photographs(), n - n // 2, seed, SIDE)
    return lambda number: pictures[number // 2] if number % 2 == 0 else drawings[chosen[number // 2]]


def unit_values(
    classifier: Classifier, blocks: list[str], n: int, seed: int, work: Work, facts: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Scores ``scores.BLOCK`` and means ``means.BLOCK`` of all units for all reference images, ``(n, units)``."""
    picture = reference(n, seed)

    def compute() -> dict[str, np.ndarray]:
        rows: dict[str, list[np.ndarray]] = {}
        for start in range(0, n, BATCH):
            batch = torch.cat([prepared(classifier, picture(i)) for i in range(start, min(start + BATCH, n))])
            for name, values in _values(classifier.module, blocks, batch).items():
                rows.setdefault(name, []).append(values)
        return {name: np.concatenate(parts) for name, parts in rows.items()}

    return work.kept("units", facts, compute)


def _values(model: nn.Module, blocks: list[str], batch: Tensor) -> dict[str, np.ndarray]:
    with torch.no_grad(), record(model, blocks, reduce=lambda maps: (unit_scores(maps), unit_means(maps))) as outputs:
        model(batch)
    return {
        f"{name}.{block}": part.numpy()
        for block in blocks
        for name, part in zip(("scores", "means"), outputs[block], strict=True)
    }


def index_of(blocks: list[str], values: dict[str, np.ndarray], chosen: np.ndarray | None = None) -> UnitIndex:
    """The index of all reference images, or of some."""
    rows = np.arange(len(values[f"scores.{blocks[0]}"])) if chosen is None else chosen
    batches = (
        {block: (values[f"scores.{block}"][some], values[f"means.{block}"][some]) for block in blocks}
        for some in np.array_split(rows, max(1, len(rows) // BATCH))
    )
    return index_of_batches(blocks, batches, len(rows))


def drops(classifier: Classifier, index: UnitIndex, sample: Tensor) -> dict[str, Any]:
    """Falls of the best class's score without each kind of circuit, and without its controls."""
    with torch.no_grad():
        scores = classifier.module(sample)[0]
    target = int(scores.argmax())
    row: dict[str, Any] = {"class": classifier.class_name(target), "score": float(scores[target])}
    for chosen in ("random", "peaks"):
        began = time.process_time()
        graph = find_circuits(classifier.module, index, sample, target, chosen=chosen)
        row[f"seconds {chosen}"] = time.process_time() - began
        of_part = partial(fall, classifier.module, index, sample=sample, target=target, n_draws=N_DRAWS)
        parts = parts_of(graph)
        for part in ("all", "class"):
            row[f"{chosen} {part} zero"] = of_part(parts[part])
        if chosen == "random":
            row["random class mean"] = of_part(parts["class"], patch="mean")
            row["random earlier zero"] = of_part(parts["earlier"])
    return row


def stability(
    classifier: Classifier, blocks: list[str], index: UnitIndex, values: dict[str, np.ndarray], samples: list[Tensor]
) -> list[dict[str, Any]]:
    """Units in common (Jaccard) with the circuits by another seed, by 80 % of the reference, and of another query."""
    rng = np.random.default_rng(0)
    n = index.n_samples
    parts = [
        index_of(blocks, values, np.sort(rng.choice(n, round(0.8 * n), replace=False))) for _ in range(N_SUBSAMPLES)
    ]
    rows = []
    before: CircuitGraph | None = None
    for sample in samples:
        with torch.no_grad():
            target = int(classifier.module(sample)[0].argmax())
        whole = find_circuits(classifier.module, index, sample, target)
        others = {"seed": [find_circuits(classifier.module, index, sample, target, seed=1)]}
        others["subsample"] = [find_circuits(classifier.module, part, sample, target) for part in parts]
        others["other query"] = [] if before is None else [before]
        before = whole
        row: dict[str, Any] = {}
        for name, graphs in others.items():
            row[name] = [units_in_common(whole, graph) for graph in graphs]
            row[f"{name}, class"] = [
                units_in_common(whole.towards_target(), graph.towards_target()) for graph in graphs
            ]
        rows.append(row)
    return rows


def index_seconds(classifier: Classifier, blocks: list[str], sample: Tensor) -> dict[str, float]:
    """Processor seconds for `N_LARGE` samples apart from the forward passes: scores of a batch, and the merging."""
    batch = sample.expand(BATCH, *sample.shape[1:])
    with torch.no_grad(), record(classifier.module, blocks) as outputs:
        began = time.process_time()
        classifier.module(batch)
        forward = time.process_time() - began
    began = time.process_time()
    shapes = {}
    for block in blocks:
        shapes[block] = unit_scores(outputs[block]).shape[1]
        unit_means(outputs[block])
    scoring = time.process_time() - began
    rng = np.random.default_rng(0)
    made = {block: rng.random((BATCH, width), dtype=np.float32) for block, width in shapes.items()}
    n = N_LARGE // BATCH * BATCH
    # Other orders of the same numbers: random numbers are not what is to be timed.
    began = time.process_time()
    index_of_batches(
        blocks, ({b: (rows[rng.permutation(BATCH)],) * 2 for b, rows in made.items()} for _ in range(n // BATCH)), n
    )
    merging = time.process_time() - began
    return {"forward": forward * n / BATCH, "scoring": scoring * n / BATCH, "merging": merging}


def kept_json(work: Work, name: str, facts: dict[str, Any], compute: Callable[[], Any]) -> Any:
    """What an earlier run has left, or what `compute` returns."""
    return work.entries([facts, name], ["value"], lambda keys: [compute()])["value"]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--cache", type=Path, default=RESULTS / "cache")
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--n-reference", type=int, default=1000)
    parser.add_argument("--n-crops", type=int, default=14)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
