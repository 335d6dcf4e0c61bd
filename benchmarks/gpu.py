"""What a GPU changes: the same numbers as on the CPU, how long they take, and how much memory.

    python benchmarks/gpu.py                      # on a machine with a CUDA device; writes results/gpu-NAME.json
    python benchmarks/gpu.py --parts hour         # a user's hour with genmend amplify alone
    python benchmarks/gpu.py --device cpu --small --out tried.json   # where there is none: tries the script itself

All weights are random, of true widths, so nothing is fetched. Parity: a generator's activations and images, a
correction that was fitted on the CPU, the exact counts of the manifold metrics, amplification in three precisions.
Timings: the torch engine beside the CPU's, a StyleGAN2 of 256 x 256, EfficientNet-Lite0 with its preprocessing,
amplification in a U-Net of Stable Diffusion 1.5's widths, and ``genmend amplify`` on a pipeline of SDXL's: loading,
seconds an image plain and amplified, memory with each way of offloading, the gains saved and used again. Seconds are
wall seconds with the device synchronised, medians after a warm-up; memory is the largest that torch's allocator held.
Without a GPU every size is small and the result file says so: its seconds tell nothing of a GPU.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from subprocess import PIPE, run
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from large_models import WIDTHS, random_sdxl, random_stylegan2
from machine import conditions
from PIL import Image
from torch import Tensor

from genmend.activations import AblateNeurons, edited, record
from genmend.diffusion import AmplifyLowFrequencies, amplified, draw, enable_amplification
from genmend.diffusion.loading import TextToImage, load_text_to_image
from genmend.gans import Generator, corrected, fit_correction
from genmend.gans.correctors.contrast_descent import descend
from genmend.gans.detection.artifact_detector import ArtifactDetector
from genmend.gans.families.dcgan import DCGAN
from genmend.manifold import evaluate
from genmend.manifold.features import ImageExtractor, extract
from genmend.manifold.figures.image_grid import to_pixels

RESULTS = Path(__file__).resolve().with_name("results")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1; cpu tries the script.")
    parser.add_argument("--parts", nargs="+", choices=[part.__name__ for part in PARTS], help="All if not given.")
    parser.add_argument("--small", action="store_true", help="Sizes of seconds on a CPU: the script is tried, no more.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="The result file; results/gpu-NAME.json by default.")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device here; --device cpu --small tries the script without one.")
    measure = Measure(device, options.small, options.repeats)
    started = time.perf_counter()
    found: dict[str, Any] = {"device": device_name(device), "machine": conditions("torch", "numpy", "diffusers")}
    found["small"] = options.small
    if device.type != "cuda" or options.small:
        found["note"] = "Small sizes: the script was tried, and its seconds and gigabytes say nothing of a GPU."
        print(found["note"])
    print(found["device"], "|", found["machine"], flush=True)
    for part in (part for part in PARTS if options.parts is None or part.__name__ in options.parts):
        found[part.__name__] = measure.part(partial(part, measure))
        print(part.__name__, json.dumps(found[part.__name__]), flush=True)
    found["seconds"] = round(time.perf_counter() - started, 1)
    path = options.out or RESULTS / f"gpu-{re.sub(r'[^A-Za-z0-9]+', '-', found['device']).strip('-')}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{found['seconds']} s; {path}")


class Measure:
    """Where and how large everything is, and the clock."""

    def __init__(self, device: torch.device, small: bool, repeats: int) -> None:
        self.device, self.small, self.repeats = device, small, repeats

    def part(self, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What a part found, and the memory that it took there."""
        if self.device.type != "cuda":
            return run()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        found = run()
        return found | {"peak_gb": round(torch.cuda.max_memory_allocated(self.device) / 1e9, 3)}

    def seconds(self, run: Callable[[], Any]) -> float:
        """Median wall seconds, after one run that is not counted."""
        taken = []
        for _ in range(self.repeats + 1):
            self._wait()
            began = time.perf_counter()
            run()
            self._wait()
            taken.append(time.perf_counter() - began)
        return median(taken[1:])

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def device_name(device: torch.device) -> str:
    """As the driver calls it."""
    if device.type != "cuda":
        return str(device)
    return torch.cuda.get_device_name(device)


