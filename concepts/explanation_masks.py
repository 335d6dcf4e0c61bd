"""Where in an image a score comes from: attributions made into masks, e.g. of what a detector calls broken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from genmend.concepts.loop.methods import METHODS, method_name, why_not
from genmend.concepts.loop.operations import trace_model
from genmend.concepts.scalar_target import as_module, check_inputs, scores_of, warn_of_spread

__all__ = ["ExplanationMasks", "marked_pixels"]

GREY = 0.5  # what a pixel without information is, as under the squares of occlusion
_BLUR = 1 / 16  # of the shorter side, standard deviation: attributions of single pixels speckle


@dataclass(frozen=True)
class ExplanationMasks:
    """Explain a score by a method of `genmend explain`, and mark the pixels that speak for it most.

    ``ExplanationMasks("dga")(score, images)``. What it gives is what `MethodSettings(masks=...)` of
    `genmend.gans.correctors.registry` takes, with ``--masks explain:dga`` on the command line.

    Parameters
    ----------
    method : str
        A name in `METHODS` or a published abbreviation, e.g. 'dga'; 'random' is the control.
    share : float in (0, 1]
        Of each image's pixels, those that are marked: the highest of the positive attributions, summed over the
        colours and blurred by a sixteenth of the image's side.
    batch_size : int
        Images explained together.
    settings : mapping
        In place of the method's own.

    Examples
    --------
    >>> score = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 1)).eval()
    >>> masks = ExplanationMasks("input-x-gradient", share=0.25)(score, torch.rand(2, 3, 8, 8))
    >>> tuple(masks.shape), bool((masks.sum((1, 2)) <= 16).all())
    ((2, 8, 8), True)
    """

    method: str = "distilled-gradient"
    share: float = 0.3
    batch_size: int = 8
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", method_name(self.method))
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}; give a share of the pixels in (0, 1].")
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; give at least 1.")
        unknown = set(self.settings) - set(METHODS[self.method].settings)
        if unknown:
            known = ", ".join(METHODS[self.method].settings) or "none"
            raise ValueError(f"{self.method} has no setting {sorted(unknown)[0]!r}; it has {known}.")

    @property
    def name(self) -> str:
        """Names all that the masks depend on, beside score and images; for reports and for keys of kept work."""
        changed = {"share": self.share} if self.share != ExplanationMasks.share else {}
        changed |= dict(self.settings)
        words = f" ({', '.join(f'{name}={value}' for name, value in changed.items())})" if changed else ""
        return f"explain:{self.method}{words}"

    @property
    def passes(self) -> int:
        """Runs of the score an image, forward and backward counted as one."""
        return METHODS[self.method].passes({**METHODS[self.method].settings, **self.settings})

    def __call__(self, score: nn.Module, images: Tensor) -> Tensor:
        """Masks ``(n, h, w)`` float32, 1 where an image's pixels speak for its score.

        Parameters
        ----------
        score
            From images ``(n, 3, h, w)`` in 0..1 to ``(n,)`` or ``(n, 1)``, in evaluation mode.
        images
            In 0..1; a pixel without information is mid-grey.

        Raises
        ------
        ValueError
            If the method does not serve the score, e.g. because no gradient comes back to the images.
        """
        return marked_pixels(self.maps(score, images), self.share)

    def maps(self, score: nn.Module, images: Tensor) -> Tensor:
        """The positive part of the attributions, summed over the colours: ``(n, h, w)`` float32 on the CPU."""
        images = check_inputs(images)
        model = _AroundGrey(as_module(score)).eval()
        facts = trace_model(model, images[:1] - GREY)
        warn_of_spread(lambda some: scores_of(model(some)), images - GREY, "the score")
        method = METHODS[self.method]
        reason = why_not(method, facts)
        if reason is not None:
            serving = [name for name, each in METHODS.items() if why_not(each, facts) is None]
            raise ValueError(f"{self.method} does not serve this score. {reason} Take one of {', '.join(serving)}.")
        attribute = method.build(model, facts, **{**method.settings, **self.settings})
        found = [attribute(batch - GREY, None).detach() for batch in images.split(self.batch_size)]
        return torch.cat([maps.sum(1).clamp_min(0).float().cpu() for maps in found])


def marked_pixels(maps: Tensor, share: float) -> Tensor:
    """The highest of each map's values after a blur: masks ``(n, h, w)`` float32, 1 at this share of the pixels.

    Where a map has fewer values above 0, only these are marked.
    """
    height, width = maps.shape[1:]
    blurred = gaussian_filter(maps.double().numpy(), (0, *[_BLUR * min(height, width)] * 2), mode="nearest")
    flat = blurred.reshape(len(maps), -1)
    highest = np.argsort(-flat, axis=1, kind="stable")[:, : max(1, round(share * height * width))]
    masks = np.zeros(flat.shape, dtype=np.float32)
    np.put_along_axis(masks, highest, 1, axis=1)
    masks[flat <= 0] = 0
    return torch.from_numpy(masks.reshape(maps.shape))


class _AroundGrey(nn.Module):
    """A score of images less grey, so that 0 is a pixel without information: that is what methods dim to."""

    def __init__(self, score: nn.Module) -> None:
        super().__init__()
        self.score = score

    def forward(self, shifted: Tensor) -> Tensor:
        scores: Tensor = self.score(shifted + GREY)
        return scores.reshape(len(shifted))
