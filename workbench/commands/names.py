"""``genmend list``: the names that commands take, and where each comes from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from genmend.storage.plug_ins import GROUPS, PlugInError, plug_ins
from genmend.storage.weights import PACKAGES, has_weights

__all__ = ["Name", "all_names", "broken_plug_ins", "format_names", "names_as_json", "own_names"]


@dataclass(frozen=True)
class Name:
    """One name of a generator, a voice, an extractor or a corrector.

    Attributes
    ----------
    kind, name, source : str
        `source` is ``genmend``, or the package and its version.
    note : str
        What it needs first, or why it cannot be used; else empty.
    """

    kind: str
    name: str
    source: str
    note: str = ""


def all_names() -> list[Name]:
    """Every name by its kind, ours first; no plug-in is imported."""
    found = []
    for kind in GROUPS:
        own = own_names(kind)
        found += [Name(kind, name, "genmend", _note(name)) for name in own]
        for name, several in plug_ins(kind, own).items():
            note = "" if len(several) == 1 else "added twice: uninstall all but one of its packages"
            found.append(Name(kind, name, " and ".join(one.source for one in several), note))
    return found


def own_names(kind: str) -> tuple[str, ...]:
    """Names of ours, which no package takes over."""
    if kind == "generator":
        from genmend.gans.model_names import EMBEDDED

        return EMBEDDED
    if kind == "voice":
        from genmend.tts.voices.load import EMBEDDED as VOICES

        return VOICES
    if kind == "extractor":
        from genmend.manifold.features.extractors.loading import AUDIO_EXTRACTORS, EXTRACTORS

        return (*EXTRACTORS, *AUDIO_EXTRACTORS)
    from genmend.gans.correctors.registry import OWN_METHODS

    return OWN_METHODS


def broken_plug_ins() -> list[str]:
    """Import every plug-in; what each that fails says, a sentence that names its package."""
    found = []
    for kind in GROUPS:
        for several in plug_ins(kind, own_names(kind)).values():
            for plug_in in several:
                try:
                    plug_in.load()
                except PlugInError as error:
                    found.append(str(error))
    return found


def format_names(names: list[Name]) -> str:
    """A table for a terminal."""
    rows = [(one.kind, one.name, one.source, one.note) for one in names]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def names_as_json(names: list[Name]) -> dict[str, Any]:
    """JSON's view."""
    return {"names": [asdict(one) for one in names]}


def _note(name: str) -> str:
    missing = name in PACKAGES and not has_weights(name)
    return f"first: genmend fetch {name}" if missing else ""