def dcgan(device: torch.device | str) -> Generator:
    """A DCGAN of 64 x 64 with random weights whose neurons differ in how often they are active."""
    torch.manual_seed(0)
    module = DCGAN(100, (128, 64, 32, 16)).requires_grad_(False).eval()
    for name, values in module.named_parameters():
        if name.endswith("bias"):
            values.normal_(-0.5, 1.0)
    return Generator(module.to(device), (100,), name="DCGAN", batch_size=64)


def apart(found: Tensor, expected: Tensor) -> float:
    """Largest difference, in units of the largest value expected."""
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))


@torch.no_grad()
def generator_parity(measure: Measure) -> dict[str, Any]:
    """Activations of every layer and images, plain and under an edit, in float32 as torch has it by default."""
    latents, outputs = torch.randn(64, 100, generator=torch.Generator().manual_seed(0)), []
    for device in ("cpu", measure.device):
        generator = dcgan(device)
        layer = generator.layers[0]
        with record(generator.module, generator.layers) as seen:
            images = generator.generate(latents)
        mask = seen[layer].mean(0).cpu() > 0.5
        outputs.append([*(seen[name] for name in generator.layers), images])
        with edited(generator.module, AblateNeurons(layer, mask)):
            outputs[-1].append(generator.generate(latents))
    names = [*(f"layer {number}" for number in range(len(outputs[0]) - 2)), "images", "edited images"]
    differences = [apart(found, expected) for expected, found in zip(*outputs, strict=True)]
    return {"relative": dict(zip(names, differences, strict=True))}


def correction_parity(measure: Measure) -> dict[str, Any]:
    """A correction fitted on the CPU: how many samples it treats alike, how far their images and their descents are."""
    generator, colours = dcgan("cpu"), Colours()
    n = 60 if measure.small else 400
    detector = ArtifactDetector(colours, n_statistics=2 * n, n_reference=2 * n).fit(generator)
    correction = fit_correction(generator, detector=detector)
    latents, made = generator.latents(n, 7), []
    for device in ("cpu", measure.device):
        there = dcgan(device)
        done = corrected(there, correction, extractor=colours, gate=False)(latents)
        moved = descend(there, correction.descent, latents, 0) if correction.descent else latents
        with edited(there.module, *correction.ladder[-1]):
            made.append((done, moved, there.generate(latents)))
    (on_cpu, moved, strong), (on_device, moved_there, strong_there) = made
    alike = on_cpu.rung == on_device.rung
    return {
        "samples": n,
        "changed": int(on_cpu.changed.sum()),
        "treated_alike": float(alike.mean()),
        "images_apart": apart(on_device.images[alike], on_cpu.images[alike]),
        "descended_latents_apart": apart(moved_there, moved),
        "last_rung_apart": apart(strong_there, strong),
    }


