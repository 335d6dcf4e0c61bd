"""Markdown for the result pages: numbers with their intervals, tables, pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def interval(ends: Sequence[float], digits: int = 3, *, sign: bool = False) -> str:
    """Two ends as "[0.89, 0.96]"; a zero has no sign of its own."""
    return "[{}, {}]".format(*(number(end, digits, sign=sign) for end in ends))


def estimate(value: float, ends: Sequence[float], digits: int = 3, *, sign: bool = False) -> str:
    """A value and its interval, as "0.93 [0.89, 0.96]"."""
    return f"{number(value, digits, sign=sign)} {interval(ends, digits, sign=sign)}"


def number(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """The rounded value, "-" where there is none."""
    if value is None:
        return "-"
    rounded = round(value, digits) + 0.0  # no negative zero
    return f"{rounded:{'+' if sign and rounded else ''}.{digits}f}"


def percent(share: float, digits: int = 0) -> str:
    """A share of 1 as "94 %"."""
    return f"{100 * share:.{digits}f} %"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; a vertical bar inside a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def picture(name: str, caption: str) -> str:
    """A picture of the experiment's results folder, by its file name, with its caption below."""
    return f"![{caption}]({{pictures}}/{name})\n\n*{caption}*"


def document(*parts: str) -> str:
    """The parts, one blank line between two of them."""
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"
