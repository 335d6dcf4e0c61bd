"""Circuits elsewhere: a CLIP tower, a diffusion U-Net, the encoder of a voice; falls, stability, cost.

    python -m experiments.concepts.other_circuits

CLIP: emoji, whose kinds are the classes. U-Net and voice: the target is the change of what they put out. Photographs:
a convolutional classifier, whose circuits are screened by a gradient as CLIP's are. What is done is kept in --cache.
Writes results/other_circuits/results.json and docs/results/concepts-other_circuits.md. Needs the weights
`clip-vit-b16`, `joe` and `mobilenet-v2` (genmend fetch) and the images of experiments.images.data.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from experiments.concepts.clip_circuits import clip_rows
from experiments.concepts.generator_circuits import unet_rows, voice_rows
from experiments.concepts.screened_circuits import photograph_rows
from experiments.pages import write_page
from genmend.storage.pieces import Work
from genmend.storage.tables import read_json, write_json

RESULTS = Path(__file__).with_name("results") / "other_circuits"
PARTS = ("clip", "unet", "voice", "photographs")
N_DRAWS = 2  # of each control of a query
N_DRAWS_SMALL = 5  # where a run costs little


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    work, seed = Work(options.cache), options.seed
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "results.json"
    results: dict[str, Any] = read_json(file) if file.is_file() else {}
    results |= {"seed": seed, "n_draws": N_DRAWS, "n_draws_small": N_DRAWS_SMALL}
    for part in options.parts:
        if part == "clip":
            results[part] = clip_rows(work, options.n_clip, N_DRAWS, options.n_stability, options.n_unscreened, seed)
        elif part == "photographs":
            results[part] = photograph_rows(work, options.n_photographs, N_DRAWS, seed)
        else:
            rows_of, n = {"unet": (unet_rows, options.n_unet), "voice": (voice_rows, options.n_voice)}[part]
            results[part] = rows_of(work, options.n_reference, n, N_DRAWS_SMALL, options.n_stability, seed)
        write_json(file, results)
    write_page("concepts/other_circuits")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--cache", type=Path, default=RESULTS / "cache")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--n-clip", type=int, default=20, help="queries of the CLIP tower")
    parser.add_argument("--n-unscreened", type=int, default=1, help="of them, whose circuits are also found unscreened")
    parser.add_argument("--n-photographs", type=int, default=20)
    parser.add_argument("--n-unet", type=int, default=40)
    parser.add_argument("--n-voice", type=int, default=20)
    parser.add_argument("--n-reference", type=int, default=300, help="garments, sentences")
    parser.add_argument(
        "--n-stability", type=int, default=3, help="queries whose stability is measured, of each network"
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
