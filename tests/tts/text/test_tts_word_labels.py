"""Written words matched to groups of sounds."""

import pytest

from genmend.tts.text.word_labels import word_labels


@pytest.mark.parametrize(
    ("text", "sounds", "labels"),
    [
        ("He went home", "hiː wˈɛnt hˈoʊm", ["He", "went", "home"]),
        ("The children played in the garden", "ðə tʃˈɪldɹən plˈeɪd ɪnðə ɡˈɑːɹdən",
         ["The", "children", "played", "in the", "garden"]),
        ("It has been a while", "ɪɾ hɐzbˌɪn ɐ wˈaɪl", ["It", "has been", "a", "while"]),
        ("in 1984 we left", "ɪn nˈaɪntiːnhˈʌndɹɪd ˈeɪɾi fˈoːɹ wiː lˈɛft", ["in", "1984", "1984", "1984", "we", "left"]),
        ("Put it on the table of the house", "pˌʊt ɪɾ ɔnðə tˈeɪbəl ʌvðə hˈaʊs",
         ["Put", "it", "on the", "table", "of the", "house"]),
        ("I love it 😀 so much", "aɪ lˈʌv ɪt ɡɹˈɪnɪŋ fˈeɪs sˈoʊ mˌʌtʃ", ["I", "love", "it", "😀", "😀", "so", "much"]),
        ("Salt & pepper on it", "sˈɔlt ænd pˈɛpɚ ˈɔnɪt", ["Salt", "&", "pepper", "on it"]),
    ],
)  # fmt: skip
def test_words_are_found_by_their_consonants(text, sounds, labels):
    assert word_labels(text.split(), sounds.split()) == labels


def test_without_words_or_without_a_match_the_sounds_label_themselves():
    assert word_labels([], ["ɪn", "ðə"]) == ["ɪn", "ðə"]
    assert word_labels(["one"] * 20, ["wˈʌn"]) == ["wˈʌn"]
