"""Written words matched to groups of sounds."""

import pytest

from genmend.tts.text.word_labels import label_words, word_labels


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


# As espeak-ng reads them, and alone what letters do not spell.
ALONE = [
    ("on the 😀 table", "ɔnðə ɡɹˈɪnɪŋ fˈeɪs tˈeɪbəl", {"😀": "ɡɹˈɪnɪŋ fˈeɪs"}, ["on the", "😀", "😀", "table"]),
    ("I went to Москва in the winter", "aɪ wɛnt tʊ ˈɛm ˈoː ˈɛs kˈææ vˈɛː ˈææ ɪnðə wˈɪntɚ",
     {"Москва": "ˈɛm ˈoː ˈɛs kˈææ vˈɛː ˈææ"}, ["I", "went", "to", *["Москва"] * 6, "in the", "winter"]),
    ("She said 你好 to me", "ʃiː sˈɛd tʃˈaɪniːzlˌɛɾɚ tʃˈaɪniːzlˌɛɾɚ tə mˌiː",
     {"你好": "tʃˈaɪniːzlˌɛɾɚ tʃˈaɪniːzlˌɛɾɚ"}, ["She", "said", "你好", "你好", "to", "me"]),
    ("in the year 21 we met", "ɪnðə jˈɪɹ twˈɛnti wˈʌn wiː mˈɛt", {"21": "twˈɛnti wˈʌn"},
     ["in the", "year", "21", "21", "we", "met"]),
    ("Call 555 1234 now", "kˈɔːl fˈaɪvhˈʌndɹɪd fˈɪfti fˈaɪv wˈʌn θˈaʊzənd tˈuːhˈʌndɹɪd θˈɜːɾi fˈoːɹ nˈaʊ",
     {"555": "fˈaɪvhˈʌndɹɪd fˈɪfti fˈaɪv", "1234": "wˈʌn θˈaʊzənd tˈuːhˈʌndɹɪd θˈɜːɾi fˈoːɹ"},
     ["Call", *["555"] * 3, *["1234"] * 5, "now"]),
    ("C++ and C# are in the list", "sˈiː plˈʌsplˈʌs ænd sˈiː hˈæʃ ɑːɹ ɪnðə lˈɪst",
     {"C++": "sˈiː plˈʌsplˈʌs", "C#": "sˈiː hˈæʃ"}, ["C++", "C++", "and", "C#", "C#", "are", "in the", "list"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sounds", "alone", "labels"), ALONE)
def test_what_letters_do_not_spell_does_not_let_labels_slip(text, sounds, alone, labels):
    known = {word: read.split() for word, read in alone.items()}
    assert label_words(text.split(), sounds.split(), known) == (labels, [True] * len(labels))


def test_labels_that_could_be_others_are_not_sure():
    labels, sure = label_words(["me", "@home", "&", "rest"], ["mˌiː", "æt", "hˈoʊm", "ænd", "ɹˈɛst"])
    assert dict(zip(labels, sure, strict=True))["rest"]
    assert False in sure
    assert label_words(["one", "two"], ["wˈʌn", "tˈuː"])[1] == [True, True]


def test_hundreds_of_words_beside_a_sign_are_labelled():
    words = ["so"] * 300 + ["😀"]
    assert word_labels(words, ["sˈoʊ"] * 300 + ["ɡɹˈɪnɪŋ", "fˈeɪs"]) == [*words, "😀"]


def test_without_words_or_without_a_match_the_sounds_label_themselves():
    assert word_labels([], ["ɪn", "ðə"]) == ["ɪn", "ðə"]
    assert word_labels(["one"] * 20, ["wˈʌn"]) == ["wˈʌn"]
