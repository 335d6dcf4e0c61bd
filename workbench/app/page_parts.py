"""Parts of the page as HTML with every text escaped: figures, tables, rows of pictures."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from genmend.manifold.figures.image_grid import png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figure_html", "note_html", "pictures_html", "pixels_of", "table_html"]

LEAST_SIDE = 128  # pixels: smaller pictures are enlarged, without blurring


def figure_html(figure: Figure, words: str) -> str:
    """A drawing on white, with what it shows in words for those who do not see it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f'<img class="figure" alt="{escape(words)}" src="{_uri(buffer.getvalue())}">'


def table_html(header: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """A table; numbers stand to the right, what is missing is a dash."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    said = f'<p class="caption">{escape(caption)}</p>' if caption else ""
    # Focusable, so that a narrow screen scrolls it by keyboard too.
    return (
        f'<div class="plain-table" tabindex="0" role="region" aria-label="{escape(caption or header[0])}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{said}"
    )


def pictures_html(pictures: Sequence[tuple[Any, str]], words: str) -> str:
    """Pictures in a row with a caption under each; `words` says what they are."""
    shown = "".join(
        f'<figure><img alt="{escape(words)}: {escape(caption)}" src="{_uri(png(_large(pixels_of(image))))}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for image, caption in pictures
    )
    return f'<div class="pictures">{shown}</div>'


def note_html(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>" if text else ""


def pixels_of(image: Any) -> np.ndarray:
    """An image (3, h, w) or (h, w, 3) in 0..1 as (h, w, 3) uint8."""
    values = image.detach().cpu().numpy() if hasattr(image, "detach") else np.asarray(image)
    if values.ndim == 3 and values.shape[0] in (1, 3) and values.shape[2] not in (1, 3):
        values = np.moveaxis(values, 0, 2)
    if values.dtype != np.uint8:
        values = (np.clip(values, 0, 1) * 255).round().astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))


def _large(pixels: np.ndarray) -> np.ndarray:
    times = max(1, -(-LEAST_SIDE // max(pixels.shape[:2])))
    return pixels.repeat(times, 0).repeat(times, 1)


def _cell(value: Any) -> str:
    if value is None:
        return '<td class="number">\N{EN DASH}</td>'
    if isinstance(value, bool | str):
        return f"<td>{escape(str(value))}</td>"
    text = f"{value}" if isinstance(value, int) else f"{value:.3f}"
    return f'<td class="number">{text}</td>'


def _uri(data: bytes) -> str:
    return "data:image/png;base64," + b64encode(data).decode("ascii")
