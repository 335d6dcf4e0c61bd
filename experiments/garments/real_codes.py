"""Codes of real garments, which the reference pipeline comes with: whether drawn ones lie among them.

``python -m experiments.garments.real_codes`` writes diffusion/reference/real_codes.safetensors: of each garment the
first pictures held out from training, in the novelty space, in half precision. Few, since the more there are, the
smaller are their balls and the fewer drawn samples lie inside, so that a share of them tells less.
"""

from __future__ import annotations

import torch
from safetensors.torch import save_file

from experiments.garments.captions import add_border, held_out_images
from genmend.diffusion.reference.networks import GARMENTS, WEIGHTS, load_network, novelty_features

N_EACH = 200


def main() -> None:
    """Write the file."""
    images, labels = held_out_images()
    network = load_network("contrastive")
    codes = {}
    for label, garment in enumerate(GARMENTS):
        pictures = torch.from_numpy(add_border(images[labels == label][:N_EACH]))[:, None] / 2 + 0.5
        codes[garment] = novelty_features(network, pictures).half().contiguous()
    save_file(codes, WEIGHTS / "real_codes.safetensors")
    print(f"{len(codes)} garments, {N_EACH} pictures each: {WEIGHTS / 'real_codes.safetensors'}")


if __name__ == "__main__":
    main()
