"""Train the pipeline that draws vessels, on pictures rendered as it goes, on one CPU core.

    python -m experiments.objects.train_pipeline --minutes 70

95 % of the pictures are typical of their kind, 5 % are rare ones captioned "creative", and none is of the part of the
valid vessels that is held out. Writes experiments/data/vessels/ (averaged weights, half precision, a usable state
every 30 minutes), and results/training/log.csv and curve.png. The state to go on from lies in the user's cache: run the
same command again after an interruption.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiments.objects.captions import caption
from experiments.objects.models import MEAN, STD, build_pipeline
from experiments.objects.world import KINDS, draw_factors, render
from experiments.pipeline_training import begin, publish, train, train_step
from genmend.storage.weights import cache_folder

FOLDER = Path(__file__).with_name("results") / "training"
TARGET = Path(__file__).parents[1] / "data" / "vessels"
BATCH, RARE = 32, 0.05
WITHOUT_PROMPT = 0.1  # share of captions left empty: what classifier-free guidance guides away from


def draw_batch(step: int, rng: np.random.Generator) -> tuple[Tensor, list[str]]:
    """Pictures (32, 3, 48, 48), standardised, and their captions; the step does not matter, every picture is new."""
    names, texts, parts = rng.choice(list(KINDS), BATCH), [], []
    for name in names.tolist():
        rare = bool(rng.random() < RARE)
        factors = draw_factors(KINDS[name], 1, rng, "rare" if rare else "typical")
        texts.append(caption(name, factors, 0, rng, rare) if rng.random() > WITHOUT_PROMPT else "")
        parts.append(factors)
    pictures = render({factor: torch.cat([part[factor] for part in parts]) for factor in parts[0]})
    return (pictures * 2 - 1 - MEAN) / STD, texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=70)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    training = begin(build_pipeline, options.seed)
    checkpoint = cache_folder() / "reference_diffusion" / "objects.pt"
    if checkpoint.is_file():
        training.load(checkpoint)
        print(f"going on from step {training.step}, {training.seconds / 60:.1f} minutes", flush=True)
    train(
        training,
        partial(train_step, draw_batch=draw_batch),
        lambda now: now.seconds / (60 * options.minutes),
        checkpoint,
        lambda now: publish(now, build_pipeline, FOLDER, TARGET, "The pipeline that draws vessels"),
    )


if __name__ == "__main__":
    main()
