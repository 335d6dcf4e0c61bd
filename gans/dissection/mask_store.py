"""Masks of a generator's samples, piece by piece, each kept as packed bits as it is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans.dissection.concepts import Concepts, checked_masks, mask_size, pack, part_names, unpack, with_parts
from genmend.gans.generator import Generator, generator_facts
from genmend.gans.image_features import image_batches
from genmend.storage.pieces import Work
from genmend.storage.progress import with_progress

__all__ = ["CHUNK", "MaskStore"]

CHUNK, FEWEST = 256, 8  # samples of a file
MOST_MASKED = 1 << 28  # pixels of all concepts of a file's samples, held at once


@dataclass(frozen=True)
class MaskStore:
    """The masks of samples ``latents(n, seed)`` by one segmenter, kept by `work`.

    A file holds the concepts themselves; part variants are made when it is read.
    """

    generator: Generator
    segmenter: str
    concepts: Concepts
    work: Work = field(default_factory=Work)

    @property
    def names(self) -> list[str]:
        """Of all concepts, part variants included."""
        return part_names(self.concepts)

    @cached_property
    def side(self) -> tuple[int, int]:
        """Height and width of the masks."""
        return mask_size(self.concepts, self.generator.generate(self.generator.latents(1, 0)))

    @cached_property
    def chunk_size(self) -> int:
        """Samples of a file: fewer where masks are large."""
        return max(FEWEST, min(CHUNK, MOST_MASKED // (len(self.names) * self.side[0] * self.side[1])))

    def sizes(self, n: int) -> list[int]:
        """How many samples each file of n holds; never one by itself, which would have no other to be set beside."""
        whole, rest = divmod(n, self.chunk_size)
        if rest == 1 and whole:
            return [self.chunk_size] * (whole - 1) + [self.chunk_size + 1]
        return [self.chunk_size] * whole + [rest] * (rest > 0)

    def chunks(self, n: int, seed: int, what: str = "masks", *, progress: bool = False) -> Iterator[tuple[int, Tensor]]:
        """Yield (index of the first sample, masks (some, n_concepts, h, w)) until there are n; `what` is being done."""
        sizes = self.sizes(n)
        starts = np.cumsum([0, *sizes[:-1]]).tolist()
        pieces = list(zip(starts, sizes, strict=True))
        for start, size in with_progress(pieces, f"{what} ({self.segmenter})", len(pieces), show=progress):
            yield start, self.chunk(start, size, seed)

    def chunk(self, start: int, n: int, seed: int) -> Tensor:
        """Masks (n, n_concepts, h, w) of n samples from the first one at `start` on."""
        facts = self._facts | {"samples": [seed, start, n]}
        arrays = self.work.kept("masks", facts, lambda: self._segmented(start, n, seed))
        height, width = arrays["side"].tolist()
        return with_parts(unpack(arrays["packed"], (height, width)), self.concepts)

    def _segmented(self, start: int, n: int, seed: int) -> dict[str, NDArray[Any]]:
        latents = self.generator.latents(n, seed, start)
        packed = [
            pack(checked_masks(self.concepts, images))
            for images in image_batches(self.generator, latents, f"masks by {self.segmenter}", self.work.progress)
        ]
        return {"packed": np.concatenate(packed), "side": np.array(self.side)}

    @cached_property
    def _facts(self) -> dict[str, Any]:
        facts = generator_facts(self.generator) | {
            "segmenter": self.segmenter,
            "digest": getattr(self.concepts, "digest", ""),
            "names": list(self.concepts.names),
        }
        largest = getattr(self.concepts, "side", None)
        return facts if largest is None else facts | {"side": largest}
