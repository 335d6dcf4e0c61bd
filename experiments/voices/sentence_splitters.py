"""Where sentences end: ours beside pysbd and syntok, on 200 cases that were written before any of them was run on them.

    pip install pysbd syntok
    python -m experiments.voices.sentence_splitters

The cases stand in tests/tts/text/sentence_cases.tsv: kind, language, and the text with a ¦ before each sentence but the
first and a ⏎ for each line end. A case is right if all its sentences are, but for the blanks around them. Each library
is given the language and the text line by line, which is kind to it. The 60 of sentence_cases_later.tsv were written
after ours was mended by the 200, and before it was run on them. What each gave when a set was new is kept as "first".
Writes results/sentence_splitters/results.json and the page.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments.pages import write_page
from genmend.tts.text.sentences import split_sentences

RESULTS = Path(__file__).with_name("results") / "sentence_splitters"
CASES = Path(__file__).parents[2] / "tests" / "tts" / "text"
SETS = ("sentence_cases", "sentence_cases_later")
_LIKE_ENGLISH = ("ko",)  # not in pysbd

Splitter = Callable[[str, str], list[str]]  # text and language -> sentences
Case = tuple[str, str, str, list[str]]  # kind, language, text, sentences


def main() -> None:
    options = _options()
    splitters: dict[str, Splitter] = {"genmend": split_sentences, "pysbd": _by_pysbd, "syntok": _by_syntok}
    path = options.out / "results.json"
    before = json.loads(path.read_text(encoding="utf-8"))["sets"] if path.exists() else {}
    sets: dict[str, Any] = {}
    for name in SETS:
        cases = read_cases(CASES / f"{name}.tsv")
        now = {splitter: score(split, cases) for splitter, split in splitters.items()}
        first = before.get(name, {}).get("first", now)
        kinds = dict(Counter(kind for kind, *_ in cases))
        sets[name] = {"n": len(cases), "kinds": kinds, "first": first, "now": now}
        for splitter, one in now.items():
            print(f"{name}: {splitter} {one['right']} of {len(cases)}, {one['milliseconds']:.2f} ms a text")
            for wrong in one["wrong"] if options.wrong else []:
                print(f"    {wrong['text']!r}: {wrong['found']}")
    versions = {package: version(package) for package in ("pysbd", "syntok")}
    options.out.mkdir(parents=True, exist_ok=True)
    found = json.dumps({"versions": versions, "sets": sets}, indent=1, ensure_ascii=False)
    path.write_text(f"{found}\n", encoding="utf-8")
    write_page("voices/sentence_splitters")


def read_cases(path: Path) -> list[Case]:
    """Kind, language, text and sentences of each case."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, language, written = line.split("\t")
        marked = written.replace("⏎", "\n")
        found.append((kind, language, marked.replace("¦", ""), [part.strip() for part in marked.split("¦")]))
    return found


def score(splitter: Splitter, cases: list[Case]) -> dict[str, Any]:
    """How many cases are right, by kind, what was wrong, and milliseconds of a processor a text."""
    splitter("One. Two.", "en")  # what is loaded once is not counted
    begun = time.process_time()
    given = [splitter(text, language) for _, language, text, _ in cases]
    milliseconds = 1000 * (time.process_time() - begun) / len(cases)
    right = [sentences == found for (_, _, _, sentences), found in zip(cases, given, strict=True)]
    return {
        "right": sum(right),
        "milliseconds": milliseconds,
        "by_kind": {
            kind: sum(ok for (of, *_), ok in zip(cases, right, strict=True) if of == kind) for kind, *_ in cases
        },
        "wrong": [
            {"text": text, "found": found}
            for (_, _, text, _), found, ok in zip(cases, given, right, strict=True)
            if not ok
        ],
    }


def _by_pysbd(text: str, language: str) -> list[str]:
    import pysbd

    segmenter = pysbd.Segmenter(language="en" if language in _LIKE_ENGLISH else language, clean=False)
    return [part.strip() for line in text.splitlines() if line.strip() for part in segmenter.segment(line)]


def _by_syntok(text: str, language: str) -> list[str]:
    from syntok import segmenter

    found = []
    for line in text.splitlines():
        for paragraph in segmenter.analyze(line):
            for tokens in paragraph:
                found.append(line[tokens[0].offset : tokens[-1].offset + len(tokens[-1].value)].strip())
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wrong", action="store_true", help="print what each splits wrongly")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
