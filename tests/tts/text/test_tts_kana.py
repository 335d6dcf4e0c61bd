"""Japanese in kana, as the sounds that Kokoro was trained on."""

import pytest

from genmend.tts.text.kana import KanaReader, kana_to_ipa
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


def test_the_reader_gives_words_and_takes_phonemes():
    read = KanaReader(SymbolTable("toy", {symbol: (i,) for i, symbol in enumerate("^$aikmno .ː")}, "^", "$"))
    (tokens,) = read(["まあ いいかん。"])
    assert tokens.phonemes == "maa iika."
    assert [lost.symbol for lost in tokens.dropped] == ["ɴ"]
    assert len(tokens.words) == 2
    assert read([""], ["ika"])[0].phonemes == "ika"
