"""torchaudio's four pretrained Tacotron 2 (LJSpeech). Written from its sources, untested on the real files.

The files come from PyTorch's server and from nowhere else, so they are fetched only where the user asks for it.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any, Unpack

import torch

from genmend.tts.voices.mel import LogMel
from genmend.tts.voices.options import TacotronOptions, check_options
from genmend.tts.voices.tacotron import TacotronVoice

__all__ = ["BUNDLES", "load_bundle"]

BUNDLES = tuple(
    f"TACOTRON2_{vocoder}_{reads}_LJSPEECH" for vocoder in ("GRIFFINLIM", "WAVERNN") for reads in ("CHAR", "PHONE")
)
_MARKS = "_-!'(),.:;? "
_VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
_CONSONANTS = (*"BDFGKLMNPRSTVWYZ", "CH", "DH", "HH", "JH", "NG", "SH", "TH", "ZH")
# How the two vocoders' mels were made.
_MELS = {
    "GRIFFINLIM": LogMel(22_050, n_fft=1024, hop=256, highest=8_000.0, floor=1e-5),
    "WAVERNN": LogMel(22_050, n_fft=2048, hop=275, highest=11_025.0, floor=1e-5),
}


def load_bundle(bundle: str, *, download: bool = False, **options: Unpack[TacotronOptions]) -> TacotronVoice:
    """Load a voice of ``torchaudio.pipelines``.

    Character bundles read text. Phone bundles read ARPAbet with stress, which torchaudio has DeepPhonemizer make from
    text, a package that nobody maintains: here phonemes have to be given (``HH AH0 L OW1 | W ER1 L D``).

    Parameters
    ----------
    bundle
        One of `BUNDLES`.
    download
        Fetch what torch's cache lacks, about 110 MB, and 17 MB more for WaveRNN; kept there.
    **options
        Those of `TacotronVoice`, in place of the bundle's own.

    Raises
    ------
    ValueError
        If there is no such bundle.
    FileNotFoundError
        If its files are not in torch's cache and `download` is False.
    TypeError
        For another option.
    """
    check_options(bundle, options, TacotronOptions)
    if bundle not in BUNDLES:
        raise ValueError(f"torchaudio has no bundle {bundle!r}; its Tacotron 2 are {', '.join(BUNDLES)}; choose one.")
    import torchaudio

    pipeline = getattr(torchaudio.pipelines, bundle)
    _, vocoder, reads, _ = bundle.split("_")
    if not download:
        _check_there(bundle, pipeline)
    loaded = {"dl_kwargs": {"weights_only": True}}
    if vocoder == "WAVERNN":
        options = {"vocoder": pipeline.get_vocoder(**loaded), **options}
    symbols = list(_MARKS) + (_phones() if reads == "PHONE" else [chr(i) for i in range(ord("a"), ord("z") + 1)])
    options = {"reads": "arpabet" if reads == "PHONE" else "characters", "name": bundle, **options}
    return TacotronVoice(pipeline.get_tacotron2(**loaded), symbols, _MELS[vocoder], **options)


def _phones() -> list[str]:
    """Vowels bare and with each of three stresses, and consonants, in one alphabetical order."""
    return sorted(chain(_CONSONANTS, *((vowel, *(f"{vowel}{stress}" for stress in range(3))) for vowel in _VOWELS)))


def _check_there(name: str, bundle: Any) -> None:
    files = [file for file in (bundle._tacotron2_path, getattr(bundle, "_wavernn_path", None)) if file]
    missing = [file for file in files if not (Path(torch.hub.get_dir()) / "checkpoints" / Path(file).name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{name} needs {' and '.join(missing)}, not in torch's cache: "
            "give download=True to fetch them from PyTorch's server."
        )
