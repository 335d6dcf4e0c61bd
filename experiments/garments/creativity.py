"""Does low-frequency amplification make the reference pipeline more creative? Novelty won at usability kept.

    python -m experiments.garments.creativity

Gains are chosen on seeds 0-15 and reported on seeds 100-131, for 8 prompts. The search sees the guide network alone:
its probability of the prompted garment, and distances among its features. What is reported comes from networks that
had no part: usability is the judge's mean probability of the prompted garment; novelty the mean distance to the 5th
neighbour among 500 unamplified samples of the same prompt in the code of an autoencoder, counted only for samples
inside the manifold of real garments of the class. Each control is as strong as its usability, by the guide and on
the seeds of the search, is no lower than the chosen gains' (with one gain in all blocks, and with gains in the
proportions of the chosen ones): the same usability, another band. A second search has to keep 0.9 of the share of
samples that lie inside the manifold of real garments, too.

Writes results/creativity/: tables.txt, results.json, pairs.png, search.png. Interrupted, it goes on from the
scores that its cache holds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.garments.captions import add_border, training_images
from experiments.intervals import bootstrap
from experiments.pages import write_page
from genmend.activations import Edit
from genmend.activations.digests import weights_digest
from genmend.diffusion import Novelty, amplified, draw, search_gains
from genmend.diffusion.amplification.control_bands import AmplifyBand
from genmend.diffusion.amplification.frequency_bands import band_share
from genmend.diffusion.amplification.gains import edits_by_slot
from genmend.diffusion.reference import garment_in, garment_scorer, load_reference, novelty_extractor
from genmend.diffusion.reference.networks import load_network, outputs
from genmend.diffusion.search.published_search import published_search
from genmend.diffusion.search.trials import Comparison, Measure, Scores, compare_scores, make_measure
from genmend.manifold.figures.image_grid import image_grid, to_pixels
from genmend.storage.pieces import Work

RESULTS = Path(__file__).with_name("results") / "creativity"
PROMPTS = tuple(
    f"a creative {garment}"
    for garment in ("t-shirt", "trousers", "dress", "coat", "sandal", "sneaker", "bag", "ankle boot")
)
CHOICE, REPORT, CLOUD = range(16), range(100, 132), range(1_000, 1_500)
CALL: dict[str, Any] = {"num_inference_steps": 6, "guidance_scale": 2.0, "batch_size": 32}
# SDXL-Turbo's 5 bins as shares of Nyquist: of 16 bins in its first block, of 8 in the others.
CUTOFFS = {"down0": 0.3125, "down1": 0.625, "mid": 0.625}
LARGEST = {"down0": 2.0, "down1": 4.0, "mid": 4.0}
CONTROLS = ("full", "high", "random", "noise")
STEPS = (1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0)  # gains of the controls, in all blocks
SHARES = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)  # of ours' excess gains
N_REAL = 1_000
TAU, KEEP_INSIDE = 0.95, 0.9


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    pipe = load_reference()
    cache = options.out / "cache" / weights_digest(pipe.unet)[:12]
    clouds = {prompt: cloud_of(pipe, prompt, cache) for prompt in (PROMPTS[::-1] if options.clouds_only else PROMPTS)}
    if options.clouds_only:
        return
    real = {prompt: real_garments(prompt) for prompt in PROMPTS}
    guide = load_network("guide")
    search_measure = _measure(pipe, "guide", penultimate(guide), clouds, real, cache)
    report_measure = _measure(pipe, "judge", novelty_extractor(), clouds, real, cache)
    search = partial(
        search_gains,
        pipe,
        PROMPTS,
        {},
        _unused,
        CHOICE,
        largest=LARGEST,
        cutoff=CUTOFFS,
        tau=TAU,
        n_trials=options.n_trials,
        n_refined=options.n_trials // 2,
        edit_options={"cutoff_unit": "nyquist"},
        measure=search_measure,
        progress=True,
    )
    found, cautious = search(), search(keep_inside=KEEP_INSIDE)
    found.plot().savefig(options.out / "search.png", dpi=110)
    published = published_search(
        pipe.unet,
        search_measure,
        CHOICE[:10],
        grid={
            "down0": (1.2, 1.4, 1.6, 1.8, 2.0),
            "down1": (2.0, 4.0, 6.0, 8.0, 10.0),
            "mid": (2.0, 4.0, 6.0, 8.0, 10.0),
        },
        cutoff=CUTOFFS,
        shrink={"down0": 0.3, "down1": 0.2, "mid": 0.2},
        cutoff_unit="nyquist",
    )
    chosen = {
        "ours": found.edits,
        "ours, share inside kept": cautious.edits,
        "published search, shrunk": _edits(pipe, published.shrunk),
        "published search, each block's own": _edits(pipe, published.gains),
    }
    kept = compare_scores(search_measure(found.edits, CHOICE), search_measure((), CHOICE)).usability["guide"]
    for band in CONTROLS:
        chosen[f"control: {band}, one gain"] = _match_usability(_one_gain(band), kept, search_measure)
        chosen[f"control: {band}, gains as ours"] = _match_usability(
            _like_ours(band, found.edits), kept, search_measure
        )
    rows = {"unamplified": _row((), report_measure)} | {
        name: _row(edits, report_measure) for name, edits in chosen.items()
    }
    differences = {
        name: novelty_difference(report_measure(found.edits, REPORT), report_measure(edits, REPORT))
        for name, edits in chosen.items()
        if name != "ours"
    }
    result = {
        "settings": {
            "prompts": PROMPTS,
            "seeds": {"choice": [0, 15], "report": [100, 131], "cloud": [1_000, 1_499]},
            "call": CALL,
            "cutoffs": CUTOFFS,
            "band_shares": {slot: band_share(16, 16, share, "nyquist") for slot, share in CUTOFFS.items()},
            "tau": TAU,
            "keep_inside": KEEP_INSIDE,
        },
        "gains": {name: _gains(edits) for name, edits in chosen.items()},
        "guide_usability_of_ours_on_the_search_seeds": kept,
        "rows": rows,
        "novelty_of_ours_minus": differences,
        "published": published.to_dict(),
        "search": found.to_dict(),
        "search_share_inside_kept": cautious.to_dict(),
    }
    text = _table(result)
    print(text)
    (options.out / "tables.txt").write_text(text + "\n")
    (options.out / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    (options.out / "pairs.png").write_bytes(_pairs(pipe, chosen))
    write_page("garments/creativity")


def cloud_of(pipe: Any, prompt: str, cache: Path) -> Tensor:
    """Unamplified samples of a prompt."""
    name = f"cloud-{garment_in(prompt)}"
    pixels = Work(cache).kept(
        name, None, lambda: {"images": to_pixels(draw(pipe, prompt, CLOUD, progress=True, **CALL))}
    )
    return torch.from_numpy(pixels["images"]).permute(0, 3, 1, 2).float() / 255


def real_garments(prompt: str) -> Tensor:
    """Real garments of the prompted class, as the pipeline draws them: 32x32, three equal channels."""
    images, labels = training_images()
    chosen = images[labels == garment_in(prompt)][:N_REAL]
    return ((torch.from_numpy(add_border(chosen)) + 1) / 2)[:, None].expand(-1, 3, -1, -1)


def penultimate(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Features before the last layer."""
    body = nn.Sequential(*list(network.children())[:-1])
    return lambda images: outputs(body, images)


