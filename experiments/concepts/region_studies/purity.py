"""How pure regions are on images held out: members with the query's fine label, beside as many neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from experiments.images.data import clothes, emoji
from experiments.intervals import bootstrap
from genmend.activations.layers import find_layer
from genmend.concepts.classifiers import load_classifier
from genmend.concepts.regions.configurations import Configurations, Threshold, measured_thresholds, positions
from genmend.concepts.regions.find import find_region
from genmend.concepts.regions.neighbours import nearest_configurations
from genmend.manifold.features import load_extractor
from genmend.manifold.figures.image_grid import image_grid

N_QUERIES = 100
N_CLOTHES = 80  # of each class
LEAST_OF_A_KIND = 12  # images of a query's fine label
N_EXAMPLES = 11  # members that are shown
MOST_PLACES = 150_000  # neurons of a layer that are held one by one
LAYERS = {
    "efficientnet-lite0": ("blocks.4.2.bn2.act", "blocks.6.0.bn1.act", "bn2.act"),
    "mobilenet-v2": ("features.13.conv.1.2", "features.17.conv.0.2", "features.18.2"),
    "clip-vit-b16": tuple(f"network.tower.vision_model.encoder.layers.{n}.mlp.activation_fn" for n in (6, 9, 11)),
}
COARSE_CLOTHES = ("top", "trouser", "top", "top", "top", "shoe", "top", "shoe", "bag", "shoe")


@dataclass(frozen=True)
class Recipe:
    """How a region is made; `pooled` neurons are channels, else one at each place."""

    name: str
    pooled: bool
    threshold: Threshold
    options: dict[str, Any]


PUBLISHED = {"n_neurons": 10, "at_least": None, "choice": "sorted"}
RECIPES = (
    Recipe("published: 10 neurons, all, above 0", False, "zero", PUBLISHED),
    Recipe("covering: 10 that shut out most, above 0", False, "zero", {**PUBLISHED, "choice": "covering"}),
    Recipe("10 neurons, all, learned thresholds, channels", True, "learned", PUBLISHED),
    Recipe("60 neurons, 80 %, learned thresholds, places", False, "learned", {}),
    Recipe("60 neurons, 80 %, median thresholds, channels", True, "median", {}),
    Recipe("default: 60 neurons, 80 %, learned thresholds, channels", True, "learned", {}),
)


@dataclass(frozen=True)
class Labelled:
    """Images (n, h, w, 3) uint8 with fine and coarse labels."""

    name: str
    images: np.ndarray
    fine: np.ndarray
    coarse: np.ndarray


@dataclass(frozen=True)
class Seen:
    """A layer on all images: values before the nonlinearity, and the output, at places and pooled."""

    largest: np.ndarray
    output_mean: np.ndarray
    places: np.ndarray | None
    output: np.ndarray | None


def labelled_sets() -> dict[str, Labelled]:
    """Emoji by category and subcategory; Fashion-MNIST by class and what kind of garment it is."""
    drawn = emoji()
    worn = np.concatenate([np.repeat(clothes(label)[:N_CLOTHES, ..., None], 3, axis=3) for label in range(10)])
    fine = np.repeat(np.arange(10), N_CLOTHES)
    return {
        "emoji": Labelled("emoji", drawn.images, np.array(drawn.kinds), np.array(drawn.groups)),
        "clothes": Labelled("clothes", worn, fine.astype(str), np.array(COARSE_CLOTHES)[fine]),
    }


def thinned(images: Labelled, step: int) -> Labelled:
    """Every step-th image."""
    return Labelled(images.name, images.images[::step], images.fine[::step], images.coarse[::step])


@torch.no_grad()
def seen_layers(model: str, images: Labelled) -> dict[str, Seen]:
    """Each of the model's layers on all images, by one pass."""
    made: Any = load_extractor(model) if model == "clip-vit-b16" else load_classifier(model)
    module = made.network if model == "clip-vit-b16" else made.module
    names = {layer: layer.removeprefix("network.") for layer in LAYERS[model]}
    found: dict[str, dict[str, list[np.ndarray]]] = {layer: {} for layer in names}
    for layer, name in names.items():
        gate = find_layer(module, name)
        gate.register_forward_pre_hook(partial(_keep, found[layer], "before"))
        gate.register_forward_hook(partial(_keep_output, found[layer]))
    for start in tqdm(range(0, len(images.images), 16), desc=f"{model} on {images.name}"):
        pixels = torch.from_numpy(images.images[start : start + 16]).permute(0, 3, 1, 2).float() / 255
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=model == "clip-vit-b16"):
            module(made.prepare(pixels))
    return {layer: _joined(parts) for layer, parts in found.items()}


