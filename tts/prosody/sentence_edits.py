"""Edit one sentence by requests in words: all that an edit needs of the voice is fetched or learnt here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmend.storage.notebook import NotebookResult
from genmend.storage.tables import without_nan
from genmend.tts.prosody.cached_moves import load_or_fit_moves
from genmend.tts.prosody.edit_requests import EditRequest, parse_edit
from genmend.tts.prosody.prosody import ProsodyEdit, edit_prosody, moved_attributes
from genmend.tts.voices.voice import Voice

if TYPE_CHECKING:
    from genmend.tts.voices.onnx.onnx_voice import OnnxVoice
    from genmend.tts.voices.piper import PiperVoice
    from genmend.tts.voices.vits import VitsVoice

__all__ = ["SentenceEdits", "edit_sentence", "load_editable"]


@dataclass(frozen=True, repr=False)
class SentenceEdits(NotebookResult):
    """A sentence edited by each request on its own.

    Attributes
    ----------
    voice : str
    edits : tuple of ProsodyEdit
        One for each request, applied to the sentence as the voice says it.
    settings : dict
        Text, requests and seed.
    """

    voice: str
    edits: tuple[ProsodyEdit, ...]
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``."""
        return {
            "voice": self.voice,
            "edits": [without_nan(edit.to_dict()) for edit in self.edits],
            "settings": self.settings,
        }

    def plot(self) -> Any:
        """Draw the pitch of the first request, before and after."""
        return self.edits[0].plot()

    def columns(self) -> dict[str, np.ndarray]:
        """Make one row for each request and attribute, as in ``edits.csv``: name of the column -> (rows,)."""
        rows = [[edit.request.word, *row] for edit in self.edits for row in edit.rows]
        names = ("word", "attribute", "unit", "requested", "achieved", "elsewhere")
        columns = dict(zip(names, zip(*rows, strict=True), strict=True))
        return {
            name: np.array([np.nan if v is None else v for v in values], dtype=float)
            if name in names[3:]
            else np.array(values)
            for name, values in columns.items()
        }


def edit_sentence(
    voice: Voice,
    text: str,
    edits: Sequence[str | EditRequest],
    *,
    phonemes: str | None = None,
    corpus: Path | None = None,
    seed: int = 0,
    progress: bool = False,
) -> SentenceEdits:
    """Say words longer, higher, louder or darker; each request on its own.

    Parameters
    ----------
    voice
        A Piper voice, a VITS voice, or an ONNX voice that tells its durations.
    text
        One sentence.
    edits
        Each an `EditRequest`, or one in words, e.g. ``"word:duration=1.5,pitch=+2st"``.
    phonemes
        IPA of the sentence, in place of what the front end makes of the text.
    corpus
        What the voice says to learn its pitch, energy and tilt, once: see `load_or_fit_moves`.
    seed
        Of the voice.
    progress
        Whether to show a bar while the voice is learnt.

    Raises
    ------
    ValueError
        For another voice, a text of several sentences, or a request that cannot be read.
    LookupError
        If the sentence has no such word.

    Examples
    --------
    >>> from genmend.tts import load_voice
    >>> found = edit_sentence(load_voice("joe"), "The car left.", ["car:duration=1.5"])  # doctest: +SKIP
    >>> found.edits[0].achieved["duration"]  # doctest: +SKIP
    1.5
    """
    requests = [parse_edit(edit) if isinstance(edit, str) else edit for edit in edits]
    editable, model = load_editable(voice, any("duration" in request.changes for request in requests))
    sentences = voice.tokenize_sentences(text, phonemes=phonemes)
    if len(sentences) > 1:
        raise ValueError(f"An edit takes one sentence, and the text has {len(sentences)}; give one of them.")
    moved = any(moved_attributes(voice, request) for request in requests)
    moves = load_or_fit_moves(voice, corpus, progress=progress) if moved else None
    done = tuple(
        edit_prosody(editable, sentences[0], request, model=model, moves=moves, seed=seed) for request in requests
    )
    asked = [edit if isinstance(edit, str) else str(edit) for edit in edits]
    return SentenceEdits(voice.name, done, {"text": text, "edits": asked, "seed": seed})


def load_editable(voice: Voice, with_model: bool) -> tuple[PiperVoice | VitsVoice | OnnxVoice, Any]:
    """Give the voice, and the torch model that predicts its durations; None where it is not needed or not known.

    Raises
    ------
    ValueError
        For a voice of another kind.
    """
    from genmend.tts.voices.onnx.onnx_voice import OnnxVoice
    from genmend.tts.voices.piper import PiperVoice
    from genmend.tts.voices.piper_torch import to_torch
    from genmend.tts.voices.vits import VitsVoice

    if isinstance(voice, PiperVoice):
        return voice, to_torch(voice) if with_model else None
    if isinstance(voice, VitsVoice):
        return voice, voice.model
    if isinstance(voice, OnnxVoice):
        return voice, None
    raise ValueError(
        f"Edits change Piper, VITS and ONNX voices, and {voice.name} is none; genmend.tts.prosody.predictor_edits."
        "edit_through takes any predictor."
    )
