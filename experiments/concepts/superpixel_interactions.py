"""Are superpixels better parts for positive interactions than square patches, and does either classifier differ?

    python -m experiments.concepts.superpixel_interactions

Photographs of ImageNet at 128 pixels and two classifiers; what is measured is that of
`experiments.concepts.interactions`, by square patches and by superpixels (SLIC of scikit-image) of the same
photographs. Writes results/superpixel_interactions/results.json. Needs the weights `mobilenet-v2` and
`efficientnet-lite0` (genmend fetch); about two minutes of one core for each network, and goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from experiments.concepts.attributions import NETWORKS, prepared
from experiments.concepts.interactions import FEW, MANY, N_ORDERS, N_RUNS, measured, square_patches, summary
from experiments.images.data import imagenet_photographs
from experiments.intervals import mean_with_interval
from experiments.pages import write_page
from genmend.activations.digests import weights_digest
from genmend.concepts import load_classifier, superpixels
from genmend.storage.pieces import Work
from genmend.storage.tables import write_json

RESULTS = Path(__file__).with_name("results") / "superpixel_interactions"
SIDE, N_EXACT, N_RESTORED = 128, 3, 6
#: Patches on a side -> superpixels that are aimed at; every set of at most 12 is asked.
AIMED = {FEW: 8, MANY: 16}


def segments(image: Tensor, side: int) -> np.ndarray:
    """About as many superpixels of one image as there are patches with so many on a side."""
    return superpixels(image, AIMED[side])


KINDS = {"patches": square_patches, "superpixels": segments}


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    networks: dict[str, Any] = {}
    for name in options.networks.split(","):
        classifier = load_classifier(name)
        inputs = prepared(classifier, list(imagenet_photographs()[0][:N_RESTORED]))
        inputs = interpolate(inputs, (SIDE, SIDE), mode="bilinear", antialias=True)
        model = classifier.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        networks[name] = {}
        shares: dict[str, np.ndarray] = {}
        for kind, parts_of in KINDS.items():
            found = Work(options.work, progress=True).pieces(
                partial(measured, model, inputs, parts_of, N_EXACT),
                N_RESTORED,
                1,
                inputs=[weights_digest(classifier.module), inputs.numpy(), kind, N_EXACT, N_ORDERS, str(AIMED)],
                description=f"{name}, {kind}",
            )
            sizes = found["n parts"]
            shares[kind] = found["API needed"] / sizes
            networks[name][kind] = {
                "n_parts": [int(sizes.min()), int(sizes.max())],
                "share": mean_with_interval(shares[kind]),
                "share less patches'": mean_with_interval(shares[kind] - shares["patches"]),
                **summary(found, N_EXACT),
            }
    sizes_of = {"side": SIDE, "n_exact": N_EXACT, "n_restored": N_RESTORED, "n_runs": N_RUNS, "n_orders": N_ORDERS}
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_json(RESULTS / "results.json", {**sizes_of, "networks": networks})
    write_page("concepts/superpixel_interactions")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="comma-separated; the results are of these")
    parser.add_argument("--work", type=Path, default=Path("runs/superpixel_interactions"), help="keeps what is done")
    return parser.parse_args()


if __name__ == "__main__":
    main()
