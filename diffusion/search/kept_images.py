"""Images of a comparison, drawn in batches that are kept as they are done, with one count of all that is to come."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from genmend.activations import Edit
from genmend.diffusion.amplification.plug_in import amplified
from genmend.diffusion.baselines.cads import cads
from genmend.diffusion.drawing import draw
from genmend.diffusion.pipeline_fingerprint import pipeline_fingerprint
from genmend.diffusion.pipeline_parts import SigmaWindow
from genmend.diffusion.search.trials import describe_edit
from genmend.manifold.figures.image_grid import to_pixels
from genmend.storage.pieces import Work

__all__ = ["ImageSource", "image_source"]

# Edits, noise levels, prompt, seeds, and where there is one the scale of CADS -> images (n, 3, h, w) in 0..1.
ImageSource = Callable[..., Tensor]
CADS_SEED = 10_000  # above that of the image: its noise is another than the image's


def image_source(
    pipe: Any, call: Mapping[str, Any], batch_size: int, work: Work, advance: Callable[..., Any]
) -> ImageSource:
    """Return the function that draws, or takes what an earlier run has kept.

    Parameters
    ----------
    pipe, call
        The pipeline, and the arguments of its call.
    batch_size
        Images a call, and of one file: what an interrupted run loses is at most that.
    work
        Where they are kept.
    advance
        Called with the number of images that are there now, and ``before=True`` where an earlier run had drawn them.
    """
    begun: list[bool] = []
    facts = pipeline_fingerprint(pipe) | {"call": {key: repr(call[key]) for key in sorted(call)}}

    def images(
        edits: Sequence[Edit], window: SigmaWindow | None, prompt: str, seeds: range, cads_scale: float = 0.0
    ) -> Tensor:
        """Kept as uint8, and rounded so at once: a resumed run sees what the first one saw."""
        about: dict[str, Any] = {"edits": [describe_edit(edit) for edit in edits]}
        about |= {"window": repr(window) if edits else ""} | ({"cads": cads_scale} if cads_scale else {})
        parts = []
        for start in range(0, len(seeds), batch_size):
            batch = seeds[start : start + batch_size]
            drawn: list[int] = []

            def compute(batch: range = batch, drawn: list[int] = drawn) -> dict[str, Any]:
                noise = cads(pipe, cads_scale, tau2=1.0, seed=CADS_SEED + batch.start) if cads_scale else nullcontext()
                with amplified(pipe, edits=edits, schedule=window if edits else None), noise:
                    # Of the first batch nobody knows yet how long it takes.
                    show_steps = work.progress and not begun and sys.stderr.isatty()
                    made = draw(pipe, prompt, batch, batch_size=batch_size, show_steps=show_steps, **call)
                begun.append(True)
                drawn.append(len(batch))
                return {"images": to_pixels(made)}

            kept = facts | about | {"prompt": prompt, "seeds": [batch.start, batch.stop]}
            parts.append(torch.from_numpy(work.kept("images", kept, compute)["images"]))
            advance(len(batch), before=not drawn)
        return torch.cat(parts).permute(0, 3, 1, 2).contiguous().float() / 255

    return images
