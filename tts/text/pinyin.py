"""Pinyin with the number of its tone (ni3 hao3), as Piper's Chinese voices read it: initial, final and tone apart.

The symbols and where blanks stand are those of Piper's own phonemes of Chinese: one blank after the begin, after every
tone and after every mark of a pause. Ours: which signs of a pause stand for which.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from genmend.tts.text.symbol_table import BLANK, Spoken, SymbolTable
from genmend.tts.text.tokens import Tokens

__all__ = ["PinyinReader"]

_INITIALS = frozenset({"zh", "ch", "sh", *"bpmfdtnlgkhjqxrzcsyw"})
_NONE = "Ø"  # the initial of a syllable that begins with its final
_PARTS = re.compile(r"([a-zü:]+)([1-5])|(\w+)|(\S)")
_SIGNS = {",": "，", ".": "。", "?": "？", "!": "！", ";": "；", ":": "：", "-": "—"}


@dataclass(frozen=True)
class PinyinReader:
    """Reads pinyin with tone numbers, 5 for the neutral one; ü is also written v or u:.

    Attributes
    ----------
    table : SymbolTable
        Without blanks of its own.
    """

    table: SymbolTable

    def __call__(self, texts: Sequence[str], phonemes: Sequence[str] | None = None) -> list[Tokens]:
        """Lay sentences out as tokens; pinyin may also be given as the phonemes of a text.

        Raises
        ------
        ValueError
            If something is no syllable of pinyin with its tone, or no syllable is known.
        """
        return [self._tokens(*pair) for pair in zip(texts, texts if phonemes is None else phonemes, strict=True)]

    def _tokens(self, text: str, pinyin: str) -> Tokens:
        spoken = [Spoken(BLANK, "blank")]
        words = pinyin.split()
        for number, word in enumerate(words):
            for base, tone, other, sign in _PARTS.findall(unicodedata.normalize("NFC", word).lower()):
                if other:
                    raise ValueError(
                        f"{self.table.voice} reads pinyin with the number of each tone, and {other!r} is none: "
                        "write it so, for example ni3 hao3 (the package pypinyin turns Chinese signs into it)."
                    )
                if sign:
                    known = sign if sign in self.table.numbers else _SIGNS.get(sign, sign)
                    spoken += [Spoken(known, "punctuation"), Spoken(BLANK, "blank")]
                    continue
                initial, final = self._divided(base.replace("u:", "v").replace("ü", "v"))
                spoken += [Spoken(initial, "phoneme", number), Spoken(final, "phoneme", number)]
                spoken += [Spoken(tone, "mark", number), Spoken(BLANK, "blank")]
        labels = [re.sub(r"[^\w:]+$", "", word) or word for word in words]
        return self._without_lost_blanks(spoken, text or pinyin, labels)

    def _divided(self, base: str) -> tuple[str, str]:
        """A syllable as its initial and its final."""
        initial = next((base[:n] for n in (2, 1) if base[:n] in _INITIALS), "")
        return initial or _NONE, base[len(initial) :]

    def _without_lost_blanks(self, spoken: list[Spoken], text: str, labels: Sequence[str]) -> Tokens:
        """The tokens; a sign that the voice does not know takes its blank with it."""
        kept = [one for i, one in enumerate(spoken) if one.kind != "blank" or not i or self._knows(spoken[i - 1])]
        return replace(self.table, blank=()).tokens(text, kept, labels)

    def _knows(self, one: Spoken) -> bool:
        return one.symbol in self.table.numbers
