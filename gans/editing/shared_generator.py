"""One generator for several threads, such as the sessions of a page, each of which sees its own edits alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor

from genmend.activations import Edit, edited
from genmend.gans.generator import Generator

__all__ = ["SharedGenerator"]


class SharedGenerator:
    """A generator that one thread at a time may run; edits are on it for the length of a call.

    Parameters
    ----------
    generator : Generator
        Nobody else may run it meanwhile: edits are hooks of its module, which all threads see.

    Examples
    --------
    ::

        shared = SharedGenerator(load_generator("faces"))
        with shared.edited(ScaleUnits("main.5", [3], 0.0)) as generator:
            images = generator.sample(16, seed=0)
    """

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """The generator's."""
        return self._generator.name

    @property
    def layers(self) -> tuple[str, ...]:
        """Those that are inspected."""
        return self._generator.layers

    @contextmanager
    def edited(self, *edits: Edit) -> Iterator[Generator]:
        """Have the generator for the length of a block, with these edits; other threads wait."""
        with self._lock:
            if not edits:
                yield self._generator
                return
            with edited(self._generator.module, *edits):
                yield self._generator

    def images(self, latents: Tensor, edits: Sequence[Edit] = ()) -> Tensor:
        """`Generator.generate` with these edits."""
        with self.edited(*edits) as generator:
            return generator.generate(latents)

    def latents(self, n: int, seed: int, start: int = 0) -> Tensor:
        """`Generator.latents`."""
        with self._lock:
            return self._generator.latents(n, seed, start)
