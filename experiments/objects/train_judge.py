"""Train the network that reads the factors off a vessel's picture, on pictures rendered as it goes.

    python -m experiments.objects.train_judge [--minutes 15]

All valid vessels of all kinds equally often, rare and held-out ones among them, some a little blurred and noisy, as
what a pipeline draws is. Writes experiments/data/vessel_reader.safetensors, and results/judge/: how well factors are
read on 2,000 new vessels, how large the residual of intact ones is, and of ones that were broken on purpose.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from experiments.objects.judge import (
    BOUNDS,
    CLASSES,
    CONTINUOUS,
    HUES,
    WEIGHTS,
    build_reader,
    judge_pictures,
    load_reader,
    read_factors,
    split_outputs,
)
from experiments.objects.world import KINDS, Factors, draw_factors, hue_distance, render
from genmend.storage.atomic import whole_file

RESULTS = Path(__file__).with_name("results") / "judge"
BATCH, PEAK_RATE, N_TESTED = 64, 3e-3, 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", action="store_true", help="the weights that are there, without training")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.measure:
        measure(load_reader())
        return
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    reader = build_reader().train()
    optimizer = torch.optim.AdamW(reader.parameters(), PEAK_RATE, weight_decay=1e-4)
    started, step = time.monotonic(), 0
    while (share := (time.monotonic() - started) / (60 * options.minutes)) < 1:
        factors = draw_all_kinds(BATCH, rng)
        optimizer.param_groups[0]["lr"] = PEAK_RATE * min(1, (step + 1) / 200) * (1 - share)
        loss = reading_loss(reader(soften(render(factors), rng)), factors)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 200 == 0:
            print(f"step {step} loss {loss.item():.4f}", flush=True)
    reader.eval()
    with whole_file(WEIGHTS) as temporary:
        save_file({name: values.half() if values.is_floating_point() else values for name, values in
                   reader.state_dict().items()}, temporary)  # fmt: skip
    measure(reader)


def draw_all_kinds(n: int, rng: np.random.Generator, region: str = "valid") -> Factors:
    """Vessels of kinds drawn at random."""
    counts = np.bincount(rng.integers(len(KINDS), size=n), minlength=len(KINDS))
    parts = [draw_factors(kind, int(k), rng, region) for kind, k in zip(KINDS.values(), counts, strict=True) if k]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def soften(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """A blur of up to 0.8 pixels on a random half of the batches, and noise of up to 0.04."""
    if rng.random() < 0.5:
        pictures = gaussian_blur(pictures, 5, float(rng.uniform(0.2, 0.8)))
    noise = torch.from_numpy(rng.standard_normal(pictures.shape, dtype=np.float32))
    return (pictures + noise * float(rng.uniform(0, 0.04))).clamp(0, 1)


def reading_loss(outputs: Tensor, factors: Factors) -> Tensor:
    continuous, hues, logits = split_outputs(outputs)
    bounds = [BOUNDS[name] for name in CONTINUOUS]
    wanted = [
        2 * (factors[name] - low) / (high - low) - 1 for name, (low, high) in zip(CONTINUOUS, bounds, strict=True)
    ]
    loss = 4 * nn.functional.smooth_l1_loss(continuous, torch.stack(wanted, dim=1), beta=0.1)
    for name in HUES:
        angle = 2 * torch.pi * factors[name]
        error = (hues[name] - torch.stack([angle.cos(), angle.sin()], dim=1)).square().sum(1)
        seen = factors["texture"] > 0 if name == "trim" else torch.ones_like(error, dtype=torch.bool)
        loss = loss + (error * seen).mean()
    for name, values in logits.items():
        loss = loss + 0.5 * nn.functional.cross_entropy(values, factors[name])
    return loss


def measure(reader: nn.Module) -> None:
    """Write how well factors are read, and how far the residual tells intact vessels from broken ones."""
    rng = np.random.default_rng(1)
    factors = draw_all_kinds(N_TESTED, rng)
    pictures = torch.cat([soften(part, rng) for part in render(factors).split(100)])
    found = read_factors(reader, pictures)
    errors = {name: round(float((found[name] - factors[name]).abs().mean()), 4) for name in CONTINUOUS}
    errors |= {name: round(float(hue_distance(found[name], factors[name]).mean()), 4) for name in HUES}
    right = {name: round(float((found[name] == factors[name]).float().mean()), 4) for name in CLASSES}
    residuals = {}
    for name, changed in {"intact": pictures, **break_pictures(pictures, rng)}.items():
        verdict = judge_pictures(reader, changed[:400], "cup")
        residuals[name] = [round(float(verdict.residual.quantile(q)), 4) for q in (0.05, 0.5, 0.95, 0.99)]
    RESULTS.mkdir(parents=True, exist_ok=True)
    results = {"n": N_TESTED, "mean_error": errors, "right": right, "residual_quantiles": residuals}
    (RESULTS / "reader.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


def break_pictures(pictures: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
    """Vessels that are no vessels: halves of two, a hole, melted, a part in another colour."""
    other = pictures[torch.from_numpy(rng.permutation(len(pictures)))]
    halves = pictures.clone()
    halves[:, :, 24:] = other[:, :, 24:]
    hole = pictures.clone()
    hole[:, :, 20:28, 18:26] = pictures[:, :, :2, :2].mean((2, 3), keepdim=True)
    rows = torch.arange(48)
    melted = torch.stack([pictures[:, :, i].roll(round(4 * np.sin(i / 3)), -1) for i in rows.tolist()], dim=2)
    tinted = pictures.clone()
    tinted[:, :, 14:34, 14:24] = tinted[:, [1, 2, 0], 14:34, 14:24]
    return {"halves of two": halves, "a hole": hole, "melted": melted, "a part tinted": tinted}


if __name__ == "__main__":
    main()
