"""What the Tacotron 2 voices of this project learn from: sentences spoken by the embedded Piper voice, pairs withheld.

    python -m experiments.voices.training_speech [--sentences short|long]

Short ones are for the reference voice, longer ones for the voice that fails. Writes shards of mel spectrograms, tokens
and frames a token into the user's cache; interrupted, it goes on with the next shard. No training sentence holds one of
`WITHHELD`: neighbouring phonemes that the models therefore never met.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchaudio
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from experiments.voices.training_sentences import examples, shuffle
from genmend.storage.weights import cache_folder
from genmend.tts.text.phonemes import espeak_phonemes
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.mel import LogMel
from genmend.tts.voices.piper import PiperVoice, ipa_of_clauses

N_SHARD = 250
# Pairs of the middle of the frequency list, of all kinds of sound; stress and length marks between two do not count.
WITHHELD = ("sw", "ɡɹ", "ʃɪ", "vɪ", "θɹ", "bʌ", "ɑɡ", "kj", "ɔɪ", "æm", "pl", "fl")


@dataclass(frozen=True)
class Sentences:
    """Which examples of WordNet are spoken: how long they may be, in what order, and how many are learnt from."""

    folder: str
    n_words: tuple[int, int]
    n_characters: int
    seconds: float  # longer ones are left out: most of a batch would be padding
    seed: int = 0
    n_learnt: int = 4_000


SHORT = Sentences("reference_tacotron", (3, 6), 36, 2.6)
LONG = Sentences("failing_tacotron", (3, 12), 62, 5.0, seed=1)


@dataclass(frozen=True)
class Utterance:
    """Token ids (n,), frames of each token (n,), in frames of the mel; log mel (bins, frames)."""

    ids: np.ndarray
    frames: np.ndarray
    mel: np.ndarray


def folder(of: Sentences = SHORT) -> Path:
    """Where the shards are kept."""
    return cache_folder() / of.folder


def withheld_pairs(ipa: str) -> set[str]:
    """Which of `WITHHELD` a sentence's phonemes hold inside a word."""
    bare = ipa.translate(str.maketrans("", "", "ˈˌː"))
    return {pair for pair in WITHHELD if pair in bare}


def sentences(of: Sentences = SHORT) -> dict[str, str]:
    """At most 10,000 examples with their phonemes, in the order of the seed; the first that are allowed are learnt."""
    kept = folder(of) / "sentences.tsv"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        texts = [text for text in examples(*of.n_words) if len(text) <= of.n_characters]
        texts = shuffle(texts, of.seed)[:10_000]
        pairs = zip(texts, map(ipa_of_clauses, espeak_phonemes(texts)), strict=True)
        kept.write_text("".join(f"{text}\t{ipa}\n" for text, ipa in pairs), encoding="utf-8")
    lines = kept.read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t") for line in lines)


def training_sentences(of: Sentences = SHORT) -> list[tuple[str, str]]:
    """Those that are learnt: without withheld pairs, and none of the short ones that the tests are made of."""
    allowed = [(text, ipa) for text, ipa in sentences(of).items() if not withheld_pairs(ipa)]
    if of != SHORT:
        kept_apart, known = dict(unseen_sentences()), set(symbol_table())
        allowed = [(text, ipa) for text, ipa in allowed if text not in kept_apart and set(ipa) <= known]
    return allowed[: of.n_learnt]


def unseen_sentences() -> list[tuple[str, str]]:
    """Short sentences that no voice learnt, ordinary ones and those with withheld pairs."""
    learnt = dict(training_sentences())
    return [(text, ipa) for text, ipa in sentences().items() if text not in learnt]


def without_blanks(tokens: Tokens, frames: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Piper's frames and symbols with each blank given to the symbol before it."""
    starts = [i for i, kind in enumerate(tokens.kinds) if kind != "blank"]
    return np.add.reduceat(frames, starts), [tokens.symbols[i] for i in starts]


def shards(of: Sentences = SHORT) -> list[Path]:
    return sorted(folder(of).glob("shard-*.safetensors"))


def utterances(paths: list[Path]) -> Iterator[Utterance]:
    for path in paths:
        arrays = load_file(path)
        tokens, frames = np.cumsum(arrays["n_tokens"])[:-1], np.cumsum(arrays["n_frames"])[:-1]
        parts = (np.split(arrays[name], tokens) for name in ("ids", "frames"))
        mels = np.split(arrays["mel"].astype(np.float32), frames, axis=1)
        yield from (Utterance(*parts) for parts in zip(*parts, mels, strict=True))


def symbol_table() -> list[str]:
    """Symbols of the models: those of the short training sentences, begin and end, in a fixed order."""
    used = set("".join(ipa for _, ipa in training_sentences()))
    return ["^", "$", *sorted(used)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", choices=("short", "long"), default="short")
    of = {"short": SHORT, "long": LONG}[parser.parse_args().sentences]
    torch.set_num_threads(1)
    voice, pairs = PiperVoice.joe(), training_sentences(of)
    numbers = {symbol: i for i, symbol in enumerate(symbol_table())}
    mel = LogMel()
    resample = torchaudio.transforms.Resample(voice.sample_rate, mel.sample_rate)
    for start in tqdm(range(0, len(pairs), N_SHARD), desc="shards"):
        path = folder(of) / f"shard-{start // N_SHARD:03d}.safetensors"
        if path.is_file():
            continue
        texts, ipas = zip(*pairs[start : start + N_SHARD], strict=True)
        kept = []
        for tokens in voice.tokenize_all(texts, ipas):
            speech = voice.speak(tokens)
            if speech.seconds <= of.seconds:
                spectrogram = mel(resample(torch.from_numpy(speech.audio))).numpy()
                seconds, symbols = without_blanks(tokens, speech.frames * (speech.hop / speech.sample_rate))
                edges = np.round(np.cumsum(seconds) * mel.sample_rate / mel.hop).astype(np.int32)
                kept.append((np.array([numbers[s] for s in symbols], np.int32), np.diff(edges, prepend=0), spectrogram))
        ids, frames, mels = zip(*kept, strict=True)
        arrays = {
            "ids": np.concatenate(ids),
            "frames": np.concatenate(frames).astype(np.int32),
            # In C order: safetensors writes the memory as it lies.
            "mel": np.ascontiguousarray(np.concatenate(mels, axis=1), dtype=np.float16),
            "n_tokens": np.array([len(i) for i in ids]),
            "n_frames": np.array([m.shape[1] for m in mels]),
        }
        partial = path.with_suffix(".partial")
        save_file(arrays, partial)
        partial.replace(path)


if __name__ == "__main__":
    main()
