"""Where sentences end: at ``. ! ?`` and their like in other scripts, but not after an abbreviation in their middle."""

from __future__ import annotations

import re

from genmend.tts.text.abbreviations import (
    BEFORE_MORE,
    BEFORE_NAME,
    BEFORE_NUMBER,
    DAYS,
    INITIALS,
    MAYBE_LAST,
    MONTHS,
    ORDINAL_LANGUAGES,
    PRONOUNS,
    UNITS,
    starts_sentence,
)
from genmend.tts.text.languages import language_code

__all__ = ["PHONEMES", "drop_inner_stops", "split_long", "split_sentences"]

PHONEMES = re.compile(r"\[\[(.*?)\]\]")  # within a text, as Piper takes them
_EMOJI = "\u2600-\u27bf\u2b00-\u2bff\u200d\ufe0f\U0001f000-\U0001faff"
_FACE = rf"(?:[{_EMOJI}]+|[:;=8]['’]?[-^o]?[()DPp/|*](?![^\W_]))"
# Behind a mark: what closes with it, the number of a footnote, and a face, which belongs to what was said.
_CLOSING = r"[\"'”’“»«›)\]]*(?:\[\d+\])*"
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff"
# A mark with what closes after it. Marks of scripts that have no other use for them need no space behind them.
_MARK = re.compile(
    rf"(?P<mark>\.(?:\s\.){{2,}}|[.!?…]+)(?P<closing>{_CLOSING})(?=\s|$|[{_IDEOGRAPHS}])"
    r"|(?P<sure>[。！？｡．؟۔।॥։။។።\u037e]+(?![0-9０-９])|(?<=[\u0370-\u03ff]);(?=\s|$))(?P<quotes>[」』”’）)»\"']*)"
    rf"|(?P<face>(?<=\s){_FACE})(?=\s)"
)
_FACES_BEHIND = re.compile(rf"(?:\s*{_FACE})+(?=\s+[^\W\d_a-z]|\s+[\"'“‘(\[]|\s*$)")
_QUOTED = re.compile("と|って|という|などと")  # behind a closing bracket: the sentence says who said that
_NUMBER = re.compile(r"[\"'“(\[#]*(?:\d|(?!I['’ ])(?:[ivxlc]+|[IVXLC]+)\b)")
_ROMAN_FOLLOWS = re.compile("vols?|chs?|chap|figs?|arts?|secs?|bk|pt|op")  # "vol. I was", but "No. I was not."
_ENUMERATOR = re.compile(r"(?:[-–•*]\s*)?\(?(?:\d{1,3}|[A-Za-z]|[ivxlc]+|[IVXLC]+)")
_LISTED = re.compile(r"\s*\d{1,3}[.)]")


def split_sentences(text: str, language: str = "en") -> list[str]:
    """Split a text into sentences, at line ends and after the marks that end one; nothing of the text is changed.

    An abbreviation that can end a sentence (St., Jr., U.S., initials) does so before a word that sentences often begin
    with. English abbreviations are known best; the marks of Arabic, Armenian, Chinese, Greek, Hindi, Japanese and Urdu
    end sentences too. `language`, as `language_code` takes it, says which words begin sentences, and whether "3." can
    be an ordinal number.

    >>> split_sentences("Did he come? No. J. R. Smith of the U.S. Army left at 5 p.m. It was No. 7.")
    ['Did he come?', 'No.', 'J. R. Smith of the U.S. Army left at 5 p.m.', 'It was No. 7.']
    """
    found, code = [], language_code(language)
    for line in text.splitlines():
        start = 0
        phonemes = [place for given in PHONEMES.finditer(line) for place in range(*given.span())]
        for mark in _MARK.finditer(line):
            if (
                mark.end() > start
                and mark.start() not in phonemes
                and not _is_enumerator(line, start, mark)
                and _ends_sentence(line, mark, code)
            ):
                faces = _FACES_BEHIND.match(line, mark.end())
                end = faces.end() if faces else mark.end()
                found.append(line[start:end])
                start = end
        found.append(line[start:])
    return [part.strip() for part in found if part.strip()]


