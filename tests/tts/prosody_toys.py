"""A voice that hums: what its last layer holds is how long, how high and how loud each token is."""

import numpy as np

from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech, Voice

RATE, HOP = 16_000, 160
DURATION, PITCH, ENERGY = range(3)


def hummed_tokens(words=("hum", "drum"), *, blanks=True):
    """Letters as phonemes, words apart by a space, each symbol with a blank after it."""
    rows = [("^", "special", -1)]
    for number, word in enumerate(words):
        spelled = [(letter, "phoneme", number) for letter in word] + [(" ", "punctuation", -1)]
        rows += [row for symbol in spelled for row in ([symbol, ("_", "blank", -1)] if blanks else [symbol])]
    rows.append(("$", "special", -1))
    symbols, kinds, word_of = zip(*rows, strict=True)
    return Tokens(" ".join(words), tuple(map(ord, symbols)), symbols, kinds, word_of, tuple(words))


class Hum(Voice):
    """Eight harmonics whose pitch, loudness and length are linear in the vectors; five coordinates do nothing."""

    name, sample_rate, layers = "hum", RATE, ("first", "last")
    length, speaker = 1.0, 0

    def tokenize(self, text="", *, phonemes=None):
        return hummed_tokens(text.split())

    def encode(self, batch, layers=None):
        return [{layer: self._vectors(tokens) for layer in self.check_layers(layers)} for tokens in batch]

    def _vectors(self, tokens):
        generator = np.random.default_rng(len(tokens))
        vectors = generator.normal(size=(len(tokens), 8)).astype(np.float32)
        vectors[:, DURATION] = np.log(8)
        vectors[:, PITCH] = np.log(120)
        vectors[:, ENERGY] = 0
        return vectors

    def speak(self, tokens, vectors=None, *, seed=0):
        given = (vectors or {}).get("last", self._vectors(tokens))
        frames = np.ceil(np.exp(given[:, DURATION].astype(np.float64)) - 1e-4).astype(np.int64)
        samples = frames * HOP
        pitch, level = (np.repeat(given[:, i].astype(np.float64), samples) for i in (PITCH, ENERGY))
        phase = 2 * np.pi * np.cumsum(np.exp(pitch)) / RATE
        sound = sum(np.sin(k * phase) / k for k in range(1, 9))
        # A rest where the sentence begins and ends, as in speech.
        loud = np.repeat(np.array([kind != "special" for kind in tokens.kinds], dtype=float), samples)
        audio = 0.05 * sound * loud * 10 ** (level / 20)
        return Speech(audio.astype(np.float32), RATE, HOP, frames=frames)
