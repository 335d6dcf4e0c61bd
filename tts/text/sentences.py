"""Where sentences end: at ``. ! ?`` and their like in other scripts, but not after an abbreviation in their middle."""

from __future__ import annotations

import re

__all__ = ["drop_inner_stops", "split_long", "split_sentences"]

# A mark with the quotes and brackets that close after it. Ideographic marks need no space behind them.
_MARK = re.compile(r"(?:([.!?…؟।۔॥]+)([\"'”’»)\]]*)(?=\s|$)|([。！？｡]+)([」』”’）)]*))")
# Abbreviations, in small letters and without their stops, that a name, more of the sentence or a number follows.
_BEFORE_A_NAME = re.compile("mr|mrs|ms|dr|prof|gen|col|capt|lt|sgt|rev|hon|gov|sen|rep|pres|mt|fr|messrs|mme|mlle")
_BEFORE_MORE = re.compile("vs|cf|viz|eg|ie|approx|ca")
_BEFORE_A_NUMBER = re.compile("nos?|nr|figs?|pp?|vol|ch|chap|sec|eq|art|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec")
_MAYBE_LAST = re.compile("st|jr|sr|inc|ltd|co|corp|bros|ave|blvd|rd|hwy|etc|al|est|dept|univ|eds?")
_INITIALS = re.compile(r"[A-Za-z]{1,3}(?:\.[A-Za-z]{1,3})+|[A-Z]")  # U.S, a.m, Ph.D; J of J. R. R. Tolkien
_NUMBER = re.compile(r"[\"'“(\[]*(?:\d|[ivxlc]+\b|[IVXLC]+\b)")
# With one of these a new sentence often begins, and seldom a name or what else follows an abbreviation.
_STARTERS = re.compile(
    "a|about|after|all|also|although|an|and|another|any|are|as|at|because|before|both|but|by|can|could|despite"
    "|did|do|does|during|each|even|every|everyone|finally|first|for|from|had|has|have|he|her|here|his|how|however"
    "|i|if|in|is|it|its|just|last|later|let|many|maybe|meanwhile|most|my|nobody|no|nor|not|nothing|now|of|on|once"
    "|one|only|or|our|over|perhaps|please|she|should|since|so|some|still|such|than|that|the|their|then|there"
    "|these|they|this|those|though|through|to|today|tomorrow|under|until|was|we|were|what|when|where|which|while"
    "|who|whose|why|will|with|would|yes|yesterday|yet|you|your"
)


def split_sentences(text: str) -> list[str]:
    """Split a text into sentences, at line ends and after the marks that end one; nothing of the text is changed.

    An abbreviation that can end a sentence (St., Jr., U.S., initials) does so before a word that sentences often begin
    with. English abbreviations are known; the marks of Arabic, Chinese, Hindi, Japanese and Urdu end sentences too.

    >>> split_sentences("Did he come? No. J. R. Smith of the U.S. Army left at 5 p.m. It was No. 7.")
    ['Did he come?', 'No.', 'J. R. Smith of the U.S. Army left at 5 p.m.', 'It was No. 7.']
    """
    found = []
    for line in text.splitlines():
        start = 0
        for mark in _MARK.finditer(line):
            if _ends_sentence(line, mark):
                found.append(line[start : mark.end()])
                start = mark.end()
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


def drop_inner_stops(sentence: str) -> str:
    """Drop the full stops at which one would not pause: those of abbreviations that do not end a sentence."""
    kept, start = [], 0
    for mark in _MARK.finditer(sentence):
        if mark[1] == "." and not mark[2] and sentence[mark.end() :].strip() and not _ends_sentence(sentence, mark):
            kept.append(sentence[start : mark.start()])
            start = mark.end()
    return "".join([*kept, sentence[start:]])


def _ends_sentence(line: str, mark: re.Match[str]) -> bool:
    following = line[mark.end() :].strip()
    if mark[3] or not following:
        return True
    goes_on_small = following[0].islower()
    if goes_on_small and (mark[2] or mark[1] in ("...", "…")):
        return False
    if mark[1] != ".":
        return True
    before = line[: mark.start()].split()
    word = before[-1].lstrip("\"'“(‘[") if before else ""
    plain, next_word = word.lower().replace(".", ""), re.match(r"[\"'“(\[]*([A-Za-z]*)", following)
    starts = following[0].isupper() and next_word is not None and _STARTERS.fullmatch(next_word[1].lower())
    if _BEFORE_A_NAME.fullmatch(plain) or _BEFORE_MORE.fullmatch(plain):
        return False
    if _BEFORE_A_NUMBER.fullmatch(plain):
        return not _NUMBER.match(following) and not (goes_on_small and (word[0].isupper() or len(plain) > 2))
    if word == "I" and len(before) > 1 and before[-2][0].islower():  # "So did I. Peter left."
        return not re.match(r"[A-Z]\.", following)
    if _MAYBE_LAST.fullmatch(plain) or _INITIALS.fullmatch(word):
        return bool(starts)
    return True
