"""Text and phonemes to tokens: layout, kinds, words, and what is dropped."""

import sys
from types import SimpleNamespace

import pytest

from genmend.tts.text.arpabet import ArpabetReader
from genmend.tts.text.characters import CharacterReader, _uroman
from genmend.tts.text.ipa import IpaReader
from genmend.tts.text.lexicon import read_lexicon
from genmend.tts.text.symbol_table import Spoken, SymbolTable

LETTERS = {symbol: (i,) for i, symbol in enumerate(" .abcdeé")}
ARPABET = {symbol: (i,) for i, symbol in enumerate([" ", ",", "AH0", "D", "HH", "L", "OW1", "END"])}


def test_a_table_lays_out_blanks_between_and_outside():
    spoken, numbers = [Spoken("a", "character", 0), Spoken("b", "character", 0)], {**LETTERS, "^": (90,), "$": (91,)}
    laid = {
        "plain": SymbolTable("v", numbers),
        "piper": SymbolTable("v", numbers, "^", "$", blank=(99,)),
        "mms": SymbolTable("v", numbers, blank=(99,), blank_outside=True),
    }
    ids = {name: table.tokens("ab", spoken, ["ab"]).ids for name, table in laid.items()}
    assert ids == {"plain": (2, 3), "piper": (90, 99, 2, 99, 3, 99, 91), "mms": (99, 2, 99, 3, 99)}
    tokens = laid["piper"].tokens("ab", spoken, ["ab"])
    assert tokens.kinds == ("special", "blank", "character", "blank", "character", "blank", "special")
    assert tokens.word_of == (-1, -1, 0, -1, 0, -1, -1)
    assert tokens.symbols == ("^", "_", "a", "_", "b", "_", "$")


def test_a_symbol_of_two_numbers_is_two_tokens():
    tokens = SymbolTable("v", {"a": (4, 5)}, blank=(0,)).tokens("aa", [Spoken("a", "phoneme", 0)] * 2, ["aa"])
    assert tokens.ids == (4, 5, 0, 4, 5)


def test_characters_know_their_words_and_what_was_dropped():
    tokens = CharacterReader(SymbolTable("v", LETTERS))(["Bad  café!"])[0]
    assert tokens.phonemes == "bad caé"
    assert tokens.words == ("Bad", "café")
    assert tokens.word_of == (0, 0, 0, -1, 1, 1, 1)
    assert [(one.symbol, one.word) for one in tokens.dropped] == [("f", 1), ("!", 1)]


def test_capitals_stay_where_the_table_has_them_and_symbols_are_replaced():
    table = SymbolTable("v", {"A": (0,), "a": (1,), "▁": (2,), "b": (3,)})
    assert CharacterReader(table, replaced={" ": "▁"})(["Aa b"])[0].ids == (0, 1, 2, 3)
    assert [one.symbol for one in CharacterReader(table, lower=False)(["aB"])[0].dropped] == ["B"]


def test_vowel_signs_are_letters():
    tokens = CharacterReader(SymbolTable("v", {"क": (0,), "ि": (1,), ".": (2,)}))(["कि."])[0]
    assert tokens.kinds == ("character", "character", "punctuation")


def test_characters_take_no_phonemes_and_need_a_known_letter():
    reader = CharacterReader(SymbolTable("letters", LETTERS))
    with pytest.raises(ValueError, match="letters reads characters and takes no phonemes"):
        reader(["a"], ["a"])
    with pytest.raises(ValueError, match="knows no sound of 'xyz"):
        reader(["xyz."])


def test_romanised_text_needs_uroman_or_latin_letters(monkeypatch):
    reader = CharacterReader(SymbolTable("v", LETTERS), romanize=True)
    assert reader(["ab"])[0].phonemes == "ab"
    monkeypatch.setitem(sys.modules, "uroman", None)
    with pytest.raises(ModuleNotFoundError, match="pip install uroman"):
        reader(["вот"])
    made = []
    uroman = SimpleNamespace(Uroman=lambda: made.append(1) or SimpleNamespace(romanize_string=lambda text: "bad"))
    monkeypatch.setitem(sys.modules, "uroman", uroman)
    _uroman.cache_clear()
    assert [tokens.phonemes for tokens in reader(["вот", "вот"])] == ["bad", "bad"]
    assert made == [1]  # its tables are read once
    _uroman.cache_clear()


def test_arpabet_is_given_by_spaces_and_bars():
    tokens = ArpabetReader(SymbolTable("v", ARPABET, end="END"))(["Hello, old"], ["HH AH0 L OW1 , | OW1 L D ZH"])[0]
    assert tokens.symbols == ("HH", "AH0", "L", "OW1", ",", " ", "OW1", "L", "D", "END")
    assert tokens.words == ("Hello", "old")
    assert tokens.word_of == (0, 0, 0, 0, -1, -1, 1, 1, 1, -1)
    assert [(one.symbol, one.word) for one in tokens.dropped] == [("ZH", 1)]


def test_arpabet_of_text_comes_from_a_callable_or_is_asked_for():
    table = SymbolTable("v", ARPABET)
    tokens = ArpabetReader(table, to_symbols=lambda text: ["L", "OW1", " ", ",", " ", "D"], space=False)(["low, d"])[0]
    assert tokens.symbols == ("L", "OW1", ",", "D")
    assert tokens.words == ("low", "d")
    with pytest.raises(ModuleNotFoundError, match="pip install it, or give phonemes="):
        ArpabetReader(table, missing="pip install it, or ")(["low"])


