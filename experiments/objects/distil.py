"""Distil the pipeline that draws vessels to one unguided step, on one CPU core.

    python -m experiments.objects.distil --minutes 20 [--pairs 3200] [--steps 4] [--guidance 2]

The trained pipeline draws pictures from known noise and captions, which takes about half of the time; a copy of its
U-Net learns to draw the same picture from the same noise in one step. A critic that sees rendered vessels of the same
captions keeps it from drawing the mean of what could be. Writes experiments/data/vessels_one_step/ and
results/distillation/log.csv and curve.png. The state to go on from, and the pairs, lie in the user's cache.

Sources: Luhman and Luhman (2021), Knowledge distillation in iterative generative models (the pairs); Sauer et al.
(2023), Adversarial diffusion distillation (the critic); the critic knows the caption as in Miyato and Koyama (2018),
cGANs with projection discriminator.
"""

from __future__ import annotations

import argparse
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from tqdm import tqdm

from experiments.garments.models import WIDTH
from experiments.objects.models import build_pipeline
from experiments.objects.train_pipeline import TARGET as TEACHER
from experiments.objects.train_pipeline import draw_batch
from experiments.objects.world import SIDE
from experiments.pipeline_training import Training, descend, encode, publish, train
from genmend.storage.pieces import Work
from genmend.storage.weights import cache_folder

FOLDER = Path(__file__).with_name("results") / "distillation"
TARGET = TEACHER.with_name("vessels_one_step")
LAST = 999  # the noisiest of the steps that the U-Net was trained on: a picture there is nothing but noise
PAIRS_A_PIECE, BATCH = 32, 16
CRITIC_FROM, CRITIC_WEIGHT = 0.3, 0.1  # share of the training after which the critic is heard, and how loud
PEAK_RATE = 6e-4


class Critic(nn.Module):
    """How real pictures (n, 3, 48, 48) look for their captions (n, tokens, width): (n,), higher is more real."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 96, 128)
        layers = [
            nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Conv2d(before, after, 4, 2, 1)), nn.LeakyReLU(0.2))
            for before, after in pairwise(widths)
        ]
        self.body = nn.Sequential(*layers)
        self.places = nn.Conv2d(widths[-1], 1, 1)
        self.words = nn.Linear(WIDTH, widths[-1])

    def forward(self, pictures: Tensor, tokens: Tensor) -> Tensor:
        """The mean over places, and how well the features fit the words."""
        features = self.body(pictures)
        fit = (features.mean((2, 3)) * self.words(tokens.mean(1))).sum(1)
        return self.places(features).mean((1, 2, 3)) + fit


def pair_piece(pipe: Any, piece: int, seed: int, call: dict[str, Any]) -> dict[str, np.ndarray]:
    """Pictures (32, 3, 48, 48), as the U-Net sees them, that the pipeline draws from the piece's noise and captions."""
    noise, texts = noise_and_texts(piece, seed)
    drawn = pipe(prompt=texts, latents=noise, output_type="latent", **call).images
    return {"pictures": drawn.half().numpy()}


def noise_and_texts(piece: int, seed: int) -> tuple[Tensor, list[str]]:
    """The noise (32, 3, 48, 48) and the captions of a piece."""
    rng = np.random.default_rng([seed, piece, 2])
    _, texts = draw_batch(piece, rng)
    return torch.from_numpy(rng.standard_normal((PAIRS_A_PIECE, 3, SIDE, SIDE), dtype=np.float32)), texts


def draw_in_one_step(unet: nn.Module, noise: Tensor, tokens: Tensor) -> Tensor:
    """Pictures, standardised: at zero signal the velocity is minus the picture."""
    predicted: Tensor = -unet(noise, torch.full((len(noise),), LAST), tokens).sample
    return predicted


def take_step(training: Training, progress: float, noise: Tensor, wanted: Tensor, texts: list[str]) -> float:
    """One step of the copy on 16 of the pairs, and of the critic; all its chance is of the seed and the step."""
    rng = np.random.default_rng([training.seed, training.step, 3])
    rows = rng.choice(len(wanted), BATCH, replace=False).tolist()
    with torch.no_grad():
        tokens = encode(training.pipeline, [texts[row] for row in rows])
    drawn = draw_in_one_step(training.pipeline.unet, noise[rows], tokens)
    to_pairs = nn.functional.smooth_l1_loss(drawn, wanted[rows].float(), beta=0.1)
    loss = to_pairs
    if progress > CRITIC_FROM:
        critic = training.networks["critic"]
        real, real_texts = draw_batch(training.step, rng)
        with torch.no_grad():
            real_tokens = encode(training.pipeline, real_texts[:BATCH])
        right = nn.functional.relu(1 - critic(real[:BATCH], real_tokens)).mean()
        wrong = nn.functional.relu(1 + critic(drawn.detach(), tokens)).mean()
        fixed = {name: value.detach() for name, value in critic.named_parameters()}
        loss = loss + right + wrong - CRITIC_WEIGHT * functional_call(critic, fixed, (drawn, tokens)).mean()
    descend(training, loss, progress, BATCH)
    return to_pairs.item()


def main() -> None:
    from diffusers import StableDiffusionPipeline

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="of the copy's training, beside drawing the pairs")
    parser.add_argument("--pairs", type=int, default=3_200)
    parser.add_argument("--steps", type=int, default=4, help="of the teacher")
    parser.add_argument("--guidance", type=float, default=2.0, help="of the teacher; 1 is none")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    teacher = StableDiffusionPipeline.from_pretrained(TEACHER, dtype=torch.float32)
    teacher.set_progress_bar_config(disable=True)
    cache = cache_folder() / "reference_diffusion"
    call = {"num_inference_steps": options.steps, "guidance_scale": options.guidance}
    work = Work(cache / f"vessel_pairs-{options.steps}-{options.guidance:g}")
    pieces = range(options.pairs // PAIRS_A_PIECE)
    made = [
        work.kept(f"pairs-{i}", None, partial(pair_piece, teacher, i, options.seed, call))["pictures"]
        for i in tqdm(pieces, desc="pairs")
    ]
    noises, texts = zip(*(noise_and_texts(i, options.seed) for i in pieces), strict=True)
    teacher.text_encoder.requires_grad_(False)
    torch.manual_seed(options.seed)
    training = Training(teacher, options.seed, PEAK_RATE, Critic())
    checkpoint = cache / "vessels_one_step.pt"
    if checkpoint.is_file():
        training.load(checkpoint)
        print(f"going on from step {training.step}, {training.seconds / 60:.1f} minutes", flush=True)
    step = partial(
        take_step,
        noise=torch.cat(noises),
        wanted=torch.from_numpy(np.concatenate(made)),
        texts=[text for part in texts for text in part],
    )
    train(
        training,
        step,
        lambda now: now.seconds / (60 * options.minutes),
        checkpoint,
        lambda now: publish(now, build_pipeline, FOLDER, TARGET, "The pipeline that draws vessels in one step"),
    )


if __name__ == "__main__":
    main()
