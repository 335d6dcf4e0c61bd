"""Japanese in kana, as the sounds that Kokoro was trained on."""

from types import SimpleNamespace

import pytest

from genmend.tts.measures.kana_tokens import tokens_beyond_kana
from genmend.tts.text.kana import KanaReader, kana_to_ipa
from genmend.tts.text.spoken_words import spoken_words
from genmend.tts.text.symbol_table import SymbolTable


@pytest.mark.parametrize(
    ("kana", "sounds"),
    [
        ("きょう は いい てんき です。", "kʲoː βa ii teŋkʲi desɨ."),
        ("がっこう へ いく", "ɡaʔkoː e ikɯ"),
        ("こんにちは、げんき？", "koɲɲiʨiha,ɡeŋkʲi?"),
        ("パーティー", "paːtiː"),  # katakana, long vowels, a sound of loan words
        ("ｶﾞｷﾞ", "ɡaɡʲi"),  # half as wide
        ("しゅみ じゅぎょう ちゃ", "ɕɨmʲi ʥɨɡʲoː ʨa"),
        ("さんぽ、あんな、ほん", "sampo,anna,hoɴ"),
        ("ヴァイオリン", "vaioɾʲiɴ"),
        ("OK", "OK"),
    ],
)
def test_kana_are_read(kana, sounds):
    assert kana_to_ipa(kana) == sounds


def test_a_kanji_is_named_with_what_to_do():
    with pytest.raises(ValueError, match=r"the kanji '今'.*give the sentence in kana"):
        kana_to_ipa("今日は")


def test_letters_are_no_kana():
    read = KanaReader(SymbolTable("toy", {symbol: (i,) for i, symbol in enumerate("^$aikmno .ː")}, "^", "$"))
    for text in ("Hello", "まあ OK", "Ω"):
        with pytest.raises(ValueError, match=r"and kana are read here: give it as it is said, in katakana"):
            read([text])


def test_whisper_writes_kana_with_the_tokens_that_are_left():
    signs = {"ã": 0xE3, "ģ": 0x81, "Ĥ": 0x82, "ä": 0xE4, "»": 0xBB, "Ĭ": 0x8A, "Ĩ": 0x86}
    vocabulary = {"a": 0, "!": 1, "ãģĤ": 2, "ä»Ĭ": 3, "ã": 4, "Ĥ": 5, "ãĨ»": 6, "7": 7, "ãĤĤ": 8, "<|ja|>": 9, "Ġa": 10}
    tokenizer = SimpleNamespace(eot=9, tokenizer=SimpleNamespace(get_vocab=lambda: vocabulary))
    assert set("".join(list(vocabulary)[2:7])) <= set(signs)
    assert tokens_beyond_kana(tokenizer) == [0, 3, 6, 7]
    assert spoken_words("テンキ、です", "ja") == spoken_words("てんきです。", "ja") == list("てんきです")


def test_the_reader_gives_words_and_takes_phonemes():
    read = KanaReader(SymbolTable("toy", {symbol: (i,) for i, symbol in enumerate("^$aikmno .ː")}, "^", "$"))
    (tokens,) = read(["まあ いいかん。"])
    assert tokens.phonemes == "maa iika."
    assert [lost.symbol for lost in tokens.dropped] == ["ɴ"]
    assert len(tokens.words) == 2
    assert read([""], ["ika"])[0].phonemes == "ika"
