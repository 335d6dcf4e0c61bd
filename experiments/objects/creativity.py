"""What draws more creative vessels, counted by an exact judge, at equal cost?

    python -m experiments.objects.creativity [--regime one_step steps] [--quick]

The judge reads the factors of each picture, renders the vessel again, and says: intact (what is rendered is the
picture), right (a vessel of the prompted kind), new (neither typical of the kind nor held out: rare; or of the part
that was never shown: unseen). Creative is intact, right, and rare or unseen. Place, size, exposure and background do
not count, so a zoom is not new.

Two regimes: the distilled pipeline in one unguided step, as the published gains are of, and the trained one in several
steps. Two prompts, "a cup" and "a creative cup", for each of six kinds. The strength of each way to draw is the one
with the largest creative share on some seeds, out of what stands in ways.py; the search of each band tries the same
gains. Reported on other seeds beside plain drawing with the same seeds; plain drawing with more seeds is the control
that costs nothing to find. Trivial changes of the plain pictures show that the judge does not count them. The newest
of four plain pictures by `genmend.diffusion.Novelty` shows what a measure with a network's taste finds.

Writes results/creativity/: results.json, and pictures; then the page. Interrupted, it goes on from the verdicts in the
user's cache.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms.functional import adjust_brightness, adjust_contrast, adjust_gamma, affine, gaussian_blur
from tqdm import tqdm

from experiments.intervals import bootstrap, mean_with_interval
from experiments.objects.distil import TARGET as ONE_STEP
from experiments.objects.judge import LARGEST_RESIDUAL, judge_pictures, load_reader, spread_of
from experiments.objects.train_judge import soften
from experiments.objects.train_pipeline import TARGET as TRAINED
from experiments.objects.ways import (
    BANDS,
    PLAIN,
    Way,
    against_plain_ways,
    mid_ways,
    other_ways,
    published_ways,
    searched_ways,
)
from experiments.objects.world import KINDS, draw_factors, render
from experiments.pages import write_page
from genmend.activations.digests import weights_digest
from genmend.diffusion import Novelty, draw
from genmend.diffusion.baselines.boosted_noise import boosted_latents
from genmend.manifold.features import load_extractor
from genmend.manifold.figures.image_grid import image_grid
from genmend.storage.atomic import whole_file
from genmend.storage.pieces import Work
from genmend.storage.weights import cache_folder

RESULTS = Path(__file__).with_name("results") / "creativity"
PROMPTS = {"plain": "a {}", "creative": "a creative {}"}
FOUND = ("intact", "right", "rare", "held_out")
N_NEWEST = 4  # the newest of so many

TRIVIAL: Mapping[str, Callable[[Tensor], Tensor]] = {
    "zoom 0.92": lambda x: _moved(x, scale=0.92),
    "moved by two pixels": lambda x: _moved(x, translate=[2, 0]),
    "brighter": partial(adjust_brightness, brightness_factor=1.1),
    "less contrast": partial(adjust_contrast, contrast_factor=0.85),
    "gamma 1.1": partial(adjust_gamma, gamma=1.1),
    "blurred": partial(gaussian_blur, kernel_size=[5, 5], sigma=[0.6, 0.6]),
}


@dataclass(frozen=True)
class Regime:
    """A pipeline and the arguments of its call."""

    folder: Path
    call: Mapping[str, Any]
    n_trials: int
    choice: range
    report: range

    @property
    def guided(self) -> bool:
        return bool(self.call["guidance_scale"] > 1)


REGIMES = {
    "one_step": Regime(ONE_STEP, {"num_inference_steps": 1, "guidance_scale": 0.0}, 16, range(16), range(100, 200)),
    "steps": Regime(TRAINED, {"num_inference_steps": 4, "guidance_scale": 2.0}, 4, range(6), range(100, 124)),
}


@dataclass(frozen=True)
class Bench:
    """All that a way to draw is measured with."""

    pipe: Any
    regime: Regime
    reader: nn.Module
    work: Work

    def pictures(self, way: Way, words: str, kind: str, seeds: Sequence[int]) -> Tensor:
        """Pictures (n, 3, 48, 48) in 0..1 of a kind, one of each seed."""
        call = {**self.regime.call, "batch_size": len(seeds), **way.call}
        if way.against_plain:
            call["negative_prompt"] = [PROMPTS["plain"].format(kind)] * len(seeds)
        if way.gamma != 1:
            call["latents"] = boosted_latents(self.pipe, way.gamma, seeds=list(seeds))
        with way.on(self.pipe, list(KINDS).index(kind)):
            return draw(self.pipe, PROMPTS[words].format(kind), seeds, **call)

    def verdicts(self, way: Way, words: str, seeds: range) -> dict[str, np.ndarray]:
        """What the judge says of all kinds, the seeds of the first kind first."""
        parts = [self._verdicts_of_kind(way, words, kind, seeds) for kind in KINDS]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _verdicts_of_kind(self, way: Way, words: str, kind: str, seeds: range) -> dict[str, np.ndarray]:
        facts = {"way": [way.family, way.strength], "words": words, "seeds": [seeds.start, seeds.stop]}
        facts |= {"call": dict(self.regime.call)}

        def judged() -> dict[str, np.ndarray]:
            return judge(self.reader, self.pictures(way, words, kind, seeds), kind)

        return self.work.kept(f"verdicts-{kind}", facts, judged)


def judge(reader: nn.Module, pictures: Tensor, kind: str) -> dict[str, np.ndarray]:
    """What the judge says of pictures of one kind, (n,) each; what an intact, right vessel is like, (n, parts)."""
    verdict = judge_pictures(reader, pictures, kind)
    found = {name: getattr(verdict, name).numpy() for name in FOUND}
    return found | {"residual": verdict.residual.numpy(), "traits": verdict.traits(kind).numpy()}


def creative(verdicts: Mapping[str, np.ndarray]) -> np.ndarray:
    """Intact, right and new, (n,)."""
    return verdicts["intact"] & verdicts["right"] & (verdicts["rare"] | verdicts["held_out"])


def unseen(verdicts: Mapping[str, np.ndarray]) -> np.ndarray:
    """Intact, right, and of the part that was never shown, (n,)."""
    return verdicts["intact"] & verdicts["right"] & verdicts["held_out"]


def row_of(verdicts: Mapping[str, np.ndarray], plain: Mapping[str, np.ndarray], n_ways: int = 1) -> dict[str, Any]:
    """Shares with 95 % intervals over pictures, and the differences to plain drawing with the same seeds.

    "corrected" is the interval of the difference that holds for all of so many ways together (Bonferroni).
    """
    more = creative(verdicts).astype(float) - creative(plain)
    level = 1 - 0.05 / n_ways
    together = bootstrap(lambda rows: float(more[rows].mean()), len(more), n_resamples=10_000, level=level)
    of_kind = creative(verdicts).reshape(len(KINDS), -1).mean(1) - creative(plain).reshape(len(KINDS), -1).mean(1)
    usable = verdicts["intact"] & verdicts["right"]
    kinds = np.repeat(np.arange(len(KINDS)), len(usable) // len(KINDS))
    return {
        "creative": mean_with_interval(creative(verdicts)),
        "unseen": mean_with_interval(unseen(verdicts)),
        "intact": mean_with_interval(verdicts["intact"]),
        "usable": mean_with_interval(usable),
        "more_creative": mean_with_interval(more),
        "more_creative_corrected": list(together),
        "more_unseen": mean_with_interval(unseen(verdicts).astype(float) - unseen(plain)),
        "kinds_that_gain": int((of_kind > 0).sum()),
        "spread": spread_of(verdicts["traits"][usable], kinds[usable]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regime", nargs="+", choices=REGIMES, default=list(REGIMES))
    parser.add_argument("--quick", action="store_true", help="few seeds and 2 trials, written nowhere but the terminal")
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / "results.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.is_file() and not options.quick else {}
    for name in options.regime:
        regime = REGIMES[name]
        if options.quick:
            regime = replace(regime, n_trials=2, choice=range(2), report=range(100, 104))
        bench = begin(regime)
        measured = {words: measure(bench, words) for words in PROMPTS}
        results[name] = {
            "call": dict(bench.regime.call),
            "seeds": {
                name: [part.start, part.stop - 1]
                for name, part in (("choice", regime.choice), ("report", regime.report))
            },
            "kinds": list(KINDS),
            "largest_residual": LARGEST_RESIDUAL,
            "prompts": measured,
            "rendered": rendered_vessels(bench),
            "trivial": trivial_changes(bench),
            "newest": newest_by_features(bench),
        }
        if options.quick:
            print(json.dumps(results, indent=1))
            continue
        RESULTS.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        with whole_file(RESULTS / f"{name}.png") as temporary:
            temporary.write_bytes(picture_of(bench, "plain", measured["plain"]))
    if not options.quick:
        write_page("objects/creativity")


def begin(regime: Regime) -> Bench:
    """Load the pipeline and the judge."""
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(regime.folder, dtype=torch.float32)
    reader = load_reader()
    key = f"{weights_digest(pipe.unet)[:12]}-{weights_digest(reader)[:12]}-{LARGEST_RESIDUAL:g}"
    return Bench(pipe, regime, reader, Work(cache_folder() / "vessels" / key))


def ways_to_try(regime: Regime, words: str) -> list[Way]:
    """All strengths of all families; the published gains are of one step."""
    steps = regime.call["num_inference_steps"]
    ways = [*published_ways(), *mid_ways(), *other_ways(steps, regime.guided)]
    ways += [way for band in BANDS for way in searched_ways(band, regime.n_trials)]
    return ways + (against_plain_ways(regime.guided) if words == "creative" else [])


def measure(bench: Bench, words: str) -> dict[str, Any]:
    """Choose a strength of each family on the seeds of the choice, and report it on the others."""
    shares: dict[str, dict[str, float]] = {}
    ways: dict[tuple[str, str], Way] = {}
    for way in tqdm([PLAIN, *ways_to_try(bench.regime, words)], desc=f"{words} prompt"):
        ways[way.family, way.strength] = way
        share = float(creative(bench.verdicts(way, words, bench.regime.choice)).mean())
        shares.setdefault(way.family, {})[way.strength] = share
    plain = bench.verdicts(PLAIN, words, bench.regime.report)
    rows = []
    for family, by_strength in shares.items():
        best = max(by_strength, key=lambda strength: by_strength[strength])
        row = row_of(bench.verdicts(ways[family, best], words, bench.regime.report), plain, len(shares) - 1)
        rows.append({"way": family, "strength": best, "cost": ways[family, best].cost, "choice": by_strength} | row)
    return {"rows": rows}


def trivial_changes(bench: Bench) -> list[dict[str, Any]]:
    """The plain pictures changed in what does not count: the judge has to count as many creative ones."""
    counted: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in ("plain", *TRIVIAL)}
    for kind in KINDS:
        pictures = bench.pictures(PLAIN, "creative", kind, bench.regime.report)
        for name, found in counted.items():
            changed = TRIVIAL[name](pictures).clamp(0, 1) if name in TRIVIAL else pictures
            found.append(judge(bench.reader, changed, kind))
    joined = {
        name: {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        for name, parts in counted.items()
    }
    return [{"change": name} | row_of(found, joined["plain"]) for name, found in joined.items()]


def rendered_vessels(bench: Bench) -> list[dict[str, Any]]:
    """Vessels of known regions, rendered: how many does the judge call creative, and how many unseen?"""
    rows = []
    for region in ("typical", "rare", "held out"):
        rng = np.random.default_rng(1)
        parts = [
            judge(
                bench.reader,
                soften(render(draw_factors(KINDS[kind], len(bench.regime.report), rng, region)), rng),
                kind,
            )
            for kind in KINDS
        ]
        found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        rows.append({"region": region} | row_of(found, found))
    return rows


def newest_by_features(bench: Bench) -> dict[str, Any]:
    """The newest of four plain pictures by distances among features: how much creative does that find?"""
    from sklearn.metrics import roc_auc_score

    extractor = load_extractor("efficientnet-lite0")
    cloud = range(1_000, 1_000 + 2 * len(bench.regime.report))
    is_creative, novelty = [], []
    for kind in KINDS:
        clouds = {kind: bench.pictures(PLAIN, "plain", kind, cloud)}
        measure_of_kind = Novelty(extractor).fit(clouds)
        pictures = bench.pictures(PLAIN, "plain", kind, bench.regime.report)
        is_creative.append(creative(judge(bench.reader, pictures, kind)))
        novelty.append(measure_of_kind(pictures, kind))
    found, scores = np.stack(is_creative), np.stack(novelty)
    groups = scores.reshape(len(KINDS), -1, N_NEWEST) if scores.shape[1] % N_NEWEST == 0 else scores[..., None]
    chosen = np.take_along_axis(found.reshape(groups.shape), groups.argmax(-1)[..., None], -1)
    aurocs = [roc_auc_score(f, s) for f, s in zip(found, scores, strict=True) if 0 < f.sum() < len(f)]
    return {
        "features": "efficientnet-lite0",
        "of": groups.shape[-1],
        "creative_of_plain": mean_with_interval(found.ravel()),
        "creative_of_newest": mean_with_interval(chosen.ravel()),
        "auroc_by_kind": aurocs,
    }


def picture_of(bench: Bench, words: str, measured: Mapping[str, Any]) -> bytes:
    """A row for each way, two seeds of each kind; what is creative has a green frame, what is broken a red one."""
    ways = {(way.family, way.strength): way for way in (PLAIN, *ways_to_try(bench.regime, words))}
    shown = [ways[row["way"], row["strength"]] for row in measured["rows"]]
    rows = [torch.cat([framed(bench, way, words, kind) for kind in KINDS]) for way in shown]
    return image_grid(rows, scale=2, names=[way.family for way in shown])


def framed(bench: Bench, way: Way, words: str, kind: str) -> Tensor:
    """Two pictures (2, 3, 52, 52) of a kind in their frames."""
    pictures = bench.pictures(way, words, kind, bench.regime.report[:2])
    found = judge(bench.reader, pictures, kind)
    frames = torch.full((len(pictures), 3, 52, 52), 0.9)
    good, broken = torch.from_numpy(creative(found)), torch.from_numpy(~(found["intact"] & found["right"]))
    frames[good] = torch.tensor([0.1, 0.6, 0.2])[:, None, None]
    frames[broken] = torch.tensor([0.8, 0.1, 0.1])[:, None, None]
    frames[:, :, 2:-2, 2:-2] = pictures
    return frames


def _moved(pictures: Tensor, scale: float = 1.0, translate: Sequence[int] = (0, 0)) -> Tensor:
    """Scaled about the middle and moved; what comes into view is the picture's corner, its background."""
    fill = pictures[:, :, 0, 0].mean().item()
    return affine(pictures, 0.0, list(translate), scale, [0.0], fill=[fill])


if __name__ == "__main__":
    main()
