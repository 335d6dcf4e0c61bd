"""``genmend pull``: fetch a shared file, check it, and say what it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genmend.storage.atomic import copy_file
from genmend.storage.hub.card import shown
from genmend.storage.hub.kinds import Description, describe
from genmend.storage.hub.repository import Shared, find_shared

__all__ = ["Pulled", "run_pull"]


@dataclass(frozen=True)
class Pulled:
    """What was fetched, where it lies now, and what it says of itself."""

    shared: Shared
    file: Path
    described: Description

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        return {
            "source": self.shared.source,
            "commit": self.shared.commit,
            "kind": self.shared.kind.name,
            "file": str(self.file),
            "model": dict(self.described.model),
            "does": dict(self.described.does),
            "figures": dict(self.described.figures),
        }

    @property
    def text(self) -> str:
        """For a terminal."""
        told, commit = self.described, f" at {self.shared.commit}" if self.shared.commit else ""
        facts = {**told.model, **told.does, **told.figures}
        lines = [f"{told.title}, from {self.shared.source}{commit}", told.what]
        lines += [f"  {_printable(name)}: {_printable(shown(value))}" for name, value in facts.items()]
        return "\n".join([*map(_printable, lines[:2]), *lines[2:], f"The file: {self.file}"])


def run_pull(source: str, out: Path, *, revision: str | None = None) -> Pulled:
    """Fetch the file that a source means, and copy it to `out` under the name of its kind."""
    shared = find_shared(source, revision=revision)
    _, described = describe(shared.path)
    out.mkdir(parents=True, exist_ok=True)
    target = out / shared.kind.file
    copy_file(shared.path, target)
    return Pulled(shared, target, described)


def _printable(text: str) -> str:
    """Text of a stranger's file on one line, without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
