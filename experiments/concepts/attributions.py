"""Is distilled gradient aggregation more faithful than its peers, at as many backward passes, on real classifiers?

    python -m experiments.concepts.attributions

Photographs of scikit-image and scikit-learn with two crops of each, and twenty photographs of ImageNet. Pixels are
removed in the order of each method's map, the largest first (MoRF) and the smallest first (LeRF), and filled with the
mean colour or with the blurred image. Variants of DGA are chosen on the former and judged on the latter. Writes
results/attributions/results.json. Needs captum and the weights `mobilenet-v2` and `efficientnet-lite0` (genmend fetch);
about ten minutes on one core, and goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from experiments.images.data import crops, imagenet_photographs, photographs
from experiments.intervals import mean_with_interval
from experiments.pages import write_page
from genmend.activations.digests import weights_digest
from genmend.concepts import DistilledGradient, load_classifier
from genmend.concepts.classifiers import Classifier
from genmend.concepts.loop.measure import Case, pooled
from genmend.concepts.loop.methods import METHODS
from genmend.concepts.loop.operations import ModelFacts, trace_model
from genmend.concepts.loop.pixel_flipping import flipping_curves
from genmend.storage.pieces import Work
from genmend.storage.tables import write_json

RESULTS = Path(__file__).with_name("results") / "attributions"
NETWORKS = ("mobilenet-v2", "efficientnet-lite0")
PASSES, N_POINTS, BLUR = 16, 6, 10.0
#: Method -> its settings; each takes PASSES backward passes, FullGrad and Grad-CAM the one that they consist of.
PEERS: dict[str, dict[str, Any]] = {
    "distilled-gradient": {"n_steps": PASSES - 1, "bias": "uniform", "ranks": "channel"},
    "integrated-gradients": {"n_steps": PASSES, "internal_batch_size": 8},
    "guided-integrated-gradients": {"n_steps": PASSES},
    "smooth-gradient": {"n_draws": PASSES},
    "full-gradient": {},
    "grad-cam": {},
    "random": {},
}
#: Of DGA, asked of the first network alone.
VARIANTS: dict[str, dict[str, Any]] = {
    "bias none": {"n_steps": PASSES - 1, "bias": "none"},
    "ranks pixel": {"n_steps": PASSES - 1, "ranks": "pixel"},
    "bias none, ranks pixel": {"n_steps": PASSES - 1, "bias": "none", "ranks": "pixel"},
    "31 passes": {"n_steps": 30},
}
JOINED = "distilled-gradient and full-gradient"
MEASURES = ("MoRF", "LeRF", "AbPC")
FILLS = ("mean colour", "blur")


def images_and_photographs() -> tuple[list[np.ndarray], np.ndarray]:
    """Images uint8, twenty of ImageNet first, and which photograph each one is of."""
    labelled, whole = imagenet_photographs()[0], photographs()
    parts = list(crops(whole, 2 * len(whole), 0, 280))
    numbers = np.arange(len(labelled) + len(whole))
    return [*labelled, *whole, *parts], np.concatenate([numbers, *[numbers[len(labelled) :]] * 2])


def prepared(classifier: Classifier, images: list[np.ndarray]) -> Tensor:
    pixels = [torch.from_numpy(image.copy()).permute(2, 0, 1).unsqueeze(0).float() / 255 for image in images]
    return torch.cat([classifier.prepare(each) for each in pixels])


Builds = Callable[[torch.nn.Module, ModelFacts], dict[str, Callable[..., Tensor]]]


def built(
    peers: Mapping[str, Mapping[str, Any]], model: torch.nn.Module, facts: ModelFacts
) -> dict[str, Callable[..., Tensor]]:
    """Methods of `genmend explain` with these settings."""
    return {
        name: METHODS[name].build(model, facts, **{**METHODS[name].settings, **settings})
        for name, settings in peers.items()
    }


def with_variants(model: torch.nn.Module, facts: ModelFacts) -> dict[str, Callable[..., Tensor]]:
    """The peers, and the variants of DGA."""
    own = {name: DistilledGradient(model, **settings).attribute for name, settings in VARIANTS.items()}
    return built(PEERS, model, facts) | own


def measured(classifier: Classifier, inputs: Tensor, builds: Builds, start: int, stop: int) -> dict[str, Any]:
    """Every method's curves by both fills and its CPU seconds, of some images."""
    # The same numbers, in less time.
    model = classifier.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    some = inputs[start:stop].contiguous(memory_format=torch.channels_last)
    facts = trace_model(model, some)
    with torch.no_grad():
        probabilities, classes = model(some).softmax(1).max(1)
    blurred = torch.from_numpy(gaussian_filter(some.numpy(), (0, 0, BLUR, BLUR)))
    found = {"probability": probabilities.numpy(), "class": classes.numpy()}
    maps: dict[str, Tensor] = {}
    for name, attribute in builds(model, facts).items():
        began = time.process_time()
        maps[name] = pooled(attribute(some, classes).detach()).unsqueeze(1)
        found[f"{name} seconds"] = np.full(len(some), (time.process_time() - began) / len(some))
    maps[JOINED] = sum(ranks(maps[name]) for name in ("distilled-gradient", "full-gradient"))  # type: ignore[assignment]
    for name, values in maps.items():
        for fill, instead in zip(FILLS, (0.0, blurred), strict=True):
            case = Case(model, some, classes, values, lambda inputs, targets: inputs, instead, 0, 8)
            for most_first, measure in ((True, "MoRF"), (False, "LeRF")):
                curve = flipping_curves(case, most_first=most_first, n_points=N_POINTS)
                found[f"{name} {fill} {measure}"] = curve.numpy()
    return found


