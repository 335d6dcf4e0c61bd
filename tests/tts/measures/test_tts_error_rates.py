"""Word, character and phoneme errors: against counts made by hand, and against jiwer's."""

import random

import numpy as np
import pytest

from genmend.tts.measures.edit_counts import EditCounts, align, edit_counts
from genmend.tts.measures.phoneme_errors import phoneme_errors, phonemes, sounds_of_words, word_phoneme_errors
from genmend.tts.measures.word_errors import character_errors, word_errors
from genmend.tts.text.languages import language_code
from genmend.tts.text.spoken_words import number_words, spoken_words
from genmend.tts.text.tokens import Tokens

jiwer = pytest.importorskip("jiwer")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        ("Hello, World!", "hello world"),
        ("well-known “quotes” — dashes…", "well known quotes dashes"),
        ("Don’t say 'no'.", "don't say no"),
        ("20 9 12", "twenty nine twelve"),
        ("1,234,567 and 1,2", "one million two hundred thirty four thousand five hundred sixty seven and one two"),
        ("3.5% of 007", "three point five percent of zero zero seven"),
        ("1234567890", "one two three four five six seven eight nine zero"),
        (
            "1st 2nd 3rd 5th 12th 20th 21st 100th",
            "first second third fifth twelfth twentieth twenty first one hundredth",
        ),
        ("$5, £1 and €2.50", "five dollars one pound and two point five zero euros"),
        ("Dr. Café & Mr. Grey", "doctor cafe and mister gray"),
        ("neighbours' colours, four hours, realised", "neighbors colors four hours realized"),
        ("4x4", "four x four"),
    ],
)
def test_text_becomes_spoken_words(text, words):
    assert " ".join(spoken_words(text)) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (99, "ninety nine"),
        (100, "one hundred"),
        (1_001, "one thousand one"),
        (20_300, "twenty thousand three hundred"),
        (1_000_000, "one million"),
        (999_999_999, "nine hundred ninety nine million nine hundred ninety nine thousand nine hundred ninety nine"),
    ],
)
def test_numbers_have_words(number, words):
    assert number_words(number) == words


@pytest.mark.parametrize("number", [-1, 1_000_000_000])
def test_numbers_outside_the_range_are_refused(number):
    with pytest.raises(ValueError, match="from 0 to 999,999,999"):
        number_words(number)


def test_no_two_numbers_share_their_words():
    assert len({number_words(number) for number in range(20_000)}) == 20_000


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("Die Straße, „L’été“ kostet 3,50.", "de", "die strasse l'été kostet 3 50"),
        ("यह ठीक है।", "hi", "यह ठीक है"),
        ("今日は3キロ。", "ja", "今 日 は 3 き ろ"),
        ("ที่นี่", "th", "ที่ นี่"),
        ("Он пришёл!", "ru", "он пришёл"),
    ],
)
def test_words_of_other_languages_keep_their_letters(text, language, words):
    assert " ".join(spoken_words(text, language)) == words


def test_errors_of_other_languages_are_counted_in_their_words():
    pytest.importorskip("jiwer")
    assert word_errors("Die Straße.", "die Strasse", "de").errors == 0
    assert word_errors("你好吗？", "你好", "zh") == EditCounts(deletions=1, length=3)


@pytest.mark.parametrize(
    ("name", "code"),
    [("en-gb-x-rp", "en"), ("eng", "en"), ("enx", "enx"), ("de_DE", "de"), ("deu", "de"), ("cmn", "zh"), ("vie", "vi"),
     ("nb", "no"), ("es-419", "es"), (None, "en")],
)  # fmt: skip
def test_a_language_has_one_code(name, code):
    assert language_code(name) == code


def test_word_errors_are_split():
    found = word_errors("The 20 quick brown red foxes jumped.", "the twenty thick red foxes jumped over it")
    # quick or brown -> thick, the other deleted, over and it inserted
    assert found == EditCounts(substitutions=1, deletions=1, insertions=2, length=7)
    assert found.rate == 4 / 7


def test_punctuation_capitals_and_digits_are_no_errors():
    assert word_errors("Twenty-one, please!", "21 please").errors == 0
    assert character_errors("Twenty-one, please!", "21 please").errors == 0


def test_nothing_heard_is_all_deleted():
    assert word_errors("one two three", "") == EditCounts(deletions=3, length=3)
    assert character_errors("ab c", "") == EditCounts(deletions=4, length=4)


def test_character_errors_count_characters():
    assert character_errors("a cat", "a cart") == EditCounts(insertions=1, length=5)


def test_a_reference_without_words_is_refused():
    with pytest.raises(ValueError, match="no words"):
        word_errors("...", "hello")
    with pytest.raises(ValueError, match="no sounds"):
        phoneme_errors("ˈ .", "a")


def test_counts_add_up_over_sentences():
    total = sum([EditCounts(1, 2, 3, 10), EditCounts(0, 1, 0, 10)], EditCounts())
    assert total == EditCounts(1, 3, 3, 20)
    assert total.to_dict() == {"substitutions": 1, "deletions": 3, "insertions": 3, "length": 20, "rate": 7 / 20}
    assert EditCounts().to_dict()["rate"] is None