def _keep(found: dict[str, list[np.ndarray]], when: str, _: nn.Module, given: tuple[Tensor, ...]) -> None:
    values = given[0].float()
    places = values.shape[1:].numel() <= MOST_PLACES
    if when == "before":
        found.setdefault("largest", []).append(values.amax(positions(values)).numpy())
    else:
        found.setdefault("output_mean", []).append(values.mean(positions(values)).numpy())
    if places:
        # Copied: the nonlinearity works in place.
        found.setdefault(when, []).append(values.flatten(1).numpy().astype(np.float16))


def _keep_output(found: dict[str, list[np.ndarray]], gate: nn.Module, _: Any, output: Tensor) -> None:
    _keep(found, "after", gate, (output,))


def _joined(parts: dict[str, list[np.ndarray]]) -> Seen:
    whole = {name: np.concatenate(rows) for name, rows in parts.items()}
    return Seen(whole["largest"], whole["output_mean"], whole.get("before"), whole.get("after"))


def purity_rows(model: str, images: Labelled, seed: int) -> list[dict[str, Any]]:
    """One row a layer and recipe."""
    kept, held, queries = _split(images, seed)
    rows = []
    for layer, seen in seen_layers(model, images).items():
        features = {"mean output": seen.output_mean} | ({} if seen.output is None else {"output": seen.output})
        nearest = {
            (query, f"{how} of {name}"): order
            for name, values in features.items()
            for (query, how), order in _nearest(values, held, queries).items()
        }
        for recipe in RECIPES:
            values = seen.largest if recipe.pooled else seen.places
            if values is not None:
                states = _states(values, recipe.threshold, kept, layer)
                halves = states[kept], states[held]
                judged = [_judged(images, states, halves, nearest, recipe, kept, held, query) for query in queries]
                facts: dict[str, Any] = {"model": model, "images": images.name, "layer": layer, "recipe": recipe.name}
                if recipe.name.startswith("default"):
                    facts["examples"] = _examples(states, nearest, recipe, kept, held, queries)
                rows.append(facts | _summary(judged, seed))
                print(rows[-1], flush=True)
    return rows


