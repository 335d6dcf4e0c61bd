"""Where a pipeline runs and in which precision where nothing is said, and whether it fits into the memory there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["OFFLOADS", "Placement", "best_device", "place", "usual_dtype"]

OFFLOADS = ("auto", "none", "model", "sequential")

# What a call takes beside the weights, as a share of them and at least: images of one batch, and the decoder's maps.
# A rule of thumb, not measured: it decides only whether parts wait on the CPU.
_BESIDE, _AT_LEAST = 0.25, 1.5e9


@dataclass(frozen=True)
class Placement:
    """Where a pipeline's parts are.

    Attributes
    ----------
    device, dtype
        As the user gives them.
    offload : str
        "none", "model" or "sequential".
    words : str
        The same for people, with the memory it takes and what is free.
    """

    device: str
    dtype: str
    offload: str
    words: str


def best_device() -> str:
    """The first CUDA device where there is one, else Apple's, else the CPU."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def usual_dtype(device: str) -> str:
    """bfloat16 on a GPU that computes in it, float16 on others, float32 on the CPU."""
    import torch

    if device.startswith("cuda"):
        with torch.cuda.device(device if ":" in device else 0):
            return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "float16" if device.startswith("mps") else "float32"


def place(
    parts: Mapping[str, int], device: str, dtype: str, offload: str = "auto", free: Mapping[str, float] | None = None
) -> Placement:
    """Choose what waits where.

    Parameters
    ----------
    parts
        Component -> bytes of its weights in this precision.
    device, dtype
        Of the pipeline.
    offload
        "auto": parts wait on the CPU where the device is too small for all of them at once.
    free
        Bytes of memory that are free, of ``"cpu"`` and of the device; asked of the system if not given, and not judged
        where the system does not say.

    Raises
    ------
    ValueError
        If the weights do not fit into the memory of the CPU, or those of the largest part not into the device's.
    """
    free = _free_memory(device) if free is None else free
    total, largest = sum(parts.values()), max(parts.values(), default=0)
    on_cpu, there = free.get("cpu"), free.get(device)
    if on_cpu is not None and total > on_cpu:  # they are read there, whatever the device
        smaller = "" if dtype != "float32" else ", or give --dtype bfloat16, which takes half"
        raise ValueError(
            f"The weights take {total / 1e9:.1f} GB in {dtype} and {on_cpu / 1e9:.1f} GB of memory are free; close "
            f"other programs{smaller}, or take a smaller model."
        )
    if device == "cpu":
        return Placement(device, dtype, "none", _words(device, dtype, total, on_cpu, "none"))
    if offload == "auto":
        if there is None or total + max(_BESIDE * total, _AT_LEAST) <= there:
            offload = "none"
        elif largest + max(_BESIDE * largest, _AT_LEAST) <= there:
            offload = "model"
        else:
            offload = "sequential"
    needed = {"none": total, "model": largest, "sequential": 0}[offload]
    if there is not None and needed > there:
        other = "--offload model" if offload == "none" and largest < there else "--offload sequential"
        raise ValueError(
            f"The weights that have to be on {device} together take {needed / 1e9:.1f} GB in {dtype} and "
            f"{there / 1e9:.1f} GB are free there; give {other}."
        )
    return Placement(device, dtype, offload, _words(device, dtype, total, there, offload))


def _words(device: str, dtype: str, total: float, free: float | None, offload: str) -> str:
    waits = {
        "none": "",
        "model": "; parts wait on the CPU until their turn (--offload model)",
        "sequential": "; layers wait on the CPU until their turn, which is slow (--offload sequential)",
    }[offload]
    of = "" if free is None else f", {free / 1e9:.1f} GB are free"
    return f"on {device} in {dtype}: the weights take {_gb(total)}{of}{waits}"


def _gb(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 5e7 else f"{n_bytes / 1e6:.1f} MB"


def _free_memory(device: str) -> dict[str, float]:
    import psutil  # accelerate needs it, so it is there
    import torch

    found: dict[str, float] = {"cpu": float(psutil.virtual_memory().available)}
    if device.startswith("cuda"):
        found[device] = float(torch.cuda.mem_get_info(torch.device(device))[0])
    return found
