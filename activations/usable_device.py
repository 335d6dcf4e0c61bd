"""Whether a device that somebody names is there."""

from __future__ import annotations

import torch

__all__ = ["check_device"]


def check_device(name: str) -> str:
    """Return the name of a device; ValueError unless torch knows it and finds it here."""
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdigit()):
        raise ValueError(f"--device is {name!r}; give cpu, cuda, cuda:1 (the second GPU) or mps.")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if int(number or 0) >= there:
        found = f"{there} such device{'s' * (there > 1)}" if there else "no such device"
        raise ValueError(f"--device is {name!r}, but torch finds {found} here (genmend doctor says which); give cpu.")
    return name
