"""Keep what ``genmend speak --repair`` found: the repairs that hold in other sentences, as a file or in a voice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tts import (
    Holding,
    Voice,
    VoiceReference,
    combination_repairs,
    holds_elsewhere,
    read_sentences,
    save_repairs,
    tokenized,
)
from tts.corpus import ENGLISH

if TYPE_CHECKING:
    from workbench.speak import SpeakSettings, SpokenSentence

__all__ = ["check_targets", "kept_repairs"]

N_CARRIERS = 200  # ordinary sentences, of which those with room for a combination are drawn


def check_targets(voice: Voice, settings: SpeakSettings) -> None:
    """Refuse a voice that cannot be written before anything is said.

    Raises
    ------
    ValueError
        If the voice to write is no Piper voice, or would overwrite the one that is read.
    """
    from tts.piper import PiperVoice

    if settings.write_voice is None:
        return
    if not isinstance(voice, PiperVoice):
        raise ValueError(f"--write-voice writes Piper voices, but {voice.name} is none; use --save-repairs.")
    if settings.write_voice.resolve() == voice.path.resolve():
        raise ValueError(f"{settings.write_voice} is the voice itself, which is never overwritten; give another name.")


def kept_repairs(
    voice: Voice, reference: VoiceReference, spoken: Sequence[SpokenSentence], settings: SpeakSettings
) -> tuple[Holding, ...]:
    """Test every repair that was not refused in other sentences, and write those that hold where asked for.

    Nothing is written if none holds; the page says so.
    """
    if settings.save_repairs is None and settings.write_voice is None:
        return ()
    taken = [s.repair for s in spoken if s.repair is not None and s.accepted is not False and s.repair.changed]
    found = [one for done in taken for one in combination_repairs(voice, done)]
    if not found:
        return ()
    text = read_sentences(settings.corpus or voice.transcripts or ENGLISH)
    carriers = tokenized(voice, text[:: max(1, len(text) // N_CARRIERS)])
    tested = tuple(holds_elsewhere(voice, reference, one, carriers, seed=settings.seed) for one in found)
    holding = [test.repair for test in tested if test.holds]
    if holding and settings.save_repairs is not None:
        save_repairs(settings.save_repairs, voice, holding)
    if holding and settings.write_voice is not None:
        from tts.piper_patch import write_into_piper

        write_into_piper(voice, holding, settings.write_voice)  # type: ignore[arg-type]  # see check_targets
    return tested
