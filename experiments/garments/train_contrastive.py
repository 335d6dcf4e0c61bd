"""The space that novelty is measured in: real garments apart from each other, trivial changes of one together.

    python -m experiments.garments.train_contrastive [--steps N]

Two pictures of one garment, changed at random (`changes.change_at_random`: brightness, contrast, gamma, blur, noise,
zoom, place, turn, mirror) and aligned, are to lie together; all others of the batch, and garments that were broken on
purpose, apart. No label is used. Writes diffusion/reference/contrastive.safetensors in half precision.
About 8 minutes on one core.

Sources: Chen et al. (2020), A simple framework for contrastive learning (the loss); Tack et al. (2020), CSI (what is
broken as further negatives; that they are never anchors is ours).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from experiments.garments.captions import add_border, training_images
from experiments.garments.changes import break_garments, change_at_random
from genmend.diffusion.reference.alignment import align_pictures
from genmend.diffusion.reference.networks import WEIGHTS, contrastive
from genmend.storage.atomic import whole_file

SEED = 4
BATCH, N_BROKEN = 192, 64
STEPS = 1_200
PEAK_RATE = 4e-3
TEMPERATURE = 0.2


def train_contrastive(images: np.ndarray, steps: int, batch: int = BATCH, n_broken: int = N_BROKEN) -> nn.Module:
    """Train on images (n, 28, 28) uint8; the same for the same seed and threads."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    network = contrastive().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps, pct_start=0.15)
    started, losses = time.perf_counter(), []
    for step in range(steps):
        x = torch.from_numpy(add_border(images[rng.choice(len(images), batch, replace=False)]))[:, None] / 2 + 0.5
        views = torch.cat([x, x, break_garments(x[torch.from_numpy(rng.permutation(batch)[:n_broken])], rng)])
        seen = align_pictures(change_at_random(views, rng)) * 2 - 1
        loss = contrastive_loss(network(seen), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if (step + 1) % 20 == 0:
            spent = time.perf_counter() - started
            print(f"step {step + 1} loss {np.mean(losses[-20:]):.4f} seconds {spent:.1f}", flush=True)
    return network.eval()


def contrastive_loss(vectors: Tensor, batch: int) -> Tensor:
    """Of vectors (2 batch + broken, d): first one view of each garment, then the other, then broken ones.

    Cross-entropy of finding a garment's other view among all vectors but itself, by cosine / `TEMPERATURE`.
    """
    unit = nn.functional.normalize(vectors, dim=1)
    likeness = unit[: 2 * batch] @ unit.T / TEMPERATURE
    own = torch.arange(2 * batch)
    likeness = likeness.masked_fill(nn.functional.one_hot(own, len(vectors)).bool(), -torch.inf)
    return nn.functional.cross_entropy(likeness, (own + batch) % (2 * batch))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=WEIGHTS / "contrastive.safetensors")
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = train_contrastive(training_images()[0], options.steps)
    with whole_file(options.out) as temporary:
        save_file({name: values.half() if values.is_floating_point() else values for name, values in
                   network.state_dict().items()}, temporary)  # fmt: skip


if __name__ == "__main__":
    main()
