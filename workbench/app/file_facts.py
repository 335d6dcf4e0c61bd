"""What an uploaded file of genmend says of itself, shown before anybody uses it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from genmend.storage.hub.kinds import describe
from genmend.workbench.app.page_parts import note_html, table_html

__all__ = ["facts_html"]


def facts_html(path: Path, *kinds: str) -> str:
    """The facts of a file of one of these kinds, as a table: what it is for, what it does, what was measured.

    Raises
    ------
    ValueError
        If the file is damaged or of another kind.
    """
    try:
        kind, found = describe(path)
    except ValueError as error:  # where it lies is nothing to a visitor
        raise ValueError(str(error).replace(str(path), "The file")) from error
    if kinds and kind.name not in kinds:
        raise ValueError(f"This file holds {kind.noun}, and {' or '.join(kinds)} is needed here; upload another.")
    rows = [*_rows("made for", found.model), *_rows("", found.does), *_rows("measured", found.figures)]
    unknown = "".join(f"<li>{escape(line)}</li>" for line in found.not_told)
    missing = f"<details><summary>What it does not say</summary><ul>{unknown}</ul></details>" if unknown else ""
    return (
        f"<h3>{escape(found.title)}</h3>{note_html(found.what)}"
        f'<div class="facts">{table_html(("fact", "value"), rows)}</div>'
        f"{note_html(found.judged_by)}{missing}"
    )


def _rows(name: str, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(f"{name}: {key}" if name else key, _said(value)) for key, value in facts.items()]


def _said(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        text = ", ".join(f"{name} {_said(part)}" for name, part in value.items())
    else:
        text = ", ".join(map(_said, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= 300 else f"{text[:297]}..."
