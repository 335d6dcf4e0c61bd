"""What a shared file says of itself, as the first sections of a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from genmend.storage.hub.kinds import Description
from genmend.storage.hub.repository import Shared
from genmend.workbench.pages.page import Answer, Facts, Paragraph, Section

__all__ = ["Preface", "fact_sections"]


@dataclass(frozen=True)
class Preface:
    """What stands before a page of another command: a title in place of its own, and sections before its others.

    `answer` says of the run what stands on the first screen, in place of the command's own where it is given.
    """

    title: str
    sections: Sequence[Section]
    answer: Callable[[Any], Answer] | None = None


def fact_sections(shared: Shared, described: Description, fit: str, not_checked: tuple[str, ...] = ()) -> list[Section]:
    """The facts of a file, whether the model is the one it was made for, and what nobody could check."""
    where = {"from": shared.source, "commit": shared.commit, "kind": shared.kind.name, "the model here is": fit}
    told = {name: value for name, value in where.items() if value is not None}
    blocks = [
        Facts("Where it is from, and whether this is its model.", told),
        Facts("What it was made for.", described.model),
        Facts("What it does.", described.does),
    ]
    sections = [Section("What the file says", [block for block in blocks if block.pairs])]
    if described.figures:
        said = Facts(f"Not measured here, but said by the file. {described.judged_by}", described.figures)
        sections.append(Section("Figures of whoever made it", [said], closed=True))
    if not_checked:
        sections.append(Section("What could not be checked", [Paragraph("\n\n".join(not_checked))]))
    return sections
