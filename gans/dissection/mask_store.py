"""Masks of a generator's samples, piece by piece, each kept as packed bits as it is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from genmend.gans.dissection.concepts import Concepts, checked_masks, pack, part_names, unpack, with_parts
from genmend.gans.generator import Generator, generator_facts
from genmend.gans.image_features import image_batches
from genmend.storage.pieces import Work

__all__ = ["CHUNK", "MaskStore"]

CHUNK = 256


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

    def chunks(self, n: int, seed: int, *, progress: bool = False) -> Iterator[tuple[int, Tensor]]:
        """Yield (index of the first sample, masks (up to CHUNK, n_concepts, h, w)) until there are n."""
        starts = range(0, n, CHUNK)
        for start in tqdm(starts, desc=f"masks by {self.segmenter}", disable=not progress, leave=False):
            yield start, self.chunk(start, min(CHUNK, n - start), seed)

    def chunk(self, start: int, n: int, seed: int) -> Tensor:
        """Masks (n, n_concepts, h, w) of n samples from the first one at `start` on."""
        facts = self._facts | {"samples": [seed, start, n]}
        arrays = self.work.kept("masks", facts, lambda: self._segmented(start, n, seed))
        height, width = arrays["side"].tolist()
        return with_parts(unpack(arrays["packed"], (height, width)), self.concepts)

    def _segmented(self, start: int, n: int, seed: int) -> dict[str, NDArray[Any]]:
        packed = []
        for images in image_batches(self.generator, self.generator.latents(n, seed, start)):
            packed.append(pack(checked_masks(self.concepts, images)))
        return {"packed": np.concatenate(packed), "side": np.array(images.shape[2:])}

    @cached_property
    def _facts(self) -> dict[str, Any]:
        return generator_facts(self.generator) | {
            "segmenter": self.segmenter,
            "digest": getattr(self.concepts, "digest", ""),
            "names": list(self.concepts.names),
        }
