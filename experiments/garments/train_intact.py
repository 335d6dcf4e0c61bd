"""Two networks that tell whole garments from broken ones: the guide's, which choices are made by, and the judge's.

    python -m experiments.garments.train_intact [--steps N]

Real garments are whole; the same broken are not, in four ways for either network (`breakages`), none of which is one
that they are tested by (`changes.break_garments`: halves of two, a hole, melted, half of it gone). Both are changed at
random (`changes.change_at_random`) and aligned, so that neither light nor place nor noise tells. No label is used but
to mix garments of one kind. Writes diffusion/reference/{intact,intact_judge}.safetensors in half precision.
About 3 minutes each on one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from experiments.garments.breakages import FOR_THE_GUIDE, FOR_THE_JUDGE, Breakage, break_by
from experiments.garments.captions import add_border, training_images
from experiments.garments.changes import change_at_random
from genmend.diffusion.reference.alignment import align_pictures
from genmend.diffusion.reference.networks import BUILDERS, WEIGHTS
from genmend.storage.atomic import whole_file

KINDS: Mapping[str, Mapping[str, Breakage]] = {"intact": FOR_THE_GUIDE, "intact_judge": FOR_THE_JUDGE}
SEEDS = {"intact": 5, "intact_judge": 6}
BATCH, STEPS, PEAK_RATE = 128, 600, 4e-3


def train_intact(name: str, images: np.ndarray, labels: np.ndarray, steps: int, batch: int = BATCH) -> nn.Module:
    """Train on images (n, 28, 28) uint8; the same for the same seed and threads."""
    torch.manual_seed(SEEDS[name])
    rng = np.random.default_rng(SEEDS[name])
    network = BUILDERS[name]().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps, pct_start=0.15)
    truth = torch.repeat_interleave(torch.tensor([0.95, 0.05]), batch)[:, None]
    started, losses = time.perf_counter(), []
    for step in range(steps):
        rows = rng.choice(len(images), 2 * batch, replace=False)
        x = torch.from_numpy(add_border(images[rows[np.argsort(labels[rows], kind="stable")]]))[:, None] / 2 + 0.5
        seen = change_at_random(torch.cat([x[::2], break_by(KINDS[name], x[1::2], rng)]), rng)
        loss = nn.functional.binary_cross_entropy_with_logits(network(align_pictures(seen) * 2 - 1), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if (step + 1) % 20 == 0:
            spent = time.perf_counter() - started
            print(f"{name} step {step + 1} loss {np.mean(losses[-20:]):.4f} seconds {spent:.1f}", flush=True)
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in KINDS:
        network = train_intact(name, *training_images(), options.steps)
        with whole_file(options.out / f"{name}.safetensors") as temporary:
            save_file({key: values.half() if values.is_floating_point() else values for key, values in
                       network.state_dict().items()}, temporary)  # fmt: skip


if __name__ == "__main__":
    main()
