"""Write a report: one HTML file that needs nothing else, neither a network nor a second file.

What a reader can do on it (sort and search, enlarge pictures, compare two, zoom) is one small script of ours in the
page, which its policy admits by digest and no other; without the script everything is there to be read.
"""

from __future__ import annotations

import importlib
import os
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmend.storage.atomic import whole_file
from genmend.workbench.command_line import given_line
from genmend.workbench.pages.blocks import (
    Answer,
    Audio,
    Beside,
    Block,
    Card,
    Comparison,
    Drawing,
    Facts,
    Figure,
    Gallery,
    Number,
    Paragraph,
    Picture,
    Players,
    Section,
    Stages,
    Table,
    Thumbnails,
    cell_text,
)

if TYPE_CHECKING:
    import jinja2

__all__ = [
    "Answer",
    "Audio",
    "Beside",
    "Card",
    "Comparison",
    "Drawing",
    "Facts",
    "Figure",
    "Gallery",
    "Number",
    "Paragraph",
    "Picture",
    "Players",
    "Section",
    "Stages",
    "Table",
    "Thumbnails",
    "need_packages",
    "warning_sections",
    "write_report",
]

TEMPLATES = Path(__file__).with_name("templates")
LONG_TEXT = 40  # characters
SMALLEST = 96  # pixels that a thumbnail is wide on the page, at least
UNPRINTED = 200  # rows, from which a closed section stays closed on paper
_SCRIPTS = {
    "sort.js": "sorts",
    "find.js": "searchable",
    "enlarge.js": "enlarges",
    "slide.js": "slides",
    "stages.js": "stages",
    "zoom.js": "zooms",
}


def write_report(path: str | os.PathLike[str], title: str, answer: Answer | str, sections: Sequence[Section]) -> Path:
    """Write a page as one self-contained HTML file; an older file at `path` is replaced all at once.

    Every text is escaped: markup in a title, a caption or a cell is shown as it was given and never acted on. The
    file asks for no other resource, and its own policy forbids the browser to fetch any. Where the page was made by a
    command, the line that makes it again stands on it.

    Parameters
    ----------
    path : path-like
        Where the file goes; its folder has to be there.
    title : str
        What the page is called.
    answer : Answer or str
        The first screen; a text is its sentence alone, with further paragraphs after empty lines.
    sections : sequence of Section
        The rest, in order.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ModuleNotFoundError
        If jinja2, or matplotlib for a `Figure`, is missing; the message says what to install.
    TypeError
        If something other than the blocks of this module stands in a section.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "report.html"
    >>> page = write_report(target, "Faces", "Two of 100 are broken.", [Section("Scores", [Paragraph("None yet.")])])
    >>> "Two of 100 are broken." in page.read_text(encoding="utf-8")
    True
    """
    template = _template()
    if isinstance(answer, str):
        sentence, *others = _paragraphs(answer) or [""]
        shown: dict[str, Any] = {"sentence": sentence, "others": others, "more": [], "blocks": []}
        shown |= {"number": None, "doubts": []}
    else:
        shown = {
            "sentence": answer.sentence,
            "others": [],
            "number": answer.number,
            "doubts": answer.doubts,
            "blocks": [_view(block) for block in answer.pictures],
            "more": _paragraphs(answer.more),
        }
    views = [_section_view(section) for section in sections]
    again = given_line()
    script = _script([block for part in (shown, *views) for block in part["blocks"]], bool(again), views)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    text = template.render(
        title=title, answer=shown, sections=views, again=again, script=script, script_digest=digest, smallest=SMALLEST
    )
    with whole_file(path) as temporary:
        # A file name may hold bytes that are no text (lone surrogates in Python): they are spelled out.
        temporary.write_bytes(text.encode("utf-8", errors="backslashreplace"))
    return Path(path)


def _section_view(section: Section) -> dict[str, Any]:
    blocks = [_view(block) for block in section.blocks]
    n_rows = sum(len(block.get("rows", ())) for block in blocks)
    return {"title": section.title, "closed": section.closed, "blocks": blocks, "unprinted": n_rows > UNPRINTED}


def _script(blocks: Sequence[Mapping[str, Any]], again: bool, sections: Sequence[Mapping[str, Any]]) -> str:
    """The parts of the script that the page has a use for; empty where it has none."""
    names = [name for name, asked in _SCRIPTS.items() if any(block.get(asked) for block in blocks)]
    if again or any(section["closed"] for section in sections):
        names.append("page.js")
    parts = [(TEMPLATES / name).read_text(encoding="utf-8") for name in names]
    return "".join(['"use strict";\n', *parts]) if parts else ""


def need_packages() -> None:
    """Raise, before hours of work and not after them, where a package is missing that a report with figures needs.

    Raises
    ------
    ModuleNotFoundError
        If jinja2 or matplotlib is missing; the message says what to install.
    """
    for package in ("jinja2", "matplotlib"):
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            raise _missing(package) from error


def warning_sections(probe: Mapping[str, Any] | None) -> list[Section]:
    """What two runs of two latents gave to mind (`gans.Probe.to_dict`), to stand first; nothing where all is well."""
    found = probe["warnings"] if probe else ()
    return [Section("Warnings", [Paragraph("\n\n".join(found))])] if found else []


