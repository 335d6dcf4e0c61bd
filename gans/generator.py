"""The adapter that makes any image generator usable here: how to call it, what it takes, what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genmend.activations import record
from genmend.activations.digests import weights_digest
from genmend.activations.layers import find_layer
from genmend.storage.progress import with_progress

__all__ = [
    "Generator",
    "activation_layers",
    "early_layers",
    "generator_facts",
    "gradient_batch",
    "layer_shapes",
    "measured_layers",
    "normal_numbers",
    "recorded_batches",
]

_DRAW_BLOCK = 64
_MANY_NEURONS = 1 << 22  # a StyleGAN2 of 128 x 128 has 7 million, of 64 x 64 half as many

_ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.RReLU,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
)


@dataclass(frozen=True)
class Generator:
    """A pretrained generator with what the methods need to know of it.

    Parameters
    ----------
    module : nn.Module
        In eval mode; it is never changed for longer than an edit is attached.
    latent_shape : tuple of int
        Shape of one latent, drawn from N(0, 1) unless there is a `draw`.
    layers : tuple of str
        Dotted names of the activation layers, in order of depth, whose outputs (n, c, h, w) are inspected. Empty:
        every activation module with such an output (`activation_layers`).
    value_range : (float, float)
        What the module's black and white are; `generate` maps it to 0..1.
    call : callable, optional
        ``call(module, latents)`` returns raw images where ``module(latents)`` does not, e.g. to fix noise or labels.
    name : str
        For reports.
    batch_size : int
        Latents a forward pass; small batches stay in the processor's cache.
    draw : callable, optional
        ``draw(module, normal)`` makes latents (n, *latent_shape) of standard normal numbers (n, *draw_shape),
        row by row, where latents are not normal themselves, e.g. the w of StyleGAN.
    draw_shape : tuple of int, optional
        Where it differs from `latent_shape`.
    settings : mapping
        What the module is run with (truncation, noise, label): plain JSON values, for reports and for cached work.
    latent_words : str
        What a latent's numbers are, where the shape does not say it: told to whoever brings others.
    statistics_layers : tuple of str
        Layers in which statistics of every neuron are taken by default. Empty: `measured_layers` chooses.
    last_chooses : bool
        Whether a latent's last number chooses the sample's class: a search in latents leaves it alone.
    """

    module: nn.Module
    latent_shape: tuple[int, ...]
    layers: tuple[str, ...] = ()
    value_range: tuple[float, float] = (-1.0, 1.0)
    call: Callable[[nn.Module, Tensor], Tensor] | None = None
    name: str = "generator"
    batch_size: int = 32
    draw: Callable[[nn.Module, Tensor], Tensor] | None = None
    draw_shape: tuple[int, ...] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    latent_words: str = ""
    statistics_layers: tuple[str, ...] = ()
    last_chooses: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "latent_shape", tuple(self.latent_shape))
        if self.module.training:
            raise ValueError(
                f"{self.name}'s module is in training mode, where it would change itself: call .eval() on it."
            )
        low, high = self.value_range
        if not low < high:
            raise ValueError(
                f"value_range is {self.value_range}; give (black, white) with black < white, e.g. (-1, 1)."
            )
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; give a whole number of at least 1.")
        for layer in (*self.layers, *self.statistics_layers):
            find_layer(self.module, layer)
        if not self.layers:
            object.__setattr__(self, "layers", activation_layers(self))

    @property
    def device(self) -> torch.device:
        """Where the module's parameters are."""
        return next((parameter.device for parameter in self.module.parameters()), torch.device("cpu"))

    @cached_property
    def is_large(self) -> bool:
        """Whether its layers have so many neurons that statistics of all of them take hours and gigabytes."""
        return sum(shape.numel() for shape in layer_shapes(self, self.layers).values()) > _MANY_NEURONS

    def latents(self, n: int, seed: int, start: int = 0) -> Tensor:
        """Draw random latents (n, *latent_shape): item i depends on ``(seed, start + i)`` alone.

        They are standard normal, or what `draw` makes of such numbers. A prefix of a longer draw is the shorter draw,
        bit for bit, so work can be resumed or split anywhere.
        """
        if n < 1 or seed < 0 or start < 0:
            raise ValueError(f"n={n}, seed={seed}, start={start}: n has to be at least 1, seed and start at least 0.")
        if self.draw is None:
            return normal_numbers(n, seed, start, self.latent_shape)
        shape = self.latent_shape if self.draw_shape is None else self.draw_shape
        # In whole blocks at fixed places: the rounding of a matrix product depends on the row's place in the batch.
        first = start - start % _DRAW_BLOCK
        numbers = normal_numbers(-(-(start + n - first) // _DRAW_BLOCK) * _DRAW_BLOCK, seed, first, shape)
        with torch.no_grad():
            drawn = torch.cat(
                [self.draw(self.module, block.to(self.device)).cpu() for block in numbers.split(_DRAW_BLOCK)]
            )
        return drawn[start - first : start - first + n]

    def checked_latents(self, latents: Tensor | np.ndarray) -> Tensor:
        """Check latents and return them as a float32 tensor.

        Raises
        ------
        ValueError
            If the shape is not (n, *latent_shape) with n >= 1, or a value is NaN or infinite.
        """
        tensor = torch.as_tensor(latents)
        if tensor.ndim != len(self.latent_shape) + 1 or tuple(tensor.shape[1:]) != self.latent_shape or not len(tensor):
            words = f": {self.latent_words}" if self.latent_words else ""
            raise ValueError(
                f"Latents have shape {tuple(tensor.shape)}; {self.name} takes {['n', *self.latent_shape]} with "
                f"n >= 1{words}."
            )
        if not tensor.dtype.is_floating_point:
            raise ValueError(f"Latents have dtype {tensor.dtype}; give floating-point numbers.")
        tensor = tensor.float()  # first: what overflows float32 is not finite either
        finite = torch.isfinite(tensor).flatten(1).all(1)
        if not finite.all():
            row = int((~finite).nonzero()[0])
            raise ValueError(f"Latent {row} holds NaN or infinite values; remove that row or draw it again.")
        return tensor

    def run(self, latents: Tensor) -> Tensor:
        """Run one forward pass on a batch of checked latents: raw images, on the module's device."""
        latents = latents.to(self.device)
        return self.module(latents) if self.call is None else self.call(self.module, latents)

    def images(self, latents: Tensor) -> Tensor:
        """Return `run` as images (n, 3, h, w) float32 in 0..1 on its device; gradients flow to the latents."""
        raw = self.run(latents)
        if raw.ndim != 4 or raw.shape[1] not in (1, 3):
            raise ValueError(
                f"{self.name} returned shape {tuple(raw.shape)}; images have shape (n, 3 or 1, height, width): "
                "give `call` to turn the module's output into that."
            )
        low, high = self.value_range
        images = ((raw.float() - low) / (high - low)).clamp(0, 1)
        return images.expand(-1, 3, -1, -1)

    @torch.no_grad()
    def generate(self, latents: Tensor | np.ndarray, *, progress: bool = False) -> Tensor:
        """Generate images (n, 3, h, w) float32 on the CPU in 0..1 (clamped; grey ones repeated to three channels)."""
        checked = self.checked_latents(latents)
        batches = checked.split(self.batch_size)
        shown = with_progress(batches, "images", len(batches), show=progress)
        return torch.cat([self.images(batch).cpu() for batch in shown])

    def sample(self, n: int, seed: int, *, progress: bool = False) -> Tensor:
        """Generate n images of this seed: `generate` of `latents`."""
        return self.generate(self.latents(n, seed), progress=progress)

    def with_module(self, module: nn.Module) -> Generator:
        """Return the same adapter round another module of the same kind, e.g. a fresh copy."""
        return replace(self, module=module)


def normal_numbers(n: int, seed: int, start: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers (n, *shape) float32: item i depends on ``(seed, start + i)`` alone."""
    draws = np.empty((n, *shape), dtype=np.float32)
    for item in range(n):
        stream = np.random.Generator(np.random.Philox(key=[seed, start + item]))
        draws[item] = stream.standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(draws)


def early_layers(layers: Sequence[str]) -> tuple[str, ...]:
    """Return the first half of the inspected layers (rounded up): where content is laid out, before it is painted."""
    return tuple(layers[: max(1, (len(layers) + 1) // 2)])


def measured_layers(generator: Generator) -> tuple[str, ...]:
    """Layers in which a detector or a dissection measures every neuron by default.

    The generator's `statistics_layers`; where it names none all of its layers, or of a large model (`is_large`) the
    early ones: the late ones of a StyleGAN2 take most of the time and of the memory, and paint texture.
    """
    if generator.statistics_layers:
        return generator.statistics_layers
    return early_layers(generator.layers) if generator.is_large else generator.layers


def gradient_batch(generator: Generator) -> int:
    """Samples to take a gradient of at once: of a large model, every one of whose outputs is kept for it, a quarter."""
    return max(1, generator.batch_size // 4) if generator.is_large else generator.batch_size


def recorded_batches(
    generator: Generator, latents: Tensor, layers: Sequence[str], what: str, progress: bool = False
) -> Iterator[Mapping[str, Any]]:
    """Yield what `layers` put out, batch by batch, by layer; each forward pass stops after the last of them.

    `what` is the progress bar's text.
    """
    checked = generator.checked_latents(latents)
    batches = checked.split(generator.batch_size)
    for batch in with_progress(batches, what, len(batches), show=progress):
        with torch.no_grad(), record(generator.module, layers, stop=True) as outputs:
            generator.run(batch)
        yield outputs


@torch.no_grad()
def layer_shapes(generator: Generator, layers: Sequence[str]) -> dict[str, torch.Size]:
    """Return the shape of each layer's output for one sample, e.g. (c, h, w), by layer."""
    with record(generator.module, layers, reduce=lambda output: output.shape[1:]) as shapes:
        generator.run(torch.zeros(1, *generator.latent_shape))
    return {layer: shapes[layer] for layer in layers}


@torch.no_grad()
def activation_layers(generator: Generator) -> tuple[str, ...]:
    """Names of the activation modules of the ReLU family whose output is a stack of feature maps.

    Raises
    ------
    ValueError
        If there is none, as in networks that call activation functions without modules: name the layers yourself.
    """
    named = [name for name, module in generator.module.named_modules() if isinstance(module, _ACTIVATIONS)]
    with record(generator.module, named) as outputs:
        generator.run(torch.zeros(1, *generator.latent_shape))
    found = tuple(name for name in named if name in outputs and outputs[name].ndim == 4)
    if not found:
        candidates = [name for name, module in generator.module.named_modules() if name and not list(module.children())]
        raise ValueError(
            f"{generator.name} has no activation modules with feature maps: name the layers to inspect (layers=, or "
            f"--layers on the command line), out of e.g. {', '.join(candidates[:12])}."
        )
    return found


def generator_facts(generator: Generator) -> dict[str, Any]:
    """Return what samples depend on beside their latents: the weights, and label, truncation, noise.

    Part of the key of everything that is kept of its samples. It reads all weights: ask once, not for every piece.
    """
    return {"weights": weights_digest(generator.module), "run": dict(generator.settings)}
