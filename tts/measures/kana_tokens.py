"""Which of Whisper's tokens write anything but kana: without them it writes Japanese as a voice of kana reads it."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["tokens_beyond_kana"]

# In UTF-8: letters, digits, and whatever does not begin as punctuation, hiragana and katakana do (E3 80 to E3 83).
_OTHER = re.compile(rb"[0-9A-Za-z\xc2-\xe2\xe4-\xf7]|\xe3[\x84-\xbf]")


def tokens_beyond_kana(tokenizer: Any) -> list[int]:
    """Numbers of the text tokens, of faster-whisper's tokenizer, that hold kanji, letters or digits."""
    byte_of = _bytes_of_signs()
    words = tokenizer.tokenizer.get_vocab().items()
    return [n for word, n in words if n < tokenizer.eot and _OTHER.search(bytes(byte_of[sign] for sign in word))]


def _bytes_of_signs() -> dict[str, int]:
    """The sign that stands for each byte in GPT-2's vocabularies: itself where it can be seen, else one from U+0100."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + i): byte for i, byte in enumerate(hidden)}
