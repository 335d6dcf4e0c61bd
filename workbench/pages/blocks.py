"""What a report is made of: sections of paragraphs, tables, facts, pictures and sounds."""

from __future__ import annotations

import io
import json
import struct
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from xml.etree import ElementTree

import numpy as np

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = [
    "Answer",
    "Audio",
    "Beside",
    "Block",
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
    "cell_text",
]

_PNG_START = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Paragraph:
    """Plain text; an empty line in it begins a new paragraph."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows under a header; numbers stand to the right, floats with four significant digits.

    A click on a head sorts it; a `searchable` one has a field to search it too. Cells of `marked` columns of a row,
    (row, column) from 0, stand out.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    searchable: bool = False
    marked: Collection[tuple[int, int]] = ()

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.header):
                raise ValueError(
                    f"Row {number} of the table {self.caption!r} has {len(row)} cells and its header "
                    f"{len(self.header)}: give every row as many cells as the header has."
                )


@dataclass(frozen=True)
class Facts:
    """Names with values, for exact settings: floats in full, lists and mappings as JSON."""

    caption: str
    pairs: Mapping[str, Any]


@dataclass(frozen=True)
class Picture:
    """A PNG as bytes; `alt` says what is to be seen for those who cannot see it (the caption where left out).

    `density` is how many of its pixels go to one of the page's, for sharpness on a fine screen.
    """

    caption: str
    png: bytes
    alt: str = ""
    density: float = 1.0

    def __post_init__(self) -> None:
        if not self.png.startswith(_PNG_START) or len(self.png) < 24:
            raise ValueError(
                f"The picture {self.caption!r} begins with {self.png[:8]!r}, which is not a PNG: "
                'encode it first, e.g. image.save(buffer, format="PNG").'
            )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as the file's own header says."""
        width, height = struct.unpack(">II", self.png[16:24])
        return width, height

    @property
    def data_uri(self) -> str:
        """The whole picture as a data URI."""
        return "data:image/png;base64," + b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Thumbnails:
    """Small pictures with a line of words under each, its caption; shown at least 96 pixels wide, without blur."""

    caption: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Comparison:
    """Two pictures of the same size over each other, with a slider between them; on paper one beside the other."""

    caption: str
    before: Picture
    after: Picture

    def __post_init__(self) -> None:
        if self.before.size != self.after.size:
            raise ValueError(
                f"The pictures of {self.caption!r} are {self.before.size} and {self.after.size} pixels large: give two "
                "of the same size."
            )


@dataclass(frozen=True)
class Stages:
    """Pictures of one size that a slider goes through, one seen at a time; on paper and without a script all of them.

    Attributes
    ----------
    caption : str
    name : str
        What the slider changes.
    stages : sequence of (str, Picture)
        Each with the words beside the slider.
    first : int
        Which is seen first.
    beside : (str, Picture), optional
        What stays, beside them.
    """

    caption: str
    name: str
    stages: Sequence[tuple[str, Picture]]
    first: int = 0
    beside: tuple[str, Picture] | None = None

    def __post_init__(self) -> None:
        if len({picture.size for _, picture in self.stages}) > 1:
            raise ValueError(f"The pictures of {self.caption!r} are of different sizes: give pictures of one size.")
        if not 0 <= self.first < len(self.stages):
            raise ValueError(f"Stage {self.first} of {self.caption!r} is to be seen first of {len(self.stages)}.")


@dataclass(frozen=True)
class Beside:
    """Pictures of several things beside each other, in a column each under its name."""

    caption: str
    columns: Sequence[tuple[str, Sequence[Picture]]]


@dataclass(frozen=True)
class Card:
    """One item of a gallery: a picture, what it is, and named values to read and to sort by."""

    title: str
    picture: Picture
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Gallery:
    """Cards with a field to search and sort them; all have values of the same names, at least one."""

    caption: str
    cards: Sequence[Card]

    def __post_init__(self) -> None:
        names = {tuple(card.values) for card in self.cards}
        if len(names) > 1 or names == {()}:
            raise ValueError(f"The cards of {self.caption!r} have values of different names, or none: {sorted(names)}.")


