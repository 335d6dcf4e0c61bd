"""Three small networks that look at the reference pipeline's pictures: a judge, a guide, and a space for novelty.

    python -m experiments.reference_classifier

The judge and the guide name the garment; the guide has another architecture, seed and augmentation, so that what is
chosen by the guide can be judged by the judge. The novelty space is the code of an autoencoder that never saw a label.
Writes reference_diffusion/{judge,guide,novelty}.safetensors and networks.json (accuracy on 10,000 held-out images).
About 10 minutes on one core; a network that is there already is kept, and only measured.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from activations import atomic_write
from experiments.garments import GARMENTS, framed, held_out_images, training_images

FOLDER = Path(__file__).with_name("reference_diffusion")
SEEDS = {"judge": 1, "guide": 2, "novelty": 3}
EPOCHS = {"judge": 5, "guide": 2, "novelty": 2}
PEAK_RATE = 4e-3
BATCH = 64


def judge() -> nn.Module:
    """Convolutions of 3x3 with batch normalisation; (n, 1, 32, 32) in -1..1 to logits (n, 10)."""

    def block(before: int, after: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

    body = [*block(4, 32), *block(32, 64, 2), *block(64, 96), nn.AvgPool2d(2), nn.Flatten()]
    head = [nn.Dropout(0.3), nn.Linear(96 * 16, 128), nn.ReLU(), nn.Linear(128, 10)]
    return nn.Sequential(nn.PixelUnshuffle(2), *body, *head)


def guide() -> nn.Module:
    """Strided wide kernels, no normalisation, a mean over places at the end; same shapes as `judge`."""
    sizes = ((1, 32, 5), (32, 64, 5), (64, 96, 3))
    layers = [
        layer
        for i, o, k in sizes
        for layer in (nn.Conv2d(i, o, k, stride=2, padding=k // 2), nn.GELU(), nn.GroupNorm(1, o))
    ]
    return nn.Sequential(
        *layers, nn.Conv2d(96, 128, 3, padding=1), nn.GELU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(512, 10)
    )


def novelty() -> nn.Module:
    """An autoencoder: ``[0]`` to a code (n, 64), ``[1]`` back to (n, 1, 32, 32)."""
    down = [nn.Conv2d(1, 16, 4, 2, 1), nn.GELU(), nn.Conv2d(16, 32, 4, 2, 1), nn.GELU(), nn.Conv2d(32, 64, 4, 2, 1)]
    up = [nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.GELU(), nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.GELU()]
    code = nn.Sequential(*down, nn.GELU(), nn.Flatten(), nn.Linear(1024, 64))
    back = nn.Sequential(nn.Linear(64, 1024), nn.GELU(), nn.Unflatten(1, (64, 4, 4)), *up)
    return nn.Sequential(code, back.extend([nn.ConvTranspose2d(16, 1, 4, 2, 1)]))


BUILDERS: dict[str, Callable[[], nn.Module]] = {"judge": judge, "guide": guide, "novelty": novelty}


def load_network(name: str, folder: Path = FOLDER) -> nn.Module:
    """One of `BUILDERS` with its trained weights, in evaluation mode."""
    network = BUILDERS[name]()
    network.load_state_dict(load_file(folder / f"{name}.safetensors"))
    return network.eval()


@torch.no_grad()
def outputs(network: nn.Module, images: Tensor) -> Tensor:
    """What a network says of pictures (n, c, 32, 32) in 0..1, grey or colour: logits (n, 10), or a code (n, d)."""
    return torch.cat([network(part.mean(1, keepdim=True) * 2 - 1) for part in images.float().split(500)])


def garment_probabilities(network: nn.Module, images: Tensor) -> Tensor:
    """Of each picture (n, c, 32, 32) in 0..1 the probability (n, 10) of each garment."""
    return outputs(network, images).softmax(1)


def novelty_features(network: nn.Module, images: Tensor) -> Tensor:
    """Codes (n, 64) of pictures (n, c, 32, 32) in 0..1 by the autoencoder `network`."""
    return outputs(network[0], images)  # type: ignore[index]


def train_network(name: str, images: np.ndarray, labels: np.ndarray, epochs: int) -> nn.Module:
    """A network of `BUILDERS` trained on images (n, 28, 28) uint8; the same for the same seed and threads."""
    torch.manual_seed(SEEDS[name])
    rng = np.random.default_rng(SEEDS[name])
    network = BUILDERS[name]().train()
    steps = epochs * (len(images) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps, pct_start=0.2)
    orders = np.concatenate([rng.permutation(len(images))[: steps // epochs * BATCH] for _ in range(epochs)])
    for rows in orders.reshape(steps, BATCH):
        x = torch.from_numpy(framed(images[rows]))[:, None]
        loss = _loss(name, network, _varied(x, rng, mirror=name == "guide"), torch.from_numpy(labels[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def _loss(name: str, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    if name == "novelty":
        return nn.functional.mse_loss(network(x), x)
    return nn.functional.cross_entropy(network(x), y, label_smoothing=0.05)


def _varied(x: Tensor, rng: np.random.Generator, mirror: bool) -> Tensor:
    """The batch moved by up to 2 pixels, which only the black border leaves, and mirrored every other time."""
    x = x.roll(tuple(int(by) for by in rng.integers(-2, 3, size=2)), dims=(2, 3))
    return x.flip(3) if mirror and rng.random() < 0.5 else x


def measure(name: str, network: nn.Module, images: np.ndarray, labels: np.ndarray) -> dict[str, object]:
    """Accuracy, in all and by garment; of the autoencoder the root mean squared error in grey levels of 255."""
    pictures = (torch.from_numpy(framed(images))[:, None] + 1) / 2
    if name == "novelty":
        error = (outputs(network, pictures) + 1) / 2 - pictures
        return {"rmse_grey_levels": round(255 * error.square().mean().sqrt().item(), 2)}
    right = outputs(network, pictures).argmax(1).numpy() == labels
    by_garment = {GARMENTS[label]: round(float(right[labels == label].mean()), 4) for label in np.unique(labels)}
    return {"accuracy": round(float(right.mean()), 4), "n": len(labels), "by_garment": by_garment}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    FOLDER.mkdir(exist_ok=True)
    found = {}
    for name in BUILDERS:
        file = FOLDER / f"{name}.safetensors"
        if not file.is_file():
            started = time.perf_counter()
            network = train_network(name, *training_images(), EPOCHS[name])
            with atomic_write(file) as temporary:
                save_file(network.state_dict(), temporary)
            print(f"{name}: trained in {(time.perf_counter() - started) / 60:.1f} minutes", flush=True)
        found[name] = measure(name, load_network(name), *held_out_images())
        print(f"{name}: {found[name]}", flush=True)
    (FOLDER / "networks.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