def ranks(maps: Tensor) -> Tensor:
    """The place of each pixel in the order of its map, 0 to 1."""
    flat = maps.flatten(1)
    return (flat.argsort(1).argsort(1) / flat.shape[1]).reshape(maps.shape)


def score(found: Mapping[str, np.ndarray], name: str, fill: str, measure: str) -> np.ndarray:
    """One number an image, as `genmend explain` has them."""
    if measure == "AbPC":
        return (found[f"{name} {fill} LeRF"] - found[f"{name} {fill} MoRF"])[:, 1:-1].mean(1)
    return found[f"{name} {fill} {measure}"].mean(1)


def by_photograph(values: np.ndarray, photograph: np.ndarray) -> np.ndarray:
    """Means of the images of each photograph: crops of one photograph are no new evidence."""
    return np.array([values[photograph == number].mean() for number in np.unique(photograph)])


def summary(found: Mapping[str, np.ndarray], photograph: np.ndarray, names: list[str], base: str) -> list[dict]:
    """A row a method and fill: each measure, and how far the base is from it, paired by photograph."""
    rows = []
    for name in names:
        for fill in FILLS:
            row: dict[str, Any] = {"method": name, "fill": fill}
            if f"{name} seconds" in found:
                row["seconds"] = float(np.median(found[f"{name} seconds"]))
            for measure in MEASURES:
                own = by_photograph(score(found, name, fill, measure), photograph)
                other = by_photograph(score(found, base, fill, measure), photograph)
                row[measure] = mean_with_interval(own)
                row[f"{measure} of {base} less this"] = mean_with_interval(other - own)
            rows.append(row)
    return rows


def variants(found: Mapping[str, np.ndarray], photograph: np.ndarray, n_held_out: int) -> dict[str, Any]:
    """The variant of the largest AbPC (mean colour) on the photographs, and its gain on the held-out images."""
    names = ["distilled-gradient", *VARIANTS, JOINED]
    values = {name: score(found, name, FILLS[0], "AbPC") for name in names}
    chosen_on = {
        name: float(by_photograph(values[name][n_held_out:], photograph[n_held_out:]).mean()) for name in names
    }
    held_out = {
        name: {
            "AbPC": mean_with_interval(values[name][:n_held_out]),
            "gain": mean_with_interval((values[name] - values["distilled-gradient"])[:n_held_out]),
        }
        for name in names
    }
    return {"chosen": max(chosen_on, key=lambda name: chosen_on[name]), "chosen on": chosen_on, "held out": held_out}


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    images, photograph = images_and_photographs()
    n_held_out = len(imagenet_photographs()[0])
    results: dict[str, Any] = {
        "n_images": len(images),
        "n_photographs": len(np.unique(photograph)),
        "n_held_out": n_held_out,
        "passes": PASSES,
        "n_points": N_POINTS,
        "networks": {},
    }
    for name in options.networks.split(","):
        classifier = load_classifier(name)
        inputs = prepared(classifier, images)
        settings = [PASSES, N_POINTS, BLUR, json.dumps([PEERS, VARIANTS], sort_keys=True)]
        varied = name == NETWORKS[0]
        found = Work(options.work, progress=True).pieces(
            partial(measured, classifier, inputs, with_variants if varied else partial(built, PEERS)),
            len(inputs),
            5,
            inputs=[name, weights_digest(classifier.module), inputs.numpy(), *settings],
            description=name,
        )
        row: dict[str, Any] = {
            "mean_probability": float(found["probability"].mean()),
            "rows": summary(found, photograph, [*PEERS, JOINED], "distilled-gradient"),
        }
        if varied:
            row["variants"] = variants(found, photograph, n_held_out)
        results["networks"][name] = row
    if options.networks == ",".join(NETWORKS):
        RESULTS.mkdir(parents=True, exist_ok=True)
        write_json(RESULTS / "results.json", results)
        write_page("concepts/attributions")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="some fill the cache, all write the results")
    parser.add_argument("--work", type=Path, default=Path("runs/attributions"), help="keeps what is done")
    return parser.parse_args()


if __name__ == "__main__":
    main()
