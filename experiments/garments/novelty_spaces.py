"""In which space is a zoom not new, and a garment of another style new?

    python -m experiments.garments.novelty_spaces

For each of ten garments the cloud is 300 real pictures, none of one style: the patterned, the slim, or the wide (each
the highest or lowest quarter of its kind, as measured in the picture). Then pictures that were never trained on are
compared with it: of the styles that the cloud has, of the one that it lacks, trivial changes of the first at their
largest strengths, and what is unusable: garments broken on purpose, and garments of another kind. A picture is newer
where its distance to the 5th neighbour in the cloud is above the 95th percentile of the cloud's own; inside where it
lies in a ball of the manifold (k = 5) of 500 further real ones of all styles; usable where the judge gives its garment
a probability of 0.5, and `intact` and `intact_judge` give 0.5 to its being whole. It counts where it is all three.

Beside it what the two networks that tell whole garments from broken ones say of each row, and of the ways of breaking
that either has learnt.

Writes results/novelty_spaces/results.json and the page. About one minute on one core.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiments.garments.captions import HELD_OUT, add_border, traits
from experiments.garments.changes import TRIVIAL, UNSEEN, break_garments
from experiments.garments.spaces import spaces
from experiments.garments.train_intact import KINDS
from experiments.images.data import clothes
from experiments.intervals import mean_with_interval
from experiments.pages import write_page
from genmend.diffusion.reference.networks import GARMENTS, garment_probabilities, intact_probabilities, load_network
from genmend.manifold import Manifold, nearest_neighbors

RESULTS = Path(__file__).with_name("results") / "novelty_spaces"
STYLES = {"patterned": (1, 1), "slim": (2, -1), "wide": (2, 1)}  # column of `traits`, and its value
N_CLOUD, N_REAL, N_EACH, K = 300, 500, 40, 5


def main() -> None:
    torch.set_num_threads(1)
    rows: dict[str, dict[str, dict[str, list[np.ndarray]]]] = {}
    whole: dict[str, dict[str, list[np.ndarray]]] = {}
    judge, rng = load_network("judge"), np.random.default_rng(0)
    intact = {name: load_network(name) for name in KINDS}
    for label in range(len(GARMENTS)):
        images, others = clothes(label), clothes((label + 3) % len(GARMENTS))
        styles = traits(images, np.zeros(len(images), dtype=int))
        for style, (column, value) in STYLES.items():
            has = styles[:, column] == value
            seen, unseen = np.arange(len(images) - HELD_OUT), np.arange(len(images) - HELD_OUT, len(images))
            cloud, real = seen[~has[seen]][:N_CLOUD], seen[-N_REAL:]
            same = pictures_of(images[unseen[~has[unseen]][:N_EACH]])
            asked = {"same styles": same, f"other style: {style}": pictures_of(images[unseen[has[unseen]][:N_EACH]])}
            asked |= {f"{name} {change.strengths[-1]:g}": change(same, change.strengths[-1])
                      for name, change in {**TRIVIAL, **UNSEEN}.items()}  # fmt: skip
            asked |= {"broken": break_garments(same, rng), "another garment": pictures_of(others[-N_EACH:])}
            learnt = {f"{kind} ({name})": break_it(same, rng)
                      for name, kinds in KINDS.items() for kind, break_it in kinds.items()}  # fmt: skip
            for name, found in {**asked, **learnt}.items():
                told = {net: (intact_probabilities(w, found) >= 0.5).numpy() for net, w in intact.items()}
                for network, values in {**told, "both": np.all(list(told.values()), axis=0)}.items():
                    whole.setdefault(name, {}).setdefault(network, []).append(values)
            usable = {
                name: (garment_probabilities(judge, found)[:, label] >= 0.5).numpy() & whole[name]["both"][-1]
                for name, found in asked.items()
            }
            for space, extractor in spaces().items():
                found = tell(extractor, pictures_of(images[cloud]), pictures_of(images[real]), asked)
                for name, (novelty, inside) in found.items():
                    row = rows.setdefault(name, {}).setdefault(space, {})
                    counts = (novelty > 1) & inside & usable[name]
                    for key, values in {"novelty": novelty, "newer": novelty > 1, "inside": inside,
                                        "usable": usable[name], "counts": counts}.items():  # fmt: skip
                        row.setdefault(key, []).append(values)
        print(GARMENTS[label], flush=True)
    write(rows, whole)


def pictures_of(images: np.ndarray) -> Tensor:
    """Pictures (n, 1, 32, 32) in 0..1."""
    return torch.from_numpy(add_border(images))[:, None] / 2 + 0.5


def tell(
    extractor: Callable[[Tensor], Tensor], cloud: Tensor, real: Tensor, asked: Mapping[str, Tensor]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of each set: novelty as a share of what 95 % of the cloud stay below, and whether it is inside."""
    features = extractor(cloud).numpy()
    own = nearest_neighbors(features, features, K + 1).distances[:, -1]
    limit, manifold = np.quantile(own, 0.95), Manifold(K).fit(extractor(real).numpy())
    found = {}
    for name, pictures in asked.items():
        code = extractor(pictures).numpy()
        distances = nearest_neighbors(features, code, K).distances[:, -1]
        found[name] = distances / limit, manifold.score_samples(code) <= 1
    return found


def write(
    rows: Mapping[str, Mapping[str, Mapping[str, list[np.ndarray]]]],
    whole: Mapping[str, Mapping[str, list[np.ndarray]]],
) -> None:
    """Write means, and the interval of the share that counts, over pictures; and the share called whole."""
    results: dict[str, dict[str, dict[str, object]]] = {}
    for name, by_space in rows.items():
        results[name] = {}
        for space, columns in by_space.items():
            joined = {key: np.concatenate(parts).astype(np.float64) for key, parts in columns.items()}
            row: dict[str, object] = {key: float(values.mean()) for key, values in joined.items()}
            for key in ("newer", "counts"):
                row[f"{key}_interval"] = list(mean_with_interval(joined[key])[1:])
            row["n"] = len(joined["counts"])
            results[name][space] = row
    RESULTS.mkdir(parents=True, exist_ok=True)
    about = {"cloud": N_CLOUD, "real": N_REAL, "each": N_EACH, "k": K, "garments": len(GARMENTS)}
    told = {
        name: {network: float(np.concatenate(parts).mean()) for network, parts in by_network.items()}
        for name, by_network in whole.items()
    }
    found = {"settings": about, "rows": results, "whole": told}
    (RESULTS / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    write_page("garments/novelty_spaces")


if __name__ == "__main__":
    main()
