"""Which cure mends a voice whose attention fails, and does any of them spoil what was right?

    python -m experiments.voices.cures [--weakened] [--quick] [--rows NAME ...]

On the voice of train_failing_tacotron.py, whose encoder and attention learnt without a guide; with ``--weakened`` on
the shipped reference Tacotron 2 with its location features weakened (`location_dense.weight` x 0.45).
Bad is a reading with a skip, repeat or stall of its attention, or without an end. The failing sentences are the first
with a withheld pair that are read badly with seed 0; every row reads them with three other seeds. Rows: the sentence as
it is; each attention window, the best of five other seeds by attention, a split, a respelling; local repair of every
layer, also of the neighbours of flagged tokens, and against it the mean of all vectors of the sound (global), some
vector of it (random vector) and a random direction, each moved as far as local repair moves, and the first two by their
own length; and `mend` as a whole, judged by Whisper. Words are heard by Whisper and sounds by hama in the first of the
three readings. Then ordinary sentences, mended: how many are spoiled?

The embedding has its rows, too, from a reference of its own: that of `mend` leaves it out, as everywhere.

Each sentence is written as soon as it is measured: interrupted, it goes on with the next one, and rows that are there
are not measured again. Writes results/cures/.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from experiments.pages import write_page
from experiments.voices.train_failing_tacotron import FAILING
from experiments.voices.training_speech import unseen_sentences, withheld_pairs
from genmend.storage.atomic import whole_file
from genmend.tts import Speech, Tokens, VoiceReference, diagnose, fit_reference, load_voice, repair
from genmend.tts.cures.case import Case, Reading, read
from genmend.tts.cures.mending import mend_sentence
from genmend.tts.cures.say_again import N_SEEDS, WINDOWS
from genmend.tts.cures.table import CURES
from genmend.tts.cures.way import Way
from genmend.tts.measures.judges import PhonemeJudge, WhisperJudge
from genmend.tts.measures.phoneme_errors import phoneme_errors
from genmend.tts.measures.word_errors import word_errors
from genmend.tts.mending.best_of import attention_errors
from genmend.tts.mending.reference_file import voice_digest
from genmend.tts.mending.repair import Repair
from genmend.tts.mending.settings import SpeakSettings
from genmend.tts.text.corpus import read_sentences, tokenize_corpus
from genmend.tts.voices.tacotron import TacotronVoice

RESULTS = Path(__file__).with_name("results") / "cures"
WEAKENED = 0.45
PICKED_BY, READ_BY, ORDINARY_BY = 0, (101, 102, 103), 104
K, PSI, N_REFERENCE = 10, 0.0, 3_000
SETTINGS = SpeakSettings(mend=True)


@dataclass(frozen=True)
class Bench:
    """All that rows are measured with."""

    voice: TacotronVoice
    reference: VoiceReference
    embedding: VoiceReference
    whisper: WhisperJudge
    hama: PhonemeJudge
    seeds: tuple[int, ...] = READ_BY


Row = Callable[[Bench, Tokens, int], tuple[Tokens, Speech]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weakened", action="store_true", help="the shipped voice, weakened")
    parser.add_argument("--weights", type=Path, default=FAILING, help="another Tacotron 2 of ours")
    parser.add_argument("--rows", nargs="+", help="those whose names begin so; all by default")
    parser.add_argument("--failing", type=int, default=45)
    parser.add_argument("--ordinary", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="3 failing sentences, read once, and 5 ordinary ones")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    n_failing, n_ordinary = (3, 5) if options.quick else (options.failing, options.ordinary)
    voice = weakened_tacotron() if options.weakened else TacotronVoice.from_files(options.weights)
    text = read_sentences(voice.transcripts)[: 500 if options.quick else N_REFERENCE]
    known = tokenize_corpus(voice, text)
    begun = time.process_time()
    reference = fit_reference(voice, known, k=K)
    fitting = time.process_time() - begun
    embedding = fit_reference(voice, known, layers=voice.layers[:1], k=K)
    seeds = READ_BY[:1] if options.quick else READ_BY
    bench = Bench(voice, reference, embedding, WhisperJudge(), PhonemeJudge(), seeds)
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / "results.json"
    about = {
        "voice": _name(None if options.weakened else options.weights),
        "weights": voice_digest(voice),
        "seeds": list(READ_BY),
        "k": K,
        "psi": PSI,
    }
    results: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    if {name: results.get(name) for name in about} != about or results.get("asked") != [n_failing, n_ordinary]:
        results = {**about, "asked": [n_failing, n_ordinary], "rows": {}, **pick(voice, n_failing, n_ordinary)}
    failing = [voice.tokenize(text, phonemes=ipa) for text, ipa in results["failing"]]
    for name, row in rows((*embedding.layers, *reference.layers)).items():
        if name not in results["rows"] and _asked(name, options.rows):
            read = each_sentence(kept, results, name, failing, partial(read_with, bench, row))
            results["rows"][name] = row_of(read)
            _write(kept, results)
    plain = [voice.tokenize(text, phonemes=ipa) for text, ipa in results["ordinary"]]
    if "diagnosis" not in results:
        begun = time.process_time()
        diagnose(voice, reference, plain)
        seconds = (time.process_time() - begun) / len(plain)
        results["diagnosis"] = {"cpu_seconds": seconds, "reference": len(text), "reference_cpu_seconds": fitting}
        _write(kept, results)
    if "ordinary mended" not in results and _asked("ordinary", options.rows):
        mended = each_sentence(kept, results, "ordinary mended", plain, partial(mend_ordinary, bench))
        columns = {name: [one[name] for one in mended] for name in mended[0]}
        results["ordinary mended"] = columns | {"cpu_seconds": float(np.mean(columns["cpu_seconds"]))}
        _write(kept, results)
    if options.out == RESULTS and "ordinary mended" in results and "as it is" in results["rows"]:
        write_page("voices/cures")


def weakened_tacotron(factor: float = WEAKENED) -> TacotronVoice:
    """The shipped voice with its location features weakened, so that its attention fails as published ones do."""
    voice = load_voice("tacotron")
    assert isinstance(voice, TacotronVoice)
    with torch.no_grad():
        voice.model.decoder.attention_layer.location_layer.location_dense.weight.mul_(factor)
    return voice


def pick(voice: TacotronVoice, n_failing: int, n_ordinary: int) -> dict[str, Any]:
    """Failing sentences with withheld pairs, ordinary ones without, and how often each kind fails with that seed."""
    known = {text for text, _ in read_sentences(voice.transcripts)} if voice.transcripts else set()
    unseen = [pair for pair in unseen_sentences() if pair[0] not in known]
    failing, asked = [], 0
    for text, ipa in tqdm([pair for pair in unseen if withheld_pairs(pair[1])], desc="failing sentences"):
        if len(failing) == n_failing:
            break
        asked += 1
        tokens = voice.tokenize(text, phonemes=ipa)
        if is_bad(tokens, voice.speak(tokens, seed=PICKED_BY)):
            failing.append([text, ipa])
    ordinary = [list(pair) for pair in unseen if not withheld_pairs(pair[1])][:n_ordinary]
    return {"failing": failing, "ordinary": ordinary, "tried_for_failing": asked}


def is_bad(tokens: Tokens, speech: Speech) -> bool:
    """Whether the attention skipped, repeated or stalled, or the voice did not end."""
    return not speech.finished or attention_errors(tokens, speech)[0] > 0


def rows(layers: tuple[str, ...]) -> dict[str, Row]:
    """Name -> how a sentence is said."""
    found: dict[str, Row] = {"as it is": _as_it_is}
    for window in WINDOWS:
        found[f"attention window {window[0]}, {window[1]}"] = _in_window(window)
    found[f"best of {N_SEEDS} other seeds"] = _other_seeds
    found |= {name: _only(name) for name in ("split at marks", "split at clauses", "respelling")}
    for layer in layers:
        found[f"local, {layer}"] = _moved(layer, "local")
        found[f"local with neighbours, {layer}"] = _moved(layer, "local", neighbours=1)
        for center in ("global", "random vector"):
            found[f"{center}, as far, {layer}"] = _moved(layer, center, as_far=True)
        found[f"random direction, {layer}"] = _moved(layer, "random direction")
    for layer in ("convolutions.2", "lstm"):
        for center in ("global", "random vector"):
            found[f"{center}, {layer}"] = _moved(layer, center)
    return {**found, "mend": _mended}


def each_sentence(
    kept: Path, results: dict[str, Any], name: str, asked: list[Tokens], measure: Callable[[Tokens], dict[str, Any]]
) -> list[dict[str, Any]]:
    """What is measured of each sentence, written after every one; those of an interrupted run are there already."""
    done: dict[str, dict[str, Any]] = results.setdefault("begun", {}).setdefault(name, {})
    for tokens in tqdm([tokens for tokens in asked if tokens.text not in done], desc=name):
        done[tokens.text] = measure(tokens)
        _write(kept, results)
    del results["begun"][name]
    return [done[tokens.text] for tokens in asked]


def read_with(bench: Bench, row: Row, tokens: Tokens) -> dict[str, Any]:
    """One sentence with every seed: whether it is bad, CPU seconds; errors of words and sounds with the first seed."""
    found: dict[str, Any] = {"bad": [], "cpu_seconds": []}
    for number, seed in enumerate(bench.seeds):
        begun = time.process_time()
        said, speech = row(bench, tokens, seed)
        found["cpu_seconds"].append(time.process_time() - begun)
        found["bad"].append(int(is_bad(said, speech)))
        if number == 0:
            found["word_errors"], found["phoneme_errors"] = _heard(bench, tokens, speech)
    return found


def row_of(read: list[dict[str, Any]]) -> dict[str, Any]:
    """Bad readings (sentences, seeds), errors of words and sounds of the first seed, CPU seconds a reading."""
    columns = {name: [one[name] for one in read] for name in ("bad", "word_errors", "phoneme_errors")}
    return {**columns, "cpu_seconds": float(np.mean([one["cpu_seconds"] for one in read]))}


def mend_ordinary(bench: Bench, tokens: Tokens) -> dict[str, Any]:
    """An ordinary sentence before and after `mend`: bad or not, errors of words and sounds, what was tried."""
    begun = time.process_time()
    first, done = _mend(bench, tokens, ORDINARY_BY)
    after = done.after
    heard = [_heard(bench, tokens, speech) for speech in (first.speech, *([after.speech] if done.changed else []))]
    return {
        "bad": [int(is_bad(tokens, first.speech)), int(is_bad(after.tokens, after.speech))],
        "words": [heard[0][0], heard[-1][0]],
        "sounds": [heard[0][1], heard[-1][1]],
        "changed": int(done.changed),
        "cures": [attempt.cure for attempt in done.kept],
        "readings": len(done.attempts),
        "cpu_seconds": time.process_time() - begun,
    }


def _heard(bench: Bench, tokens: Tokens, speech: Speech) -> tuple[float, float]:
    """Word error rate by Whisper, phoneme error rate by hama."""
    words = word_errors(tokens.text, bench.whisper(speech.audio, speech.sample_rate)).rate
    return words, phoneme_errors(tokens.phonemes, bench.hama(speech.audio, speech.sample_rate)).rate


def _as_it_is(bench: Bench, tokens: Tokens, seed: int) -> tuple[Tokens, Speech]:
    return tokens, bench.voice.speak(tokens, seed=seed)


def _in_window(window: tuple[int, int]) -> Row:
    def row(bench: Bench, tokens: Tokens, seed: int) -> tuple[Tokens, Speech]:
        return tokens, bench.voice.with_attention_window(*window).speak(tokens, seed=seed)

    return row


def _other_seeds(bench: Bench, tokens: Tokens, seed: int) -> tuple[Tokens, Speech]:
    said = [bench.voice.speak(tokens, seed=1_000 * seed + i) for i in range(N_SEEDS)]
    return tokens, min(said, key=lambda speech: (is_bad(tokens, speech), attention_errors(tokens, speech)))


def _only(cure: str) -> Row:
    """The best of one cure's ways by attention, the first where none is better than the original; unjudged."""

    def row(bench: Bench, tokens: Tokens, seed: int) -> tuple[Tokens, Speech]:
        case = _case(bench, tokens, seed, listens=False)[1]
        chosen = [one for one in CURES if one.name == cure]
        after = mend_sentence(case, cures=chosen).after
        return after.tokens, after.speech

    return row


