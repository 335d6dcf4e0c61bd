"""The cures on the shipped reference Tacotron 2, its location features weakened so that its attention fails."""

import numpy as np
import pytest
import torch

from genmend.tts import fit_reference, mend
from genmend.tts.mending.settings import SpeakSettings
from genmend.tts.text.corpus import read_sentences, tokenize_corpus
from genmend.tts.voices.tacotron import TacotronVoice

pytestmark = pytest.mark.all
FAILING = (
    ("Voices broke in the air.", "vˈɔɪsᵻz bɹˈoʊk ɪnðɪ ˈɛɹ."),
    ("Replay a point.", "ɹˈiːpleɪ ɐ pˈɔɪnt."),
    ("She prepared a three course meal.", "ʃiː pɹɪpˈɛɹd ɐ θɹˈiː kˈoːɹs mˈiːl."),
)
ORDINARY = (
    ("A rightful inheritance.", "ɐ ɹˈaɪtfəl ɪnhˈɛɹɪtəns."),
    ("A legato passage.", "ɐ lɛɡˈɑːɾoʊ pˈæsɪdʒ."),
)


@pytest.fixture(scope="module")
def weakened():
    voice = TacotronVoice.reference()
    with torch.no_grad():
        voice.model.decoder.attention_layer.location_layer.location_dense.weight.mul_(0.45)
    text = read_sentences(voice.transcripts)[:100]
    return voice, fit_reference(voice, tokenize_corpus(voice, text), k=5)


@pytest.mark.parametrize(("text", "ipa"), FAILING)
def test_sentences_that_its_attention_fails_on_are_mended(weakened, text, ipa):
    voice, reference = weakened
    settings = SpeakSettings(mend=True, phonemes=ipa, judge="none")
    (sentence,) = mend(voice, text, reference=reference, settings=settings)
    assert sentence.faults
    assert sentence.mending.changed
    assert sentence.mending.after.n_misread == 0
    assert [attempt.cure for attempt in sentence.mending.kept] == ["attention window"]
    assert sentence.final is sentence.mending.after.speech


@pytest.mark.parametrize(("text", "ipa"), ORDINARY)
def test_sentences_that_it_reads_are_left_as_they_are(weakened, text, ipa):
    voice, reference = weakened
    settings = SpeakSettings(mend=True, phonemes=ipa, judge="none", seed=1)
    (sentence,) = mend(voice, text, reference=reference, settings=settings)
    assert sentence.mending.attempts == ()
    np.testing.assert_array_equal(sentence.final.audio, sentence.speech.audio)
