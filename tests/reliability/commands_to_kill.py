"""The commands that `kill_runs` kills, with small inputs of their own; and for each what may change between resumes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

OWN = ["--latent-shape", "12", "--extractor", "scratch:network", "--n-statistics", "300", "--n-reference", "160"]
SCORER = """

def coarse():
    return lambda images: nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)
"""
Change = tuple[
    list[str], list[str]
]  # options that come to a command; inputs whose content is another under the same name


def prepare(folder: Path) -> None:
    """Write what the commands read; `others` in it holds other content for some of the files."""
    import diffusion_toys
    import torch
    from scratch_commands import SCRATCH

    from genmend.diffusion.search import comparison
    from genmend.gans import DCGAN
    from genmend.tts.text.corpus import ENGLISH

    others = folder / "others"
    others.mkdir()
    (folder / "scratch.py").write_text(SCRATCH + SCORER)
    (others / "scratch.py").write_text((SCRATCH + SCORER).replace("manual_seed(5)", "manual_seed(8)"))
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((600, 12)).astype(np.float32)
    latents[:60] *= 3
    for name, rows in (("latents", 600), ("some", 240), ("few", 3)):
        np.save(folder / f"{name}.npy", latents[:rows])
        np.save(others / f"{name}.npy", latents[-rows:][::-1].copy())
    for place, broken in ((folder, 60), (others, 50)):
        labels = place / "labels"
        labels.mkdir()
        np.save(labels / "latents.npy", latents[:200])
        rows = [f"{i},{2 * (i < broken)},{2 * (i < broken)}" for i in range(200)]
        (labels / "labels.csv").write_text("\n".join(["index,rater_a,rater_b", *rows]) + "\n")
    for name in ("real", "made"):
        (folder / name).mkdir()
        for number, pixels in enumerate(rng.integers(0, 256, (200, 16, 16, 3)).astype(np.uint8)):
            Image.fromarray(pixels).save(folder / name / f"{number:03}.png")
    (others / "made").mkdir()  # one picture of two hundred
    Image.fromarray(pixels).save(others / "made" / "007.png")
    torch.manual_seed(0)
    torch.save(DCGAN(7, (32, 16)).eval().state_dict(), folder / "own.pth")
    torch.save(DCGAN(7, (32, 16)).eval().state_dict(), others / "own.pth")
    (folder / "toy").mkdir()
    # The usability of tiny images, in place of a CLIP that nobody has on disk; forked runs see it too.
    comparison.clip_score = lambda name: lambda images, prompt: images.mean((1, 2, 3)).numpy() + 1
    pipe = diffusion_toys.sd15(folder / "toy")
    pipe.save_pretrained(folder / "pipe")
    pipe.unet.conv_in.weight.data *= 2
    pipe.save_pretrained(others / "pipe")
    lines = ENGLISH.read_text(encoding="utf-8").splitlines()
    for place, first in ((folder, 0), (others, 100)):
        (place / "corpus.tsv").write_text("\n".join(lines[first : first + 24]), encoding="utf-8")
        (place / "sentences.tsv").write_text("\n".join(lines[first + 200 : first + 220]), encoding="utf-8")


def exchange(folder: Path, names: list[str]) -> None:
    """Swap the content of these files or folders with that of their namesakes in `others`."""
    for name in names:
        ours, theirs = folder / name, folder / "others" / name
        if ours.is_dir() and name != "pipe":  # a folder of files, of which some are others
            exchange_files = [str(Path(name) / file.name) for file in theirs.iterdir()]
            exchange(folder, exchange_files)
            continue
        aside = folder / "aside"
        ours.rename(aside)
        theirs.rename(ours)
        aside.rename(theirs)
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)  # it knows a source by its size and time alone


def commands() -> dict[str, tuple[list[str], list[Change]]]:
    """Name -> (arguments, what changes between a killed run and the one that takes over)."""
    own = ["scratch:build", "--latents", "latents.npy", *OWN]
    correct = ["correct", "scratch:build", "--latents", "some.npy", *OWN]
    rare = ["rare", "scratch:build", "--latents", "few.npy", *OWN, "--n-versions", "2", "--search-steps", "6"]
    dissect = ["dissect", "scratch:build", "--latent-shape", "12", "--layers", "bloom", "--n-images", "60"]
    score = [
        "score",
        "real",
        "made",
        "--extractor",
        "scratch:coarse",
        "--k",
        "3",
        "--bootstrap",
        "20",
        "--metrics",
        "precision,rarity",
    ]
    search = ["--prompt", "a", "--search", "--n-search", "4", "--n-trials", "4", "--cutoff", "2", "--steps", "2"]
    small = ["--height", "16", "--width", "16", "--guidance", "0", "--n", "3", "--n-cloud", "8"]
    amplify = ["amplify", "pipe", *search, *small, "--usability", "clip:mean", "--extractor", "scratch:coarse"]
    train = ["train-detector", "scratch:build", "--labels", "labels", *OWN]
    speak = ["speak", "joe", "--file", "sentences.tsv", "--corpus", "corpus.tsv"]
    weights, seed = ([], ["scratch.py"]), (["--seed", "5"], [])
    return {
        "detect": (["detect", *own], [seed, weights, ([], ["latents.npy"])]),
        "correct": (correct, [(["--no-gate"], []), weights, ([], ["some.npy"])]),
        "score": (score, [seed, ([], ["made"]), (["--k", "5"], [])]),
        "rare": ([*rare, "--k-reference", "20"], [seed, weights, ([], ["few.npy"])]),
        "dissect": ([*dissect, "--n-statistics", "300"], [seed, weights, (["--n-shuffles", "30"], [])]),
        "train-detector": (train, [seed, weights, ([], ["labels"])]),
        "amplify --search": (amplify, [seed, ([], ["pipe"]), (["--tau", "0.5"], [])]),
        "speak --file": (speak, [(["--k", "8"], []), ([], ["corpus.tsv"]), ([], ["sentences.tsv"])]),
        "convert": (["convert", "own.pth", "--i-trust-this-file"], [seed, ([], ["own.pth"]), (["--no-samples"], [])]),
    }
