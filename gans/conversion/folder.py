"""A converted generator on disk: ``generator.safetensors`` beside ``generator.json``."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Unpack

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from genmend.activations.digests import weights_digest
from genmend.gans.families import LAYOUTS
from genmend.gans.families.layout import FamilyOptions, load_weights
from genmend.gans.generator import Generator, layer_shapes
from genmend.gans.image_output import NotFiniteError
from genmend.storage.atomic import whole_file
from genmend.storage.container import write_arrays
from genmend.storage.tables import read_json, write_json

__all__ = ["SampleSettings", "load_converted", "read_options", "sample_converted", "save_generator"]

_ARRAYS, _SETTINGS = "generator.safetensors", "generator.json"
_KIND, _SCHEMA = "genmend.generator", 1
_KEYS = {"kind", "schema", "name", "family", "config", "options", "conversion", "versions"}


N_SAMPLES = 16


@dataclass(frozen=True)
class SampleSettings:
    """How samples of a converted generator are drawn.

    Attributes
    ----------
    seed : int
    device : str
    batch_size : int, optional
        The family's own choice where None.
    """

    seed: int = field(default=0, metadata={"help": "Of these samples.", "min": 0})
    device: str = "cpu"
    batch_size: int | None = field(
        default=None, metadata={"help": "Images a forward pass; the family's own.", "min": 1}
    )


def save_generator(folder: str | os.PathLike[str], module: nn.Module, conversion: dict[str, Any]) -> None:
    """Write a module and where it comes from; each file whole or not at all, the JSON last."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "kind": _KIND,
        "schema": _SCHEMA,
        "name": Path(conversion["source"]).stem,
        "family": conversion["family"],
        "config": conversion["config"],
        "options": conversion["options"],
        "conversion": {
            key: conversion[key] for key in ("source", "source_sha256", "group", "reader", "refused", "isolation")
        },
        "versions": {name: version(name) for name in ("torch", "safetensors")},
    }
    with whole_file(folder / _ARRAYS) as temporary:
        write_arrays(temporary, module.state_dict())
    write_json(folder / _SETTINGS, content)


def load_converted(path: str | os.PathLike[str], **options: Unpack[FamilyOptions]) -> Generator:
    """Load the generator that ``genmend convert`` wrote.

    Parameters
    ----------
    path : path-like
        The folder, or the ``generator.safetensors`` in it.
    **options
        In place of those that ``generator.json`` has, e.g. ``psi=0.7, space="w"`` for StyleGAN2.

    Raises
    ------
    ValueError
        If the folder is damaged, of a newer version, or an option is not the family's.
    genmend.gans.families.layout.LayoutError
        If the arrays don't fit the settings; every name and shape is listed.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    content = _settings(folder, path)
    layout = LAYOUTS[content["family"]]
    chosen = {**layout.options, **content["options"], **options}
    unknown = sorted(set(chosen) - set(layout.options))
    if unknown:
        raise ValueError(f"{layout.name} has no options {unknown}; it has {', '.join(layout.options)}.")
    try:
        state = load_file(folder / _ARRAYS)
        with torch.device("meta"):  # sizes that the weights don't have are told before memory is taken for them
            module = layout.build(content["config"])
        generator = layout.adapt(load_weights(module, state), content["config"], str(content["name"]), chosen)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{folder / _ARRAYS} is missing or damaged ({error}); convert the checkpoint again."
        ) from error
    except ValueError:  # its own words say what does not fit, or which option
        raise
    except (TypeError, LookupError, AttributeError, RuntimeError, ArithmeticError, MemoryError) as error:
        raise ValueError(
            f"{folder / _SETTINGS} has a config or options that {layout.name} can't be built from ({error}); convert "
            "the checkpoint again."
        ) from error
    return generator


def sample_converted(
    path: str | os.PathLike[str], settings: SampleSettings | None = None
) -> tuple[Tensor, dict[str, Any]]:
    """Load a converted generator as everything else does, and draw 16 samples.

    Returns
    -------
    images : Tensor (16, 3, h, w)
    facts : dict
        What loading has shown, as JSON holds it: the digest of the weights as correction files name it, the shapes of a
        latent, an image and each layer's output, and the samples' seed.

    Raises
    ------
    ValueError
        If an image holds NaN, or as `load_converted` does.
    """
    settings = settings or SampleSettings()
    generator = load_converted(path)
    generator.module.to(settings.device)
    generator = replace(generator, batch_size=settings.batch_size or generator.batch_size)
    try:
        images = generator.sample(N_SAMPLES, settings.seed)
    except NotFiniteError as error:
        raise ValueError(
            f"The generator in {path} draws images with NaN: its checkpoint is damaged, or it needs another family."
        ) from error
    return images, {
        "weights_sha256": weights_digest(generator.module),
        "latent_shape": list(generator.latent_shape),
        "image_shape": list(images.shape[1:]),
        "layers": {layer: list(shape) for layer, shape in layer_shapes(generator, generator.layers).items()},
        "samples": {"n": N_SAMPLES, "seed": settings.seed},
    }


def read_options(path: str | os.PathLike[str]) -> tuple[str, dict[str, Any]]:
    """Return the family of the converted generator at `path`, and its options with their present values.

    Raises
    ------
    ValueError
        If the folder is damaged or of a newer version.
    """
    path = Path(path)
    content = _settings(path if path.is_dir() else path.parent, path)
    return content["family"], {**LAYOUTS[content["family"]].options, **content["options"]}


def _settings(folder: Path, path: Path) -> dict[str, Any]:
    """The JSON, with the keys that it must have and no others."""
    file = folder / _SETTINGS
    try:
        content = read_json(file)
    except OSError as error:
        raise ValueError(
            f"{path} is no converted generator: it has no {_SETTINGS}. Convert a checkpoint with `genmend convert`."
        ) from error
    except ValueError as error:
        raise ValueError(f"{file} is no JSON ({error}); convert the checkpoint again.") from error
    if content.get("kind") != _KIND or content.get("schema") != _SCHEMA:
        raise ValueError(f"{file} is not of the kind {_KIND} and schema {_SCHEMA}; update genmend if it is newer.")
    if set(content) != _KEYS or not isinstance(content["family"], str) or content["family"] not in LAYOUTS:
        raise ValueError(
            f"{file} has the keys {sorted(content)} and family {content.get('family')!r}, needs {sorted(_KEYS)}."
        )
    if not isinstance(content["options"], dict) or not isinstance(content["config"], dict):
        raise ValueError(f"{file}: options and config have to be objects; convert the checkpoint again.")
    return content