def split_long(sentence: str, longest: int) -> list[str]:
    """Split a sentence of more than `longest` characters into parts, after the marks of clauses or else at spaces."""
    parts = []
    rest = sentence.strip()
    while len(rest) > longest:
        head = rest[:longest]
        clauses = [mark.end() for mark in re.finditer(r"[,;:—–](?=\s)|[、，；：]", head)]
        spaces = [space.start() for space in re.finditer(r"\s", head)]
        # A mark in the first third would leave a stump: then rather a space.
        cut = next((place for place in reversed(clauses) if place > longest // 3), 0) or max(spaces, default=longest)
        parts.append(rest[:cut].strip())
        rest = rest[cut:].strip()
    return [*parts, rest] if rest else parts


def drop_inner_stops(sentence: str, language: str = "en") -> str:
    """Drop the full stops at which one would not pause: those of abbreviations that do not end a sentence."""
    kept, start, code = [], 0, language_code(language)
    for mark in _MARK.finditer(sentence):
        inner = mark["mark"] == "." and not mark["closing"] and sentence[mark.end() :].strip()
        if inner and not _is_enumerator(sentence, 0, mark) and not _ends_sentence(sentence, mark, code):
            kept.append(sentence[start : mark.start()])
            start = mark.end()
    return "".join([*kept, sentence[start:]])


def _is_enumerator(line: str, start: int, mark: re.Match[str]) -> bool:
    """Whether it is the stop of "1." before an item: at the start of a line, or of a later item of the same list."""
    if mark["mark"] != "." or mark["closing"]:
        return False
    item = _ENUMERATOR.fullmatch(line[start : mark.start()].strip()) is not None
    if item and (start == 0 or (_word_before(line, mark).isdecimal() and _LISTED.match(line))):
        return True
    within = re.search(r"[:,;]\s*\d{1,2}$", line[: mark.start()])  # We need: 1. eggs, 2. milk.
    return within is not None and line[mark.end() :].lstrip()[:1].islower()


def _ends_sentence(line: str, mark: re.Match[str], language: str) -> bool:
    following = line[mark.end() :].strip()
    next_word = re.match(r"[\"'“‘(\[¿¡«„]*([^\W\d_]*)", following)
    starts = next_word is not None and next_word[1][:1].isupper() and starts_sentence(next_word[1], language)
    if mark["face"]:
        return starts
    if mark["sure"]:
        return not (mark["quotes"] and _QUOTED.match(following))
    if not following:
        return True
    goes_on_small = following[0].islower()
    if mark["mark"].startswith(("..", ". .", "…")) or mark["closing"]:
        if goes_on_small:
            return False
    elif mark["mark"] != ".":  # Yahoo! bought it; but those who write all small end sentences all the same
        return not goes_on_small or not re.search(r"[A-Z]", line)
    if mark["mark"] != ".":
        return True
    return _ends_after(_word_before(line, mark), line[: mark.start()].split()[:-1], following, starts, language)


def _ends_after(word: str, before: list[str], following: str, starts: bool, language: str) -> bool:
    """Whether a single stop behind this word ends the sentence."""
    plain, goes_on_small = word.lower().replace(".", ""), following[0].islower()
    if BEFORE_MORE.fullmatch(plain):
        return False
    if BEFORE_NAME.fullmatch(plain) and not (before and before[-1][-1:].isdecimal()):  # but "6 ft. He"
        return starts and PRONOUNS.fullmatch(re.split(r"\W", following.lower())[0]) is not None
    if BEFORE_NUMBER.fullmatch(plain):
        if _NUMBER.match(following) or (_ROMAN_FOLLOWS.fullmatch(plain) and re.match(r"I\b(?!['’])", following)):
            return False
        return not (goes_on_small and (word[0].isupper() or len(plain) > 2))
    if word == "I" and before and before[-1][0].islower():  # "So did I. Peter left."
        return not re.match(r"[A-Z]\.", following)
    if DAYS.fullmatch(plain) and word[0].isupper():
        return not (goes_on_small or following[0].isdecimal() or MONTHS.match(following.lower()))
    if UNITS.fullmatch(plain) and before and before[-1][-1:].isdecimal():
        return not goes_on_small
    if word.isdecimal() and language in ORDINAL_LANGUAGES:
        return len(word) > 2 or (starts and not goes_on_small)
    if MAYBE_LAST.fullmatch(plain) or INITIALS.fullmatch(word):
        return starts
    return True


def _word_before(line: str, mark: re.Match[str]) -> str:
    before = line[: mark.start()].split()
    return before[-1].lstrip("\"'“(‘[„«") if before and not line[mark.start() - 1].isspace() else ""