def test_ipa_is_split_into_code_points():
    numbers = {symbol: (i,) for i, symbol in enumerate("^$ ,aeˈː\u0329n")}
    tokens = IpaReader(SymbolTable("v", numbers, "^", "$"))(["An era, no"], ["ˈan̩ eːxa, na"])[0]
    assert tokens.phonemes == "ˈan\u0329 eːa, na"
    assert tokens.words == ("An", "era", "no")
    assert tokens.kinds[1:5] == ("mark", "phoneme", "phoneme", "mark")
    assert [(one.symbol, one.word) for one in tokens.dropped] == [("x", 1)]


def ipa_reader(symbols, **options):
    return IpaReader(SymbolTable("v", {symbol: (i,) for i, symbol in enumerate(symbols)}), **options)


def test_characters_are_read_by_the_longest_symbol_replaced_and_decomposed():
    numbers = {symbol: (i,) for i, symbol in enumerate(["c", "h", "ch", "e", "\u0301", "x", "<pad>"])}
    reader = CharacterReader(SymbolTable("v", numbers), replaced={"qu": ["c", "x"]})
    tokens = reader(["Chéqu"])[0]
    assert tokens.symbols == ("ch", "e", "\u0301", "c", "x")
    assert set(tokens.kinds) == {"character"}
    assert [one.symbol for one in reader(["xç"])[0].dropped] == ["ç"]


def test_phonemes_stand_within_a_text(monkeypatch):
    asked = []

    def espeak(texts, language):
        asked.extend(texts)
        found = [text.strip(" .,") for text in texts]
        return [
            [(words, words.upper(), "." * text.endswith("."))] if words else []
            for words, text in zip(found, texts, strict=True)
        ]

    monkeypatch.setattr("genmend.tts.text.ipa.espeak_phonemes", espeak)
    tokens = ipa_reader("CALNOWɡaɪs .,")(["call [[ ɡaɪs ]], now."])[0]
    assert tokens.phonemes == "CALL ɡaɪs, NOW."
    assert tokens.words == ("call", "ɡaɪs", "now")
    assert asked == ["call ", ", now."]


def test_words_of_the_lexicon_are_read_by_their_phonemes(monkeypatch):
    def espeak(texts, language):
        return [[(text.strip(" .,"), "aʊ", "." * text.endswith("."))] if text.strip(" .,") else [] for text in texts]

    monkeypatch.setattr("genmend.tts.text.ipa.espeak_phonemes", espeak)
    lexicon = {"tbilisi": "təbɪlisi", "new york": "njuː jɔːk"}
    reader = ipa_reader("aʊtəbɪlisnjuːɔk .,", lexicon=lexicon)
    tokens = reader(["Fly to TBILISI, or New  York."])[0]
    assert tokens.phonemes == "aʊ təbɪlisi, aʊ njuː jɔːk."
    assert tokens.words == ("Fly to", "TBILISI", "or", "New", "York")
    assert reader(["Tbilisian"])[0].phonemes == "aʊ"  # a word that only begins so
    assert reader(["x"], ["aʊ"])[0].phonemes == "aʊ"  # phonemes stand above the lexicon


def test_a_lexicon_is_a_file_of_two_columns(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text("# names\n\nTbilisi\ttəbɪlisi\nNew York\tnjuː jɔːk\n", encoding="utf-8")
    assert read_lexicon(path) == {"tbilisi": "təbɪlisi", "new york": "njuː jɔːk"}
    for text, words in (
        ("Tbilisi\n", "Line 1 of .* give a word, a tab and its phonemes"),
        ("a\tb\nA\tc\n", "Line 2 of .* has 'A' again with other phonemes"),
        ("# nothing\n", "holds no word"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=words):
            read_lexicon(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        read_lexicon(path)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("kɑ:ɹ kæt", "kɑːɹ kæt"),
        ("ka: kat", "ka: kat"),  # a pause
        ("ʨa ʥa t͜ʃa", "tɕa dʑa tʃa"),
        ("k´at k′at k’at", "kˈat kˈat kˈat"),
        ("sεt kɩt ǝt әt", "sɛt kɪt ət ət"),
    ],
)
def test_letters_that_look_alike_are_read_as_those_of_the_table(given, read):
    tokens = ipa_reader("kɑːɹætaɕdʑʃsɛɪəˈ :")([""], [given])[0]
    assert (tokens.phonemes, tokens.dropped) == (read, ())


def test_symbols_written_otherwise_are_read_as_their_like():
    reader = ipa_reader("dʒæmɡˈst ")
    assert reader([""], ["ʤ'æm gæm t͡sæ"])[0].phonemes == "dʒˈæm ɡæm tsæ"
    assert reader([""], ["dʒæm"])[0].dropped == ()
    lost = ipa_reader("æm")([""], ["ʤæm"])[0].dropped  # neither of the two is in the table
    assert [one.symbol for one in lost] == ["ʤ"]


def test_the_longest_symbol_is_read_and_replaced_ones_are_obeyed():
    reader = ipa_reader(["a", "ɪ", "aɪ", "k"], replaced={"ɡ": ("k",)})
    assert reader([""], ["ɡaɪa"])[0].symbols == ("k", "aɪ", "a")


def test_a_text_that_is_phonemes_is_read_as_it_is():
    assert ipa_reader("aˈk .", as_written=True)(["kˈa ka."])[0].phonemes == "kˈa ka."
