"""Counts of what was killed and fuzzed, kept in counts.json, and the tables of docs/reliability.md made from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("counts.json")
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
EXPERIMENTS = ("kills", "changed", "two at once", "full disk")
Counts = dict[str, dict[str, Any]]


def keep(kind: str, name: str, counts: dict[str, Any]) -> None:
    """Keep the counts of one experiment on one command (``kills``), or of one parser (``fuzz``), over earlier ones."""
    kept = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {"kills": {}, "fuzz": {}}
    kept[kind].setdefault(name, {}).update(counts)
    FILE.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    for table, lines in (("kills", kills_table(kept["kills"])), ("fuzz", fuzz_table(kept["fuzz"]))):
        begin, end = f"<!-- {table}: begin -->\n", f"<!-- {table}: end -->"
        text = text[: text.index(begin)] + begin + "\n".join(lines) + "\n" + text[text.index(end) :]
    PAGE.write_text(text, encoding="utf-8")


def kills_table(kept: Counts) -> list[str]:
    """Rows of Markdown: each command's experiments; in each the kills or rounds, and how many results were equal."""
    rows = [
        [f"`{name}`", *(_told(found.get(experiment)) for experiment in EXPERIMENTS)] for name, found in kept.items()
    ]
    total = [sum(found[e]["events"] for found in kept.values() if e in found) for e in EXPERIMENTS]
    heads = ["command", "killed and resumed", "something changed between", "two at once", "full disk"]
    return _table([heads, *rows, ["together", *map(str, total)]])


def _told(tally: dict[str, Any] | None) -> str:
    if tally is None:
        return "not tried"
    shown = (" ".join(difference.split())[:80] for difference in tally["differences"][:3])
    different = f"; differ: {', '.join(shown)}" if tally["differences"] else ""
    return f"{tally['events']}; {tally['equal']} of {tally['ends']} equal{different}"


def fuzz_table(kept: Counts) -> list[str]:
    """Rows of Markdown: how many damaged files each parser was given, and what was taken otherwise than promised."""
    rows = [
        [name, f"{found['tried']:,}", f"{found['seconds']:.0f}", "; ".join(found["complaints"]) or "none"]
        for name, found in kept.items()
    ]
    return _table([["parser", "damaged files", "seconds", "not as promised"], *rows])


def _table(rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]
