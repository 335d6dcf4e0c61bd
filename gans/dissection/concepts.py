"""What a unit can agree with: concepts, each a mask of an image; and masks as packed bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from genmend.storage.named_object import made_object

__all__ = [
    "Concepts",
    "SoftConcepts",
    "checked_masks",
    "load_concepts",
    "mask_size",
    "pack",
    "reduced",
    "unpack",
    "with_parts",
]

HALVES = ("top", "bottom", "left", "right")


@runtime_checkable
class Concepts(Protocol):
    """Anything that says where in an image its concepts are: a segmenter, or a rule.

    Attributes
    ----------
    objects : sequence of str, optional
        Those of `names` that are things with a top and a bottom; only these get part variants. None where left out.
    digest : str, optional
        Changes whenever the masks would: kept masks go by it.
    side : int, optional
        The longer side of its masks where they are smaller than the images (`reduced`).
    """

    @property
    def names(self) -> Sequence[str]:
        """One a concept."""

    def __call__(self, images: Tensor) -> Tensor:
        """Masks (n, n_concepts, h, w), bool, of images (n, 3, h, w) in 0..1."""


@runtime_checkable
class SoftConcepts(Concepts, Protocol):
    """Concepts with a differentiable form, which the search for causal units needs."""

    def soft(self, images: Tensor) -> Tensor:
        """How much of each pixel each concept is, (n, n_concepts, h, w) in 0..1, with a gradient to the images."""


def load_concepts(name: str) -> Concepts:
    """Concepts by name: ``classical``, ``face-parser``, a segmenter of transformers, or ``module:callable``.

    ``segformer:FOLDER``, ``upernet:FOLDER`` and ``clipseg:FOLDER:WORD,WORD`` take local weights. The callable takes no
    arguments and returns the `Concepts`, as a class does.

    Raises
    ------
    ValueError
        If the name has another form, or the callable returns something without `names` that takes images.
    genmend.storage.weights.MissingWeightsError
        For ``face-parser`` before ``genmend fetch face-parser``.
    """
    if name == "classical":
        from genmend.gans.dissection.classical import ClassicalConcepts

        return ClassicalConcepts()
    if name == "face-parser":
        from genmend.gans.dissection.face_parser import load_face_parser

        return load_face_parser()
    if name.partition(":")[0] in ("segformer", "upernet", "clipseg"):
        from genmend.gans.dissection.transformers_segmenters import load_segmenter

        return load_segmenter(name)
    found = made_object(name) if ":" in name else None
    if not callable(found) or not hasattr(found, "names"):
        raise ValueError(
            f"The segmenter {name!r} is neither 'classical' nor 'face-parser' nor segformer:FOLDER, upernet:FOLDER, "
            "clipseg:FOLDER:WORDS nor module:callable with a callable that returns something with `names` that maps "
            "images to masks: see genmend.gans.dissection.Concepts."
        )
    return found


def checked_masks(concepts: Concepts, images: Tensor) -> Tensor:
    """Masks (n, n_concepts, h, w), bool, on the CPU.

    Raises
    ------
    ValueError
        If the segmenter returned another shape or dtype.
    """
    masks = concepts(images)
    wanted = (len(images), len(concepts.names), *mask_size(concepts, images))
    if tuple(masks.shape) != wanted or masks.dtype != torch.bool:
        raise ValueError(
            f"The segmenter returned {masks.dtype} of shape {tuple(masks.shape)} for images {tuple(images.shape)}; "
            f"it has to return torch.bool of shape {wanted}: one mask a concept at the size of the image."
        )
    return masks.cpu()


def reduced(concepts: Concepts, side: int) -> Concepts:
    """The same concepts with masks of at most `side` pixels: a pixel has a concept that half of its area has.

    With a `soft` form where the concepts have one, the mean over the area.
    """
    return (_ReducedSoft if isinstance(concepts, SoftConcepts) else _Reduced)(concepts, side)


class _Reduced:
    def __init__(self, concepts: Concepts, side: int) -> None:
        self.concepts, self.side = concepts, side
        self.names = concepts.names
        self.objects: Sequence[str] = getattr(concepts, "objects", ())
        self.digest: str = getattr(concepts, "digest", "")

    def __call__(self, images: Tensor) -> Tensor:
        return self._smaller(checked_masks(self.concepts, images).float(), images) >= 0.5

    def _smaller(self, values: Tensor, images: Tensor) -> Tensor:
        return functional.interpolate(values, mask_size(self, images), mode="area")


class _ReducedSoft(_Reduced):
    concepts: SoftConcepts

    def soft(self, images: Tensor) -> Tensor:
        return self._smaller(self.concepts.soft(images), images)


def mask_size(concepts: Concepts, images: Tensor) -> tuple[int, int]:
    """Height and width of the masks of these images."""
    height, width = (int(length) for length in images.shape[2:])
    share = min(1, getattr(concepts, "side", max(height, width)) / max(height, width))
    return max(1, round(height * share)), max(1, round(width * share))


def pack(masks: Tensor) -> NDArray[np.uint8]:
    """Masks (n, c, h, w) at eight pixels a byte, (n, c, ceil(h * w / 8))."""
    return np.packbits(masks.flatten(2).numpy(), axis=2)


def unpack(packed: NDArray[np.uint8], side: tuple[int, int]) -> Tensor:
    """What `pack` was given; `side` is (h, w)."""
    height, width = side
    bits = np.unpackbits(packed, axis=2, count=height * width)
    return torch.from_numpy(bits).bool().unflatten(2, (height, width))


def part_names(concepts: Concepts) -> list[str]:
    """Names of the concepts, and behind them ``top of NAME`` and so on for each object."""
    objects = getattr(concepts, "objects", ())
    return [*concepts.names, *(f"{half} of {name}" for name in objects for half in HALVES)]


def with_parts(masks: Tensor, concepts: Concepts) -> Tensor:
    """Masks of all `part_names`: after the concepts themselves, the halves of each object.

    The halves are those of the box round all pixels that an image has of the object, so that units for a part get a
    label; a middle row or column of an odd box belongs to the bottom or right half. Bau et al. (arXiv 1811.10597) speak
    of top, bottom, left and right halves; the box is our reading of them.
    """
    objects = getattr(concepts, "objects", ())
    if not objects:
        return masks
    chosen = masks[:, [list(concepts.names).index(name) for name in objects]]
    upper = _first_half(chosen.any(3))[..., :, None]
    left = _first_half(chosen.any(2))[..., None, :]
    halves = torch.stack([chosen & upper, chosen & ~upper, chosen & left, chosen & ~left], dim=2)
    return torch.cat([masks, halves.flatten(1, 2)], dim=1)


def _first_half(present: Tensor) -> Tensor:
    """Which places along the last axis lie before the middle of the stretch from the first to the last True."""
    places = torch.arange(present.shape[-1], device=present.device)
    first = torch.where(present, places, present.shape[-1]).amin(-1, keepdim=True)
    last = torch.where(present, places, -1).amax(-1, keepdim=True)
    return 2 * places < first + last
