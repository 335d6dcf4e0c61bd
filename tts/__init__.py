"""Text-to-speech: hear where a voice loses its way, and mend it."""

from tts.acceptance import Verdict, better, heard_by_whisper
from tts.alignment import Alignment, attention_alignment, duration_alignment
from tts.corpus import read_sentences, tokenized
from tts.diagnosis import STATES, Diagnosis, WordFinding, diagnose
from tts.load import load_voice
from tts.phonemes import espeak_phonemes, split_sentences
from tts.piper_patch import CombinationRepair, combination_repairs, write_into_piper
from tts.pmi import PairStatistics
from tts.reference import VoiceReference, fit_reference
from tts.reference_file import load_reference, save_reference, voice_digest
from tts.repair import MovedToken, Repair, repair
from tts.replace_vectors import ReplaceVectors
from tts.tokens import Dropped, Tokens
from tts.voice import Speech, Voice

__all__ = [
    "STATES",
    "Alignment",
    "CombinationRepair",
    "Diagnosis",
    "Dropped",
    "MovedToken",
    "PairStatistics",
    "Repair",
    "ReplaceVectors",
    "Speech",
    "Tokens",
    "Verdict",
    "Voice",
    "VoiceReference",
    "WordFinding",
    "attention_alignment",
    "better",
    "combination_repairs",
    "diagnose",
    "duration_alignment",
    "espeak_phonemes",
    "fit_reference",
    "heard_by_whisper",
    "load_reference",
    "load_voice",
    "read_sentences",
    "repair",
    "save_reference",
    "split_sentences",
    "tokenized",
    "voice_digest",
    "write_into_piper",
]
