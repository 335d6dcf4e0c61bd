"""Three small networks that look at the reference pipeline's pictures: a judge, a guide, and an autoencoder.

    python -m experiments.garments.train_judges

The judge and the guide name the garment; the guide has another architecture and another seed, so that what is
chosen by the guide can be judged by the judge. The autoencoder never saw a label.
Writes diffusion/reference/{judge,guide,autoencoder}.safetensors, and results/samples/networks.json: accuracy on 10,000
held-out images.
About 9 minutes on one core; a network that is there already is kept, and only measured.
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

from experiments.garments.captions import add_border, held_out_images, training_images
from genmend.diffusion.reference.networks import BUILDERS, GARMENTS, WEIGHTS, load_network, outputs
from genmend.storage.atomic import whole_file

FOLDER = Path(__file__).with_name("results") / "samples"
SEEDS = {"judge": 1, "guide": 2, "autoencoder": 3}
EPOCHS = {"judge": 5, "guide": 2, "autoencoder": 2}
PEAK_RATE = 4e-3
BATCH = 64


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
        x = torch.from_numpy(add_border(images[rows]))[:, None]
        loss = _loss(name, network, _vary(x, rng, mirror=name == "autoencoder"), torch.from_numpy(labels[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def _loss(name: str, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    if name == "autoencoder":
        return nn.functional.mse_loss(network(x), x)
    return nn.functional.cross_entropy(network(x), y, label_smoothing=0.05)


def _vary(x: Tensor, rng: np.random.Generator, mirror: bool) -> Tensor:
    """The batch moved by up to 2 pixels, which only the black border leaves, and mirrored every other time."""
    x = x.roll(tuple(int(by) for by in rng.integers(-2, 3, size=2)), dims=(2, 3))
    return x.flip(3) if mirror and rng.random() < 0.5 else x


def measure(name: str, network: nn.Module, images: np.ndarray, labels: np.ndarray) -> dict[str, object]:
    """Accuracy, in all and by garment; of the autoencoder the root mean squared error in grey levels of 255."""
    pictures = (torch.from_numpy(add_border(images))[:, None] + 1) / 2
    if name == "autoencoder":
        error = (outputs(network, pictures) + 1) / 2 - pictures
        return {"rmse_grey_levels": round(255 * error.square().mean().sqrt().item(), 2)}
    right = outputs(network, pictures).argmax(1).numpy() == labels
    by_garment = {GARMENTS[label]: round(float(right[labels == label].mean()), 4) for label in np.unique(labels)}
    return {"accuracy": round(float(right.mean()), 4), "n": len(labels), "by_garment": by_garment}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    FOLDER.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in SEEDS:
        file = WEIGHTS / f"{name}.safetensors"
        if not file.is_file():
            started = time.perf_counter()
            network = train_network(name, *training_images(), EPOCHS[name])
            with whole_file(file) as temporary:
                save_file(network.state_dict(), temporary)
            print(f"{name}: trained in {(time.perf_counter() - started) / 60:.1f} minutes", flush=True)
        found[name] = measure(name, load_network(name), *held_out_images())
        print(f"{name}: {found[name]}", flush=True)
    (FOLDER / "networks.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
