"""What makes more keepers than drawing more seeds? Amplification, its controls and other edits, at equal cost.

    python -m experiments.garments.novelty_spaces
    python -m experiments.garments.creativity

A keeper is usable (its garment has a probability of 0.5), inside the manifolds of real garments of its kind in two
spaces, and newer than 95 % of the unamplified samples of its prompt in the one in which trivial changes are not new.
Gains are chosen on seeds 0-7 of 8 prompts by keepers, usability by the guide: by a search joint over blocks and noise
levels, beside it the published search; the other ways have the strength that their authors or ours give. All are
reported on seeds 100-115, usability by the judge, who had no part; beside them trivial changes of the plain pictures,
each as strong as the guide's mean probability keeps `MATCHED` of the plain one, pictures broken on purpose, and real
garments that were held out. The counts are repeated with distances in the second space.

Writes results/creativity/: results.json, and pictures; then the page. Interrupted, it goes on from the pictures that
its cache holds. About 6 minutes on one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.garments.captions import add_border, held_out_images, training_images
from experiments.garments.changes import TRIVIAL, break_garments
from experiments.garments.keeper_table import Counting, row_of
from experiments.garments.spaces import spaces
from experiments.garments.ways import (
    CALL,
    CUTOFFS,
    PLAIN,
    PROMPTS,
    Drawing,
    amplifying,
    by_boost,
    by_cads,
    by_freeu,
    in_band,
    low,
    windows,
)
from experiments.pages import write_page
from genmend.activations import Edit
from genmend.diffusion import Novelty, search_gains
from genmend.diffusion.reference import garment_in, load_reference
from genmend.diffusion.search.gain_search import GainSearch, Trial
from genmend.diffusion.search.published_search import published_search
from genmend.diffusion.search.trials import Scores
from genmend.manifold.figures.image_grid import image_grid
from genmend.storage.pieces import Work

RESULTS = Path(__file__).with_name("results") / "creativity"
CHOICE, REPORT, MORE, CLOUD = range(8), range(100, 116), range(200, 216), range(1_000, 1_128)
LARGEST = {"down0": 2.0, "down1": 4.0, "mid": 4.0}
GRID = {"down0": (1.2, 1.6, 2.0), "down1": (2.0, 6.0, 10.0), "mid": (2.0, 6.0, 10.0)}  # every other published
SHRINK = {"down0": 0.3, "down1": 0.2, "mid": 0.2}
TURBO = {"down0": 1.075, "down1": 2.6, "mid": 2.8}  # the preset's first, third and middle block: shrunk, as published
N_REAL, N_TRIALS, N_REFINED, MATCHED = 1_000, 8, 2, 0.95


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    drawing = Drawing(load_reference(), Work(options.out / "cache"))
    cloud = drawing.pictures(PLAIN, CLOUD)
    clouds = dict(zip(PROMPTS, cloud.split(len(CLOUD)), strict=True))
    real = {prompt: real_garments(prompt) for prompt in PROMPTS}
    first, second = (Novelty(extractor).fit(clouds, real) for extractor in list(spaces().values())[:2])
    judged, again, guided = (
        Counting(clouds, first, second, "judge"),
        Counting(clouds, second, first, "judge"),
        Counting(clouds, first, second, "guide"),
    )
    chosen = _choose(drawing, guided)
    plain = drawing.pictures(PLAIN, REPORT)
    pictures = {"plain, the same seeds": plain, "plain, other seeds": drawing.pictures(PLAIN, MORE)}
    for name, found in chosen.items():
        print(name, found["about"], flush=True)
        pictures[name] = drawing.pictures(found["way"], REPORT)
    pictures |= controls(drawing.pictures(PLAIN, CHOICE), plain, guided)
    pictures |= {"control: broken on purpose": break_garments(plain, np.random.default_rng(0)),
                 "held-out real garments": held_out_garments()}  # fmt: skip
    rows = {}
    seeds = torch.cat(
        [part.unflatten(0, (len(PROMPTS), -1)) for part in (plain, pictures["plain, other seeds"])], dim=1
    )
    seeds = seeds.flatten(0, 1)
    for name, drawn in {"plain": seeds, **pictures}.items():
        same = name.startswith("control")  # changes of the plain pictures; a way has to beat plain seeds of any kind
        rows[name] = row_of(judged, again, drawn, plain if same else seeds, paired=same)
        rows[name] |= {key: chosen[name][key] for key in ("about", "n_drawn") if name in chosen}
        kept, more = rows[name]["keepers"], rows[name]["more_keepers"]
        print(f"{name:36s} keepers {kept[0]:5.1f} [{kept[1]:.1f}, {kept[2]:.1f}] more {more[0]:+.1f} [{more[1]:+.1f}, "
              f"{more[2]:+.1f}]", flush=True)  # fmt: skip
    results = {
        "settings": {
            "prompts": PROMPTS,
            "seeds": {"choice": _ends(CHOICE), "report": _ends(REPORT), "cloud": _ends(CLOUD)},
            "call": CALL,
            "cutoffs": CUTOFFS,
            "matched": MATCHED,
        },
        "rows": rows,
        "searches": {name: found["search"] for name, found in chosen.items() if "search" in found},
    }
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    _draw_pictures(options.out, pictures, judged)
    write_page("garments/creativity")


def real_garments(prompt: str) -> Tensor:
    """Real garments of the prompted class, as the pipeline draws them: 32x32, three equal channels."""
    images, labels = training_images()
    return _shown(images[labels == garment_in(prompt)][:N_REAL])


def held_out_garments() -> Tensor:
    """As many of each prompt as are reported of a way to draw, none of them trained on."""
    images, labels = held_out_images()
    return torch.cat([_shown(images[labels == garment_in(prompt)][: len(REPORT)]) for prompt in PROMPTS])


def _shown(images: np.ndarray) -> Tensor:
    return ((torch.from_numpy(add_border(images)) + 1) / 2)[:, None].expand(-1, 3, -1, -1)


def controls(choice: Tensor, plain: Tensor, guided: Counting) -> dict[str, Tensor]:
    """Trivial changes of the plain pictures, each as strong as usability by the guide allows on the seeds of choice."""

    def usability(pictures: Tensor) -> float:
        return float(guided.scores(pictures).usability["guide"].mean())

    found, least = {}, MATCHED * usability(choice)
    for name, change in TRIVIAL.items():
        kept = [strength for strength in change.strengths if usability(change(choice, strength)) >= least]
        if kept:
            found[f"control: {name} {kept[-1]:g}"] = change(plain, kept[-1])
    return found


def _choose(drawing: Drawing, guided: Counting) -> dict[str, dict[str, Any]]:
    """Every way with what was chosen of it, and the pictures that the choice cost."""
    pipe, found = drawing.pipe, {}

    def measure(edits: Sequence[Edit], seeds: Sequence[int], window: Any = None) -> Scores:
        return guided.scores(drawing.pictures(amplifying(edits, window), seeds))

    before = drawing.n_drawn
    search = search_gains(
        pipe, PROMPTS, {}, _unused, CHOICE, objective="keepers", windows=windows(pipe), largest=LARGEST, cutoff=CUTOFFS,
        tau=0.0, n_trials=N_TRIALS, n_refined=N_REFINED, edit_options={"cutoff_unit": "nyquist"}, measure=measure,
    )  # fmt: skip
    best = _most_keepers(search)
    found["ours: joint search"] = {
        "way": amplifying(best.edits, best.window),
        "about": f"{_in_words(best)}; the search itself took {'it' if search.edits else 'nothing'}",
        "n_drawn": drawing.n_drawn - before,
        "search": search.to_dict(),
    }
    for band in ("full", "random"):
        found[f"the same in the {band} band"] = {
            "way": in_band(best.edits, band, best.window), "about": "", "n_drawn": drawing.n_drawn - before
        }  # fmt: skip
    before = drawing.n_drawn
    published = published_search(
        pipe.unet, measure, CHOICE[:4], grid=GRID, cutoff=CUTOFFS, shrink=SHRINK, cutoff_unit="nyquist"
    )
    for name, gains in (("shrunk", published.shrunk), ("each block's own", published.gains)):
        found[f"published search, {name}"] = {
            "way": low(pipe, gains), "about": _gains(gains), "n_drawn": drawing.n_drawn - before
        }  # fmt: skip
    whole = {slot: round(1 + (gain - 1) / (0.3 if slot == "down0" else 0.2), 3) for slot, gain in TURBO.items()}
    for name, gains in (("", TURBO), (", not shrunk", whole)):
        found[f"Turbo preset{name}"] = {"way": low(pipe, gains), "about": _gains(gains), "n_drawn": 0}
    fixed = {
        "middle block alone x 3": low(pipe, {"mid": 3.0}),
        "FreeU, SD 1.4's setting": by_freeu(1.0),
        "CADS, scale 0.15": by_cads(0.15),
        "boosted noise, gamma 1.15": by_boost(1.15),
    }
    return found | {name: {"way": way, "about": "not chosen", "n_drawn": 0} for name, way in fixed.items()}


def _most_keepers(search: GainSearch) -> Trial:
    """The best on all seeds, whether or not it is better with confidence."""
    most = max(trial.comparison.n for trial in search.trials)
    return max((t for t in search.trials if t.comparison.n == most), key=lambda t: t.comparison.keepers)


def _in_words(trial: Trial) -> str:
    steps = "all steps"
    if trial.window is not None:
        steps = "first half of the steps" if trial.window.low > 0 else "second half of the steps"  # type: ignore[attr-defined]
    return f"{_gains(trial.gains)}; {steps}"


def _gains(gains: Any) -> str:
    return ", ".join(f"{slot} {gain:.3g}" for slot, gain in gains.items())


def _draw_pictures(folder: Path, pictures: dict[str, Tensor], judged: Counting) -> None:
    """Two seeds of each prompt and way; and the keepers of plain, ours, and real ones."""
    shown = [i * len(REPORT) + j for i in range(len(PROMPTS)) for j in range(2)]
    ways = [found[shown] for name, found in pictures.items() if not name.startswith(("control", "held"))]
    (folder / "pairs.png").write_bytes(image_grid(ways, scale=2))
    kept = []
    for name in ("plain, the same seeds", "ours: joint search", "CADS, scale 0.15", "held-out real garments"):
        found = pictures[name][judged.scores(pictures[name]).keepers][:16]
        kept.append(torch.cat([found, torch.ones(16 - len(found), 3, 32, 32)]))
    (folder / "keepers.png").write_bytes(image_grid(kept, scale=2))


def _ends(seeds: range) -> list[int]:
    return [seeds[0], seeds[-1]]


def _unused(images: Tensor, prompt: str) -> Any:
    raise AssertionError("the measure that is given scores novelty")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
