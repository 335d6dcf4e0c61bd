"""Ways to draw with the reference pipeline: amplified in a band, or by FreeU, CADS or boosted noise; kept as drawn.

Pictures are kept four seeds at a time for all prompts, by all that they depend on, so that an interrupted experiment
goes on, and another measure of the same pictures draws nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from genmend.activations import Edit
from genmend.activations.digests import weights_digest
from genmend.diffusion import amplified, cads, draw, freeu
from genmend.diffusion.amplification.gains import edits_by_slot
from genmend.diffusion.baselines.boosted_noise import boosted_latents
from genmend.diffusion.baselines.freeu import FREEU_SETTINGS
from genmend.diffusion.pipeline_parts import SigmaWindow, sigma_of
from genmend.diffusion.search.trials import describe_edit
from genmend.manifold.figures.image_grid import to_pixels
from genmend.storage.pieces import Work

PROMPTS = tuple(
    f"a creative {garment}"
    for garment in ("t-shirt", "trousers", "dress", "coat", "sandal", "sneaker", "bag", "ankle boot")
)
CALL: dict[str, Any] = {"num_inference_steps": 6, "guidance_scale": 2.0}
CHUNK = 4  # seeds
CUTOFF = 5.0  # bins, of maps of 16x16: what `genmend amplify` takes where nothing is said


@dataclass(frozen=True)
class Way:
    """How to draw: what is on meanwhile, and from which noise."""

    about: Any  # all that the pictures depend on beside prompts, seeds and the call, as JSON holds it
    on: Callable[[Any, int], AbstractContextManager[Any]] = lambda pipe, first: nullcontext()
    noise: Callable[[Any, Sequence[int]], Tensor] | None = None


PLAIN = Way("plain")


@dataclass
class Drawing:
    """A pipeline that draws each picture once, and counts those that were asked for."""

    pipe: Any
    work: Work
    call: Mapping[str, Any] = field(default_factory=lambda: CALL)
    weights: str = field(init=False)
    asked: set[tuple[str, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.weights = weights_digest(self.pipe.unet)

    def pictures(self, way: Way, seeds: Sequence[int]) -> Tensor:
        """Pictures (prompts * seeds, 3, 32, 32) in 0..1: of the first prompt first; seeds by whole chunks."""
        if len(seeds) % CHUNK:
            raise ValueError(f"{len(seeds)} seeds are no multiple of {CHUNK}; give chunks of {CHUNK}.")
        parts = [self._chunk(way, seeds[start : start + CHUNK]) for start in range(0, len(seeds), CHUNK)]
        return torch.stack([part.unflatten(0, (len(PROMPTS), CHUNK)) for part in parts], dim=1).flatten(0, 2)

    def _chunk(self, way: Way, seeds: Sequence[int]) -> Tensor:
        self.asked.add((repr(way.about), int(seeds[0])))
        facts = {"weights": self.weights, "way": way.about, "seeds": list(map(int, seeds)), "call": dict(self.call)}

        def compute() -> dict[str, Any]:
            more = {} if way.noise is None else {"latents": way.noise(self.pipe, seeds).repeat(len(PROMPTS), 1, 1, 1)}
            with way.on(self.pipe, int(seeds[0])):
                drawn = draw(self.pipe, PROMPTS, seeds, batch_size=len(PROMPTS) * CHUNK, **more, **self.call)
            return {"pixels": to_pixels(drawn)}

        pixels = self.work.kept("pictures", facts | {"prompts": list(PROMPTS)}, compute)["pixels"]
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255

    @property
    def n_drawn(self) -> int:
        """Pictures asked for so far, each counted once."""
        return len(self.asked) * CHUNK * len(PROMPTS)


def amplifying(edits: Sequence[Edit], window: SigmaWindow | None = None) -> Way:
    """Edits, at the noise levels of a window."""
    if not edits:
        return PLAIN
    about = {"edits": [describe_edit(edit) for edit in edits], "window": repr(window)}
    return Way(about, lambda pipe, _: amplified(pipe, edits=edits, schedule=window))


def low(pipe: Any, gains: Mapping[str, float]) -> Way:
    """Gains of the low band, by slot."""
    return amplifying(edits_by_slot(pipe.unet, gains, cutoff=CUTOFF))


def by_freeu(share: float) -> Way:
    """A share of the authors' setting for SD 1.4."""
    setting = {name: 1 + share * (value - 1) for name, value in FREEU_SETTINGS["sd14"].items()}
    return Way({"freeu": setting}, lambda pipe, _: freeu(pipe, **setting))


def by_cads(scale: float) -> Way:
    """From a noise level of 1 to 0.6; published is 0.9 to 0.6, of which the first of 6 steps would see nothing."""
    return Way({"cads": scale}, lambda pipe, first: cads(pipe, scale, tau2=1.0, seed=10_000 + first))


def by_boost(gamma: float) -> Way:
    """Noise of a larger deviation; no step is skipped."""
    return Way({"boost": gamma}, noise=lambda pipe, seeds: boosted_latents(pipe, gamma, seeds=list(seeds)))


def windows(pipe: Any) -> tuple[SigmaWindow | None, SigmaWindow, SigmaWindow]:
    """All steps, the first half and the second half of them."""
    pipe.scheduler.set_timesteps(CALL["num_inference_steps"])
    sigmas = [sigma_of(pipe.scheduler, step) for step in pipe.scheduler.timesteps]
    half = len(sigmas) // 2
    return None, SigmaWindow(low=sigmas[half - 1] * 0.999), SigmaWindow(high=sigmas[half] * 1.001)
