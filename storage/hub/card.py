"""The card of a shared file: what its facts say and nothing else, as the README.md of a folder or a repository."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from genmend import __version__
from genmend.storage.hub.kinds import Description, Kind

__all__ = ["checked_licence", "model_card", "shown"]

_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .+()/-]{0,79}")
_SHORT = 300  # characters of a value in a table
_LICENCE_NOTE = (
    "as whoever shared it says. It was made from a model's weights and samples and may fall under that model's licence "
    "too: where the two differ, keep to the stricter."
)


def checked_licence(licence: str) -> str:
    """Return a licence's name; its identifier in small letters where it is one word.

    Raises
    ------
    ValueError
        If there is none, or it is no name.
    """
    name = licence.strip()
    if not name:
        raise ValueError(
            "Sharing needs a licence: what is made from a model may fall under the model's own licence, so look there "
            "and give one, e.g. licence='mit' (--licence mit)."
        )
    if not _LICENCE.fullmatch(name):
        raise ValueError(f"The licence is {licence!r}; give its name, e.g. mit, apache-2.0 or cc-by-nc-4.0.")
    return name if " " in name else name.lower()


def model_card(kind: Kind, described: Description, source: str, licence: str, about: str, sha256: str) -> str:
    """Write the card.

    Parameters
    ----------
    kind, described
        Of the file.
    source
        The repository, or the folder, that the lines on its use name.
    licence
        As `checked_licence` returns it.
    about
        Words of whoever shares it; may be empty.
    sha256
        Of the file.
    """
    parts = [_front_matter(kind, licence), f"# {_plain(described.title)}", _plain(described.what)]
    if about.strip():
        quoted = "\n".join(f"> {_plain(line)}" for line in about.strip().splitlines())
        parts.append(f"In the words of whoever shared it:\n\n{quoted}")
    for title, rows in (("What it was made for", described.model), ("What it does", described.does)):
        if rows:
            parts.append(f"## {title}\n\n{_table(rows)}")
    parts.append("## Figures\n\n" + (_table(described.figures) if described.figures else "The file holds none."))
    if described.judged_by:
        parts.append(_plain(described.judged_by))
    parts.append(f"## Use\n\n{_code(described.use.replace('{source}', source), described.in_shell)}")
    if described.preview:
        parts.append(f"See what it does before you trust it: `genmend attach MODEL {source} --out preview`.")
    if described.reproduce:
        parts.append(f"## Reproduce\n\n{_code(described.reproduce, True)}")
    if described.not_told:
        parts.append("## What the file does not say\n\n" + "\n".join(f"- {line}" for line in described.not_told))
    parts.append(f"## Licence\n\n{licence}, {_LICENCE_NOTE}")
    facts = {"file": kind.file, "SHA-256": sha256, "shared with": f"genmend {__version__}"}
    parts.append(
        f"## The file\n\n{_table(facts)}\n\nIt is data: safetensors and JSON, no pickle and no code. This card was "
        "made of what stands in it."
    )
    return "\n\n".join(parts) + "\n"


def shown(value: Any) -> str:
    """A value of a fact in a line of text: floats short, lists and mappings as JSON, all of it cut where it is long."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        text = f"{value:.4g}"
    elif isinstance(value, Mapping | list | tuple):
        text = json.dumps(value, default=str, ensure_ascii=False)
    else:
        text = str(value)
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}\N{HORIZONTAL ELLIPSIS}"


def _front_matter(kind: Kind, licence: str) -> str:
    """What the hub reads: licence, library and tags; every value is one of ours or checked."""
    named = f"license: other\nlicense_name: {licence}" if " " in licence else f"license: {licence}"
    return f"---\nlibrary_name: genmend\n{named}\ntags:\n- genmend\n- {kind.name}\n---"


def _table(rows: Mapping[str, Any]) -> str:
    lines = [f"| {_plain(name)} | {_plain(shown(value))} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _plain(text: str) -> str:
    """Text of a file as text: it makes no markup, no link and no second line."""
    one_line = " ".join(text.split())
    return re.sub(r"([\\`*\[\]<>|#])", r"\\\1", one_line)


def _code(lines: str, in_shell: bool) -> str:
    return f"```{'' if in_shell else 'python'}\n{lines.strip().replace('```', '')}\n```"
