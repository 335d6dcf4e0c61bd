"""Look at a generator before work begins: two latents, two runs, and one of the second latent alone.

What would end in a wrong result hours later, without a word, is seen here: an image range that is another than the one
declared, noise of the generator's own, layers that several others share, images that depend on their batch, NaN.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from genmend.activations.layers import find_layer, layer_names
from genmend.gans.failed_pass import needed_inputs
from genmend.gans.generator import Generator
from genmend.gans.generator_layers import traced
from genmend.gans.image_output import container, image_tensor, no_images, not_finite
from genmend.gans.layer_runs import LayerRun, Trace, is_activation

__all__ = ["Probe", "ProbeWarning", "probe", "probed"]

_REPEATED = 1e-5  # of the value range: what two runs of the same may differ by
_SAME = 1e-3  # what another batch may make of it by rounding
_MOST_OUTSIDE = 0.2  # share of values beyond the declared range that is no mere overshoot


class ProbeWarning(UserWarning):
    """Something about a generator that makes results wrong or other than expected; the remedy is in the sentence."""


@dataclass(frozen=True)
class Probe:
    """What two runs of two latents have shown.

    Attributes
    ----------
    layers : tuple of str
        Those that are inspected, in the order in which they run.
    shared : dict of str to int
        Layers that run several times in one pass, with how often; ``act#2`` is the second run.
    output : str
        What the module returns: ``tensor``, or in which container the images lie.
    shape : tuple of int
        Of one raw image, e.g. (3, 64, 64).
    dtype : str
        Of the raw images.
    raw_range : (float, float)
        Lowest and highest raw value.
    value_range : (float, float)
        What was declared as black and white.
    own_noise : str or None
        The first layer whose output differs between two runs of the same latents (empty: none of the layers' does, but
        the images do); None where nothing differs.
    depends_on_batch : bool
        Whether an image is another one where its latent is run alone.
    not_finite : str or None
        The first layer that puts out NaN or infinite values; None where no image holds any.
    problem : str
        Why no work is possible; empty where it is.
    warnings : tuple of str
        A sentence each, with the remedy.
    seconds : float
        That one image took.
    """

    layers: tuple[str, ...]
    shared: dict[str, int]
    output: str
    shape: tuple[int, ...]
    dtype: str
    raw_range: tuple[float, float]
    value_range: tuple[float, float]
    own_noise: str | None
    depends_on_batch: bool
    not_finite: str | None
    problem: str
    warnings: tuple[str, ...]
    seconds: float = field(default=0.0, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds."""
        found = asdict(self)
        del found["seconds"]  # another one in each run
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


@torch.no_grad()
def probe(generator: Generator) -> Probe:
    """Run a generator on two latents, twice, and say what is to be known of it before work begins.

    Raises
    ------
    genmend.gans.failed_pass.GeneratorPassError
        If the module raises.
    TypeError
        If it returns no tensor.
    """
    n = min(2, generator.batch_size)
    first = traced(generator, n)
    began = perf_counter()
    second = traced(generator, n)
    seconds = (perf_counter() - began) / n
    images, again = (image_tensor(seen.output, generator.name) for seen in (first, second))
    if images.is_complex():
        raise ValueError(no_images(images, generator.name))
    bad = images.ndim > 1 and bool(not_finite(images).any())
    noise = None if bad or _alike(images, again, generator, _REPEATED) else _first_different(first.runs, second.runs)
    alone = images[-1:]
    if noise is None and n > 1:
        alone = image_tensor(generator.output(generator.latents(n, 0)[-1:]), generator.name)
    shared = {
        plain: count
        for plain, count in Counter(run.name.partition("#")[0] for run in first.runs if "#" in run.name).items()
        if any(layer.partition("#")[0] == plain for layer in generator.layers)
    }
    finite = images[torch.isfinite(images)]
    low, high = map(float, finite.double().aminmax()) if finite.numel() else (0.0, 0.0)
    found = Probe(
        layers=generator.layers,
        shared=shared,
        output=container(first.output),
        shape=tuple(images.shape[1:]),
        dtype=str(images.dtype).removeprefix("torch."),
        raw_range=(low, high),
        value_range=(float(generator.value_range[0]), float(generator.value_range[1])),
        own_noise=noise,
        depends_on_batch=not bad and not _alike(images[-1:], alone, generator),
        not_finite=_first_not_finite(first.runs) if bad else None,
        problem=no_images(images, generator.name),
        warnings=(),
        seconds=seconds,
    )
    return _with_words(found, generator, images, first)


def probed(generator: Generator) -> Probe:
    """Probe a generator, warn of what was found, and refuse one that no work is possible with.

    Raises
    ------
    ValueError
        If it returns no images, or NaN.
    """
    found = probe(generator)
    if found.problem:
        raise ValueError(found.problem)
    for sentence in found.warnings:
        warnings.warn(sentence, ProbeWarning, stacklevel=3)
    return found


def _with_words(found: Probe, generator: Generator, images: Tensor, seen: Trace) -> Probe:
    """The same with the sentences that follow from it."""
    problem = found.problem
    if not problem and found.not_finite is not None:
        where = f" (from layer {found.not_finite!r} on)" if found.not_finite else ""
        problem = (
            f"The generator returned NaN or infinite values{where}: run {generator.name} in float32 (module.float()) "
            "if it is in half precision, or else check that its weights are loaded whole."
        )
    if problem:
        return replace(found, problem=problem)
    sentences = (
        _of_noise(found, generator),
        _of_batch(found, generator),
        _of_range(found, images),
        _of_output(found, seen),
        _of_latents(images, generator),
        _of_shared(found),
        _of_functions(found, generator),
        _of_order(found, generator),
    )
    return replace(found, warnings=tuple(sentence for sentence in sentences if sentence))


