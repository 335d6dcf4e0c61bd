"""The adapter that makes any image generator usable here: how to call it, what it takes, what it returns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from operator import index
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from genmend.activations import record
from genmend.activations.digests import weights_digest
from genmend.activations.layers import find_layer
from genmend.activations.runs import begin_pass
from genmend.gans.generator_layers import checked_layers, found_layers, initialise
from genmend.gans.image_output import NotFiniteError, as_rgb, image_tensor, not_finite
from genmend.storage.progress import with_progress

__all__ = [
    "Generator",
    "early_layers",
    "generator_facts",
    "gradient_batch",
    "in_single",
    "layer_shapes",
    "measured_layers",
    "normal_numbers",
    "recorded_batches",
]

_DRAW_BLOCK = 64
_MANY_NEURONS = 1 << 22  # a StyleGAN2 of 128 x 128 has 7 million, of 64 x 64 half as many
_MOST_NUMBERS = 2**24  # in one latent
_SEEDS = 2**64
_HALF = (torch.float16, torch.bfloat16)
_DTYPES = (*_HALF, torch.float32, torch.float64)


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
        Dotted names of the layers whose outputs, maps (n, c, h, w), (n, c, l) or (n, c, d, h, w), are inspected; kept
        in the order in which they run. ``act#2`` is the second run of a layer that several others share; ``act``
        becomes all its runs. Empty: every activation module with such an output, or what `inspected_layers` takes in
        place of activations that are no modules. One forward pass finds out.
    value_range : (float, float)
        What the module's black and white are; `generate` maps it to 0..1.
    call : callable, optional
        ``call(module, latents)`` returns raw images where ``module(latents)`` does not, e.g. to fix noise or labels.
        Latents come in the module's device and dtype.
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
    known_layers : tuple of str
        Layers of which it is known that they run in this order, once each: where `layers` are these, no pass is made.

    Raises
    ------
    ValueError
        If an argument is out of range, the module is in training mode, or it has no layers to inspect.
    genmend.gans.failed_pass.GeneratorPassError
        If the module can't be run on latents of this shape.
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
    known_layers: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "latent_shape", _checked_shape(self.latent_shape))
        if self.module.training:
            raise ValueError(
                f"{self.name}'s module is in training mode, where it would change itself: call .eval() on it."
            )
        low, high = self.value_range
        if not -np.inf < low < high < np.inf:
            raise ValueError(
                f"value_range is {self.value_range}; give (black, white) with black < white, e.g. (-1, 1)."
            )
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; give a whole number of at least 1.")
        if isinstance(self.module, torch.jit.ScriptModule):
            kind = type(self.module).__name__
            raise ValueError(
                f"{self.name}'s module is a {kind}, whose layers can be neither watched nor edited: "
                "give the nn.Module that it was made from."
            )
        if isinstance(self.layers, str):
            raise TypeError(
                f"layers is the string {self.layers!r}; give a list of layer names, e.g. [{self.layers!r}]."
            )
        for layer in (*self.layers, *self.statistics_layers):
            find_layer(self.module, layer)
        if any(map(is_lazy, chain(self.module.parameters(), self.module.buffers()))):
            initialise(self)
        if not self.layers or tuple(self.layers) != self.known_layers:
            object.__setattr__(self, "layers", found_layers(self))
            object.__setattr__(self, "known_layers", self.layers)
        if self.statistics_layers:
            object.__setattr__(self, "statistics_layers", checked_layers(self, self.statistics_layers))

    @property
    def device(self) -> torch.device:
        """Where the module's parameters are."""
        return next((parameter.device for parameter in self.module.parameters()), torch.device("cpu"))

    @cached_property
    def is_large(self) -> bool:
        """Whether its layers have so many neurons that statistics of all of them take hours and gigabytes."""
        return sum(shape.numel() for shape in layer_shapes(self, self.layers).values()) > _MANY_NEURONS

    @property
    def dtype(self) -> torch.dtype:
        """What the module computes in: the dtype of its first floating-point parameter or buffer, else float32."""
        tensors = chain(self.module.parameters(), self.module.buffers())
        return next((tensor.dtype for tensor in tensors if tensor.dtype in _DTYPES), torch.float32)

    def latents(self, n: int, seed: int, start: int = 0) -> Tensor:
        """Draw random latents (n, *latent_shape): item i depends on ``(seed, start + i)`` alone.

        They are standard normal, or what `draw` makes of such numbers. A prefix of a longer draw is the shorter draw,
        bit for bit, so work can be resumed or split anywhere.
        """
        if n < 1 or not 0 <= seed < _SEEDS or not 0 <= start <= _SEEDS - n:
            raise ValueError(
                f"n={n}, seed={seed}, start={start}: n has to be at least 1, seed and start at least 0 and below 2**64."
            )
        if self.draw is None:
            return normal_numbers(n, seed, start, self.latent_shape)
        shape = self.latent_shape if self.draw_shape is None else self.draw_shape
        # In whole blocks at fixed places: the rounding of a matrix product depends on the row's place in the batch.
        first = start - start % _DRAW_BLOCK
        numbers = normal_numbers(-(-(start + n - first) // _DRAW_BLOCK) * _DRAW_BLOCK, seed, first, shape)
        with torch.no_grad():
            drawn = torch.cat(
                [
                    self.draw(self.module, block.to(self.device, self.dtype)).float().cpu()
                    for block in numbers.split(_DRAW_BLOCK)
                ]
            )
        return drawn[start - first : start - first + n]

    def checked_latents(self, latents: Tensor | np.ndarray) -> Tensor:
        """Check latents and return them as a float32 tensor (n, *latent_shape) on the CPU; gradients flow to them.

        Of another shape they are reshaped where only axes of length 1 differ, or where they are flat, (n, d).

        Raises
        ------
        TypeError
            If they are no tensor or array, such as a dict.
        ValueError
            If their shape is another, n is 0, or a value is NaN or infinite.
        """
        tensor = _as_tensor(latents)
        given, wanted = tuple(tensor.shape[1:]), self.latent_shape
        alike = _long_axes(given) == _long_axes(wanted) or (len(given) == 1 and given[0] == math.prod(wanted))
        if tensor.ndim < 2 or not alike or not len(tensor):
            words = f": {self.latent_words}" if self.latent_words else ""
            raise ValueError(
                f"Latents have shape {tuple(tensor.shape)}; {self.name} takes {['n', *wanted]} with n >= 1{words}."
            )
        if not tensor.dtype.is_floating_point:
            raise ValueError(f"Latents have dtype {tensor.dtype}; give floating-point numbers.")
        tensor = tensor.float().reshape(-1, *wanted).cpu()  # float first: what overflows float32 is not finite either
        bad = not_finite(tensor)
        if bad.any():
            row = int(bad.nonzero()[0])
            raise ValueError(f"Latent {row} holds NaN or infinite values; remove that row or draw it again.")
        return tensor

    def output(self, latents: Tensor) -> Any:
        """Run one forward pass on a batch of checked latents, and return what it returns."""
        latents = latents.to(self.device, self.dtype)
        begin_pass(self.module)
        return self.module(latents) if self.call is None else self.call(self.module, latents)

    def run(self, latents: Tensor) -> Tensor:
        """Run one forward pass on a batch of checked latents: raw images (`image_tensor`), on the module's device."""
        return image_tensor(self.output(latents), self.name)

    def images(self, latents: Tensor) -> Tensor:
        """Return `run` as images (n, 3, h, w) float32 in 0..1 on its device; gradients flow to the latents."""
        return as_rgb(self.run(latents), self.value_range, self.name)

    @torch.no_grad()
    def generate(self, latents: Tensor | np.ndarray, *, progress: bool = False) -> Tensor:
        """Generate images (n, 3, h, w) float32 on the CPU in 0..1 (clamped).

        Grey ones are repeated to three channels; those with opacity (n, 4, h, w) are laid on white.

        Raises
        ------
        ValueError
            If the module returns no images, or (`NotFiniteError`) NaN.
        """
        checked = self.checked_latents(latents)
        images: list[Tensor] = []
        batches = checked.split(self.batch_size)
        for batch in with_progress(batches, "images", len(batches), show=progress):
            raw = self.run(batch)
            made = as_rgb(raw, self.value_range, self.name)
            bad = not_finite(raw)
            if bad.any():
                row = sum(map(len, images)) + int(bad.nonzero()[0])
                raise NotFiniteError(
                    f"The generator returned NaN or infinite values for latent {row}; run {self.name} in float32 "
                    "(module.float()) if it is in half precision, or else leave that latent out."
                )
            images.append(made.cpu())
        return torch.cat(images)

    def sample(self, n: int, seed: int, *, progress: bool = False) -> Tensor:
        """Generate n images of this seed: `generate` of `latents`."""
        return self.generate(self.latents(n, seed), progress=progress)

    def with_module(self, module: nn.Module) -> Generator:
        """Return the same adapter round another module of the same kind, e.g. a fresh copy."""
        return replace(self, module=module)


def _checked_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """The latent shape as whole numbers; ValueError where one is below 1 or they are too many numbers."""
    try:
        sizes = tuple(map(index, (shape,) if isinstance(shape, int) else shape))
    except TypeError:
        raise TypeError(f"latent_shape is {shape!r}; give whole numbers, e.g. (128,) or (64, 1, 1).") from None
    if not sizes or min(sizes) < 1 or math.prod(sizes) > _MOST_NUMBERS:
        raise ValueError(
            f"The latent shape is {','.join(map(str, sizes)) or 'empty'} (--latent-shape); give sizes from 1 whose "
            f"product is at most {_MOST_NUMBERS}, e.g. 128 or 64,1,1."
        )
    return sizes


def _long_axes(shape: Sequence[int]) -> list[int]:
    return [size for size in shape if size != 1]


def _as_tensor(latents: Any) -> Tensor:
    if isinstance(latents, Mapping):
        keys = ", ".join(map(repr, latents)) or "no keys"
        raise TypeError(f"Latents are a {type(latents).__name__} with {keys}; give the array itself, latents[key].")
    try:
        return torch.as_tensor(latents)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"Latents are a {type(latents).__name__} that is no array of numbers ({error}); give a tensor or a numpy "
            "array (n, *latent_shape)."
        ) from None


def normal_numbers(n: int, seed: int, start: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers (n, *shape) float32: item i depends on ``(seed, start + i)`` alone."""
    draws = np.empty((n, *shape), dtype=np.float32)
    for item in range(n):
        stream = np.random.Generator(np.random.Philox(key=np.array([seed, start + item], dtype=np.uint64)))
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

    Half precision comes as float32. `what` is the progress bar's text.
    """
    checked = generator.checked_latents(latents)
    batches = checked.split(generator.batch_size)
    for batch in with_progress(batches, what, len(batches), show=progress):
        with torch.no_grad(), record(generator.module, layers, stop=True) as outputs:
            generator.run(batch)
        yield in_single(outputs)


def in_single(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """What layers put out, half precision as float32."""
    return {layer: maps.float() if maps.dtype in _HALF else maps for layer, maps in outputs.items()}


@torch.no_grad()
def layer_shapes(generator: Generator, layers: Sequence[str]) -> dict[str, torch.Size]:
    """Return the shape of each layer's output for one sample, e.g. (c, h, w), by layer."""
    with record(generator.module, layers, reduce=lambda output: output.shape[1:]) as shapes:
        generator.run(torch.zeros(1, *generator.latent_shape))
    return {layer: shapes[layer] for layer in layers}


def generator_facts(generator: Generator) -> dict[str, Any]:
    """Return what samples depend on beside their latents: the weights, label, truncation, noise, the value range.

    Part of the key of everything that is kept of its samples. It reads all weights: ask once, not for every piece.
    """
    facts = {"weights": weights_digest(generator.module), "run": dict(generator.settings)}
    usual = tuple(generator.value_range) == (-1, 1)
    return facts if usual else facts | {"value_range": [float(end) for end in generator.value_range]}
