"""Pictures of the page of ``genmend amplify``: the slider of the strength, and the images worth keeping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from genmend.manifold.figures.image_grid import image_grid
from genmend.workbench.pages.blocks import Block, Paragraph, Picture, Stages, Thumbnails
from genmend.workbench.pages.pictures import gallery

if TYPE_CHECKING:
    from genmend.diffusion.search.comparison import AmplifyRun

__all__ = ["first_picture", "keeper_blocks"]

SIDE = 192  # pixels of an image in the pictures with the slider: twice what a page shows, for fine screens
ACROSS = 4  # images in a row
MOST_KEEPERS = 24  # of all prompts
FRAME = 0.03  # of a keeper's side
_FRAME_COLOUR = (0.05, 0.55, 0.45)


def first_picture(run: AmplifyRun) -> Stages:
    """The first seeds of the first prompt without amplification, beside them those with as much as the slider says.

    Keepers are framed where they are known, which is at strength 1.
    """
    n = len(next(iter(run.strengths.values()))) if run.strengths else min(8, len(run.images[0]))
    kept = run.keepers.get("amplified", torch.zeros(0).numpy())[:n]
    before, after = run.images_before[0][:n], run.images[0][:n]
    stages = {0.0: before, 1.0: _framed(after, kept), **run.strengths}
    named = [
        (f"{strength:g}{_LIKE.get(strength, '')}", _grid(f"Strength {strength:g}.", images))
        for strength, images in sorted(stages.items())
    ]
    first = sorted(stages).index(1.0)
    framed = " A frame: a keeper." if any(kept) else ""
    seed = run.settings["seed"]
    caption = f"{run.settings['prompts'][0]!r}, seeds {seed} to {seed + n - 1}.{framed}"
    return Stages(
        caption, "Strength of the amplification", named, first, ("Unamplified", _grid("Unamplified.", before))
    )


_LIKE = {0.0: ", unamplified", 1.0: ", as measured"}


def keeper_blocks(run: AmplifyRun) -> list[Block]:
    """The amplified keepers, each beside the unamplified image of its seed, with what was measured of it."""
    kept = run.keepers["amplified"]
    total, of_plain = int(kept.sum()), int(run.keepers["original"].sum())
    inside = ", and lies among real images" if run.inside_measured else ""
    said = (
        f"{total} of {len(kept)} amplified images are keepers, {of_plain} of {len(kept)} unamplified ones. A keeper is "
        "usable (a probability of 0.5; by another scorer, as all but the lowest twentieth of the unamplified cloud of "
        f"its prompt), newer than all but the newest twentieth of that cloud{inside}: by chance about one in twenty is."
    )
    n, scores = len(run.images[0]), run.scores[1]
    chosen = [int(row) for row in sorted(kept.nonzero()[0], key=lambda row: -scores.novelty[row])][:MOST_KEEPERS]
    if not chosen:
        return [Paragraph(said)]
    pictures = []
    for row in chosen:
        prompt, seed = divmod(row, n)
        both = torch.stack([_sized(found[prompt][seed]) for found in (run.images_before, run.images)])
        file = f"amplified/prompt{prompt:02d}_{seed:03d}.png"
        told = [f"novelty {scores.novelty[row]:.3g}", *(f"{name} {v[row]:.3g}" for name, v in scores.usability.items())]
        words = f"{run.settings['prompts'][prompt]}, seed {run.settings['seed'] + seed}: {', '.join(told)}; {file}"
        pictures.append(Picture(words, image_grid([both]), density=2.0))
    more = f" The {len(chosen)} newest of them." if len(chosen) < total else ""
    return [Paragraph(said), Thumbnails(f"Unamplified to the left, amplified to the right.{more}", pictures)]


def _grid(caption: str, images: Tensor) -> Picture:
    sized = torch.stack([_sized(image) for image in images])
    return Picture(caption, gallery(sized, ACROSS), density=max(1.0, min(ACROSS, len(images)) * SIDE / 440))


def _sized(image: Tensor) -> Tensor:
    """Shrunk where it is large, and enlarged without blur by a whole number where it is small."""
    height, width = image.shape[1:]
    larger = max(height, width)
    if larger >= SIDE:
        size = [max(1, round(length * SIDE / larger)) for length in (height, width)]
        return functional.interpolate(image[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)
    times = SIDE // larger
    return image.repeat_interleave(times, 1).repeat_interleave(times, 2)


def _framed(images: Tensor, kept: Any) -> Tensor:
    """Keepers with a frame inside their edge."""
    if not any(kept):
        return images
    sized = torch.stack([_sized(image) for image in images])
    wide = max(2, round(FRAME * max(sized.shape[2:])))
    colour = sized.new_tensor(_FRAME_COLOUR)[:, None, None]
    for image, is_kept in zip(sized, kept, strict=True):
        if is_kept:
            image[:, :wide], image[:, -wide:] = colour, colour
            image[:, :, :wide], image[:, :, -wide:] = colour, colour
    return sized
