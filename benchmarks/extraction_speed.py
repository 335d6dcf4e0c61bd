"""How long it takes to score two folders of JPEGs: genmend beside torch-fidelity and clean-fid, with one network.

Every contender runs in a process of its own, on one thread, from the files to the scores, and is given the same
EfficientNet-Lite0 at 224 x 224: genmend by `genmend score`, the others as their own feature extractor, in torch.
torch-fidelity computes precision and recall, clean-fid the kernel distance. CPU seconds are the system's, of the
process and its children; torch-fidelity decodes in worker processes. The second run of genmend finds its features kept.
The images are samples of the face generator, scaled up to 256 x 256, at JPEG quality 90.

    python benchmarks/extraction_speed.py                              # a quarter of an hour
    python benchmarks/extraction_speed.py --n 200                      # of each folder
    python benchmarks/extraction_speed.py --before ~/old/.venv/bin/python   # an older installation too
    python benchmarks/extraction_speed.py --save                    # also in benchmarks/results/extraction-<CPU>.json

clean-fid is left out where it is not installed (pip install clean-fid).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from machine import conditions, result_file

SIDE, QUALITY = 256, 90
PACKAGES = ("numpy", "torch", "timm", "onnxruntime", "pillow", "torch-fidelity", "clean-fid")
NETWORK = """
import sys, torch
from genmend.manifold.features import load_extractor
extractor = load_extractor("efficientnet-lite0")
extractor.onnx = False
"""
TORCH_FIDELITY = (
    NETWORK
    + """
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import register_feature_extractor

class Lite0(FeatureExtractorBase):
    def __init__(self, name, features_list, **options):
        super().__init__(name, features_list)

    @staticmethod
    def get_provided_features_list():
        return ("pooled",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "pooled"

    @staticmethod
    def can_be_compiled():
        return False

    def forward(self, images):
        return (extractor(images.float() / 255),)

register_feature_extractor("lite0", Lite0)
print(calculate_metrics(input1=sys.argv[1], input2=sys.argv[2], feature_extractor="lite0", prc=True, cuda=False,
                        cache=False, verbose=False, batch_size=16))
"""
)
CLEAN_FID = (
    NETWORK
    + """
from cleanfid import fid
from cleanfid.resize import make_resizer

mean, std = extractor.mean * 255, extractor.std * 255
def network(images):
    return extractor.network((images - mean) / std)

found = [fid.get_folder_features(folder, network, num_workers=0, batch_size=16, device=torch.device("cpu"),
                                 custom_fn_resize=make_resizer("PIL", False, "bicubic", (224, 224)), verbose=False)
         for folder in sys.argv[1:3]]
print(fid.kernel_distance(*found))
"""
)


@dataclass(frozen=True)
class Run:
    """One run of one contender."""

    contender: str
    cpu: float
    wall: float


def write_images(folder: Path, n: int, seed: int) -> None:
    """Write n samples of the face generator as JPEG files."""
    import torch
    from PIL import Image

    from genmend.gans import load_generator

    generator = load_generator("faces")
    folder.mkdir(parents=True)
    with torch.no_grad():
        for start in range(0, n, 64):
            latents = generator.latents(n, seed)[start : start + 64]
            pixels = (generator.generate(latents) * 255).round().byte().permute(0, 2, 3, 1).numpy()
            for offset, image in enumerate(np.asarray(pixels)):
                scaled = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                scaled.save(folder / f"{start + offset:05}.jpg", quality=QUALITY)


def timed(contender: str, command: list[str], environment: dict[str, str]) -> Run:
    """Run a command to its end.

    Raises
    ------
    RuntimeError
        If it fails; the message is its last lines.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{contender} failed: {done.stderr[-600:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(contender, round(cpu, 2), round(wall, 2))


def measure(options: argparse.Namespace, place: Path) -> list[Run]:
    """All contenders, one after the other, on the same files."""
    folders = [str(place / name) for name in ("reference", "query")]
    for seed, folder in enumerate(folders):
        write_images(Path(folder), options.n, seed)
    plain = {**os.environ, "OMP_NUM_THREADS": "1"}
    runs = []
    installations = {"genmend": sys.executable}
    if options.before:
        installations["genmend before"] = options.before
    for name, python in installations.items():
        # A cache of its own, so that nothing was computed before; the weights are those of this user.
        cache = place / name.replace(" ", "-")
        cache.mkdir()
        from genmend.storage.weights import cache_folder

        (cache / "weights").symlink_to(cache_folder() / "weights")
        here = {**plain, "GENMEND_CACHE": str(cache)}
        if name == "genmend before":
            here.pop("PYTHONPATH", None)
        command = [python, "-m", "genmend", "score", *folders]
        for again in ("", ", again"):
            runs.append(timed(name + again, [*command, "--out", str(place / f"{cache.name}-out{again[2:]}")], here))
            print(runs[-1], flush=True)
    for name, program in (("torch-fidelity", TORCH_FIDELITY), ("clean-fid", CLEAN_FID)):
        if name == "clean-fid" and importlib.util.find_spec("cleanfid") is None:
            continue
        runs.append(timed(name, [sys.executable, "-c", program, *folders], plain))
        print(runs[-1], flush=True)
    return runs


def table(runs: list[Run], n: int) -> str:
    """CPU seconds, ratios to genmend's first run, and images a CPU second, as a Markdown table."""
    ours = runs[0].cpu
    lines = ["| | CPU time | times genmend's | images a CPU second |", "| --- | --- | --- | --- |"]
    lines += [f"| {run.contender} | {run.cpu:.1f} s | {run.cpu / ours:.2f} | {2 * n / run.cpu:.0f} |" for run in runs]
    return "\n".join(lines)


def main() -> None:
    """Measure and print; with --save keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2000, help="images in each folder")
    parser.add_argument("--before", default="", help="the python of an older installation")
    parser.add_argument("--save", action="store_true", help="keep the result in benchmarks/results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        runs = measure(options, Path(place))
    where = conditions(*PACKAGES)
    print(where, f"{options.n} x {options.n} JPEGs of {SIDE} x {SIDE}", table(runs, options.n), sep="\n\n")
    if options.save:
        kept = {"conditions": where, "n": options.n, "side": SIDE, "quality": QUALITY, "runs": list(map(asdict, runs))}
        result_file("extraction", ".json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
