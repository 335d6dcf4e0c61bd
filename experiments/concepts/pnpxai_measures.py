"""What does pnpxai 0.1.3 compute where it measures the same explanations by the same names?

    python -m experiments.concepts.pnpxai_measures

MoRF, LeRF, AbPC, MuFidelity, Sensitivity and Complexity of pnpxai beside ours, of the same maps of seven photographs by
the same MobileNetV2, and ours once more with what pnpxai does otherwise. Writes results/pnpxai_measures/results.json.
Needs the weights `mobilenet-v2` (genmend fetch) and pnpxai, which asks for much that genmend does not need: give it an
environment of its own. Two minutes on one core.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import entropy
from torch import Tensor

from experiments.concepts.attributions import prepared
from experiments.images.data import photographs
from experiments.pages import write_page
from genmend.concepts import load_classifier
from genmend.concepts.loop import mu_fidelity, pixel_flipping, robustness
from genmend.concepts.loop.measure import Case, pooled
from genmend.concepts.loop.methods import METHODS
from genmend.concepts.loop.operations import trace_model
from genmend.storage.tables import write_json

RESULTS = Path(__file__).with_name("results") / "pnpxai_measures"
N_DRAWS = 50
TENTHS = [step / 10 for step in range(9)] + [1.0]
CHOSEN = ("input-x-gradient", "grad-cam")


def theirs(
    model: Any, inputs: Tensor, targets: Tensor, raw: Tensor, attribute: Callable[..., Tensor]
) -> dict[str, Any]:
    """The measures of pnpxai; of attributions as its metrics are called with, by image."""
    from pnpxai.evaluator.metrics import AbPC, Complexity, LeRF, MoRF, MuFidelity, Sensitivity

    one = pooled(raw)
    torch.manual_seed(0)
    shown = raw if raw.shape[1] == 3 else raw[:, 0]
    scaled = (one - one.amin((1, 2), keepdim=True)) / (one.amax((1, 2)) - one.amin((1, 2))).reshape(-1, 1, 1)
    return {
        "MoRF": MoRF(model).evaluate(inputs, targets, one),
        "LeRF": LeRF(model).evaluate(inputs, targets, one),
        "AbPC": AbPC(model).evaluate(inputs, targets, one),
        "MuFidelity": MuFidelity(model, n_perturb=N_DRAWS).evaluate(inputs, targets, one.unsqueeze(1)),
        "Sensitivity": Sensitivity(model, attribute).evaluate(inputs, targets, raw),
        # As its experiments call it: the map as shown against maps as computed.
        "Sensitivity in an experiment": Sensitivity(model, lambda x, t: pooled(attribute(x, t))).evaluate(
            inputs, targets, scaled
        ),
        "Complexity": Complexity(model).evaluate(inputs, targets, shown),
    }


def ours(case: Case) -> dict[str, Tensor]:
    morf, lerf, between = (each.evaluate(case) for each in pixel_flipping.measures())
    sensitivity = robustness.sensitivity(8).evaluate(case)
    return {
        "MoRF": morf,
        "LeRF": lerf,
        "AbPC": between,
        "MuFidelity": mu_fidelity.measure(N_DRAWS).evaluate(case),
        "Sensitivity": sensitivity,
        "Sensitivity in an experiment": sensitivity,
        "Complexity": robustness.complexity().evaluate(case),
    }


def as_theirs(case: Case) -> dict[str, Tensor]:
    """Ours with what pnpxai does otherwise, where that is no more than a setting or a line."""
    curves = [pixel_flipping.flipping_curves(case, most_first=first, shares=TENTHS) for first in (True, False)]
    grey = torch.tensor([0.2989, 0.587, 0.114]) if case.attributions.shape[1] == 3 else torch.ones(1)
    values = (case.attributions * grey.reshape(1, -1, 1, 1)).sum(1).numpy()
    bins = [entropy(np.histogram(each, bins=10)[0]) for each in values]
    return {
        "MoRF": curves[0].mean(1),
        "LeRF": curves[1].mean(1),
        "AbPC": (curves[1] - curves[0]).mean(1),
        "Complexity": torch.tensor(bins),
    }


def main() -> None:
    torch.set_num_threads(1)
    classifier = load_classifier("mobilenet-v2")
    model, images = classifier.module, photographs()
    inputs = prepared(classifier, list(images))
    facts = trace_model(model, inputs[:1])
    with torch.no_grad():
        targets = model(inputs).argmax(1)
    rows = []
    for name in CHOSEN:
        attribute = METHODS[name].build(model, facts, **METHODS[name].settings)
        raw = attribute(inputs, targets)
        case = Case(model, inputs, targets, raw, attribute, 0.0, 0, 8)
        found = theirs(model, inputs, targets, raw, attribute)
        own, again = ours(case), as_theirs(case)
        for measure, values in found.items():
            one, other = (np.asarray(each.detach(), dtype=float) for each in (values, own[measure]))
            row: dict[str, Any] = {"method": name, "measure": measure, "theirs": one.tolist(), "ours": other.tolist()}
            if measure in again:
                row["largest_difference_as_theirs"] = float(np.abs(one - again[measure].double().numpy()).max())
            rows.append(row)
    # What a constant and a spread map are told to be.
    spread = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0))
    point = torch.zeros(1, 64, 64)
    point[0, 32, 32] = 1.0
    extremes = []
    for name, values in (("one pixel", point), ("constant", torch.ones(1, 64, 64)), ("uniform noise", spread)):
        case = Case(model, values.unsqueeze(1), targets[:1], values.unsqueeze(1), lambda x, t: x)
        extremes.append(
            {
                "map": name,
                "theirs": float(entropy(np.histogram(values[0].numpy(), bins=10)[0])) / math.log(10),
                "ours": float(robustness.complexity().evaluate(case)),
            }
        )
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_json(RESULTS / "results.json", {"n": len(images), "n_draws": N_DRAWS, "rows": rows, "extremes": extremes})
    write_page("concepts/pnpxai_measures")


if __name__ == "__main__":
    main()
