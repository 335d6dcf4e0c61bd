"""Text-to-speech: hear where a voice loses its way, and mend it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tts.acceptance import Verdict, better, heard_by_whisper
from tts.alignment import alignment_of, attention_alignment, duration_alignment
from tts.alignment_result import Alignment
from tts.best_of import attention_errors, best_of
from tts.combination import CombinationRepair, apply_repairs, combination_repairs
from tts.combination_file import load_repairs, save_repairs
from tts.corpus import read_sentences, tokenized
from tts.diagnosis import STATES, Diagnosis, WordFinding, diagnose
from tts.holding import Holding, holds_elsewhere, learnt_from_several
from tts.load import load_voice
from tts.phonemes import espeak_phonemes, split_sentences
from tts.piper_patch import write_into_piper
from tts.pmi import PairStatistics
from tts.reference import VoiceReference, fit_reference
from tts.reference_file import load_reference, save_reference, voice_digest
from tts.repair import MovedToken, Repair, repair
from tts.tokens import Dropped, Tokens
from tts.voice import Speech, Voice

if TYPE_CHECKING:
    from tts.edit_requests import EditRequest, parse_edit
    from tts.piper_torch import to_torch
    from tts.predictor_edits import edit_through
    from tts.probe_moves import ProbeMoves, fit_moves, labelled
    from tts.prosody import ProsodyEdit, edit_prosody
    from tts.replace_vectors import ReplaceVectors

# Imported when asked for: they need torch, which takes a second.
_LATER = {
    "EditRequest": "edit_requests",
    "ProbeMoves": "probe_moves",
    "ProsodyEdit": "prosody",
    "ReplaceVectors": "replace_vectors",
    "edit_prosody": "prosody",
    "edit_through": "predictor_edits",
    "fit_moves": "probe_moves",
    "labelled": "probe_moves",
    "parse_edit": "edit_requests",
    "to_torch": "piper_torch",
}

__all__ = [
    "STATES",
    "Alignment",
    "CombinationRepair",
    "Diagnosis",
    "Dropped",
    "EditRequest",
    "Holding",
    "MovedToken",
    "PairStatistics",
    "ProbeMoves",
    "ProsodyEdit",
    "Repair",
    "ReplaceVectors",
    "Speech",
    "Tokens",
    "Verdict",
    "Voice",
    "VoiceReference",
    "WordFinding",
    "alignment_of",
    "apply_repairs",
    "attention_alignment",
    "attention_errors",
    "best_of",
    "better",
    "combination_repairs",
    "diagnose",
    "duration_alignment",
    "edit_prosody",
    "edit_through",
    "espeak_phonemes",
    "fit_moves",
    "fit_reference",
    "heard_by_whisper",
    "holds_elsewhere",
    "labelled",
    "learnt_from_several",
    "load_reference",
    "load_repairs",
    "load_voice",
    "parse_edit",
    "read_sentences",
    "repair",
    "save_reference",
    "save_repairs",
    "split_sentences",
    "to_torch",
    "tokenized",
    "voice_digest",
    "write_into_piper",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'tts' has no attribute {name!r}")
    found = getattr(import_module(f"tts.{_LATER[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
