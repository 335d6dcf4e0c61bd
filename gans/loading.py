"""Which generator a name means: an embedded one, a converted folder, or a callable of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from torch import nn

from genmend.gans.families.layout import FamilyOptions
from genmend.gans.generator import Generator
from genmend.storage.named_object import named_object

__all__ = ["load_generator"]


def load_generator(
    model: str, latent_shape: Sequence[int] | None = None, layers: Sequence[str] = (), **options: Unpack[FamilyOptions]
) -> Generator:
    """Load a generator by name.

    Parameters
    ----------
    model : str
        ``faces``; ``portraits``; ``eyes``, or ``eyes:brown`` for one class; a folder (or the .safetensors in it) that
        ``genmend convert`` wrote; or ``module:callable`` for one of your own. The callable takes no arguments and
        returns a `Generator`, or an nn.Module that maps latents of `latent_shape` to images in -1..1.
    latent_shape : sequence of int, optional
        Needed for an nn.Module alone.
    layers : sequence of str
        In place of the generator's own choice.
    **options
        For a converted generator: those of its family, e.g. ``psi=0.7, space="w"`` (`gans.load_converted`). For
        ``eyes``: ``label``.

    Raises
    ------
    ValueError
        If the name has another form, the callable returns something else, or a module comes without `latent_shape`.
    """
    name, _, label = model.partition(":")
    if options and not Path(model).exists() and not (name == "eyes" and set(options) == {"label"}):
        raise ValueError(f"MODEL {model!r} takes no options {sorted(options)}; converted folders alone do.")
    if model == "faces":
        from genmend.gans.families.pretrained import load_faces

        generator = load_faces()
    elif model == "portraits":
        from genmend.gans.families.pretrained import load_portraits

        generator = load_portraits()
    elif name == "eyes":
        from genmend.gans.families.pretrained import load_eyes

        generator = load_eyes(label or options.get("label"))
    elif model and Path(model).exists():
        from genmend.gans.conversion.folder import load_converted

        generator = load_converted(model, **options)
    else:
        generator = _own_generator(model, latent_shape, layers)
    named = tuple(layers)
    return replace(generator, layers=named, statistics_layers=named) if named else generator


def _own_generator(model: str, latent_shape: Sequence[int] | None, layers: Sequence[str]) -> Generator:
    """The generator that ``module:callable`` returns, or one round the nn.Module that it returns."""
    named = named_object(model) if ":" in model else None
    built = named() if callable(named) else None
    if isinstance(built, Generator):
        return built
    if not isinstance(built, nn.Module):
        raise ValueError(
            f"MODEL {model!r} is neither 'faces' nor 'portraits' nor 'eyes' nor a folder written by `genmend convert` "
            "nor module:callable with a callable that returns an nn.Module or a gans.Generator."
        )
    if latent_shape is None:
        raise ValueError(f"{model} returns an nn.Module, so its latent shape is needed: give --latent-shape, e.g. 128.")
    return Generator(
        built.eval().requires_grad_(False), tuple(latent_shape), layers=tuple(layers), name=model.partition(":")[2]
    )
