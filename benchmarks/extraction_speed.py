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
    python benchmarks/extraction_speed.py --save --contender genmend --rounds 3   # more, beside the known ones

On a busy machine CPU seconds differ from run to run: of several runs of a contender the table shows the least.

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
PROGRAMS = {"torch-fidelity": TORCH_FIDELITY, "clean-fid": CLEAN_FID}
CONTENDERS = ("genmend", "genmend before", *PROGRAMS)


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
    """The contenders, one after the other and so often, on the same files."""
    folders = [str(place / name) for name in ("reference", "query")]
    for seed, folder in enumerate(folders):
        write_images(Path(folder), options.n, seed)
    runs: list[Run] = []
    for number in range(options.rounds):
        for name in options.contender or CONTENDERS:
            if name in PROGRAMS:
                found = others_runs(name, folders)
            else:
                python = {"genmend": sys.executable, "genmend before": options.before}[name]
                found = own_runs(name, python, folders, place / f"{name.replace(' ', '-')}-{number}") if python else []
            for run in found:
                print(run, flush=True)
            runs += found
    return runs


def own_runs(name: str, python: str, folders: list[str], cache: Path) -> list[Run]:
    """A run of genmend by this interpreter, and one again."""
    # A cache of its own, so that nothing was computed before; the weights are those of this user.
    cache.mkdir()
    from genmend.storage.weights import cache_folder

    (cache / "weights").symlink_to(cache_folder() / "weights")
    here = {**os.environ, "OMP_NUM_THREADS": "1", "GENMEND_CACHE": str(cache)}
    if name == "genmend before":
        here.pop("PYTHONPATH", None)
    command = [python, "-m", "genmend", "score", *folders, "--out"]
    return [timed(name + again, [*command, f"{cache}-out{again[2:]}"], here) for again in ("", ", again")]


def others_runs(name: str, folders: list[str]) -> list[Run]:
    """A run of another package, where it is installed."""
    if name == "clean-fid" and importlib.util.find_spec("cleanfid") is None:
        return []
    return [timed(name, [sys.executable, "-c", PROGRAMS[name], *folders], {**os.environ, "OMP_NUM_THREADS": "1"})]


def least(runs: list[Run]) -> list[Run]:
    """Of each contender the run of least CPU time, in the order of their first runs."""
    names = dict.fromkeys(run.contender for run in runs)
    return [min((run for run in runs if run.contender == name), key=lambda run: run.cpu) for name in names]


def table(runs: list[Run], n: int) -> str:
    """CPU seconds, ratios to genmend's first run, and images a CPU second, as a Markdown table."""
    best = least(runs)
    ours = next((run.cpu for run in best if run.contender == "genmend"), float("nan"))
    lines = ["| | CPU time | times genmend's | images a CPU second |", "| --- | --- | --- | --- |"]
    lines += [f"| {run.contender} | {run.cpu:.1f} s | {run.cpu / ours:.2f} | {2 * n / run.cpu:.0f} |" for run in best]
    return "\n".join(lines)


def save(runs: list[Run], n: int, where: str) -> None:
    """Put the runs into the result file of this processor, beside those of as many images that it has."""
    path = result_file("extraction", ".json")
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"n": n, "runs": []}
    kept = known["runs"] if known["n"] == n else []
    found = {"conditions": where, "n": n, "side": SIDE, "quality": QUALITY, "runs": [*kept, *map(asdict, runs)]}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measure and print; with --save keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2000, help="images in each folder")
    parser.add_argument("--before", default="", help="the python of an older installation")
    parser.add_argument("--contender", choices=CONTENDERS, action="append", help="these alone; again for more")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each, in turns")
    parser.add_argument("--save", action="store_true", help="keep the result in benchmarks/results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        runs = measure(options, Path(place))
    where = conditions(*PACKAGES)
    print(where, f"{options.n} x {options.n} JPEGs of {SIDE} x {SIDE}", table(runs, options.n), sep="\n\n")
    if options.save:
        save(runs, options.n, where)


if __name__ == "__main__":
    main()
