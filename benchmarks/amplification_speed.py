"""Low-frequency amplification beside the published operator, and as a share of a U-Net call.

    python benchmarks/amplification_speed.py --save
    python benchmarks/amplification_speed.py --unet --save

The peer is the operator of C3's public code: complex FFTs over all four axes of the maps. CPU seconds of this process,
median of the repeats. ``--unet`` times a U-Net of Stable Diffusion 1.5's layout and widths (860 million random weights,
3.4 GB), batch 2, 64x64 latents; its share is the time of the five edits (four down blocks, the middle) by themselves,
on maps of the blocks' shapes, over the time of a call without them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from machine import conditions, result_file
from torch import Tensor

from genmend.diffusion import AmplifyLowFrequencies

SHAPES = ((2, 320, 64, 64), (2, 640, 32, 32), (2, 1280, 16, 16))
# What the four down blocks and the middle of Stable Diffusion 1.5 return at 512 px, and 0.3125 / 0.625 of Nyquist.
BLOCKS = {
    (2, 320, 32, 32): 5.0,
    (2, 640, 16, 16): 5.0,
    (2, 1280, 8, 8): 2.5,
}
BLOCK_SHAPES = ((2, 320, 32, 32), (2, 640, 16, 16), (2, 1280, 8, 8), (2, 1280, 8, 8), (2, 1280, 8, 8))


def main() -> None:
    """Measure, print, and save where asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--unet", action="store_true")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = result_file("amplification", ".json")
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    machine = conditions("torch", "diffusers")
    print(machine)
    if options.unet:
        found["unet"] = {"machine": machine} | unet_share(options.repeats)
        print(found["unet"])
    else:
        found["operator"] = {"machine": machine, "rows": operator_rows(options.repeats)}
        for row in found["operator"]["rows"]:
            print(row)
    if options.save:
        path.write_text(json.dumps(found, indent=1) + "\n")


def operator_rows(repeats: int) -> list[dict[str, Any]]:
    """Milliseconds of ours and the peer's on maps of each shape, and the largest error of both against float64."""
    rows = []
    for shape in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
            edit = AmplifyLowFrequencies("", 2.0, 5)
            truth = published(x.double(), 5, 2.0)
            ours, theirs = cpu_seconds([partial(edit.apply, x), partial(published, x, 5, 2.0)], repeats)
            rows.append(
                {
                    "shape": list(shape),
                    "dtype": str(dtype).removeprefix("torch."),
                    "ours_ms": round(1e3 * ours, 2),
                    "published_ms": round(1e3 * theirs, 2),
                    "ratio": round(theirs / ours, 1),
                    "error_ours": float((edit.apply(x).double() - truth).abs().max()),
                    "error_published": float((published(x, 5, 2.0).double() - truth).abs().max()),
                }
            )
    return rows


def published(x: Tensor, cutoff: float, gain: float) -> Tensor:
    """The public code's way: an FFT over batch, channels, height and width, a centred mask, and back."""
    wide = x if x.dtype == torch.float64 else x.float()
    height, width = x.shape[-2:]
    down, across = torch.arange(height) - height // 2, torch.arange(width) - width // 2
    low = torch.hypot(down[:, None].to(wide.dtype), across[None].to(wide.dtype)) < cutoff
    spectrum = torch.fft.fftshift(torch.fft.fftn(wide), dim=(-2, -1))
    spectrum = torch.where(low, gain * spectrum, spectrum)
    return torch.fft.ifftn(torch.fft.ifftshift(spectrum, dim=(-2, -1))).real.to(x.dtype)


@torch.no_grad()
def unet_share(repeats: int) -> dict[str, Any]:
    """CPU seconds of a U-Net call and of its five edits."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768).eval()
    x, text = torch.randn(2, 4, 64, 64), torch.randn(2, 77, 768)
    (call,) = cpu_seconds([lambda: unet(x, 500, text)], max(2, repeats // 3))
    maps = [(torch.randn(shape), AmplifyLowFrequencies("", 1.5, BLOCKS[shape])) for shape in BLOCK_SHAPES]
    (edits,) = cpu_seconds([lambda: [edit.apply(x) for x, edit in maps]], repeats)
    return {
        "parameters": sum(weight.numel() for weight in unet.parameters()),
        "call_seconds": round(call, 3),
        "edits_seconds": round(edits, 4),
        "share": round(edits / call, 5),
    }


def cpu_seconds(runs: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Median CPU seconds of each, in turns, after one warm-up."""
    taken: list[list[float]] = [[] for _ in runs]
    for number in range(repeats + 1):
        for times, run in zip(taken, runs, strict=True):
            started = time.process_time()
            run()
            if number:
                times.append(time.process_time() - started)
    return [median(times) for times in taken]


if __name__ == "__main__":
    main()
