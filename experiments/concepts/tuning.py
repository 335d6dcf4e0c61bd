"""Do tuned settings hold on images that they were not chosen on?

    python -m experiments.concepts.tuning

`genmend explain --tune` on photographs of ImageNet and MobileNetV2: Optuna chooses on half of them, the other half
judges. Writes results/tuning/results.json. Needs Optuna, captum and the weights `mobilenet-v2` (genmend fetch); three
minutes on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.concepts.attributions import PEERS, prepared
from experiments.images.data import imagenet_photographs
from experiments.pages import write_page
from genmend.concepts import load_classifier
from genmend.concepts.loop.measure import Attribute, Case
from genmend.concepts.loop.methods import METHODS
from genmend.concepts.loop.operations import trace_model
from genmend.concepts.loop.tuning import tune
from genmend.storage.tables import write_json

RESULTS = Path(__file__).with_name("results") / "tuning"
CHOSEN = ("distilled-gradient", "smooth-gradient")


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    classifier = load_classifier("mobilenet-v2")
    inputs = prepared(classifier, list(imagenet_photographs()[0][: options.images]))
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    model = classifier.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    facts = trace_model(model, inputs[:1])
    with torch.no_grad():
        classes = model(inputs).argmax(1)

    def case(numbers: np.ndarray, attribute: Attribute) -> Case:
        some: Tensor = inputs[torch.as_tensor(numbers)]
        theirs = classes[torch.as_tensor(numbers)]
        return Case(model, some, theirs, attribute(some, theirs), attribute, 0.0, 0, 8)

    rows: list[dict[str, Any]] = []
    for name in CHOSEN:
        method = METHODS[name]
        defaults = {**method.settings, **PEERS[name]}
        found = tune(
            lambda settings, method=method: method.build(model, facts, **settings),  # type: ignore[misc]
            defaults,
            method.space,
            case,
            len(inputs),
            n_trials=options.trials,
        )
        rows.append({"method": name, "defaults": {key: defaults[key] for key in method.space}, **found.to_dict()})
        RESULTS.mkdir(parents=True, exist_ok=True)
        write_json(RESULTS / "results.json", {"rows": rows})
    write_page("concepts/tuning")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--trials", type=int, default=10)
    return parser.parse_args()


if __name__ == "__main__":
    main()
