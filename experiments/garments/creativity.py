"""What makes more keepers than drawing more seeds? Amplification, its controls and other edits, at equal cost.

    python -m experiments.garments.train_intact
    python -m experiments.garments.novelty_spaces
    python -m experiments.garments.creativity

A picture is whole where the judge gives its garment a probability of 0.5, `intact` and `intact_judge` each give 0.5 to
its being unbroken, and it lies inside the manifolds (k = 5) of real garments of its kind in two spaces. It is a keeper
where it is whole and newer than 95 % of the unamplified samples of its prompt in the space in which trivial changes are
not new.

Settled, and committed, before a picture of the seeds of the report was drawn (the networks and the probability of 0.5
after a look at 64 plain seeds of the cloud, broken and not: 1.8 and 2.5 keepers of 100, real garments 51.6):

1. Gains and strengths are chosen on seeds 0-7 of 8 prompts by keepers, told by the guide and `intact` alone: own
   searches in the low, the full and a random band with equal trials, joint over blocks and halves of the steps; 3
   strengths each of FreeU, CADS, boosted noise and the middle block (of as many keepers the weakest); the
   published search and the Turbo preset; the command's own `--search`, constrained as it is, on these seeds with as
   many trials; and what the command amplifies where nothing is said. All cutoffs are the command's, 5 bins.
2. All is reported on seeds 300-323. The baseline is plain seeds: 300-323 and 400-423 together, drawn anew by the
   bootstrap apart from a way's. Controls are changes of the plain pictures of 300-323, paired.
3. The count can be trusted if plain pictures broken on purpose make no more keepers than plain ones, trivial changes
   not more with confidence, and held-out real garments at least 50 of 100.
4. A way makes more keepers if the interval of the difference lies above 0 at a confidence of 1 - 0.05 / ways. One that
   does only at 95 % is named, and not counted.
5. It becomes what the command does by default if 4 holds and its share of whole pictures is at least 0.9 of plain's.
6. The second space (distances by the autoencoder) is shown, and decides nothing.

At the end the command's own gains at the command's own call (20 steps, guidance 3), beside as many plain seeds.

Writes results/creativity/: results.json, and pictures; then the page. Interrupted, it goes on from the pictures that
its cache holds. About 11 minutes on one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.garments.captions import add_border, held_out_images, training_images
from experiments.garments.changes import TRIVIAL, break_garments
from experiments.garments.choices import CHOICE, N_REFINED, N_TRIALS, by_the_command, choose_all
from experiments.garments.keeper_table import Counting, row_of
from experiments.garments.spaces import spaces
from experiments.garments.ways import CALL, CUTOFF, PLAIN, PROMPTS, Drawing, low
from experiments.pages import write_page
from genmend.diffusion import Novelty
from genmend.diffusion.loading import load_text_to_image
from genmend.diffusion.reference import garment_in, garment_scorer, guide_usability, intact_scorer
from genmend.manifold.figures.image_grid import image_grid
from genmend.storage.pieces import Work

RESULTS = Path(__file__).with_name("results") / "creativity"
REPORT, MORE, CLOUD = range(300, 324), range(400, 424), range(1_000, 1_128)
AT_THE_COMMANDS_CALL, ITS_CLOUD = range(300, 324), range(1_000, 1_032)
N_REAL, MATCHED, ALPHA = 1_000, 0.95, 0.05
SAME, OTHER = "plain, the same seeds", "plain, other seeds"
BROKEN, REAL = "control: broken on purpose", "held-out real garments"


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    model = load_text_to_image("reference", device="cpu")
    work = Work(options.out / "cache")
    drawing = Drawing(model.pipe, work)
    judges = {"judge": garment_scorer("judge")} | {name: intact_scorer(name) for name in ("intact", "intact_judge")}
    cloud = drawing.pictures(PLAIN, CLOUD)
    fitted = _fit(cloud)
    judged, again, guided = fitted(judges, 0), fitted(judges, 1), fitted(guide_usability(), 0)
    chosen = choose_all(drawing, guided, by_the_command(cloud), model.gains or {})
    for name, found in chosen.items():
        print(f"{name}: {found.about}", flush=True)
    plain = drawing.pictures(PLAIN, REPORT)
    pictures = {SAME: plain, OTHER: drawing.pictures(PLAIN, MORE)}
    for name, found in chosen.items():
        pictures[name] = drawing.pictures(found.way, REPORT)
        print(f"drawn: {name}", flush=True)
    pictures |= controls(drawing.pictures(PLAIN, CHOICE), plain, guided)
    pictures |= {BROKEN: break_garments(plain, np.random.default_rng(0)), REAL: held_out_garments()}
    seeds = _together(pictures[SAME], pictures[OTHER])
    rows: dict[str, dict[str, Any]] = {}
    for name, drawn in {"plain": seeds, **pictures}.items():
        paired = name.startswith("control")
        rows[name] = row_of(judged, again, drawn, plain if paired else seeds, paired, 1 - ALPHA / len(chosen))
        if name in chosen:
            rows[name] |= {"about": chosen[name].about, "n_drawn": chosen[name].n_drawn}
        _print(name, rows[name])
    results = {
        "settings": {
            "prompts": PROMPTS,
            "seeds": {"choice": _ends(CHOICE), "report": _ends(REPORT), "more": _ends(MORE), "cloud": _ends(CLOUD)},
            "call": CALL,
            "cutoff": CUTOFF,
            "trials": [N_TRIALS, N_REFINED],
            "matched": MATCHED,
            "alpha": ALPHA,
        },
        "rows": rows,
        "searches": {name: found.search.to_dict() for name, found in chosen.items() if found.search is not None},
    }
    most = sorted(chosen, key=lambda name: -rows[name]["keepers"][0])[:3]
    _draw_pictures(options.out, pictures, most, list(chosen), judged)
    _write(options.out, results)
    results["at_the_commands_call"] = _at_the_commands_call(model, work, judges)
    _write(options.out, results)


def _write(folder: Path, results: dict[str, Any]) -> None:
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    write_page("garments/creativity")


def _at_the_commands_call(model: Any, work: Work, judges: Any) -> dict[str, Any]:
    """The command's own gains as it draws with them, against plain seeds drawn likewise."""
    drawing = Drawing(model.pipe, work, model.settings)
    fitted = _fit(drawing.pictures(PLAIN, ITS_CLOUD))
    judged, again = fitted(judges, 0), fitted(judges, 1)
    plain = drawing.pictures(PLAIN, AT_THE_COMMANDS_CALL)
    ways = {"plain": plain, "amplify's own gains": drawing.pictures(low(model.pipe, model.gains), AT_THE_COMMANDS_CALL)}
    rows = {name: row_of(judged, again, drawn, plain) for name, drawn in ways.items()}
    for name, row in rows.items():
        _print(name, row)
    return {"call": dict(model.settings), "rows": rows}


