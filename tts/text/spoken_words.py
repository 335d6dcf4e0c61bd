"""A text as spoken words, so that "Twenty-one!" and "21" agree: what word errors are counted over."""

from __future__ import annotations

import re
import unicodedata

from genmend.tts.text.languages import ENGLISH_CODE, UNSPACED

__all__ = ["number_words", "spoken_words"]

LARGEST = 999_999_999

# fmt: off
_UNITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
          "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
# fmt: on
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_WRITTEN = {"mr": "mister", "mrs": "missus", "dr": "doctor", "ok": "okay", "grey": "gray", "%": "percent", "&": "and"}
_MONEY = {"$": "dollar", "£": "pound", "€": "euro"}

_COMMA = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_PRICE = re.compile(r"([$£€])\s?(\d+(?:\.\d+)?)")
_NUMBER = re.compile(r"(\d+)(?:\.(\d+)|(st|nd|rd|th)\b)?")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*|[%&]")
# British spellings as American: either is a right transcript of the same sound.
_BRITISH = (
    (re.compile(r"(?<=\w\w)our(s|ed|ing|ite|able|ful)?$"), r"or\1"),
    (re.compile(r"(?<=\w{4})is(e|ed|es|ing)$"), r"iz\1"),
)


def spoken_words(text: str, language: str = ENGLISH_CODE) -> list[str]:
    """Normalise a text to lower-case words: numbers are spelled out, accents, marks and British spellings are gone.

    Longer numbers are read digit by digit, years and times of day as plain numbers. Apostrophes stay inside words. Of
    another language than English (a code of `language_code`) numbers and accents stay as they are written, and where no
    spaces are written between words, every character is one; katakana become hiragana, which sound alike.

    >>> spoken_words("Mr. Grey paid $21, didn't he?")
    ['mister', 'gray', 'paid', 'twenty', 'one', 'dollars', "didn't", 'he']
    """
    if language != ENGLISH_CODE:
        return _words_of_letters(text, apart=language in UNSPACED)
    plain = unicodedata.normalize("NFKD", text.lower()).replace("’", "'")
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = _PRICE.sub(_price, _COMMA.sub("", plain))
    return [_one_spelling(word) for word in _WORD.findall(_NUMBER.sub(_spell_number, plain))]


def number_words(number: int) -> str:
    """Spell a whole number from 0 to 999,999,999 in words, without "and".

    >>> number_words(1_000_215)
    'one million two hundred fifteen'

    Raises
    ------
    ValueError
        For a number outside that range.
    """
    if not 0 <= number <= LARGEST:
        raise ValueError(f"{number} has no words here; give a whole number from 0 to {LARGEST:,}.")
    for size, name in ((1_000_000, "million"), (1_000, "thousand"), (100, "hundred")):
        if number >= size:
            words = f"{number_words(number // size)} {name}"
            return f"{words} {number_words(number % size)}" if number % size else words
    if number < len(_UNITS):
        return _UNITS[number]
    tens = _TENS[number // 10 - 2]
    return f"{tens} {_UNITS[number % 10]}" if number % 10 else tens


def _words_of_letters(text: str, *, apart: bool) -> list[str]:
    """Runs of letters and digits with the marks upon them, which are no letters to `re`; or each of them alone."""
    found = [""]
    for character in unicodedata.normalize("NFKC", text.casefold()).replace("’", "'"):
        character = chr(ord(character) - 0x60) if "ァ" <= character <= "ヶ" else character
        kind = unicodedata.category(character)[0]
        if (kind in "LN" and apart) or not (kind in "LNM" or character == "'"):
            found.append("")
        if kind in "LNM" or character == "'":
            found[-1] += character
    return [word for word in (one.strip("'") for one in found) if word]


def _spell_number(match: re.Match[str]) -> str:
    whole, decimals, ordinal = match.groups()
    # More digits than a number has words for, or a 0 in front: a code, read digit by digit.
    as_number = len(whole) <= len(str(LARGEST)) and (whole == "0" or whole[0] != "0")
    words = number_words(int(whole)) if as_number else _digits(whole)
    if decimals:
        words += f" point {_digits(decimals)}"
    return f" {_ordinal(words) if ordinal else words} "


def _price(match: re.Match[str]) -> str:
    return f"{match[2]} {_MONEY[match[1]]}{'' if match[2] == '1' else 's'}"


def _digits(digits: str) -> str:
    return " ".join(_UNITS[int(digit)] for digit in digits)


def _ordinal(words: str) -> str:
    *before, last = words.split()
    made = _ORDINALS.get(last) or (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")
    return " ".join([*before, made])


def _one_spelling(word: str) -> str:
    for british, american in _BRITISH:
        word = british.sub(american, word)
    return _WRITTEN.get(word, word)
