"""Do the units behind a painted region change that region, and not the rest of the face?

    python -m experiments.faces.painted

A disc of 6 to 13 pixels' radius at a random place of each sample stands for the paint. In each layer the 12 units that
`genmend.gans.editing.painted_units` ranks first are switched off; controls: as many random units of the layer (3
draws), and the 12 units ranked first for the same disc half an image away. Writes results/painted/: results.json and
tables.txt. A minute on one core; needs the weights `faces` (genmend fetch faces).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.intervals import bootstrap
from experiments.pages import write_page
from genmend.gans.editing.painted_units import LEVEL, painted_units, region_change
from genmend.gans.families.pretrained import load_faces
from genmend.gans.generator import layer_shapes

RESULTS = Path(__file__).with_name("results") / "painted"
N_UNITS, SEED = 12, 7
SETS = ("painted", "random", "elsewhere")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100, help="samples, a disc on each")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    generator = load_faces()
    sizes = {layer: shape[0] for layer, shape in layer_shapes(generator, generator.layers).items()}
    rows: dict[str, dict[str, list[float]]] = {layer: {} for layer in sizes}
    for number in range(options.n):
        latent, mask = generator.latents(1, SEED, number), disc(64, np.random.default_rng(number))
        away = np.roll(mask, (32, 32), axis=(0, 1))
        found = painted_units(generator, latent, mask, seed=number)
        found_away = painted_units(generator, latent, away, seed=number)
        for layer, ranked in found.items():
            units = {"painted": ranked.best(N_UNITS), "elsewhere": found_away[layer].best(N_UNITS)}
            row = {"share found": ranked.n_found() / sizes[layer]}
            for name, chosen in units.items():
                if not chosen:
                    continue
                change = region_change(generator, latent, mask, layer, chosen, sizes[layer], seed=number)
                row |= {f"{name} inside": change.inside, f"{name} outside": change.outside}
                if name == "painted":
                    row["random inside"] = float(np.mean(change.random_inside))
                    row["random outside"] = float(np.mean(change.random_outside))
            if len(row) == 1 + 2 * len(SETS):
                for key, value in row.items():
                    rows[layer].setdefault(key, []).append(value)
    results = {"n": options.n, "seed": SEED, "n_units": N_UNITS, "level": LEVEL}
    results["layers"] = {layer: summary(of_layer) for layer, of_layer in rows.items()}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps(results, indent=1))
    lines = [
        f"{layer}: n {found['n']}, found {found['share found'][0]:.3f}; " + "; ".join(
            f"{name} {found[f'{name} inside'][0]:.4f} in, {found[f'{name} outside'][0]:.4f} out, ratio "
            f"{found[f'{name} ratio'][0]:.2f} [{found[f'{name} ratio'][1]:.2f}, {found[f'{name} ratio'][2]:.2f}]"
            for name in SETS
        )
        for layer, found in results["layers"].items()
    ]  # fmt: skip
    (options.out / "tables.txt").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    if options.out == RESULTS:
        write_page("faces/painted")


def disc(side: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Where a disc lies whose radius and place are drawn."""
    row, column = rng.uniform(14, side - 14, 2)
    rows, columns = np.mgrid[:side, :side]
    inside: NDArray[np.bool_] = (rows - row) ** 2 + (columns - column) ** 2 <= rng.uniform(6, 13) ** 2
    return inside


def summary(columns: dict[str, list[float]]) -> dict[str, Any]:
    """Means with 95 % intervals over the samples, and for each set of units the ratio of its means inside and out."""
    values = {name: np.array(column) for name, column in columns.items()}
    n = len(values["share found"])
    told: dict[str, Any] = {"n": n}
    for name, column in values.items():
        told[name] = bootstrap(lambda rows, column=column: float(column[rows].mean()), n)
    for name in SETS:
        inside, outside = values[f"{name} inside"], values[f"{name} outside"]
        told[f"{name} ratio"] = bootstrap(
            lambda rows, inside=inside, outside=outside: float(inside[rows].mean() / outside[rows].mean()), n
        )
    return told


if __name__ == "__main__":
    main()
