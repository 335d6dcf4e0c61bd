"""Text to phonemes by espeak-ng, run as a program: its own licence (GPL-3.0) stays its own."""

from __future__ import annotations

import re
import shutil
import subprocess
import unicodedata
from collections.abc import Sequence

from genmend.tts.text.sentences import drop_inner_stops

__all__ = ["espeak_phonemes", "phonemes_alone"]

# Where espeak-ng would pause; inside numbers (1,000 and 3.5) it does not.
_PAUSE = re.compile(r"([.,;:!?]+)(?=\s|$)")
_LANGUAGE_SWITCH = re.compile(r"\([a-z-]+\)")  # espeak-ng marks words it reads as another language


def espeak_phonemes(sentences: Sequence[str], language: str = "en-us") -> list[list[tuple[str, str, str]]]:
    """Turn sentences into phonemes.

    Returns
    -------
    list of list of (words, phonemes, pause)
        For each sentence its clauses: the text, its IPA (words separated by spaces, characters as Unicode NFD, one
        symbol a code point), and the punctuation mark after it, "" where there is none.

    Raises
    ------
    FileNotFoundError
        If espeak-ng is not installed.
    RuntimeError
        If it fails, e.g. for a language it does not have.
    """
    clauses = [_clauses(sentence, language) for sentence in sentences]
    spoken = iter(_run([words for parts in clauses for words, _ in parts], language))
    return [[(words, next(spoken), pause) for words, pause in parts] for parts in clauses]


def phonemes_alone(words: Sequence[str], language: str = "en-us") -> dict[str, list[str]]:
    """The groups of sounds that espeak-ng makes of each word when it stands alone; raises as `espeak_phonemes`."""
    asked = list(dict.fromkeys(words))
    return dict(zip(asked, (sounds.split() for sounds in _run(asked, language)), strict=True))


def _clauses(sentence: str, language: str) -> list[tuple[str, str]]:
    parts = _PAUSE.split(drop_inner_stops(" ".join(sentence.split()), language))
    texts, pauses = parts[::2], [*parts[1::2], ""]
    cleaned = [re.sub(r"[\"“”()\[\]{}<>*_|`]|(?<=\s)[-–—]+(?=\s)|[–—]|\.{2,}|…", " ", text).strip() for text in texts]
    # Runs such as ?! and ... are one pause; the first mark says which.
    return [(text, pause[:1]) for text, pause in zip(cleaned, pauses, strict=True) if re.search(r"\w", text)]


def _run(clauses: list[str], language: str) -> list[str]:
    if not clauses:
        return []
    lines = _espeak("\n\n".join(clauses), language)
    if len(lines) != len(clauses):  # espeak-ng found a pause that we did not: ask clause by clause
        lines = [" ".join(_espeak(clause, language)) for clause in clauses]
    return [unicodedata.normalize("NFD", " ".join(_LANGUAGE_SWITCH.sub("", line).split())) for line in lines]


def _espeak(text: str, language: str) -> list[str]:
    program = shutil.which("espeak-ng")
    if program is None:
        raise FileNotFoundError(
            "Text is turned into phonemes by espeak-ng, which is not installed: install it (apt install espeak-ng, "
            "brew install espeak-ng, winget install espeak-ng), or give phonemes in place of text."
        )
    command = [program, "-q", "--ipa", "-v", language, "--stdin", "-b", "1"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        raise RuntimeError(f"espeak-ng failed for the language {language!r}: {done.stderr.strip()}; check the name.")
    return [line for line in done.stdout.splitlines() if line.strip()]
