"""What the page of the sentence splitters says; every figure comes from its results.json."""

from __future__ import annotations

from typing import Any

from experiments.markdown import document, number, table

_NAMES = {"sentence_cases": "200 cases", "sentence_cases_later": "60 later ones"}


def sentence_splitters(results: dict[str, Any]) -> str:
    """Which splitter is right most often."""
    sets = results["sets"]
    cases, later = sets["sentence_cases"], sets["sentence_cases_later"]
    splitters = list(cases["now"])
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return document(
        "# Where do sentences end?",
        "**Asked**: is a library better than genmend's own rules, which need none?",
        f"**On**: {cases['n']} cases of our own (`tests/tts/text/sentence_cases.tsv`), written before "
        f"any splitter was run on them, and {later['n']} more "
        "(`sentence_cases_later.tsv` beside it), written after ours was mended by the first "
        f"and before it was run on them. {versions}; both are given the "
        "language and the text line by line. A case is right if all its sentences are.",
        "**Command**: `python -m experiments.voices.sentence_splitters`.",
        "**Control**: the first run of each set, before anything was mended by it.",
        table(
            ("right", *splitters),
            (
                (
                    f"{_NAMES[name]}, {when}",
                    *(f"{sets[name][key][one]['right']} of {sets[name]['n']}" for one in splitters),
                )
                for name in sets
                for key, when in (("first", "first run"), ("now", "now"))
            ),
        ),
        "By kind, in the first run of the 200, and ours now:",
        table(
            ("kind", "cases", *splitters, "genmend now"),
            (
                (
                    kind,
                    n,
                    *(cases["first"][one]["by_kind"][kind] for one in splitters),
                    cases["now"]["genmend"]["by_kind"][kind],
                )
                for kind, n in cases["kinds"].items()
            ),
        ),
        f"A text takes {number(cases['now']['genmend']['milliseconds'], 2)} ms of a processor by ours, "
        f"{number(cases['now']['pysbd']['milliseconds'], 2)} ms by pysbd and "
        f"{number(cases['now']['syntok']['milliseconds'], 2)} ms by syntok.",
        "## What it shows",
        "Ours was right more often than both before it was mended, and on the cases that it had not been mended by; so "
        "no library is used. What it still gets wrong: "
        + "; ".join(f"“{wrong['text']}”" for one in sets.values() for wrong in one["now"]["genmend"]["wrong"])
        + ". One of the 200 was corrected after the first run, a slip of its writer at a face; none had it right "
        "either way then.",
    )