def _of_noise(found: Probe, generator: Generator) -> str:
    if found.own_noise is None:
        return ""
    where = f", from layer {found.own_noise!r} on" if found.own_noise else ""
    remedy = "keep the noise in a buffer, or draw it from a torch.Generator of a fixed seed (call= of gans.Generator)"
    inputs = [name for name in needed_inputs(generator.module, optional=True) if "noise" in name]
    if inputs:
        remedy = f"its forward takes {inputs[0]!r}, so fix the noise by it in call= of gans.Generator"
    training = [name for name, layer in generator.module.named_modules() if layer.training]
    if training:
        remedy = f"layer {training[0]!r} is in training mode, so call .eval() on it; or {remedy}"
    return (
        f"{generator.name} has noise of its own: the same latents gave other images the second time{where}, so scores "
        f"and corrections are not those of a latent; {remedy}."
    )


def _of_batch(found: Probe, generator: Generator) -> str:
    if not found.depends_on_batch:
        return ""
    return (
        f"The images of {generator.name} depend on the other latents of their batch, as with norms by batch statistics "
        "or noise by place; give the norms running statistics and one noise for all, or else --batch-size 1."
    )


def _of_range(found: Probe, images: Tensor) -> str:
    low, high = found.raw_range
    black, white = found.value_range
    usual = [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0)]
    if found.value_range in usual and low < high:
        alike = _looks_like(low, high, integers=not images.is_floating_point())
        if alike is not None and alike != found.value_range and not (low >= 0 and alike == (-1.0, 1.0)):
            return _range_sentence(found, alike)
    outside = float(((images < black) | (images > white)).double().mean())
    return _range_sentence(found, None) if outside > _MOST_OUTSIDE else ""


def _looks_like(low: float, high: float, *, integers: bool) -> tuple[float, float] | None:
    """The usual range that values from `low` to `high` are of, if any."""
    if integers and low >= 0 and high <= 255:
        return 0.0, 255.0
    if low >= -_SAME and high <= 1 + _SAME:
        return 0.0, 1.0
    if low >= -1 - _SAME and high <= 1 + _SAME:
        return -1.0, 1.0
    return (0.0, 255.0) if low >= -1 and 16 < high <= 256 else None


def _range_sentence(found: Probe, alike: tuple[float, float] | None) -> str:
    low, high = found.raw_range
    said = f"Raw images run from {low:.3g} to {high:.3g}, but {_dots(found.value_range)} is taken for black and white"
    if alike is None:
        return f"{said}, so much is cut off; give their true range by --value-range (value_range= of gans.Generator)."
    return (
        f"{said}; they look like {_dots(alike)}: give --value-range {alike[0]:g},{alike[1]:g} (value_range= of "
        "gans.Generator), or pictures are washed out or cut off."
    )


def _dots(ends: tuple[float, float]) -> str:
    return f"{ends[0]:g}..{ends[1]:g}"


def _of_output(found: Probe, seen: Trace) -> str:
    if found.output != "tensor":
        shape = ", ".join(map(str, found.shape))
        return (
            f"The module returns a {found.output}, of which the tensor of shape (n, {shape}) is taken for the images; "
            "give `call` to take another."
        )
    if len(found.shape) == 3 and found.shape[0] == 4:
        return (
            "Images have four channels: the fourth is taken for opacity, on white; give `call` to treat it otherwise."
        )
    return ""


def _of_latents(images: Tensor, generator: Generator) -> str:
    if len(images) < 2 or not torch.equal(images[0], images[1]):
        return ""
    return f"Two latents gave the same image: check that {generator.name} uses them, and that its weights are loaded."


def _of_shared(found: Probe) -> str:
    if not found.shared:
        return ""
    said = ", ".join(f"{name!r} runs {count} times" for name, count in found.shared.items())
    runs = ", ".join(layer for layer in found.layers if "#" in layer)
    return f"Layer {said} in a pass; each run is inspected as a layer of its own: {runs}."


def _of_functions(found: Probe, generator: Generator) -> str:
    if any(is_activation(find_layer(generator.module, layer)) for layer in found.layers):
        return ""
    return (
        f"{generator.name} is inspected at {', '.join(found.layers)}, which are no activation modules: values above 0 "
        "count as active there; name others by --layers (layers= of gans.Generator)."
    )


def _of_order(found: Probe, generator: Generator) -> str:
    places = {name: place for place, name in enumerate(layer_names(generator.module))}
    order = [places[plain] for layer in found.layers if (plain := layer.partition("#")[0]) in places]
    if order == sorted(order):
        return ""
    return (
        f"The layers of {generator.name} run in another order than they are registered in: they are taken as they run, "
        f"{', '.join(found.layers)}."
    )


def _alike(images: Tensor, others: Tensor, generator: Generator, tolerance: float = _SAME) -> bool:
    if images.shape != others.shape:
        return False
    low, high = generator.value_range
    half = images.dtype in (torch.float16, torch.bfloat16)
    allowed = tolerance * (high - low) * (30 if half else 1)
    return not images.numel() or bool((images.double() - others.double()).abs().max() <= allowed)


def _first_different(runs: Sequence[LayerRun], others: Sequence[LayerRun]) -> str:
    for run, other in zip(runs, others, strict=False):
        size = max(run.digest[1], other.digest[1], 1e-12)
        if any(abs(one - two) > 1e-5 * size for one, two in zip(run.digest, other.digest, strict=True)):
            return run.name
    return ""


def _first_not_finite(runs: Sequence[LayerRun]) -> str:
    return next((run.name for run in runs if not all(map(isfinite, run.digest))), "")
