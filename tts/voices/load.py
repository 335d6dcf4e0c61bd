"""Any voice by its name or path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

from genmend.storage.plug_ins import PlugIn, find_plug_in
from genmend.tts.text.lexicon import read_lexicon
from genmend.tts.voices.options import OnnxOptions, PiperOptions, VoiceOptions, check_options
from genmend.tts.voices.voice import Voice

__all__ = ["EMBEDDED", "check_voice", "load_voice"]

EMBEDDED = ("joe", "hibari", "kokoro", "tacotron")

_BUNDLE = "torchaudio:"
_ACCEPTED = (
    "'joe', 'hibari', 'kokoro', 'tacotron', a plug-in (`genmend list`), the .onnx file of a voice, the .safetensors "
    "file of a Tacotron 2 of ours, 'torchaudio:' and a bundle, or the folder or hub name of a VITS, "
    "FastSpeech2Conformer or SpeechT5 model of transformers"
)


def load_voice(
    name_or_path: str | Path,
    *,
    download: bool = False,
    device: str = "cpu",
    lexicon: str | Path | None = None,
    **options: Unpack[VoiceOptions],
) -> Voice:
    """Load a voice.

    Parameters
    ----------
    name_or_path
        One of these:

        - ``joe``: the embedded Piper voice (``genmend fetch joe``);
        - ``hibari`` and ``kokoro``: two more that ``genmend fetch`` gets (English at 24 kHz; with ``language="ja"``
          Kokoro reads Japanese in kana);
        - ``tacotron``: the small Tacotron 2 of this project;
        - the .onnx file of a Piper voice, of Kokoro, of a Matcha, VITS or MMS export, or of another voice with its
          description beside it (see `OnnxVoice`), or the .safetensors file of a Tacotron 2 trained here;
        - the name of a plug-in, whose callable is given the options;
        - ``torchaudio:TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH``, or another of its bundles;
        - the folder or the hub name of a transformers model: VITS (with MMS), FastSpeech2Conformer, SpeechT5.
    download
        Whether bundles and hub models may be fetched; else they must be in their libraries' caches.
    device
        Where the model and a vocoder that is a module run, as torch names it; ONNX voices run on the CPU alone.
    lexicon
        File of words with their phonemes, WORD tab IPA, for names that espeak-ng misreads.
    **options
        Of the voice's class, e.g. ``noise=0.667``, ``attention_window=(1, 3)``, ``speaker=...``.

    Raises
    ------
    TypeError
        For an option that this kind of voice does not have; the message lists those that it has.
    ValueError
        If it is none of these, an ONNX voice and another device than the CPU, or a lexicon and a voice that does not
        read by espeak-ng.
    FileNotFoundError
        If a file of it is missing.
    ModuleNotFoundError
        If it needs a package that is not installed.
    """
    name = str(name_or_path)
    if device != "cpu" and _is_onnx(name):
        raise ValueError(f"{name} runs by onnxruntime, on the CPU; the device is {device!r}: leave it out.")
    words = None if lexicon is None else read_lexicon(lexicon)
    voice = _loaded(name, download, dict(options))
    if words is not None:
        voice.use_lexicon(words)
    if device != "cpu":
        for attribute in ("model", "vocoder"):
            part: Any = getattr(voice, attribute, None)
            if hasattr(part, "to"):  # no plain function
                part.to(device)
    return voice


def _is_onnx(name: str) -> bool:
    return name in ("joe", "hibari", "kokoro") or name.endswith(".onnx")


def _load_onnx(name: str, given: dict[str, Any]) -> Voice:
    """A Piper voice, or one that is described; the graph says which, before its .json is asked for."""
    from genmend.tts.voices.onnx.graph import read_onnx
    from genmend.tts.voices.onnx.onnx_voice import OnnxVoice
    from genmend.tts.voices.piper import PiperVoice
    from genmend.tts.voices.piper_graph import is_piper

    if name == "joe":
        return PiperVoice.joe(**given)
    if name in EMBEDDED:
        return OnnxVoice.fetched(name, **given)
    check_options("OnnxVoice", given, OnnxOptions)
    path = Path(name)
    # sherpa-onnx has Piper voices with tokens.txt in the place of their .json.
    described = path.with_name(path.name + ".json").is_file() or not path.with_name("tokens.txt").is_file()
    if is_piper(read_onnx(path)) and described:
        check_options("PiperVoice", given, PiperOptions)
        return PiperVoice(path, **given)
    return OnnxVoice(path, **given)


def _loaded(name: str, download: bool, given: dict[str, Any]) -> Voice:
    """The voice on the CPU; each kind checks its own options."""
    if _is_onnx(name):
        return _load_onnx(name, given)
    if name == "tacotron" or name.endswith(".safetensors") or name.startswith(_BUNDLE):
        if name.startswith(_BUNDLE):
            from genmend.tts.voices.tacotron_bundles import load_bundle

            return load_bundle(name.removeprefix(_BUNDLE), download=download, **given)
        from genmend.tts.voices.tacotron import TacotronVoice

        return TacotronVoice.reference(**given) if name == "tacotron" else TacotronVoice.from_files(name, **given)
    plug_in = None if Path(name).exists() else _plug_in(name)
    if plug_in is not None:
        made: Voice = plug_in.made(**given)
        return made
    return _from_transformers(name, _model_type(name, download))(name, download=download, **given)


def check_voice(name: str) -> None:
    """Refuse a name that no kind of voice has, whether or not there is such a one.

    Raises
    ------
    ValueError
        With what is accepted.
    FileNotFoundError
        If it is a folder that holds no model.
    """
    if name in EMBEDDED or name.endswith((".onnx", ".safetensors")) or name.startswith(_BUNDLE):
        return
    is_folder = bool(name) and Path(name).is_dir()
    if not is_folder and _plug_in(name) is not None:
        return
    if is_folder and not (Path(name) / "config.json").is_file():
        raise FileNotFoundError(
            f"The folder {name} has no config.json, so it is no model of transformers; give {_ACCEPTED}."
        )
    if not is_folder and (Path(name).exists() or name.count("/") != 1 or name.startswith((".", "/", "~"))):
        raise ValueError(f"There is no voice {name!r}; accepted are {_ACCEPTED}.")


def _plug_in(name: str) -> PlugIn | None:
    return find_plug_in("voice", name, EMBEDDED)


def _model_type(name: str, download: bool) -> str:
    check_voice(name)
    from transformers import AutoConfig

    try:
        return str(AutoConfig.from_pretrained(name, local_files_only=not download).model_type)
    except ValueError as error:
        raise ValueError(f"{name} is no model that transformers knows ({error}); give {_ACCEPTED}.") from error
    except OSError as error:
        what = "is not on this machine: give download=True to fetch it" if not download else "cannot be fetched"
        raise FileNotFoundError(f"The hub model {name} {what}, or check the name; accepted are {_ACCEPTED}.") from error


def _from_transformers(name: str, model_type: str) -> Callable[..., Voice]:
    if model_type == "vits":
        from genmend.tts.voices.vits import VitsVoice

        return VitsVoice.from_pretrained
    if model_type in ("fastspeech2_conformer", "fastspeech2_conformer_with_hifigan"):
        from genmend.tts.voices.fastspeech import FastSpeechVoice

        return FastSpeechVoice.from_pretrained
    if model_type == "speecht5":
        from genmend.tts.voices.speecht5 import SpeechT5Voice

        return SpeechT5Voice.from_pretrained
    raise ValueError(
        f"{name} is a model of the kind {model_type!r}; accepted are vits, fastspeech2_conformer (also with_hifigan) "
        "and speecht5; give one of these."
    )
