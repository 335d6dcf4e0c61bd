"""Is what an image adds to the Vendi score a better guide for a search of gains than its distance from the cloud?

    python -m experiments.garments.diversity_search

The same search twice on the reference pipeline, alike in everything but the novelty that it maximises: the distance to
the 5th neighbour among the unamplified cloud, counted among real garments only (`Novelty`), and the gain in the cloud's
Vendi score (`VendiGain`). Gains are chosen on seeds 0-7 with the guide's usability and reported on seeds 100-131 with
the judge's; beside them the unamplified images, and more seeds of them (200-231) as the control of both measures.

Writes results/diversity_search/results.json. Interrupted, it goes on from what its cache holds.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmend.diffusion import Novelty, amplified, draw, search_gains
from genmend.diffusion.reference import garment_scorer, load_reference, novelty_extractor, real_garments
from genmend.diffusion.search.novelty import VendiGain
from genmend.manifold import vendi_score
from genmend.manifold.features import extract
from genmend.storage.pieces import Work

RESULTS = Path(__file__).with_name("results") / "diversity_search"
PROMPTS = ("a creative dress", "a creative sneaker")
CHOICE, REPORT, MORE, CLOUD = range(8), range(100, 132), range(200, 232), range(1_000, 1_100)
CALL: dict[str, Any] = {"num_inference_steps": 6, "guidance_scale": 2.0, "batch_size": 32}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--n-trials", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pipe, extractor = load_reference(), novelty_extractor()
    work = Work(options.out / "cache", progress=True)
    clouds = {prompt: draw(pipe, prompt, CLOUD, **CALL) for prompt in PROMPTS}
    distance = Novelty(extractor).fit(clouds, {prompt: real_garments(prompt) for prompt in PROMPTS})
    diversity = VendiGain(extractor).fit(clouds)
    search = partial(
        search_gains,
        pipe,
        PROMPTS,
        {"guide": garment_scorer("guide")},
        seeds=CHOICE,
        n_trials=options.n_trials,
        n_refined=options.n_trials // 2,
        **CALL,
    )
    report = partial(measured, pipe, extractor, distance, diversity, clouds)
    rows = {"unamplified": report((), REPORT), "unamplified, more seeds": report((), MORE)}
    for name, novelty in (("distance", distance), ("vendi", diversity)):
        found = search(novelty=novelty, work=work.inside(name), scorers_key=name)
        rows[f"searched by {name}"] = {"gains": found.gains, **report(found.edits, REPORT)}
        print(name, rows[f"searched by {name}"], flush=True)
    settings = {"prompts": PROMPTS, "n_trials": options.n_trials, "n_report": len(REPORT), "n_cloud": len(CLOUD)}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n")


def measured(
    pipe: Any,
    extractor: Any,
    distance: Novelty,
    diversity: VendiGain,
    clouds: dict[str, Tensor],
    edits: Any,
    seeds: range,
) -> dict[str, float]:
    """Means over both prompts."""
    found: dict[str, list[float]] = {}
    judge = garment_scorer("judge")
    with amplified(pipe, edits=edits):
        drawn = {prompt: draw(pipe, prompt, seeds, **CALL) for prompt in PROMPTS}
    for prompt, images in drawn.items():
        novelty = distance(images, prompt)
        for name, value in (
            ("usability", judge(images, prompt).mean()),
            ("novelty", np.nanmean(novelty)),
            ("inside", np.isfinite(novelty).mean()),
            ("keepers_of_100", 100 * (novelty > distance.newest(prompt)).mean()),
            ("vendi_gain", diversity(images, prompt).mean()),
            ("vendi_of_the_images", vendi_score(extract(extractor, images))),
        ):
            found.setdefault(name, []).append(float(value))
    return {name: round(float(np.mean(values)), 4) for name, values in found.items()}


if __name__ == "__main__":
    main()