def _measure(
    pipe: Any,
    judge: str,
    extractor: Callable[[Tensor], Tensor],
    clouds: Mapping[str, Tensor],
    real: Mapping[str, Tensor],
    cache: Path,
) -> Measure:
    novelty = Novelty(extractor).fit(clouds, real)
    usability = {judge: garment_scorer(judge)}
    return make_measure(pipe, PROMPTS, usability, novelty, work=Work(cache / judge), scorers_key=judge, **CALL)


def _edits(pipe: Any, gains: Mapping[str, float]) -> tuple[Edit, ...]:
    return edits_by_slot(pipe.unet, gains, cutoff=CUTOFFS, cutoff_unit="nyquist")


def _match_usability(ladder: Sequence[Sequence[Edit]], usability: float, measure: Measure) -> Sequence[Edit]:
    """The strongest of a control's rungs, weak to strong, that is as usable as ours; nothing where none is."""
    plain, best = measure((), CHOICE), ()
    for edits in ladder:
        if compare_scores(measure(edits, CHOICE), plain).usability["guide"] < usability:
            break
        best = edits
    return best


def _one_gain(band: str) -> list[tuple[Edit, ...]]:
    """A control with the same gain in all blocks."""
    layers = {"down0": "down_blocks.0", "down1": "down_blocks.1", "mid": "mid_block"}
    return [
        tuple(AmplifyBand(layer, gain, CUTOFFS[slot], band, "nyquist") for slot, layer in layers.items())  # type: ignore[arg-type]
        for gain in STEPS
    ]