def _moved(layer: str, center: str, *, neighbours: int = 0, as_far: bool = False) -> Row:
    def row(bench: Bench, tokens: Tokens, seed: int) -> tuple[Tokens, Speech]:
        given: dict[str, Any] = {"layer": layer, "psi": PSI, "seed": seed}
        reference = bench.embedding if layer in bench.embedding.layers else bench.reference
        done = repair(bench.voice, reference, tokens, center=center, neighbours=neighbours, **given)
        vectors = done.vectors
        if as_far:
            vectors = _as_far(bench, done, repair(bench.voice, reference, tokens, **given))
        return tokens, bench.voice.speak(tokens, {layer: vectors}, seed=seed)

    return row


def _as_far(bench: Bench, done: Repair, local: Repair) -> np.ndarray:
    """The vectors of a repair, each moved no further and no less than local repair moves it."""
    before = bench.voice.encode([done.tokens], [done.layer])[0][done.layer]
    vectors = before.copy()
    for moved, own in zip(done.moved, local.moved, strict=True):
        if moved.distance:
            step = done.vectors[moved.position] - before[moved.position]
            vectors[moved.position] += step * np.float32(own.distance / moved.distance)
    return vectors


def _mended(bench: Bench, tokens: Tokens, seed: int) -> tuple[Tokens, Speech]:
    after = _mend(bench, tokens, seed)[1].after
    return after.tokens, after.speech


