"""Which generator a name means: an embedded one, a converted folder, or a callable of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from torch import nn

from genmend.gans.families.layout import FamilyOptions
from genmend.gans.generator import Generator
from genmend.gans.model_names import EMBEDDED, generator_plug_in, no_generator
from genmend.gans.own_label import label_call
from genmend.storage.named_object import made_object, named_object

__all__ = ["load_generator"]


def load_generator(
    model: str,
    latent_shape: Sequence[int] | None = None,
    layers: Sequence[str] = (),
    *,
    value_range: tuple[float, float] | None = None,
    **options: Unpack[FamilyOptions],
) -> Generator:
    """Load a generator by name.

    Parameters
    ----------
    model : str
        ``faces``; ``portraits``; ``eyes``, or ``eyes:brown`` for one class; a folder (or the .safetensors in it) that
        ``genmend convert`` wrote; the name of a plug-in; or ``module:callable`` for one of your own. The callable takes
        no arguments and returns a `Generator`, or an nn.Module that maps latents of `latent_shape` to images.
    latent_shape : sequence of int, optional
        Needed for an nn.Module alone.
    layers : sequence of str
        In place of the generator's own choice.
    value_range : (float, float), optional
        Black and white of the raw images of one of your own; -1 and 1 where nothing says otherwise.
    **options
        For a converted generator: those of its family, e.g. ``psi=0.7, space="w"`` (`gans.load_converted`). ``label``
        also for the eyes and for an nn.Module of your own whose ``forward`` takes classes beside latents.

    Raises
    ------
    ValueError
        If the name has another form, the callable returns something else, a module comes without `latent_shape`, or an
        option is not the generator's.
    genmend.storage.named_object.UsersCodeError
        If a module or callable of your own raises.
    genmend.storage.plug_ins.PlugInError
        If a plug-in does; the message names its package.
    """
    eyes = model.partition(":")[0] == "eyes"
    own = not model or not (eyes or model in EMBEDDED or Path(model).exists())
    if value_range is not None and not own:
        raise ValueError(f"The value range of {model!r} is known; give one for module:callable alone.")
    unknown = sorted(set(options) - ({"label"} if own or eyes else set()))
    if unknown and not Path(model).exists():
        raise ValueError(f"MODEL {model!r} takes no options {unknown}; converted folders alone do.")
    if own:
        generator = _own_generator(model, latent_shape, layers, value_range, options.get("label"))
    else:
        generator = _known_generator(model, options)
    if not layers:
        return generator
    named = replace(generator, layers=tuple(layers), statistics_layers=())
    return replace(named, statistics_layers=named.layers)


def _known_generator(model: str, options: FamilyOptions) -> Generator:
    """An embedded generator or a converted one."""
    name, _, label = model.partition(":")
    if model == "faces":
        from genmend.gans.families.pretrained import load_faces

        return load_faces()
    if model == "portraits":
        from genmend.gans.families.pretrained import load_portraits

        return load_portraits()
    if name == "eyes":
        from genmend.gans.families.pretrained import load_eyes

        if label and options.get("label") is not None:
            raise ValueError(f"{model!r} names a class already; leave out the label.")
        return load_eyes(label or options.get("label"))
    from genmend.gans.conversion.folder import load_converted

    return load_converted(model, **options)


def _own_generator(
    model: str,
    latent_shape: Sequence[int] | None,
    layers: Sequence[str],
    value_range: tuple[float, float] | None,
    label: int | None,
) -> Generator:
    """The generator that ``module:callable`` or a plug-in is or returns, or one round the nn.Module that it is."""
    plug_in = None if ":" in model else generator_plug_in(model)
    named = named_object(model) if ":" in model else None if plug_in is None else plug_in.load()
    built = named
    if callable(named) and not isinstance(named, nn.Module):
        built = made_object(model) if plug_in is None else plug_in.made()
    if isinstance(built, Generator):
        if label is not None:
            raise ValueError(f"{model} returns a gans.Generator, which fixes its label itself: do so in its call=.")
        return built if value_range is None else replace(built, value_range=value_range)
    if not isinstance(built, nn.Module):
        raise no_generator(model)
    if latent_shape is None:
        raise ValueError(f"{model} returns an nn.Module, so its latent shape is needed: give --latent-shape, e.g. 128.")
    module = built.eval()
    generator = Generator(
        module,
        tuple(latent_shape),
        layers=tuple(layers),
        value_range=value_range or (-1.0, 1.0),
        call=None if label is None else label_call(module, label, tuple(latent_shape)),
        name=model.partition(":")[2] or model,
        settings={} if label is None else {"label": label},
    )
    module.requires_grad_(False)  # last: weights of lazy layers are there since the generator has run them
    return generator