def _like_ours(band: str, ours: Sequence[Edit]) -> list[tuple[Edit, ...]]:
    """A control whose excess gains are in the proportions of ours."""
    return [
        tuple(AmplifyBand(e.layer, 1 + share * (e.gain - 1), e.cutoff, band, "nyquist") for e in ours)  # type: ignore[attr-defined, arg-type]
        for share in SHARES
    ]


def _row(edits: Sequence[Edit], measure: Measure) -> dict[str, Any]:
    scores = measure(edits, REPORT)
    found: Comparison = compare_scores(scores, measure((), REPORT))
    return {
        "usability": float(scores.usability["judge"].mean()),
        "usability_ratio": found.usability["judge"],
        "usability_bounds": [found.usability_lower["judge"], found.usability_upper["judge"]],
        "novelty": float(np.nanmean(scores.novelty)),
        "novelty_ratio": found.novelty,
        "novelty_interval": list(found.novelty_interval),
        "inside": found.counted,
        "n": found.n,
    }


def novelty_difference(one: Scores, other: Scores) -> list[float]:
    """Mean novelty of one minus another's: 95 % bootstrap interval over pairs of prompt and seed."""

    def difference(rows: np.ndarray) -> float:
        return np.nanmean(one.novelty[rows]) - np.nanmean(other.novelty[rows])

    return list(bootstrap(difference, len(one.novelty))[1:])


def _gains(edits: Sequence[Edit]) -> dict[str, float]:
    return {edit.layer: edit.gain for edit in edits}  # type: ignore[attr-defined]


def _table(result: Mapping[str, Any]) -> str:
    shares = ", ".join(f"{slot} {share:.1%}" for slot, share in result["settings"]["band_shares"].items())
    lines = [
        f"diffusion_creativity: {len(PROMPTS)} prompts x seeds 100-131, {CALL['num_inference_steps']} steps, guidance "
        f"{CALL['guidance_scale']}; gains chosen on seeds 0-15 by the guide; judged by the judge and the autoencoder.",
        f"Share of the bins in the low band: {shares}.",
        f"{'':36s} usability   ratio [one-sided 95 %]   novelty   ratio [95 %]            inside   ours minus it",
    ]
    for name, row in result["rows"].items():
        low, high = row["usability_bounds"]
        a, b = row["novelty_interval"]
        against = result["novelty_of_ours_minus"].get(name)
        tail = "" if against is None else f"[{against[0]:+.3f}, {against[1]:+.3f}]"
        lines.append(
            f"{name:36s} {row['usability']:.3f}       {row['usability_ratio']:.3f} [{low:.3f}, {high:.3f}]      "
            f"{row['novelty']:7.3f}   {row['novelty_ratio']:.3f} [{a:.3f}, {b:.3f}]   {row['inside']:.3f}   {tail}"
        )
    lines += [
        f"gains of {name}: {gains or 'none (no step was usable enough)'}" for name, gains in result["gains"].items()
    ]
    return "\n".join(lines)


def _pairs(pipe: Any, chosen: Mapping[str, Sequence[Edit]]) -> bytes:
    """A row for no amplification and one for each method: two seeds of each prompt."""
    rows = []
    for edits in ((), *chosen.values()):
        with amplified(pipe, edits=edits):
            rows.append(draw(pipe, PROMPTS, REPORT[:2], **CALL))
    return image_grid(rows, scale=2)


def _unused(images: Tensor, prompt: str) -> Any:
    raise AssertionError("the measure that is given scores novelty")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--clouds-only", action="store_true", help="a second process may draw them from the last on")
    parser.add_argument("--n-trials", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
