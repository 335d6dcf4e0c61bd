"""Random sentences for the toy voice, and a reference made of them."""

from functools import cache

import numpy as np
from voice_toys import shared_voice

from genmend.tts.mending.reference import fit_reference

SOUNDS = "abdeimnostuɐɔə"


def random_sentences(n, seed=0, symbols=SOUNDS):
    """Sentences of 3 to 6 words of random sounds, as tokens of the toy voice."""
    rng = np.random.default_rng(seed)
    sounds = [s for s in symbols if s in SOUNDS]

    def word():
        return "ˈ" + "".join(rng.choice(sounds, rng.integers(2, 6)))

    voice = shared_voice()
    return [voice.tokenize(phonemes=" ".join(word() for _ in range(rng.integers(3, 7)))) for _ in range(n)]


@cache
def toy_reference(symbols=SOUNDS):
    """The voice, its reference with k = 3, and the sentences."""
    voice, sentences = shared_voice(), random_sentences(80, symbols=symbols)
    return voice, fit_reference(voice, sentences, k=3), sentences
