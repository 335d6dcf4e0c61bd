"""Randomness that a model draws from the global generators, made its own for one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["use_seed"]


@contextmanager
def use_seed(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Have torch draw from this seed inside; afterwards the caller's generators are as before, also numpy's.

    transformers' VITS encoder draws from numpy's at every call, although nothing comes of it.

    Raises
    ------
    ValueError
        If the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}, but a number of at least 0 is needed; choose another.")
    cuda = device is not None and device.type == "cuda"
    state = np.random.get_state()
    try:
        # torch.manual_seed would seed every accelerator there is, and none of them would be set back.
        with torch.random.fork_rng(devices=[device] if cuda else []):
            torch.default_generator.manual_seed(seed)
            if cuda:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            yield
    finally:
        np.random.set_state(state)
