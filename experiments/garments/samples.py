"""Are the reference pipeline's pictures what the prompt says? The judge's agreement, with intervals, and a picture.

    python -m experiments.garments.samples

Ten prompts, one for each garment, 50 seeds each (0-49, the same for every prompt). Writes results/samples/: tables.txt,
results.json, which repeats the networks.json that `experiments.garments.train_judges` left there, samples.png, and the
page. Needs what `experiments.garments.train_pipeline` and `experiments.garments.train_judges` have written into
diffusion/reference/. A few minutes on one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.stats import binomtest
from torch import Tensor

from experiments.garments.captions import with_article
from experiments.garments.train_judges import FOLDER
from experiments.pages import write_page
from genmend.diffusion import draw
from genmend.diffusion.reference import load_reference
from genmend.diffusion.reference.networks import GARMENTS, garment_probabilities, load_network

SEEDS = range(50)
STEPS, GUIDANCE = 20, 3.0
SHOWN = 16  # samples of each prompt in the picture, the first seeds


def prompt_of(garment: str) -> str:
    return f"a photo of {with_article([garment])}"


def agreement(probabilities: Tensor, label: int) -> dict[str, object]:
    """How often the judge names the prompted garment (95 % Wilson interval), its mean probability, what else."""
    named = probabilities.argmax(1)
    else_named = torch.bincount(named[named != label], minlength=len(GARMENTS))
    return {
        "n": len(named),
        "agree": int((named == label).sum()),
        "interval": interval(int((named == label).sum()), len(named)),
        "probability": round(probabilities[:, label].mean().item(), 4),
        "else": {GARMENTS[other]: int(n) for other, n in enumerate(else_named) if n},
    }


def interval(k: int, n: int) -> list[float]:
    bounds = binomtest(k, n).proportion_ci(method="wilson")
    return [round(float(bounds.low), 4), round(float(bounds.high), 4)]


def table(rows: dict[str, dict[str, object]], settings: str) -> str:
    """The agreement as text: a line for each prompt, and the total."""
    lines = [settings, f"{'prompt':32} agree   share   95 % interval   probability   else"]
    n, agreed = sum(row["n"] for row in rows.values()), sum(row["agree"] for row in rows.values())
    total = {"n": n, "agree": agreed, "interval": interval(agreed, n)}
    total |= {"probability": float(np.mean([row["probability"] for row in rows.values()])), "else": {}}
    for name, row in {**rows, "all": total}.items():
        low, high = row["interval"]
        others = ", ".join(f"{count} {other}" for other, count in row["else"].items())
        share = f"{row['agree']:3}/{row['n']:<4} {row['agree'] / row['n']:5.1%}   {low:5.1%}-{high:6.1%}"
        lines.append(f"{name:32}{share}   {row['probability']:8.3f}      {others}".rstrip())
    return "\n".join(lines) + "\n"


def grid(pictures: list[Tensor], scale: int = 2) -> Image.Image:
    """One row of pictures for each tensor (n, 3, h, w) in 0..1."""
    rows = [torch.cat(list(row.permute(0, 2, 3, 1)), dim=1) for row in pictures]
    whole = Image.fromarray((torch.cat(rows) * 255).round().byte().numpy())
    return whole.resize((whole.width * scale, whole.height * scale), Image.Resampling.NEAREST)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the results go")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pipeline = load_reference()
    judge = load_network("judge")
    rows, shown = {}, []
    for label, garment in enumerate(GARMENTS):
        pictures = draw(
            pipeline,
            prompt_of(garment),
            SEEDS,
            batch_size=25,
            num_inference_steps=options.steps,
            guidance_scale=options.guidance,
        )
        rows[prompt_of(garment)] = agreement(garment_probabilities(judge, pictures), label)
        shown.append(pictures[:SHOWN])
    settings = f"seeds {SEEDS[0]}-{SEEDS[-1]}, {options.steps} DDIM steps, guidance {options.guidance}"
    text = table(rows, settings)
    print(text, end="")
    results = {"settings": settings, "prompts": rows, "networks": json.loads((FOLDER / "networks.json").read_text())}
    (options.folder / "tables.txt").write_text(text, encoding="utf-8")
    (options.folder / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    grid(shown).save(options.folder / "samples.png", optimize=True)
    write_page("garments/samples")


if __name__ == "__main__":
    main()
