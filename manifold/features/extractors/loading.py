"""Which extractor a name means: the embedded ones, models of other libraries, and the user's own."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any

from genmend.storage.named_object import made_object
from genmend.storage.plug_ins import find_plug_in, plug_ins

__all__ = ["AUDIO_EXTRACTORS", "EXTRACTORS", "LIBRARIES", "extractor_of_file", "load_extractor"]

# name -> the module and the function in it that builds it: imported only when asked for.
EXTRACTORS = {
    "efficientnet-lite0": "genmend.manifold.features.extractors.efficientnet_lite:load",
    "clip-vit-b16": "genmend.manifold.features.extractors.clip_vision:load",
    "mobilenet-v2": "genmend.manifold.features.extractors.torchvision_models:load_mobilenet",
    "efficientnet-lite0-layers": "genmend.manifold.features.extractors.efficientnet_lite:load_layers",
}
AUDIO_EXTRACTORS = {
    "whisper-tiny": "genmend.manifold.features.extractors.whisper_encoder:load",
    "speaker": "genmend.manifold.features.extractors.speaker_vector:load",
}
# library -> what builds an extractor from a model's name and the path of its weights: "timm:NAME@PATH".
LIBRARIES = {
    "timm": "genmend.manifold.features.extractors.timm_models:load",
    "torchvision": "genmend.manifold.features.extractors.torchvision_models:load",
    "open_clip": "genmend.manifold.features.extractors.open_clip_models:load",
    "transformers": "genmend.manifold.features.extractors.transformers_models:load",
    "torchaudio": "genmend.manifold.features.extractors.torchaudio_models:load",
    "dinov2": "genmend.manifold.features.extractors.dinov2:load",
    "vgg16-fc2": "genmend.manifold.features.extractors.vgg16_fc2:load",
    "torch_fidelity": "genmend.manifold.features.extractors.fid_inception:load",
}
_RESERVED = (*EXTRACTORS, *AUDIO_EXTRACTORS, *LIBRARIES)
# The extra that brings a module which an extractor may lack.
_EXTRAS = {
    "timm": "vision",
    "torchvision": "vision",
    "transformers": "vision",
    "onnx": "vision",
    "faster_whisper": "audio",
    "ctranslate2": "audio",
    "librosa": "audio",
    "torchaudio": "tts",
    "torch_fidelity": "metrics",
}

# Those not embedded, by the name under which the user asked for them.
_own: dict[str, Callable[..., Any]] = {}


def load_extractor(name: str | Callable[..., Any]) -> Callable[..., Any]:
    """Get an extractor by name, or hand a callable through.

    Names are those of `EXTRACTORS` and `AUDIO_EXTRACTORS`; ``LIBRARY:MODEL@WEIGHTS`` for a model of `LIBRARIES`, e.g.
    ``timm:resnet50@weights.safetensors`` (without ``@WEIGHTS`` the library fetches its own from the network), or for
    what a metric was published with: ``dinov2:vitl14@PATH``, ``vgg16-fc2:rarity@PATH``,
    ``torch_fidelity:inception-v3-compat@PATH``; the name of a plug-in; and ``module:callable``, a function of yours
    without arguments that returns an extractor.

    A callable of your own takes a tensor (n, 3, h, w) in [0, 1] and returns (n, d); for audio, one mono wave
    (samples,), a float32 ndarray at its attribute `sample_rate` (16,000 Hz where it has none), and returns (d,).

    Raises
    ------
    ValueError
        If the name is unknown.
    genmend.storage.weights.MissingWeightsError
        If the extractor's weights were not fetched yet.
    ModuleNotFoundError
        If the library that runs it is not installed.
    """
    if not isinstance(name, str):
        return name
    try:
        if name in EXTRACTORS or name in AUDIO_EXTRACTORS:
            return _embedded(name)
        if ":" in name:
            if name not in _own:
                _own[name] = _of_library(name) if name.partition(":")[0] in LIBRARIES else made_object(name)
            return _own[name]
        if name in _own:
            return _own[name]
        if (plug_in := find_plug_in("extractor", name, _RESERVED)) is not None:
            _own[name] = plug_in.made()
            return _own[name]
    except ModuleNotFoundError as error:
        raise _with_remedy(name, error) from error
    raise ValueError(
        f"No extractor is called {name!r}; give one of "
        f"{', '.join([*EXTRACTORS, *AUDIO_EXTRACTORS, *plug_ins('extractor', _RESERVED)])}, "
        f"a model of a library ({', '.join(f'{library}:NAME' for library in LIBRARIES)}), or module:callable."
    )


def extractor_of_file(name: str) -> Callable[..., Any]:
    """Get the extractor that a file asks for, without letting the file choose what code is run or what is downloaded.

    Raises
    ------
    ValueError
        If it is a ``module:callable`` or ``LIBRARY:MODEL`` that nobody has loaded in this process by `load_extractor`.
    """
    if name in EXTRACTORS or name in _own:
        return load_extractor(name)
    raise ValueError(
        f"The file asks for the extractor {name!r}, none of {', '.join(EXTRACTORS)} but code that would be run: if "
        f"you trust it, call load_extractor({name!r}) first (on the command line --extractor {name})."
    )


@cache
def _embedded(name: str) -> Callable[..., Any]:
    # One instance a process: loading takes seconds, and moving it to a device once is enough.
    extractor = _function({**EXTRACTORS, **AUDIO_EXTRACTORS}[name])()
    for library in getattr(extractor, "libraries", ()):
        if importlib.util.find_spec(library) is None:  # told now, not when the network is built
            raise ModuleNotFoundError(f"No module named {library!r}", name=library)
    return extractor


def _of_library(name: str) -> Callable[..., Any]:
    library, _, model = name.partition(":")
    model, _, path = model.partition("@")
    if not model:
        raise ValueError(f"{name!r} names no model; write it as {library}:NAME or {library}:NAME@PATH.")
    return _function(LIBRARIES[library])(model, path)


def _function(place: str) -> Callable[..., Callable[..., Any]]:
    module, _, function = place.partition(":")
    found: Callable[..., Callable[..., Any]] = getattr(importlib.import_module(module), function)
    return found


def _with_remedy(name: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    missing = (error.name or "").partition(".")[0]
    if missing == "open_clip":
        remedy = "pip install open_clip_torch"
    elif missing in _EXTRAS:
        remedy = f"pip install 'genmend[{_EXTRAS[missing]}]'"
    else:
        return error
    return ModuleNotFoundError(
        f"The extractor {name!r} needs the package {missing}, which is not installed: {remedy}.", name=error.name
    )
