"""Train a small text-to-image pipeline on one CPU core, so that an interrupted training goes on exactly.

What is trained, and on which pictures, is said by ``experiments.garments.train_pipeline``,
``experiments.objects.train_pipeline`` and ``experiments.objects.distil``. The state to go on from is a checkpoint in
the user's cache; the weights that are published are a running mean, in half precision.
"""

from __future__ import annotations

import csv
import math
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn

from genmend.storage.atomic import whole_file

WARM_UP = 200  # steps
AVERAGE = 0.999
LOG_EVERY = 100  # steps
CHECKPOINT_EVERY = 300  # seconds
PUBLISH_EVERY = 1800  # seconds
LONGEST_STEP = 10  # seconds: a step that took longer was an interruption
COLUMNS = ("step", "minutes", "images", "loss", "learning_rate")

DrawBatch = Callable[[int, np.random.Generator], tuple[Tensor, list[str]]]
"""The pictures (b, c, h, w), standardised, and the captions that a step sees; all its chance is the generator's."""


@dataclass
class Training:
    """All that an interrupted training goes on from; a critic, where there is one, learns beside the pipeline."""

    pipeline: StableDiffusionPipeline
    seed: int
    peak_rate: float = 1.5e-3
    critic: nn.Module | None = None
    optimizer: torch.optim.Optimizer = field(init=False)
    networks: nn.ModuleDict = field(init=False)
    averages: dict[str, Tensor] = field(init=False)
    step: int = 0
    seconds: float = 0.0
    n_seen: int = 0
    log: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.networks = nn.ModuleDict({"unet": self.pipeline.unet, "text_encoder": self.pipeline.text_encoder})
        if self.critic is not None:
            self.networks["critic"] = self.critic
        self.networks.train()
        weights = self.networks.parameters()
        self.optimizer = torch.optim.AdamW(weights, lr=self.peak_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        self.averages = {name: value.detach().clone() for name, value in self.networks.state_dict().items()}

    def save(self, path: Path) -> None:
        state = {"networks": self.networks.state_dict(), "optimizer": self.optimizer.state_dict()}
        state |= {name: getattr(self, name) for name in ("averages", "log", "step", "seconds", "n_seen", "seed")}
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            torch.save(state, temporary)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint; `ValueError` where it was trained with another seed."""
        state = torch.load(path, weights_only=True)
        if state["seed"] != self.seed:
            raise ValueError(f"{path} was trained with seed {state['seed']}, not {self.seed}: remove it to begin anew.")
        self.networks.load_state_dict(state["networks"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.averages, self.log = state["averages"], state["log"]
        self.step, self.seconds, self.n_seen = state["step"], state["seconds"], state["n_seen"]


def begin(build: Callable[[Path], StableDiffusionPipeline], seed: int) -> Training:
    """Begin with untrained weights of this seed; the builder writes its tokenizer's files into the folder given."""
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        return Training(build(Path(folder)), seed)


def train_step(training: Training, progress: float, draw_batch: DrawBatch) -> float:
    """One step on the velocity loss; all its chance is drawn from the seed and the step. Returns the loss.

    Source: Salimans and Ho (2022), Progressive distillation, appendix D (v = alpha noise - sigma x).
    """
    pipeline, step = training.pipeline, training.step
    rng = np.random.default_rng([training.seed, step, 1])
    x, texts = draw_batch(step, rng)
    noise = torch.from_numpy(rng.standard_normal(x.shape, dtype=np.float32))
    # one time from each of as many equal spans as there are pictures: less noise in the gradient than independent ones
    t = torch.from_numpy(((np.arange(len(x)) + rng.random(len(x))) / len(x) * 1000).astype(np.int64))
    tokens = encode(pipeline, texts)
    predicted = pipeline.unet(pipeline.scheduler.add_noise(x, noise, t), t, tokens).sample
    loss = nn.functional.mse_loss(predicted, pipeline.scheduler.get_velocity(x, noise, t))
    descend(training, loss, progress, len(x))
    return loss.item()


def encode(pipeline: StableDiffusionPipeline, texts: list[str]) -> Tensor:
    """Vectors (n, tokens, width) of the texts' tokens."""
    ids = pipeline.tokenizer(texts, padding="max_length", max_length=pipeline.tokenizer.model_max_length)["input_ids"]
    tokens: Tensor = pipeline.text_encoder(torch.tensor(ids))[0]
    return tokens


def descend(training: Training, loss: Tensor, progress: float, n_seen: int) -> None:
    """One step of gradient descent; the rate warms up, then falls along a cosine."""
    for group in training.optimizer.param_groups:
        fall = 0.5 * (1 + math.cos(math.pi * min(1, progress)))
        group["lr"] = training.peak_rate * min(1, (training.step + 1) / WARM_UP) * fall
    training.optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(training.networks.parameters(), 1.0)
    training.optimizer.step()
    training.step += 1
    training.n_seen += n_seen
    _average(training)


@torch.no_grad()
def _average(training: Training) -> None:
    decay = min(AVERAGE, (1 + training.step) / (10 + training.step))
    for name, value in training.networks.state_dict().items():
        average = training.averages[name]
        if average.is_floating_point():
            average.lerp_(value, 1 - decay)


def train(
    training: Training,
    take_step: Callable[[Training, float], float],
    progress: Callable[[Training], float],
    checkpoint: Path,
    publish: Callable[[Training], None],
) -> None:
    """Take steps, each at a progress of 0 to 1 and with a loss; checkpoint and publish on the way and at the end."""
    losses: list[float] = []
    checkpointed = published = training.seconds
    while progress(training) < 1:
        started = time.perf_counter()
        losses.append(take_step(training, progress(training)))
        training.seconds += min(time.perf_counter() - started, LONGEST_STEP)
        if training.step % LOG_EVERY == 0:
            rate = training.optimizer.param_groups[0]["lr"]
            row = [training.step, training.seconds / 60, training.n_seen, float(np.mean(losses)), rate]
            training.log.append(row)
            losses.clear()
            print("  ".join(f"{name} {value:.5g}" for name, value in zip(COLUMNS, row, strict=True)), flush=True)
        if training.seconds - checkpointed > CHECKPOINT_EVERY:
            training.save(checkpoint)
            checkpointed = training.seconds
        if training.seconds - published > PUBLISH_EVERY:
            publish(training)
            published = training.seconds
    training.save(checkpoint)
    publish(training)


def publish(
    training: Training, build: Callable[[Path], StableDiffusionPipeline], folder: Path, target: Path, title: str
) -> None:
    """Write the averaged weights as the pipeline `target`; the log and its curve into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        vocab = Path(temporary) / "tokenizer"
        pipeline = build(vocab)
        networks = nn.ModuleDict({"unet": pipeline.unet, "text_encoder": pipeline.text_encoder})
        averages = {name: value for name, value in training.averages.items() if not name.startswith("critic.")}
        networks.load_state_dict(averages)
        pipeline.unet.half()
        pipeline.vae.half()
        pipeline.save_pretrained(Path(temporary) / "pipeline")
        for file in vocab.iterdir():  # the form that transformers before 5 reads
            shutil.copy(file, Path(temporary) / "pipeline" / "tokenizer" / file.name)
        shutil.rmtree(target, ignore_errors=True)
        (Path(temporary) / "pipeline").rename(target)
    with whole_file(folder / "log.csv") as file, open(file, "w", newline="", encoding="utf-8") as lines:
        rows = csv.writer(lines, lineterminator="\n")
        rows.writerow(COLUMNS)
        for step, minutes, n, loss, rate in training.log:
            rows.writerow([int(step), f"{minutes:.2f}", int(n), f"{loss:.5f}", f"{rate:.3g}"])
    draw_curve(training.log, folder / "curve.png", title)


def draw_curve(log: list[list[float]], path: Path, title: str) -> None:
    """Draw the loss over the pictures seen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([row[2] / 1000 for row in log], [row[3] for row in log], linewidth=0.8)
    axes.set(xlabel="thousand images seen", ylabel="velocity loss", yscale="log", title=title)
    figure.savefig(path, dpi=100)
