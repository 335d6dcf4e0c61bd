"""Two voices that people use, run as ONNX graphs: spoken, heard, diagnosed and edited; joe beside them.

    python -m experiments.voices.onnx_voices [--part hibari]

hibari, Kokoro-82M in 8 bits with the style jf_alpha (the packages carry no English one), and the Piper voice joe. Of
each: CPU seconds of one thread; Whisper tiny's word errors on ordinary sentences; the share of symbols outside the
normal region on ordinary held-out sentences, names, and ordinary ones with their sounds shuffled; a word said 1.5 times
as long. Kokoro also says Japanese, heard by Whisper base. Writes results/onnx_voices/results.json and the page. Needs
genmend fetch hibari kokoro joe whisper-tiny whisper-base; six minutes on one core.
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
from genmend.tts import diagnose, fit_reference, load_voice
from genmend.tts.measures.edit_counts import EditCounts
from genmend.tts.measures.judges import WhisperJudge
from genmend.tts.measures.word_errors import word_errors
from genmend.tts.prosody.edit_requests import EditRequest
from genmend.tts.prosody.prosody import edit_prosody
from genmend.tts.prosody.sentence_edits import load_editable
from genmend.tts.text.corpus import read_sentences
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Voice

RESULTS = Path(__file__).with_name("results") / "onnx_voices"
VOICES = ("hibari", "kokoro", "joe")
N_REFERENCE, N_ORDINARY, N_HEARD, N_EDITED, SEED = 800, 40, 20, 12, 0
FACTOR = 1.5
JAPANESE = (
    ("こんにちは、おげんき です か。", "こんにちは、お元気ですか。"),
    ("きょう は とても いい てんき です。", "今日はとてもいい天気です。"),
    ("わたし は にほんご を べんきょう して います。", "私は日本語を勉強しています。"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--part", choices=VOICES, help="One voice; the others' results stay.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / "results.json"
    results = json.loads(target.read_text("utf-8")) if target.is_file() else {"voices": {}}
    results |= {
        "n": {"reference": N_REFERENCE, "ordinary": N_ORDINARY, "heard": N_HEARD, "edited": N_EDITED},
        "factor": FACTOR,
        "seed": SEED,
    }
    for name in VOICES if options.part is None else (options.part,):
        results["voices"][name] = found = measure(name)
        if name == "kokoro":
            found["japanese"] = hear_japanese()
        target.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(name, json.dumps(found, ensure_ascii=False))
    if {"hibari", "kokoro"} <= set(results["voices"]):
        write_page("voices/onnx_voices")


def measure(name: str) -> dict[str, Any]:
    """All that is measured of one voice."""
    voice, loading = _timed(lambda: load_voice(name))
    corpus = read_sentences()
    chosen = np.random.default_rng(SEED).permutation(len(corpus))[:N_REFERENCE]
    known = voice.tokenize_all([corpus[i][0] for i in chosen], [corpus[i][1] or "" for i in chosen])
    reference, fitting = _timed(lambda: fit_reference(voice, known, seed=SEED))
    frozen = sentences()
    ordinary = [(text, ipa) for kind, text, ipa in frozen if kind == "ordinary"][:N_ORDINARY]
    names = [(text, ipa) for kind, text, ipa in frozen if kind == "name"][:N_ORDINARY]
    spoken = voice.tokenize_all(*map(list, zip(*ordinary, strict=True)))
    rng = np.random.default_rng(SEED)
    sets = {
        "ordinary": spoken,
        "names": voice.tokenize_all(*map(list, zip(*names, strict=True))),
        "shuffled": [shuffled(tokens, rng) for tokens in spoken],
    }
    outside: dict[str, list[float]] = {}
    seconds = {}
    for kind, asked in sets.items():
        diagnosed, seconds[kind] = _timed(lambda asked=asked: diagnose(voice, reference, asked))
        outside[kind] = [round(one.outside, 4) for one in diagnosed]
    judge = WhisperJudge()
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
        "edits": edit_words(voice, spoken[:N_EDITED], judge),
    }


def shuffled(tokens: Tokens, rng: np.random.Generator) -> Tokens:
    """The sentence with its sounds in another order; marks, pauses and words stay where they are."""
    places = tokens.sounds
    order = rng.permutation(places)
    ids, symbols = list(tokens.ids), list(tokens.symbols)
    for place, source in zip(places, order.tolist(), strict=True):
        ids[place], symbols[place] = tokens.ids[source], tokens.symbols[source]
    return replace(tokens, ids=tuple(ids), symbols=tuple(symbols))


def edit_words(voice: Voice, asked: Sequence[Tokens], judge: WhisperJudge) -> dict[str, Any]:
    """The word of most tokens in each sentence, said longer: what came of it there, elsewhere, and to the words."""
    editable, model = load_editable(voice, True)
    rows = []
    for tokens in asked:
        counts = np.bincount([word for word in tokens.word_of if word >= 0], minlength=len(tokens.words))
        request = EditRequest(tokens.words[int(counts.argmax())], {"duration": FACTOR}, 1)
        edit = edit_prosody(editable, tokens, request, model=model)
        heard = [
            word_errors(tokens.text, judge(speech.audio, speech.sample_rate)) for speech in (edit.before, edit.after)
        ]
        rows.append((edit.achieved["duration"], edit.elsewhere["duration"], *heard))
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