def _template() -> jinja2.Template:
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise _missing("jinja2") from error
    return _environment(jinja2).get_template("report.html")


@cache
def _environment(jinja2: Any) -> jinja2.Environment:
    """One for all reports: it keeps the compiled template."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _missing(package: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"Reports need {package}, which is not installed: run `pip install 'genmend[report]'`.", name=package
    )


def _paragraphs(text: str) -> list[str]:
    return [part.strip() for part in text.split("\n\n") if part.strip()]


def _view(block: Block) -> dict[str, Any]:
    """What the template needs of a block, as plain values."""
    if isinstance(block, Paragraph):
        return {"kind": "paragraphs", "texts": _paragraphs(block.text)}
    if isinstance(block, Table):
        rows = [[_cell(cell) for cell in row] for row in block.rows]
        numeric = [_is_numeric([row[column] for row in block.rows]) for column in range(len(block.header))]
        for place, row in enumerate(rows):  # what is missing stands among its column's numbers
            for column, (cell, number) in enumerate(zip(row, numeric, strict=True)):
                cell["number"] |= number
                cell["marked"] = (place, column) in block.marked
        header = [{"text": text, "number": number} for text, number in zip(block.header, numeric, strict=True)]
        return {
            "kind": "table",
            "caption": block.caption,
            "header": header,
            "rows": rows,
            "searchable": block.searchable,
            "sorts": len(rows) > 1,
        }
    if isinstance(block, Facts):
        pairs = [(str(name), cell_text(value, exact=True)) for name, value in block.pairs.items()]
        return {"kind": "facts", "caption": block.caption, "pairs": pairs}
    if isinstance(block, Drawing):
        return {
            "kind": "drawing",
            "caption": block.caption,
            "markup": block.markup,
            "height": block.height,
            "zooms": True,
        }
    if isinstance(block, Audio):
        return {"kind": "audio", "caption": block.caption, "uri": block.data_uri}
    if isinstance(block, Players):
        return {"kind": "players", "caption": block.caption, "sounds": [_view(sound) for sound in block.sounds]}
    if isinstance(block, Figure):
        try:
            drawn = block.picture()
        except ModuleNotFoundError as error:
            raise _missing("matplotlib") from error
        return _view(drawn) | {"chart": block.is_chart, "drawn": True}
    if isinstance(block, Thumbnails):
        return {
            "kind": "thumbnails",
            "caption": block.caption,
            "pictures": [_view(picture) for picture in block.pictures],
            "enlarges": bool(block.pictures),
        }
    if isinstance(block, Beside):
        return {
            "kind": "beside",
            "caption": block.caption,
            "columns": [(name, [_view(picture) for picture in pictures]) for name, pictures in block.columns],
            "enlarges": True,
        }
    if isinstance(block, Comparison):
        return {
            "kind": "comparison",
            "caption": block.caption,
            "pictures": [("before", _view(block.before)), ("after", _view(block.after))],
            "slides": True,
        }
    if isinstance(block, Stages):
        return {
            "kind": "stages",
            "caption": block.caption,
            "name": block.name,
            "stages": [(words, _view(picture)) for words, picture in block.stages],
            "first": block.first,
            "beside": None if block.beside is None else (block.beside[0], _view(block.beside[1])),
            "enlarges": True,
        }
    if isinstance(block, Gallery):
        return {
            "kind": "gallery",
            "caption": block.caption,
            "names": list(block.cards[0].values) if block.cards else [],
            "cards": [
                {
                    "title": card.title,
                    "picture": _view(card.picture),
                    "values": [(name, _cell(value)) for name, value in card.values.items()],
                }
                for card in block.cards
            ],
            "searchable": bool(block.cards),
            "enlarges": bool(block.cards),
        }
    if isinstance(block, Picture):
        width, height = (round(length / block.density) for length in block.size)
        return {
            "kind": "picture",
            "caption": block.caption,
            "alt": block.alt or block.caption,
            "uri": block.data_uri,
            "width": width,
            "height": height,
            "chart": False,
            "drawn": False,
            "enlarges": True,
        }
    raise TypeError(
        f"A section holds a {type(block).__name__}; its blocks are Paragraph, Table, Facts, Figure, Picture, "
        "Thumbnails, Comparison, Stages, Beside, Gallery, Drawing, Audio and Players of genmend.workbench.pages.page: "
        "wrap it in one of them."
    )


def _cell(value: Any) -> dict[str, Any]:
    text = cell_text(value)
    # A column of sentences keeps a width to be read in; the table scrolls.
    number = _is_number(value)
    return {"text": text, "number": number, "long": len(text) > LONG_TEXT, "value": value if number else None}


def _is_numeric(column: Sequence[Any]) -> bool:
    """Whether a column has numbers, and nothing else but gaps."""
    given = [value for value in column if value is not None]
    return bool(given) and all(map(_is_number, given))


def _is_number(value: Any) -> bool:
    # numpy's truth values are no Real, its numbers are.
    return isinstance(value, Real) and not isinstance(value, bool)