@dataclass(frozen=True)
class Audio:
    """A WAV file as bytes, with a player; keep it short, for the page carries all of it."""

    caption: str
    wav: bytes

    def __post_init__(self) -> None:
        if self.wav[:4] != b"RIFF" or self.wav[8:12] != b"WAVE":
            raise ValueError(
                f"The sound {self.caption!r} begins with {self.wav[:12]!r}, which is no WAV file: "
                "write it as one first, e.g. with the module wave."
            )

    @property
    def data_uri(self) -> str:
        """The whole sound as a data URI."""
        return "data:audio/wav;base64," + b64encode(self.wav).decode("ascii")


@dataclass(frozen=True)
class Players:
    """Sounds to be compared, each with a player and its caption, beside each other."""

    caption: str
    sounds: Sequence[Audio]


@dataclass(frozen=True)
class Figure:
    """A matplotlib figure, drawn when the report is written; it is never shown and stays the caller's."""

    caption: str
    figure: matplotlib.figure.Figure
    alt: str = ""

    @property
    def is_chart(self) -> bool:
        """Whether it is drawn lines and text alone, so that its colours can be turned round in the dark."""
        return not any(axes.images for axes in self.figure.axes)

    def picture(self, dpi: int = 144) -> Picture:
        """The figure as a PNG, drawn by Agg whatever backend is chosen; pyplot is neither needed nor touched."""
        buffer = io.BytesIO()
        self.figure.savefig(
            buffer,
            format="png",
            backend="agg",
            dpi=dpi,
            bbox_inches="tight",
            metadata={"Software": None},
            pil_kwargs={"compress_level": 3},  # a third of the time of the usual 6, for a tenth more bytes
        )
        # A page has 96 pixels to the inch: words in it are as large as in the figure, whatever its width.
        return Picture(self.caption, buffer.getvalue(), self.alt, density=dpi / 96)


@dataclass(frozen=True)
class Drawing:
    """An SVG element that a reader can zoom and move about in.

    It goes into the page as it is: build it with `xml.etree.ElementTree`, which escapes every text.
    """

    caption: str
    svg: ElementTree.Element
    height: int = 560

    @property
    def markup(self) -> str:
        """The element as text."""
        return ElementTree.tostring(self.svg, encoding="unicode")


Block: TypeAlias = (
    Paragraph
    | Table
    | Facts
    | Picture
    | Thumbnails
    | Comparison
    | Stages
    | Beside
    | Gallery
    | Audio
    | Players
    | Figure
    | Drawing
)


@dataclass(frozen=True)
class Number:
    """The figure that matters most, and the yardstick that it is read against."""

    name: str
    value: str
    control: str = ""


@dataclass(frozen=True)
class Answer:
    """The first screen of a page: what was found, in a sentence, a number with its control, and a picture or two.

    Attributes
    ----------
    sentence : str
    number : Number, optional
    doubts : sequence of str
        What speaks against it, and has to be read.
    pictures : sequence of Block
        What shows it: pictures, a comparison, a player.
    more : str
        What a reader may want next, folded away; an empty line begins a paragraph.
    """

    sentence: str
    number: Number | None = None
    doubts: Sequence[str] = ()
    pictures: Sequence[Block] = ()
    more: str = ""

    def in_words(self) -> str:
        """The same for a terminal."""
        lines = [self.sentence]
        if self.number is not None:
            control = f" ({self.number.control})" if self.number.control else ""
            lines.append(f"{self.number.name}: {self.number.value}{control}")
        return "\n".join([*lines, *(f"Mind: {doubt}" for doubt in self.doubts)])


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it; a `closed` one opens when it is clicked, and draws nothing before."""

    title: str
    blocks: Sequence[Block]
    closed: bool = False


def cell_text(value: Any, exact: bool = False) -> str:
    """A value as a reader wants it: an absent one as a dash, a float short (or in full where `exact`)."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return repr(float(value)) if exact else f"{value:.4g}"
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)
