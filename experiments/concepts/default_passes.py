"""Is distilled gradient aggregation more faithful than its peers at its default of 31 backward passes, which all have?

    python -m experiments.concepts.default_passes

Twelve photographs of ImageNet at 128 pixels and two classifiers; what is measured is that of
`experiments.concepts.attributions`, where 16 passes are asked on more images. FullGrad is asked with its one pass and
with as many as the others. Writes results/default_passes/results.json. Needs captum and the weights `mobilenet-v2` and
`efficientnet-lite0` (genmend fetch); about a minute of one core for each network, and goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from experiments.concepts.attributions import BLUR, FILLS, N_POINTS, NETWORKS, built, measured, prepared, summary
from experiments.images.data import imagenet_photographs
from experiments.pages import write_page
from genmend.activations.digests import weights_digest
from genmend.concepts import FullGradient, load_classifier
from genmend.concepts.loop.methods import METHODS
from genmend.concepts.loop.operations import ModelFacts
from genmend.storage.pieces import Work
from genmend.storage.tables import write_json

RESULTS = Path(__file__).with_name("results") / "default_passes"
PASSES, SIDE, N_IMAGES = 31, 128, 12
#: Method -> its settings; each takes PASSES backward passes, FullGrad the one that it consists of.
PEERS: dict[str, dict[str, Any]] = {
    "distilled-gradient": {"n_steps": PASSES - 1},
    "integrated-gradients": {"n_steps": PASSES, "internal_batch_size": 8},
    "guided-integrated-gradients": {"n_steps": PASSES},
    "full-gradient": {},
    "random": {},
}
#: FullGrad with as many passes as the others: the mean over noisy inputs, as SmoothGrad takes it of the gradient.
SMOOTHED = "smoothed full-gradient"
FEWER = "distilled-gradient, 16 passes"


def smoothed_full_gradient(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """FullGrad's mean over `PASSES` inputs with normal noise of SmoothGrad's deviation."""
    rng = torch.Generator().manual_seed(0)
    deviation = METHODS["smooth-gradient"].settings["deviation"]
    method, total = FullGradient(model), torch.zeros(len(inputs), 1, *inputs.shape[2:])
    for _ in range(PASSES):
        total += method.attribute(inputs + deviation * torch.randn(inputs.shape, generator=rng), targets)
    return total / PASSES


def all_methods(model: nn.Module, facts: ModelFacts) -> dict[str, Callable[..., Tensor]]:
    """The peers, FullGrad with as many passes, and DGA with half as many."""
    fewer = built({"distilled-gradient": {"n_steps": 15}}, model, facts)["distilled-gradient"]
    return built(PEERS, model, facts) | {SMOOTHED: partial(smoothed_full_gradient, model), FEWER: fewer}


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    images = list(imagenet_photographs()[0][:N_IMAGES])
    networks: dict[str, Any] = {}
    for name in options.networks.split(","):
        classifier = load_classifier(name)
        inputs = interpolate(prepared(classifier, images), (SIDE, SIDE), mode="bilinear", antialias=True)
        settings = [PASSES, N_POINTS, BLUR, FILLS, json.dumps(PEERS, sort_keys=True)]
        found = Work(options.work, progress=True).pieces(
            partial(measured, classifier, inputs, all_methods),
            len(inputs),
            2,
            inputs=[name, weights_digest(classifier.module), inputs.numpy(), *map(str, settings)],
            description=f"{name}, 31 passes",
        )
        photographs = np.arange(len(images))
        networks[name] = {
            "mean_probability": float(found["probability"].mean()),
            "rows": summary(found, photographs, [*PEERS, SMOOTHED, FEWER], "distilled-gradient"),
        }
    sizes = {"n_images": len(images), "side": SIDE, "passes": PASSES, "n_points": N_POINTS}
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_json(RESULTS / "results.json", {**sizes, "networks": networks})
    write_page("concepts/default_passes")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="comma-separated; the results are of these")
    parser.add_argument("--work", type=Path, default=Path("runs/default_passes"), help="keeps what is done")
    return parser.parse_args()


if __name__ == "__main__":
    main()
