"""The commands that `kill_runs` kills, with small inputs of their own; and for each the same with something changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

OWN = ["--latent-shape", "12", "--extractor", "scratch:network", "--n-statistics", "300", "--n-reference", "160"]
SCORER = """

def coarse():
    return lambda images: nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)
"""


def prepare(folder: Path) -> None:
    """Write what the commands read."""
    import diffusion_toys
    import torch
    from scratch_commands import SCRATCH

    from genmend.diffusion.search import comparison
    from genmend.gans import DCGAN
    from genmend.tts.text.corpus import ENGLISH

    (folder / "scratch.py").write_text(SCRATCH + SCORER)
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((600, 12)).astype(np.float32)
    latents[:60] *= 3
    np.save(folder / "latents.npy", latents)
    np.save(folder / "others.npy", latents[::-1].copy())
    labels = folder / "labels"
    labels.mkdir()
    np.save(labels / "latents.npy", latents[:200])
    rows = [f"{i},{2 * (i < 60)},{2 * (i < 60)}" for i in range(200)]
    (labels / "labels.csv").write_text("\n".join(["index,rater_a,rater_b", *rows]) + "\n")
    for name in ("real", "made"):
        (folder / name).mkdir()
        for number, pixels in enumerate(rng.integers(0, 256, (200, 16, 16, 3)).astype(np.uint8)):
            Image.fromarray(pixels).save(folder / name / f"{number:03}.png")
    torch.manual_seed(0)
    torch.save(DCGAN(7, (32, 16)).eval().state_dict(), folder / "own.pth")
    torch.save(DCGAN(7, (32, 16)).eval().state_dict(), folder / "another.pth")
    (folder / "toy").mkdir()
    # The usability of tiny images, in place of a CLIP that nobody has on disk; forked runs see it too.
    comparison.clip_score = lambda name: lambda images, prompt: images.mean((1, 2, 3)).numpy() + 1
    diffusion_toys.sd15(folder / "toy").save_pretrained(folder / "pipe")
    lines = ENGLISH.read_text(encoding="utf-8").splitlines()
    (folder / "corpus.tsv").write_text("\n".join(lines[:150]), encoding="utf-8")
    (folder / "sentences.tsv").write_text("\n".join(lines[200:300]), encoding="utf-8")


def commands() -> dict[str, tuple[list[str], list[str]]]:
    """Name -> (arguments, the same with an input or a setting changed)."""
    own = ["scratch:build", "--latents", "latents.npy", *OWN]
    others = ["scratch:build", "--latents", "others.npy", *OWN]
    rare = ["--n-references", "3", "--n-versions", "2", "--steps", "6", "--k-reference", "20"]
    dissect = ["dissect", "scratch:build", "--latent-shape", "12", "--layer", "bloom", "--n-images", "60"]
    score = ["score", "real", "made", "--features", "scratch:coarse", "--k", "3", "--bootstrap", "50"]
    search = ["--prompt", "a", "--search", "--n-search", "4", "--n-trials", "4", "--cutoff", "2", "--steps", "2"]
    small = ["--height", "16", "--width", "16", "--guidance", "0", "--n", "3", "--n-cloud", "8"]
    amplify = ["amplify", "pipe", *search, *small, "--usability", "clip:mean", "--features", "scratch:coarse"]
    train = ["train-detector", "scratch:build", "--labels", "labels", *OWN]
    speak = ["speak", "joe", "--file", "sentences.tsv", "--corpus", "corpus.tsv"]
    convert = ["--i-trust-this-file", "--samples", "64"]
    return {
        "detect": (["detect", *own], ["detect", *others]),
        "correct": (["correct", *own], ["correct", *own, "--no-gate"]),
        "score": (score, [*score, "--seed", "1"]),
        "rare": (["rare", *own, *rare], ["rare", *others, *rare]),
        "dissect": ([*dissect, "--n-statistics", "300"], [*dissect, "--n-statistics", "200"]),
        "train-detector": (train, [*train, "--seed", "5"]),
        "amplify --search": (amplify, [*amplify, "--seed", "9"]),
        "speak --file": ([*speak, "--reference", "kept"], [*speak, "--reference", "kept-8", "--k", "8"]),
        "convert": (["convert", "own.pth", *convert], ["convert", "another.pth", *convert]),
    }
