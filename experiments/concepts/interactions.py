"""Are sampled positive interactions what every set of parts would give, and do they find the parts that decide?

    python -m experiments.concepts.interactions

On photographs of ImageNet, by square patches. With nine patches every set is asked once; samples of random orders out
of that table show bias and the intervals' coverage. With sixteen, parts are shown in the order of each value until the
class is the network's own again. Writes results/interactions/results.json. Needs the weights `mobilenet-v2` (genmend
fetch); four minutes on one core, and goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.concepts.attributions import prepared
from experiments.images.data import imagenet_photographs
from experiments.intervals import mean_with_interval
from experiments.pages import write_page
from genmend.activations.digests import weights_digest
from genmend.concepts import PositiveInteractions, exact_interactions, load_classifier, patches, sampled_interactions
from genmend.concepts.attributions.interaction_games import MOST_EXACT
from genmend.storage.pieces import Work
from genmend.storage.tables import write_json

RESULTS = Path(__file__).with_name("results") / "interactions"
N_EXACT, N_RESTORED, N_RUNS, N_ORDERS = 8, 16, 200, 4
FEW, MANY = 3, 4  # patches on a side
VALUES = ("API", "Shapley", "alone", "random")


def square_patches(image: Tensor, side: int) -> np.ndarray:
    """Patches of images ``(..., h, w)``, so many on a side."""
    return patches((image.shape[-2], image.shape[-1]), -(-image.shape[-1] // side))


def every_set(model: torch.nn.Module, image: Tensor, target: int, parts: np.ndarray) -> np.ndarray:
    """The logit of every set of n parts, shape ``(2 ** n,)``; bit i says whether part i is shown."""
    groups, n = torch.as_tensor(parts), int(parts.max()) + 1
    sets = torch.as_tensor((np.arange(2**n)[:, None] >> np.arange(n)) & 1).bool()
    with torch.no_grad():
        scores = [model(image * some[:, groups].unsqueeze(1))[:, target] for some in sets.split(8)]
    return torch.cat(scores).numpy()


def sampled_from(table: np.ndarray, seed: int) -> tuple[np.ndarray, ...]:
    """One run of random orders: both values and the half widths of their intervals."""
    n = int(np.log2(len(table)))
    found = sampled_interactions(lambda sets: table[sets @ (1 << np.arange(n))], n, n_orders=N_ORDERS, seed=seed)
    assert found.interval is not None
    assert found.shapley_interval is not None
    return found.importance, found.shapley, found.interval, found.shapley_interval


def against_exact(table: np.ndarray) -> dict[str, float]:
    """How far the mean of many runs is from asking every set, in standard errors, and how often intervals hold it."""
    n = int(np.log2(len(table)))
    exact = exact_interactions(lambda sets: table[sets @ (1 << np.arange(n))], n)
    runs = [sampled_from(table, seed) for seed in range(N_RUNS)]
    row: dict[str, float] = {"n_parts": n}
    for place, name, true in ((0, "API", exact.importance), (1, "Shapley", exact.shapley)):
        values = np.array([run[place] for run in runs])
        held = [np.abs(run[place] - true) <= run[place + 2] for run in runs]
        errors = (values.mean(0) - true) / np.maximum(values.std(0, ddof=1) / np.sqrt(N_RUNS), 1e-12)
        row |= {
            f"{name} z": float(np.abs(errors).max()),
            f"{name} bias": float(np.abs(values.mean(0) - true).mean() / np.abs(true).mean()),
            f"{name} held": float(np.mean(held)),
            f"{name} one run": float(np.mean([np.corrcoef(run, true)[0, 1] for run in values])),
        }
    row["negative"] = float(-exact.negative.sum() / exact.positive.sum())
    return row


def restored(
    model: torch.nn.Module, image: Tensor, target: int, parts: np.ndarray, values: np.ndarray
) -> tuple[int, float]:
    """How many parts, the largest value first, give the class back, and the mean probability on the way."""
    groups = torch.as_tensor(parts)
    order = np.argsort(-values, kind="stable")
    shown = np.zeros((len(order), len(order)), dtype=bool)
    for count in range(len(order)):
        shown[count, order[: count + 1]] = True
    with torch.no_grad():
        scores = model(image * torch.as_tensor(shown)[:, groups].unsqueeze(1))
    right = (scores.argmax(1) == target).numpy()
    return int(right.argmax()) + 1, float(scores.softmax(1)[:, target].mean())


Parts = Callable[[Tensor, int], np.ndarray]


def measured(
    model: torch.nn.Module, inputs: Tensor, parts_of: Parts, n_exact: int, start: int, stop: int
) -> dict[str, np.ndarray]:
    """Of each image: the table of few parts, and how many of many parts each value needs."""
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    rows: dict[str, list[Any]] = {}
    for number in range(start, stop):
        image = inputs[number : number + 1]
        with torch.no_grad():
            target = int(model(image).argmax())
        table = np.full(2**MOST_EXACT, np.nan)  # as long for all, whatever the number of parts
        if number < n_exact:
            asked = every_set(model, image, target, parts_of(image[0], FEW))
            table[: len(asked)] = asked
        parts = parts_of(image[0], MANY)
        found = PositiveInteractions(model, parts, n_orders=N_ORDERS, batch_size=8).interactions(image, target)[0]
        rng = np.random.default_rng(number)
        by = {
            "API": found.importance,
            "Shapley": found.shapley,
            "alone": found.alone,
            "random": rng.random(len(found.alone)),
        }
        rows.setdefault("table", []).append(table)
        rows.setdefault("n parts", []).append(len(found.alone))
        rows.setdefault("negative", []).append(-found.negative.sum() / found.positive.sum())
        for name, values in by.items():
            needed, probability = restored(model, image, target, parts, values)
            rows.setdefault(f"{name} needed", []).append(needed)
            rows.setdefault(f"{name} probability", []).append(probability)
    return {name: np.array(values) for name, values in rows.items()}


def summary(found: Mapping[str, np.ndarray], n_exact: int) -> dict[str, Any]:
    """What pages need of the images."""
    restoring = [
        {
            "value": name,
            "needed": mean_with_interval(found[f"{name} needed"]),
            "API less this": mean_with_interval(found["API needed"] - found[f"{name} needed"]),
            "probability": mean_with_interval(found[f"{name} probability"]),
            "API's probability less": mean_with_interval(found["API probability"] - found[f"{name} probability"]),
        }
        for name in VALUES
    ]
    return {
        "exact": [against_exact(table[np.isfinite(table)]) for table in found["table"][:n_exact]],
        "negative": mean_with_interval(found["negative"]),
        "restoring": restoring,
    }


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    classifier = load_classifier("mobilenet-v2")
    key = weights_digest(classifier.module)
    inputs = prepared(classifier, list(imagenet_photographs()[0][:N_RESTORED]))
    model = classifier.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    found = Work(options.work, progress=True).pieces(
        partial(measured, model, inputs, square_patches, N_EXACT),
        N_RESTORED,
        1,
        inputs=[key, inputs.numpy(), N_EXACT, N_ORDERS, FEW, MANY],
        description="interactions",
    )
    results = {
        "n_exact": N_EXACT,
        "n_restored": N_RESTORED,
        "n_runs": N_RUNS,
        "n_orders": N_ORDERS,
        "n_parts": [FEW**2, MANY**2],
        "evaluations": 1 + N_ORDERS * MANY**2 * (MANY**2 + 1) // 2,
        **summary(found, N_EXACT),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_json(RESULTS / "results.json", results)
    write_page("concepts/interactions")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/interactions"), help="keeps what is done")
    return parser.parse_args()


if __name__ == "__main__":
    main()
