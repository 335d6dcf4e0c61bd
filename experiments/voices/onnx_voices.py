"""Two voices that people use, run as ONNX graphs: spoken, heard, diagnosed and edited; joe beside them.

    python -m experiments.voices.onnx_voices [--part hibari] [--mend-alone]

hibari, Kokoro-82M in 8 bits with the style jf_alpha (the packages carry no English one), and the Piper voice joe. Of
each: CPU seconds of one thread; Whisper tiny's word errors on ordinary sentences; the share of symbols outside the
normal region on ordinary held-out sentences, names, and ordinary ones with their sounds shuffled; a word said 1.5 times
as long, and 2 semitones higher; sentences with rare names mended, judged by Whisper tiny, and heard by hama, which no
cure asks. Kokoro also says Japanese, heard by Whisper base. Writes results/onnx_voices/results.json and the page. Needs
genmend fetch hibari kokoro joe whisper-tiny whisper-base; ten minutes on one core, half of them Kokoro's.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.pages import write_page
from experiments.voices.sentences import sentences
from genmend.tts import VoiceReference, diagnose, fit_reference, load_voice
from genmend.tts.cures.case import Case, read
from genmend.tts.cures.mending import mend_sentence
from genmend.tts.cures.way import Way
from genmend.tts.measures.edit_counts import EditCounts
from genmend.tts.measures.judges import PhonemeJudge, WhisperJudge
from genmend.tts.measures.phoneme_errors import phoneme_errors
from genmend.tts.measures.word_errors import word_errors
from genmend.tts.mending.settings import SpeakSettings
from genmend.tts.prosody.edit_requests import EditRequest
from genmend.tts.prosody.prosody import edit_prosody
from genmend.tts.prosody.sentence_edits import load_editable
from genmend.tts.text.corpus import read_sentences
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.piper import PiperVoice
from genmend.tts.voices.voice import Voice

RESULTS = Path(__file__).with_name("results") / "onnx_voices"
VOICES = ("hibari", "kokoro", "joe")
N_REFERENCE, N_ORDINARY, N_HEARD, N_EDITED, N_MENDED, SEED = 800, 40, 20, 12, 8, 0
FACTOR, HIGHER = 1.5, 2.0
JAPANESE = (
    ("こんにちは、おげんき です か。", "こんにちは、お元気ですか。"),
    ("きょう は とても いい てんき です。", "今日はとてもいい天気です。"),
    ("わたし は にほんご を べんきょう して います。", "私は日本語を勉強しています。"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--part", choices=VOICES, help="One voice; the others' results stay.")
    parser.add_argument("--mend-alone", action="store_true", help="Mending and pitch; other results stay.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / "results.json"
    results = json.loads(target.read_text("utf-8")) if target.is_file() else {"voices": {}}
    results |= {
        "n": {
            "reference": N_REFERENCE,
            "ordinary": N_ORDINARY,
            "heard": N_HEARD,
            "edited": N_EDITED,
            "mended": N_MENDED,
        },
        "factor": FACTOR,
        "semitones": HIGHER,
        "seed": SEED,
    }
    for name in VOICES if options.part is None else (options.part,):
        old = results["voices"].get(name, {})
        results["voices"][name] = found = old | measure(name, of_all=not options.mend_alone)
        if name == "kokoro" and not options.mend_alone:
            found["japanese"] = hear_japanese()
        target.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(name, json.dumps(found, ensure_ascii=False))
    if options.out == RESULTS and set(VOICES) == set(results["voices"]):
        write_page("voices/onnx_voices")


def measure(name: str, *, of_all: bool) -> dict[str, Any]:
    """All that is measured of one voice, or mending and pitch alone."""
    voice, loading = _timed(lambda: load_voice(name))
    corpus = read_sentences()
    chosen = np.random.default_rng(SEED).permutation(len(corpus))[:N_REFERENCE]
    known = voice.tokenize_all([corpus[i][0] for i in chosen], [corpus[i][1] or "" for i in chosen])
    reference, fitting = _timed(lambda: fit_reference(voice, known, seed=SEED))
    frozen = sentences()
    ordinary = [(text, ipa) for kind, text, ipa in frozen if kind == "ordinary"][:N_ORDINARY]
    names = [(text, ipa) for kind, text, ipa in frozen if kind == "name"][:N_ORDINARY]
    spoken = voice.tokenize_all(*map(list, zip(*ordinary, strict=True)))
    judge = WhisperJudge()
    asked_names = voice.tokenize_all(*map(list, zip(*names, strict=True)))
    last = {"mended": mend_names(voice, reference, asked_names[:N_MENDED], judge)}
    if not isinstance(voice, PiperVoice):
        last["higher"] = edit_words(voice, spoken[:N_EDITED], judge, {"pitch": HIGHER})
    if not of_all:
        return last
    rng = np.random.default_rng(SEED)
    sets = {
        "ordinary": spoken,
        "names": asked_names,
        "shuffled": [shuffled(tokens, rng) for tokens in spoken],
    }
    outside: dict[str, list[float]] = {}
    seconds = {}
    for kind, asked in sets.items():
        diagnosed, seconds[kind] = _timed(lambda asked=asked: diagnose(voice, reference, asked))
        outside[kind] = [round(one.outside, 4) for one in diagnosed]
    said, speaking = _timed(lambda: [voice.speak(tokens) for tokens in spoken[:N_HEARD]])
    errors = [
        word_errors(text, judge(speech.audio, speech.sample_rate))
        for (text, _), speech in zip(ordinary, said, strict=False)
    ]
    return {
        "layer": reference.middle,
        "dropped": sorted({lost.symbol for tokens in [*known, *spoken] for lost in tokens.dropped}),
        "cpu_seconds": {
            "loading": round(loading, 2),
            "reference": round(fitting, 1),
            "diagnosis_of_a_sentence": round(seconds["ordinary"] / N_ORDINARY, 3),
            "speaking_a_sentence": round(speaking / N_HEARD, 3),
        },
        "audio_seconds_of_a_sentence": round(float(np.mean([speech.seconds for speech in said])), 2),
        "level": round(float(np.mean([np.sqrt(np.mean(speech.audio**2)) for speech in said])), 4),
        "base_rate": round(reference.base_rates[reference.middle], 4),
        "outside": outside,
        "word_errors": [[count.errors, count.length] for count in errors],
        "edits": edit_words(voice, spoken[:N_EDITED], judge, {"duration": FACTOR}),
        **last,
    }


def mend_names(
    voice: Voice, reference: VoiceReference, asked: Sequence[Tokens], judge: WhisperJudge
) -> list[dict[str, Any]]:
    """Sentences with rare names, mended: words heard wrongly, phoneme errors by hama, cures kept, CPU seconds."""
    hama = PhonemeJudge()
    rows = []
    for tokens in asked:
        begun = time.process_time()
        way = Way(voice, (tokens,), SEED)
        first = read(*way.say(), reference, judge=judge, text=tokens.text)
        flagged = frozenset(diagnose(voice, reference, [tokens], layers=(), n_nearest=0)[0].flagged.tolist())
        case = Case(way, first, reference, SpeakSettings(mend=True), flagged, listens=True)
        done = mend_sentence(case, judge=judge, text=tokens.text)
        seconds = time.process_time() - begun
        heard = [
            phoneme_errors(tokens.phonemes, hama(one.speech.audio, one.speech.sample_rate)).rate
            for one in (done.before, done.after)
        ]
        rows.append(
            {
                "misheard": [done.before.n_misheard, done.after.n_misheard],
                "misread": [done.before.n_misread, done.after.n_misread],
                "phoneme_errors": [round(rate, 4) for rate in heard],
                "kept": [attempt.cure for attempt in done.kept],
                "readings": len(done.attempts),
                "cpu_seconds": round(seconds, 2),
            }
        )
    return rows


def shuffled(tokens: Tokens, rng: np.random.Generator) -> Tokens:
    """The sentence with its sounds in another order; marks, pauses and words stay where they are."""
    places = tokens.sounds
    order = rng.permutation(places)
    ids, symbols = list(tokens.ids), list(tokens.symbols)
    for place, source in zip(places, order.tolist(), strict=True):
        ids[place], symbols[place] = tokens.ids[source], tokens.symbols[source]
    return replace(tokens, ids=tuple(ids), symbols=tuple(symbols))


def edit_words(voice: Voice, asked: Sequence[Tokens], judge: WhisperJudge, changes: dict[str, float]) -> dict[str, Any]:
    """The word of most tokens in each sentence, said otherwise: what came of it there, elsewhere, and to the words."""
    ((name, _),) = changes.items()
    editable, model = load_editable(voice, True)
    rows = []
    for tokens in asked:
        counts = np.bincount([word for word in tokens.word_of if word >= 0], minlength=len(tokens.words))
        request = EditRequest(tokens.words[int(counts.argmax())], changes, 1)
        edit = edit_prosody(editable, tokens, request, model=model)
        heard = [
            word_errors(tokens.text, judge(speech.audio, speech.sample_rate)) for speech in (edit.before, edit.after)
        ]
        rows.append((edit.achieved[name], edit.elsewhere[name], *heard))
    before, after = (sum((row[i] for row in rows), EditCounts()) for i in (2, 3))
    return {
        "achieved": [round(row[0], 3) for row in rows],
        "elsewhere": [round(row[1], 3) for row in rows],
        "word_errors_before": [before.errors, before.length],
        "word_errors_after": [after.errors, after.length],
    }


def hear_japanese() -> list[dict[str, Any]]:
    """Kokoro's Japanese beside what the multilingual Whisper hears of it."""
    voice, judge = load_voice("kokoro", language="ja"), WhisperJudge(language="ja")
    rows = []
    for kana, written in JAPANESE:
        tokens = voice.tokenize(kana)
        speech = voice.speak(tokens)
        heard = judge(speech.audio, speech.sample_rate)
        rows.append(
            {"kana": kana, "written": written, "phonemes": tokens.phonemes, "heard": heard,
             "seconds": round(speech.seconds, 2)}
        )  # fmt: skip
    return rows


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.process_time()
    return work(), time.process_time() - begun


if __name__ == "__main__":
    main()