class Colours(torch.nn.Module):
    """A picture at 4 x 4: an extractor without weights."""

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, 48)."""
        return torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)


@torch.no_grad()
def amplification_parity(measure: Measure) -> dict[str, Any]:
    """The operator against float64 on the CPU, on maps of the first block of Stable Diffusion, by precision."""
    shape = (2, 32, 16, 16) if measure.small else (2, 320, 64, 64)
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    edit = AmplifyLowFrequencies("", 2.0, 5)
    rows = {}
    for dtype in DTYPES:
        given = maps.to(dtype)
        exact = edit.apply(given.double())
        made = edit.apply(given.to(measure.device))
        assert made.dtype == dtype
        rows[str(dtype).removeprefix("torch.")] = {"cpu": apart(edit.apply(given), exact), "device": apart(made, exact)}
    return {"relative_error": rows}


def engine(measure: Measure) -> dict[str, Any]:
    """All ball metrics of clustered features, screened on the device and on the CPU: the same counts, and the time."""
    n, width = (400, 64) if measure.small else (10_000, 2048)
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, width))
    x, y = ((centres[rng.integers(0, 20, n)] + 0.5 * rng.normal(size=(n, width))).astype(np.float32) for _ in range(2))
    there = [torch.from_numpy(features).to(measure.device) for features in (x, y)]
    metrics = ("precision", "recall", "density", "coverage")
    on_cpu, on_device = evaluate(x, y, 5, metrics), evaluate(*there, 5, metrics)
    pairs = zip(on_cpu.per_sample().values(), on_device.per_sample().values(), strict=True)
    same = all(np.array_equal(one, np.asarray(torch.as_tensor(other).cpu()), equal_nan=True) for one, other in pairs)
    few = Measure(measure.device, measure.small, 1)
    return {
        "n": n,
        "width": width,
        "per_sample_equal": same,
        "seconds_device": round(few.seconds(lambda: evaluate(*there, 5, metrics)), 3),
        "seconds_cpu": round(few.seconds(lambda: evaluate(x, y, 5, metrics)), 3),
    }


@torch.no_grad()
def generation(measure: Measure) -> dict[str, Any]:
    """Images a second of a StyleGAN2, left on the device."""
    side, n = (16, 2) if measure.small else (256, 32)
    widths = {4: 32, 8: 32, 16: 16} if measure.small else WIDTHS[side]
    module = random_stylegan2(widths)[0].eval().to(measure.device)
    latents = torch.randn(n, 512, generator=torch.Generator().manual_seed(0)).to(measure.device)
    taken = measure.seconds(lambda: module(latents))
    return {"side": side, "batch": n, "images_per_second": round(n / taken, 1)}


def extraction(measure: Measure) -> dict[str, Any]:
    """Images a second of EfficientNet-Lite0 from 256 x 256 pixels on the CPU to features there, by batch size."""
    import timm

    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
    extractor = ImageExtractor("lite0", network.to(memory_format=torch.channels_last), 224, (0.5,) * 3, (0.5,) * 3)
    n = 4 if measure.small else 1024
    images = torch.rand(n, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    expected = torch.from_numpy(extract(extractor, images[:16]))
    extractor.to(measure.device)
    found = {"relative": apart(torch.from_numpy(extract(extractor, images[:16])), expected)}
    few = Measure(measure.device, measure.small, 2)
    for batch in (4,) if measure.small else (16, 64, 256):
        taken = few.seconds(lambda batch=batch: extract(extractor, images, batch_size=batch))
        found[f"images_per_second_batch_{batch}"] = round(n / taken, 1)
    return found


@torch.no_grad()
def unet(measure: Measure) -> dict[str, Any]:
    """A call of the U-Net, plain and amplified in its down blocks and middle, and what amplification adds."""
    from diffusers import UNet2DConditionModel

    small = {"block_out_channels": (32, 32, 64, 64), "norm_num_groups": 8, "attention_head_dim": 8}
    sizes = small | {"cross_attention_dim": 32} if measure.small else {"cross_attention_dim": 768}
    side = 16 if measure.small else 64
    torch.manual_seed(0)
    model = UNet2DConditionModel(sample_size=side, **sizes).eval()
    found: dict[str, Any] = {"parameters": sum(weight.numel() for weight in model.parameters())}
    draw = torch.Generator().manual_seed(1)
    latents, text = (2, 4, side, side), (2, 77, sizes["cross_attention_dim"])
    given = torch.randn(latents, generator=draw), torch.randn(text, generator=draw)
    gains = {"down": (1.1, 1.2, 1.2, 1.2), "mid": 1.5, "cutoff": 0.3, "cutoff_unit": "nyquist"}
    expected = None
    if measure.small:
        with amplified(model, **gains):
            expected = model(given[0], 500, given[1]).sample
    for dtype in DTYPES[:1] if measure.device.type == "cpu" else DTYPES:
        model.to(measure.device, dtype)
        call = partial(model, given[0].to(measure.device, dtype), 500, given[1].to(measure.device, dtype))
        plain = measure.seconds(call)
        with amplified(model, **gains):
            more, made = measure.seconds(call), call().sample
        row = {"plain_ms": round(1e3 * plain, 2), "amplified_ms": round(1e3 * more, 2), "ratio": round(more / plain, 4)}
        row["finite"] = bool(made.isfinite().all())
        if expected is not None:
            row["relative"] = apart(made, expected)
        found[str(dtype).removeprefix("torch.")] = row
    return found


def hour(measure: Measure) -> dict[str, Any]:
    """``genmend amplify FOLDER --prompt ...`` on a pipeline of SDXL's layout, and the file of its gains used again."""
    side, said = 16 if measure.small else 512, []
    call = {"num_inference_steps": 1, "guidance_scale": 0.0, "height": side, "width": side}
    found: dict[str, Any] = {
        "pipeline": f"SDXL's layout, {'small' if measure.small else 'true'} widths, random weights"
    }
    with TemporaryDirectory() as place:
        folder, out = random_sdxl(Path(place), measure.small), Path(place) / "out"
        load = partial(load_text_to_image, str(folder), device=str(measure.device), say=said.append)
        for offload in ("none", "model", "sequential") if measure.device.type == "cuda" else ("none",):
            row = measure.part(partial(_with_offloading, measure, partial(load, offload=offload), call))
            found[f"offload_{offload}"] = row | {"said": said[-1].replace(str(folder), folder.name)}
        line = [sys.executable, "-m", "genmend", "amplify", str(folder), "--prompt", "a creative chair"]
        line += f"--n 12 --n-cloud 20 --height {side} --width {side} --extractor gpu:Colours".split()
        line += ["--device", str(measure.device), "--out", str(out)]
        stamps = []
        for seconds in ("command_seconds", "command_again_seconds"):  # Python's own start is in them
            began = time.perf_counter()
            done = run(line, cwd=Path(__file__).parent, stderr=PIPE, text=True, check=True)
            found[seconds] = round(time.perf_counter() - began, 1)
            stamps.append({path.name: path.stat().st_mtime_ns for path in (out / "work").iterdir()})
        found["images_kept"] = stamps[0] == stamps[1]
        told = done.stderr.replace(str(folder), folder.name).splitlines()
        found["said"] = [text for text in told if text and "%|" not in text and "Report:" not in text]
        found |= {"verdict": json.loads((out / "summary.json").read_text())["verdict"]}
        found["page_megabytes"] = round((out / "report.html").stat().st_size / 1e6, 2)
        model = load(offload="auto")
        enable_amplification(model.pipe, out / "amplification.safetensors")
        seeds = range(model.batch_size(call))
        used = to_pixels(draw(model.pipe, "a creative chair", seeds, batch_size=len(seeds), **call)).astype(int)
        drawn = [np.asarray(Image.open(out / "amplified" / f"prompt00_{seed:03d}.png")) for seed in seeds]
        found["file_used_again_levels_apart"] = int(np.abs(used - np.stack(drawn)).max())  # of 255
    return found


def _with_offloading(measure: Measure, load: Callable[[], TextToImage], call: dict[str, Any]) -> dict[str, Any]:
    """Seconds to load, and for each image alone and of eight at once, plain; and what amplification takes of them."""
    began, pipe = time.perf_counter(), load().pipe
    row = {"seconds_to_load": round(time.perf_counter() - began, 2)}
    for batch in (1, 8):
        few = partial(draw, pipe, "a creative chair", range(batch), batch_size=batch, **call)
        plain = measure.seconds(few) / batch
        with amplified(pipe, "sdxl-turbo"):
            more = measure.seconds(few) / batch
        row |= {
            f"seconds_an_image_batch_{batch}": round(plain, 4),
            f"amplified_ratio_batch_{batch}": round(more / plain, 4),
        }
    return row


PARTS = (generator_parity, correction_parity, amplification_parity, engine, generation, extraction, unet, hour)

if __name__ == "__main__":
    main()