def _split(images: Labelled, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of the images that regions are made of, of those held out, and of the queries, among the former."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images.fine))
    kept, held = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    count = {label: (images.fine == label).sum() for label in np.unique(images.fine)}
    usable = [
        n for n in kept if count[images.fine[n]] >= LEAST_OF_A_KIND and (images.fine[held] == images.fine[n]).any()
    ]
    return kept, held, rng.permutation(usable)[:N_QUERIES]


def _nearest(values: np.ndarray, held: np.ndarray, queries: np.ndarray) -> dict[tuple[int, str], np.ndarray]:
    """`nearest_by_features` of all queries at once."""
    products = np.zeros((len(queries), len(held)), np.float64)
    lengths = np.zeros(len(values), np.float64)
    for part in np.array_split(values, max(1, values.shape[1] // 8_192), axis=1):
        block = part.astype(np.float32)
        products += block[queries] @ block[held].T
        lengths += (block**2).sum(1)
    squared = lengths[held] - 2 * products
    angle = -products / np.sqrt(lengths[held])
    return {
        (int(query), how): np.argsort(distance[row], kind="stable")
        for how, distance in (("euclidean", squared), ("cosine", angle))
        for row, query in enumerate(queries)
    }


def _states(values: np.ndarray, threshold: Threshold, kept: np.ndarray, layer: str) -> Configurations:
    """Thresholds come from the images that regions are made of."""
    limits = np.zeros(values.shape[1], np.float32)
    if threshold != "zero":
        limits = measured_thresholds(values[kept][:512].astype(np.float32), threshold).astype(np.float32)
    bits = np.concatenate([np.packbits(block > limits, axis=1) for block in np.array_split(values, 16)])
    return Configurations(bits, len(limits), limits, threshold, layer, values.shape[1:], False)


def _judged(
    images: Labelled,
    states: Configurations,
    halves: tuple[Configurations, Configurations],
    nearest: dict[tuple[int, str], np.ndarray],
    recipe: Recipe,
    kept: np.ndarray,
    held: np.ndarray,
    query: int,
) -> dict[str, float]:
    """Shares with the query's fine label: of the members held out, and of as many chosen in other ways."""
    carries = images.fine[held] == images.fine[query]
    alike = images.coarse[held] == images.coarse[query]
    found = {"n": 0.0, "base": float(carries.mean())}
    try:
        path = find_region(halves[0], int(np.searchsorted(kept, query)), **recipe.options)
    except ValueError:  # the nearest agree on no neuron: no region
        return found
    agreeing = path.region.agreeing(halves[1])
    n = int((agreeing >= path.region.at_least).sum())
    orders = {
        "region": np.argsort(-agreeing, kind="stable"),
        "states": nearest_configurations(halves[1], states[query : query + 1], len(held))[1][0],
        **{how: order for (of, how), order in nearest.items() if of == query},
    }
    found["n"] = float(n)
    within = int(alike[orders["region"][:n]].sum())
    for how, order in orders.items():
        if n:
            found[how] = float(carries[order[:n]].mean())
        if within:
            found[f"{how} in class"] = float(carries[order[alike[order]][:within]].mean())
    if within:
        found["base in class"] = float(carries[alike].mean())
    return found


def _examples(
    states: Configurations,
    nearest: dict[tuple[int, str], np.ndarray],
    recipe: Recipe,
    kept: np.ndarray,
    held: np.ndarray,
    queries: np.ndarray,
) -> list[dict[str, Any]]:
    """For the first queries with seven members held out: these, and as many nearest by angle of the mean output."""
    found: list[dict[str, Any]] = []
    for query in map(int, queries):
        path = find_region(states[kept], int(np.searchsorted(kept, query)), **recipe.options)
        agreeing = path.region.agreeing(states[held])
        if (agreeing >= path.region.at_least).sum() >= N_EXAMPLES:
            members = held[np.argsort(-agreeing, kind="stable")[:N_EXAMPLES]]
            near = held[nearest[query, "cosine of mean output"][:N_EXAMPLES]]
            found.append({"query": query, "members": members.tolist(), "nearest": near.tolist()})
        if len(found) == 3:
            break
    return found


def alike_picture(images: Labelled, examples: list[dict[str, Any]]) -> bytes:
    """Two rows an example: the query and its region's members; the query and the nearest by angle."""
    shown = torch.from_numpy(images.images).permute(0, 3, 1, 2).float() / 255
    rows = [shown[[each["query"], *each[name]]] for each in examples for name in ("members", "nearest")]
    return image_grid(rows)


def _summary(judged: list[dict[str, float]], seed: int) -> dict[str, Any]:
    """Means over the queries whose region has a member, and paired differences of the region from each other way."""
    held = [each for each in judged if each["n"]]
    row: dict[str, Any] = {
        "queries": len(judged),
        "with_members": len(held),
        "median_members": float(np.median([each["n"] for each in judged])),
    }
    if len(held) < 10:
        return row
    for name in dict.fromkeys(chain.from_iterable(held)):
        values = np.array([each.get(name, np.nan) for each in held])
        row[name] = _mean(values, seed)
        if name not in ("n", "base", "base in class", "region", "region in class"):
            own = np.array([each.get("region in class" if "in class" in name else "region", np.nan) for each in held])
            row[f"region - {name}"] = _mean(own - values, seed)
    return row


def _mean(values: np.ndarray, seed: int) -> list[float]:
    """The mean over queries, and its interval."""
    found = bootstrap(lambda rows: float(np.nanmean(values[rows])), len(values), seed, 1000)
    return [round(value, 4) for value in found]