def test_our_edit_distance_agrees_with_jiwer():
    draw = random.Random(0)
    for _ in range(300):
        reference = [draw.choice("abcd") for _ in range(draw.randint(1, 12))]
        heard = [draw.choice("abcd") for _ in range(draw.randint(0, 12))]
        ours, theirs = edit_counts(reference, heard), jiwer.process_words(" ".join(reference), " ".join(heard))
        # Where several ways are shortest, the kinds may differ, the number of errors may not.
        assert ours.errors == theirs.substitutions + theirs.deletions + theirs.insertions
        assert ours.rate == pytest.approx(theirs.wer)
        assert ours.insertions - ours.deletions == theirs.insertions - theirs.deletions == len(heard) - len(reference)
        assert ours.length == theirs.hits + theirs.substitutions + theirs.deletions


@pytest.mark.parametrize(
    ("reference", "heard"), [("axcd", "abcd"), ("abcd", "abd"), ("abd", "abcd"), ("abc", ""), ("kitten", "sitting")]
)
def test_our_counts_are_jiwer_s_where_one_way_is_shortest(reference, heard):
    ours, theirs = edit_counts(reference, heard), jiwer.process_characters(reference, heard)
    assert (ours.substitutions, ours.deletions, ours.insertions) == (
        theirs.substitutions,
        theirs.deletions,
        theirs.insertions,
    )


def test_an_alignment_pairs_every_position_once_and_in_order():
    pairs = align("abcde", "xbcfe")
    assert pairs == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]
    pairs = align("abcde", "bcdef")
    assert pairs == [(0, None), (1, 0), (2, 1), (3, 2), (4, 3), (None, 4)]


@pytest.mark.parametrize(
    ("espeak", "hama"),
    [
        ("ɐ mˌæɡɐzˈiːn", "ə mægəzin"),
        ("dʒˈʌmp tʃˈɛɹɪz", "d͡ʒəmp t͡ʃɛɹɪz"),
        ("hˈoːɹs bˈɜːd bˈɛɾɚ", "hɔɹs bɝd bɛtəɹ"),
        ("ɡˈoʊ dˈeɪ tˈaɪm bˈɔɪ hˈaʊs", "goʊ de taɪm bɔɪ haʊs"),
        ("bˈʌʔn̩ kˈɔːt ɹˈoʊzᵻz", "bətn kɑt ɹoʊzɪz"),
    ],
)
def test_both_tables_write_the_same_sounds_alike(espeak, hama):
    assert phonemes(espeak) == phonemes(hama) != []


def test_different_sounds_stay_different():
    sounds = [*"pbtdkɡfvθðszʃʒhmnŋlɹwjiɪɛæɑəʊu", "aɪ", "aʊ", "ɔɪ", "oʊ", "eɪ", "tʃ", "dʒ"]
    assert len({tuple(phonemes(sound)) for sound in sounds}) == len(sounds)


def test_phoneme_errors_are_counted_over_sounds():
    assert phoneme_errors("tʃˈɛɹi", "ʃɛɹi") == EditCounts(substitutions=1, length=4)
    assert phoneme_errors("kˈæt", "") == EditCounts(deletions=3, length=3)
    assert phoneme_errors("kˈæt", "k æ t k æ t").rate == 1


def test_the_misread_word_has_the_errors():
    words = ["ðə", "kˈæt", "sˈæt"]
    np.testing.assert_allclose(word_phoneme_errors(words, "ðə kæt sæt"), [0, 0, 0])
    np.testing.assert_allclose(word_phoneme_errors(words, "ðə kɪp sæt"), [0, 2 / 3, 0])
    np.testing.assert_allclose(word_phoneme_errors(words, "ðə sæt"), [0, 1, 0])
    np.testing.assert_allclose(word_phoneme_errors(words, "ðə kæts sæt"), [0, 1 / 3, 0])
    np.testing.assert_allclose(word_phoneme_errors(words, "uðə kæt sæt"), [1 / 2, 0, 0])
    np.testing.assert_allclose(word_phoneme_errors(words, ""), [1, 1, 1])


def test_errors_of_the_words_add_up_to_those_of_the_sentence():
    words, heard = ["ðə", "kˈæt", "sˈæt", "ˈɑːn"], "də kæd mæt ɑnən"
    lengths = np.array([len(phonemes(word)) for word in words])
    assert word_phoneme_errors(words, heard) @ lengths == phoneme_errors(" ".join(words), heard).errors == 5


def test_a_word_without_sounds_has_no_error_rate():
    found = word_phoneme_errors(["kˈæt", "ˈ"], "kæt")
    assert found[0] == 0
    assert np.isnan(found[1])


def test_sounds_of_words_come_from_the_tokens():
    tokens = Tokens(
        text="a cat",
        ids=(1, 0, 5, 0, 3, 0, 6, 7, 2),
        symbols=("^", "_", "ɐ", "_", " ", "_", "k", "æ", "$"),
        kinds=("special", "blank", "phoneme", "blank", "punctuation", "blank", "phoneme", "phoneme", "special"),
        word_of=(-1, -1, 0, -1, -1, -1, 1, 1, -1),
        words=("a", "cat"),
    )
    assert sounds_of_words(tokens) == ["ɐ", "kæ"]
