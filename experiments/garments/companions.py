"""FreeU, CADS and boosted initial noise beside low-frequency amplification, at the same usability.

    python -m experiments.garments.creativity
    python -m experiments.garments.companions

Each is as strong as its usability, by the guide and on the seeds of the search (0-15), is no lower than that of the
gains that experiments.garments.creativity chose; reported on seeds 100-131 by networks that had no part, as there.
The full strength of FreeU is the authors' for SD 1.4, of which shares are taken; CADS anneals from a noise level of 1
to 0.6 (published is 0.9 to 0.6, but then the first of only 6 steps would see nothing of the prompt, and no scale was
usable enough); boosted noise skips no step.

Writes results/companions/: tables.txt, results.json, pairs.png.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.garments.creativity import (
    CALL,
    CHOICE,
    CUTOFFS,
    PROMPTS,
    REPORT,
    cloud_of,
    novelty_difference,
    real_garments,
)
from experiments.garments.creativity import RESULTS as CREATIVITY
from experiments.pages import write_page
from genmend.activations.digests import weights_digest
from genmend.diffusion import Novelty, amplified, cads, draw, freeu
from genmend.diffusion.amplification.gains import edits_by_slot
from genmend.diffusion.baselines.boosted_noise import boosted_latents
from genmend.diffusion.baselines.freeu import FREEU_SETTINGS
from genmend.diffusion.reference import garment_scorer, load_reference, novelty_extractor
from genmend.diffusion.search.trials import Scores, compare_scores
from genmend.manifold.figures.image_grid import image_grid

RESULTS = Path(__file__).with_name("results") / "companions"


@dataclass(frozen=True)
class Companion:
    """A way to draw, by strength: what to have on while drawing, and the noise to draw from."""

    name: str
    strengths: tuple[float, ...]
    on: Callable[[Any, float, int], AbstractContextManager[Any]]
    noise: Callable[[Any, float, Sequence[int]], Tensor] | None = None


def _freeu(pipe: Any, share: float, _: int) -> AbstractContextManager[Any]:
    return freeu(pipe, **{name: 1 + share * (value - 1) for name, value in FREEU_SETTINGS["sd14"].items()})


def _cads(pipe: Any, scale: float, number: int) -> AbstractContextManager[Any]:
    return cads(pipe, scale, tau2=1.0, seed=10_000 * (number + 1))


def _boost(pipe: Any, gamma: float, seeds: Sequence[int]) -> Tensor:
    return boosted_latents(pipe, gamma, seeds=list(seeds))


COMPANIONS = (
    Companion("FreeU, share of SD 1.4's setting", (0.1, 0.2, 0.35, 0.5, 0.75, 1.0), _freeu),
    Companion("CADS, scale", (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.4), _cads),
    Companion("boosted noise, gamma", (1.02, 1.05, 1.1, 1.2, 1.3, 1.5), lambda *_: nullcontext(), _boost),
)


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    pipe = load_reference()
    cache = CREATIVITY / "cache" / weights_digest(pipe.unet)[:12]
    clouds = {prompt: cloud_of(pipe, prompt, cache) for prompt in PROMPTS}
    novelty = Novelty(novelty_extractor()).fit(clouds, {prompt: real_garments(prompt) for prompt in PROMPTS})
    earlier = json.loads((CREATIVITY / "results.json").read_text(encoding="utf-8"))
    usable_as = float(earlier["guide_usability_of_ours_on_the_search_seeds"])
    plain, ours = _images(pipe, None, 0.0, REPORT), _ours(pipe, earlier["search"]["gains"])
    plain_scores, our_scores = _measure_all(plain, novelty), _measure_all(ours, novelty)
    plain_usability = _scores("guide", _images(pipe, None, 0.0, CHOICE)).mean()
    rows, chosen = [_row("ours, low frequencies", "", our_scores, plain_scores, our_scores)], {}
    for companion in COMPANIONS:
        kept, usabilities = 0.0, {}
        for strength in companion.strengths:
            usability = _scores("guide", _images(pipe, companion, strength, CHOICE)).mean()
            usabilities[strength] = float(usability / plain_usability)
            if usabilities[strength] < usable_as:
                break
            kept = strength
        images = _images(pipe, companion if kept else None, kept, REPORT)
        chosen[companion.name] = images
        rows.append(
            _row(
                companion.name, kept or "none is usable enough", _measure_all(images, novelty), plain_scores, our_scores
            )
        )
        rows[-1]["guide_usability_by_strength"] = usabilities
        print(_line(rows[-1]), flush=True)
    result = {"usable_as": usable_as, "rows": rows}
    text = "\n".join([_head(usable_as), *map(_line, rows)])
    print(text)
    (options.out / "tables.txt").write_text(text + "\n", encoding="utf-8")
    (options.out / "results.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    shown = [range(i * len(REPORT), i * len(REPORT) + 2) for i in range(len(PROMPTS))]
    places = [place for pair in shown for place in pair]
    grid = [images[places] for images in (plain, ours, *chosen.values())]
    (options.out / "pairs.png").write_bytes(image_grid(grid, scale=2))
    write_page("garments/companions")


def _images(pipe: Any, companion: Companion | None, strength: float, seeds: Sequence[int]) -> Tensor:
    """Prompts first, then seeds; without a companion as the pipeline draws."""
    parts = []
    for number, prompt in enumerate(PROMPTS):
        more = {}
        if companion is not None and companion.noise is not None:
            more["latents"] = companion.noise(pipe, strength, seeds)
        with companion.on(pipe, strength, number) if companion is not None else nullcontext():
            parts.append(draw(pipe, prompt, seeds, **more, **CALL))
    return torch.cat(parts)


def _ours(pipe: Any, gains: dict[str, float]) -> Tensor:
    with amplified(pipe, edits=edits_by_slot(pipe.unet, gains, cutoff=CUTOFFS, cutoff_unit="nyquist")):
        return _images(pipe, None, 0.0, REPORT)


def _scores(judge: str, images: Tensor) -> np.ndarray:
    scorer = garment_scorer(judge)
    parts = images.split(len(images) // len(PROMPTS))
    return np.concatenate([scorer(part, prompt) for part, prompt in zip(parts, PROMPTS, strict=True)])


def _measure_all(images: Tensor, novelty: Novelty) -> Scores:
    parts = images.split(len(images) // len(PROMPTS))
    new = np.concatenate([novelty(part, prompt) for part, prompt in zip(parts, PROMPTS, strict=True)])
    return Scores({"judge": _scores("judge", images)}, new)


def _row(name: str, strength: Any, found: Scores, plain: Scores, ours: Scores) -> dict[str, Any]:
    comparison = compare_scores(found, plain)
    return {
        "method": name,
        "strength": strength,
        "usability_ratio": comparison.usability["judge"],
        "usability_bounds": [comparison.usability_lower["judge"], comparison.usability_upper["judge"]],
        "novelty_ratio": comparison.novelty,
        "novelty_interval": list(comparison.novelty_interval),
        "inside": comparison.counted,
        "ours_minus_it": novelty_difference(ours, found),
    }


def _head(usable_as: float) -> str:
    return (
        f"diffusion_companions: {len(PROMPTS)} prompts x seeds 100-131, {CALL['num_inference_steps']} steps; strengths "
        f"chosen on seeds 0-15, guide's usability at least {usable_as:.3f} of the unamplified.\n"
        f"{'':34s} strength   usability [one-sided 95 %]   novelty [95 %]            inside   ours minus it"
    )


def _line(row: dict[str, Any]) -> str:
    (low, high), (a, b), (c, d) = row["usability_bounds"], row["novelty_interval"], row["ours_minus_it"]
    return (
        f"{row['method']:34s} {row['strength']!s:10s} {row['usability_ratio']:.3f} [{low:.3f}, {high:.3f}]       "
        f"{row['novelty_ratio']:.3f} [{a:.3f}, {b:.3f}]   {row['inside']:.3f}    [{c:+.3f}, {d:+.3f}]"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
