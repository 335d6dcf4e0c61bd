"""What the judges of speech hear in the embedded Piper voice, and whether they notice one word replaced by another.

    python -m experiments.voices.judge_check

20 sentences of the reference corpus (not those that the phoneme table of genmend.tts.measures.phoneme_errors was made
by), spoken without noise: word error rates of Whisper and pocketsphinx, phoneme error rate of hama, DNSMOS, seconds of
each. Then the same sentences with the sounds of one word replaced by those of another: what tells that word from the
others? Writes results/judge_check/tables.txt and results.json, and the page.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from experiments.pages import write_page
from genmend.tts.measures.edit_counts import EditCounts
from genmend.tts.measures.judges import PhonemeJudge, PocketsphinxJudge, WhisperJudge
from genmend.tts.measures.naturalness import dnsmos
from genmend.tts.measures.phoneme_errors import phoneme_errors, phonemes, sounds_of_words, word_phoneme_errors
from genmend.tts.measures.word_errors import character_errors, word_errors
from genmend.tts.text.corpus import read_sentences
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.piper import PiperVoice
from genmend.tts.voices.voice import Speech

RESULTS = Path(__file__).with_name("results") / "judge_check"
_SEEN = slice(7, None, 20)  # the lines whose confusions the phoneme table was made by
_SHORTEST = 3  # sounds of a word that is replaced
PACKAGES = ("faster-whisper", "ctranslate2", "pocketsphinx", "hama", "speechmos", "jiwer", "onnxruntime")


@dataclass(frozen=True)
class Listened:
    """One sentence as a judge heard it, and the seconds it took: of a clock, and of processors."""

    heard: Any
    seconds: float
    processor_seconds: float


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    voice = PiperVoice.joe()
    sentences = [voice.tokenize(text, phonemes=ipa) for text, ipa in chosen(options.n, options.seed)]
    whisper, pocketsphinx, hama = WhisperJudge(), PocketsphinxJudge(), PhonemeJudge()
    speeches = [voice.speak(tokens) for tokens in sentences]
    heard = {
        "whisper": listen_to(speeches, whisper),
        "pocketsphinx": listen_to(speeches, pocketsphinx),
        "hama": listen_to(speeches, hama),
        "dnsmos": listen_to(speeches, dnsmos),
    }
    found = {
        "versions": {package: version(package) for package in PACKAGES},
        "sentences": {"n": len(sentences), "seed": options.seed, "seconds": sum(speech.seconds for speech in speeches)},
        "plain": summary(sentences, heard),
        "one_word_replaced": replace_words(voice, sentences, whisper, hama, options.seed),
        "heard": [
            {"text": tokens.text, "phonemes": tokens.phonemes, **{name: heard[name][i].heard for name in _WORDS}}
            for i, tokens in enumerate(sentences)
        ],
    }
    lines = table(found)
    print("\n".join(lines))
    (options.out / "tables.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (options.out / "results.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_page("voices/judge_check")


_WORDS = ("whisper", "pocketsphinx", "hama")


def chosen(n: int, seed: int) -> list[tuple[str, str]]:
    """Sentences of 5 to 12 words, each word of the text one word of the phonemes, in an order of this seed."""
    everything = read_sentences()
    seen = set(everything[_SEEN])
    fitting = [
        (text, ipa)
        for text, ipa in everything
        if ipa and (text, ipa) not in seen and 5 <= len(text.split()) == len(ipa.split()) <= 12
    ]
    return [fitting[i] for i in np.random.default_rng(seed).permutation(len(fitting))[:n]]


def listen_to(speeches: Sequence[Speech], judge: Callable[[np.ndarray, int], Any]) -> list[Listened]:
    """What a judge heard in each; the first is heard once before, so that loading is not counted."""
    judge(speeches[0].audio, speeches[0].sample_rate)
    found = []
    for speech in speeches:
        clock, processor = time.perf_counter(), time.process_time()
        heard = judge(speech.audio, speech.sample_rate)
        found.append(Listened(heard, time.perf_counter() - clock, time.process_time() - processor))
    return found


def summary(sentences: Sequence[Tokens], heard: dict[str, list[Listened]]) -> dict[str, Any]:
    """Error rates over all sentences, mean opinion scores, and mean times."""
    found: dict[str, Any] = {}
    for name in ("whisper", "pocketsphinx"):
        texts = [(tokens.text, one.heard) for tokens, one in zip(sentences, heard[name], strict=True)]
        words = [word_errors(*pair) for pair in texts]
        found[name] = {
            "words": sum(words, EditCounts()).to_dict(),
            "characters": sum((character_errors(*pair) for pair in texts), EditCounts()).to_dict(),
            "without_error": sum(count.errors == 0 for count in words),
        }
    sounds = [
        phoneme_errors(" ".join(sounds_of_words(tokens)), one.heard)
        for tokens, one in zip(sentences, heard["hama"], strict=True)
    ]
    found["hama"] = {"phonemes": sum(sounds, EditCounts()).to_dict()}
    scores = [one.heard.to_dict() for one in heard["dnsmos"]]
    found["dnsmos"] = {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}
    for name, listenings in heard.items():
        found[name]["seconds"] = float(np.mean([one.seconds for one in listenings]))
        found[name]["processor_seconds"] = float(np.mean([one.processor_seconds for one in listenings]))
    return found


def replace_words(
    voice: PiperVoice, sentences: Sequence[Tokens], whisper: WhisperJudge, hama: PhonemeJudge, seed: int
) -> dict[str, Any]:
    """AUROC of "this word was replaced", by its phoneme errors and by its probability to Whisper."""
    draw = np.random.default_rng(seed)
    truth, errors, improbable = [], [], []
    for number, tokens in enumerate(sentences):
        words = sounds_of_words(tokens)
        position = int(draw.choice(_long(words)))
        others = [word for word in sounds_of_words(sentences[number - 1]) if len(phonemes(word)) >= _SHORTEST]
        said = [*words[:position], str(draw.choice(others)), *words[position + 1 :]]
        speech = voice.speak(voice.tokenize(phonemes=" ".join(said) + "."))
        truth.append(np.arange(len(words)) == position)
        errors.append(word_phoneme_errors(words, hama(speech.audio, speech.sample_rate)))
        improbable.append(-whisper.listen(speech.audio, speech.sample_rate, tokens.text)[1])
    replaced = np.concatenate(truth)
    return {
        "n_words": len(replaced),
        "n_replaced": int(replaced.sum()),
        "auroc_phoneme_errors": float(roc_auc_score(replaced, np.concatenate(errors))),
        "auroc_whisper_log_probability": float(roc_auc_score(replaced, np.concatenate(improbable))),
        "mean_phoneme_errors_replaced": float(np.concatenate(errors)[replaced].mean()),
        "mean_phoneme_errors_others": float(np.concatenate(errors)[~replaced].mean()),
    }


def table(found: dict[str, Any]) -> list[str]:
    """The figures as lines."""
    plain, replaced, sentences = found["plain"], found["one_word_replaced"], found["sentences"]
    lines = [
        f"{sentences['n']} sentences of the reference corpus (seed {sentences['seed']}), {sentences['seconds']:.0f} s "
        f"of speech by the voice joe without noise",
        ", ".join(f"{package} {number}" for package, number in found["versions"].items()),
        "",
        f"{'judge':13} {'rate':>7} {'S':>3} {'D':>3} {'I':>3} {'of':>4}  {'seconds a sentence (processor)':>30}",
    ]
    for name, unit in (("whisper", "words"), ("pocketsphinx", "words"), ("hama", "phonemes")):
        counts, times = plain[name][unit], plain[name]
        lines.append(
            f"{name:13} {counts['rate']:7.1%} {counts['substitutions']:3} {counts['deletions']:3} "
            f"{counts['insertions']:3} {counts['length']:4} {unit:8} {times['seconds']:.2f} "
            f"({times['processor_seconds']:.2f})"
        )
    for name in ("whisper", "pocketsphinx"):
        lines.append(
            f"{name}: character error rate {plain[name]['characters']['rate']:.1%}, "
            f"{plain[name]['without_error']} sentences without error"
        )
    scores = plain["dnsmos"]
    lines += [
        f"dnsmos: overall {scores['overall']:.2f}, signal {scores['signal']:.2f}, "
        f"background {scores['background']:.2f}, P.808 {scores['p808']:.2f}; "
        f"{scores['seconds']:.2f} ({scores['processor_seconds']:.2f}) seconds a sentence",
        "",
        f"One word a sentence replaced: AUROC of which of {replaced['n_words']} words it was",
        f"by phoneme errors of the word (hama): {replaced['auroc_phoneme_errors']:.3f} "
        f"(mean {replaced['mean_phoneme_errors_replaced']:.2f}, of the others "
        f"{replaced['mean_phoneme_errors_others']:.2f})",
        f"by the word's probability to Whisper: {replaced['auroc_whisper_log_probability']:.3f}",
    ]
    return lines


def _long(words: Sequence[str]) -> list[int]:
    return [i for i, word in enumerate(words) if len(phonemes(word)) >= _SHORTEST]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20, help="sentences")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