def _fit(cloud: Tensor) -> Callable[[Any, int], Counting]:
    """Scorers, and which space's distances count -> who counts, with the cloud's pictures and real garments."""
    clouds = dict(zip(PROMPTS, cloud.split(len(cloud) // len(PROMPTS)), strict=True))
    real = {prompt: real_garments(prompt) for prompt in PROMPTS}
    both = [Novelty(extractor).fit(clouds, real) for extractor in list(spaces().values())[:2]]
    return lambda scorers, space: Counting(clouds, both[space], both[1 - space], scorers)


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
    """Trivial changes of the plain pictures, each as strong as both usabilities allow on the seeds of choice."""

    def usability(pictures: Tensor) -> np.ndarray:
        return np.array([values.mean() for values in guided.scores(pictures).usability.values()])

    found, least = {}, MATCHED * usability(choice)
    for name, change in TRIVIAL.items():
        kept = [strength for strength in change.strengths if (usability(change(choice, strength)) >= least).all()]
        if kept:
            found[f"control: {name} {kept[-1]:g}"] = change(plain, kept[-1])
    return found


def _together(one: Tensor, other: Tensor) -> Tensor:
    """Pictures of two sets of seeds, those of a prompt one after the other."""
    parts = [part.unflatten(0, (len(PROMPTS), -1)) for part in (one, other)]
    return torch.cat(parts, dim=1).flatten(0, 1)


def _draw_pictures(
    folder: Path, pictures: dict[str, Tensor], most: list[str], ways: list[str], judged: Counting
) -> None:
    """Two seeds of each prompt; and keepers: of plain, of those with the most, of broken ones and real ones."""
    shown = [i * len(REPORT) + j for i in range(len(PROMPTS)) for j in range(2)]
    names = [SAME, *ways, BROKEN, REAL]
    (folder / "pairs.png").write_bytes(image_grid([pictures[name][shown] for name in names], scale=2, names=names))
    kept, names = [], [SAME, *most, BROKEN, REAL]
    for name in names:
        found = pictures[name][judged.scores(pictures[name]).keepers][:16]
        kept.append(torch.cat([found, torch.ones(16 - len(found), 3, 32, 32)]))
    (folder / "keepers.png").write_bytes(image_grid(kept, scale=2, names=names))


def _print(name: str, row: dict[str, Any]) -> None:
    kept, more = row["keepers"], row["more_keepers"]
    print(f"{name:40s} intact {row['intact']:.2f} whole {row['whole']:.2f} keepers {kept[0]:5.1f} [{kept[1]:.1f}, "
          f"{kept[2]:.1f}] more {more[0]:+.1f} [{more[1]:+.1f}, {more[2]:+.1f}]", flush=True)  # fmt: skip


def _ends(seeds: range) -> list[int]:
    return [seeds[0], seeds[-1]]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
