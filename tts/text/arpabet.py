"""Sentences as ARPAbet symbols (HH AH0 L OW1), as FastSpeech 2 of ESPnet and torchaudio's phone bundles read them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from genmend.tts.text.symbol_table import Spoken, SymbolTable
from genmend.tts.text.tokens import Tokens

__all__ = ["ArpabetReader"]

_WORD_END = "|"
_SOUND = re.compile(r"[A-Z]{1,3}[0-2]?")


@dataclass(frozen=True)
class ArpabetReader:
    """Reads phonemes in ARPAbet, symbols separated by spaces and words by ``|``; text only where `to_symbols` is there.

    Attributes
    ----------
    table : SymbolTable
    to_symbols : callable or None
        Text -> its symbols, a space between words, such as ``g2p_en.G2p()``.
    missing : str
        What to do to have `to_symbols`, for the message where it is None.
    space : bool
        Whether the model reads a space between words.
    """

    table: SymbolTable
    to_symbols: Callable[[str], Sequence[str]] | None = None
    missing: str = ""
    space: bool = True

    def __call__(self, texts: Sequence[str], phonemes: Sequence[str] | None = None) -> list[Tokens]:
        """Lay sentences out as tokens."""
        if phonemes is not None:
            pairs = zip(texts, phonemes, strict=True)
            return [self._tokens(text, [_space(s) for s in given.split()], given) for text, given in pairs]
        if self.to_symbols is None:
            raise ModuleNotFoundError(
                f"{self.table.voice} reads ARPAbet phonemes, and nothing here turns text into them: {self.missing}"
                "give phonemes=, e.g. 'HH AH0 L OW1 | W ER1 L D'."
            )
        return [self._tokens(text, self.to_symbols(text), text) for text in texts]

    def _tokens(self, text: str, symbols: Sequence[str], given: str) -> Tokens:
        groups = [list(group) for space, group in groupby(symbols, lambda s: s == " ") if not space]
        sounds = [" ".join(filter(_SOUND.fullmatch, group)) for group in groups]
        written = text.split()
        words: list[str] = []
        spoken: list[Spoken] = []
        for group, sound in zip(groups, sounds, strict=True):
            if spoken and self.space:
                spoken.append(Spoken(" ", "punctuation"))
            number = len(words) if sound else -1
            spoken += [Spoken(s, "phoneme", number) if _SOUND.fullmatch(s) else Spoken(s, "punctuation") for s in group]
            if sound:
                words.append(sound)
        if len(written) == len(words):
            words = [word.strip('.,;:!?"') for word in written]
        return self.table.tokens(text or given, spoken, words)


def _space(symbol: str) -> str:
    return " " if symbol == _WORD_END else symbol