def _mend(bench: Bench, tokens: Tokens, seed: int) -> tuple[Reading, Any]:
    first, case = _case(bench, tokens, seed, listens=True)
    return first, mend_sentence(case, judge=bench.whisper, text=tokens.text)


def _case(bench: Bench, tokens: Tokens, seed: int, *, listens: bool) -> tuple[Reading, Case]:
    way = Way(bench.voice, (tokens,), seed)
    judge = bench.whisper if listens else None
    first = read(*way.say(), bench.reference, judge=judge, text=tokens.text)
    settings = replace(SETTINGS, seed=seed)
    flagged: frozenset[int] = frozenset()
    if not first.is_right:
        found = diagnose(bench.voice, bench.reference, [tokens], layers=(), n_nearest=0)
        flagged = frozenset(found[0].flagged.tolist())
    return first, Case(way, first, bench.reference, settings, flagged, listens)


def _asked(name: str, chosen: list[str] | None) -> bool:
    return chosen is None or any(name.startswith(one) for one in chosen)


def _name(weights: Path | None) -> str:
    return f"the shipped reference Tacotron 2, location features x {WEAKENED}" if weights is None else weights.stem


def _write(path: Path, results: dict[str, Any]) -> None:
    # Another run may have measured other rows of the same sentences meanwhile.
    others = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if all(others.get(name) == results[name] for name in ("weights", "asked", "failing")):
        results["rows"] = others["rows"] | results["rows"]
        results |= {name: value for name, value in others.items() if name not in (*results, "begun")}
    with whole_file(path) as temporary:
        Path(temporary).write_text(json.dumps(results, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
