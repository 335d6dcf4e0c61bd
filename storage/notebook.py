"""What results share in a notebook: a small table with a figure where one stands alone, and their rows for pandas."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from typing import Any

__all__ = ["NotebookResult", "figure_html", "table_html"]

_MOST, _LINES = 14, 10  # rows of the table, and of the text
_LEFT_OUT = ("settings", "probe", "sources", "thresholds", "n_by_rung", "warnings")


class NotebookResult:
    """A result with `to_dict` and `columns`, and perhaps a `plot`, as a notebook shows it."""

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        raise NotImplementedError

    def columns(self) -> Mapping[str, Any]:
        """Its rows, as in its CSV file: name of the column -> (rows,)."""
        raise NotImplementedError

    def to_pandas(self) -> Any:
        """Its rows as a ``pandas.DataFrame``, a column each of `columns`.

        Raises
        ------
        ModuleNotFoundError
            If pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "A table of pandas needs pandas, which is not installed: run `pip install pandas`, or use .columns().",
                name="pandas",
            ) from error
        return pandas.DataFrame(dict(self.columns()))

    def __repr__(self) -> str:
        """At most twelve lines; arrays and settings are elsewhere."""
        rows = list(_short(self.to_dict()))
        width = max((len(name) for name, _ in rows[:_LINES]), default=0)
        lines = [type(self).__name__, *(f"  {name:{width}}  {text}" for name, text in rows[:_LINES])]
        more = f"{len(rows) - _LINES} more and " if len(rows) > _LINES else ""
        return "\n".join([*lines, f"  {more}settings in .to_dict(), rows in .columns() and .to_pandas()"])

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        draw = getattr(self, "plot", None)
        figure = None if draw is None else draw()
        return table_html(type(self).__name__, self.to_dict()) + ("" if figure is None else figure_html(figure))


def table_html(caption: str, totals: Mapping[str, Any]) -> str:
    """The first numbers and words of a summary as a small table; settings and lists are left out."""
    rows = list(_short(totals))
    shown = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows[:_MOST])
    more = f"<p>{len(rows) - _MOST} more in .to_dict().</p>" if len(rows) > _MOST else ""
    return f"<table><caption>{escape(caption)}</caption>{shown}</table>{more}"


def _short(totals: Mapping[str, Any], before: str = "", depth: int = 0) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in totals.items():
        name = f"{before}{str(key).replace('_', ' ')}"
        if key in _LEFT_OUT or value is None:
            continue
        if isinstance(value, bool):
            found.append((name, "yes" if value else "no"))
        elif isinstance(value, int | float):
            found.append((name, f"{value:.4g}" if isinstance(value, float) else str(value)))
        elif isinstance(value, str) and len(value) <= 80:
            found.append((name, value))
        elif isinstance(value, Mapping) and depth < 2:
            found += _short(value, f"{name}, ", depth + 1)
        elif isinstance(value, list) and len(value) == 1 and isinstance(value[0], Mapping) and depth < 2:
            found += _short(value[0], before, depth + 1)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            found.append((name, f"{len(value)}"))
    return found


def figure_html(figure: Any) -> str:
    """A matplotlib figure as an image of a page that needs no other file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", backend="agg", dpi=90, bbox_inches="tight", metadata={"Software": None})
    encoded = b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="figure" style="background: #ffffff; max-width: 100%" src="data:image/png;base64,{encoded}">'
