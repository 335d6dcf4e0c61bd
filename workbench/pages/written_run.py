"""A folder that a command wrote, read again: what its summary and its page say."""

from __future__ import annotations

import json
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Figure", "WrittenRun", "figure_columns", "read_run"]

_PNG = "data:image/png;base64,"
_NOT_FIGURES = ("settings", "probe", "sources", "intervals", "engine", "thresholds", "n_by_rung")
_NAMED_BY = ("method", "word", "text", "name", "concept")  # what an entry of a list is called by


@dataclass(frozen=True)
class Figure:
    """One number of a summary, with its interval where that is known."""

    value: float | int | bool | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class WrittenRun:
    """What one folder holds.

    Attributes
    ----------
    path : Path
    command : str
        Which one wrote it, e.g. ``detect``.
    totals : dict
        ``summary.json``.
    sentence, number : str, tuple of str
        The first sentence of its page; the name of its first number, its value and its control, "" where it has none.
    pictures : tuple of (str, bytes)
        Caption and PNG of what its first screen shows.
    """

    path: Path
    command: str
    totals: dict[str, Any]
    sentence: str = ""
    number: tuple[str, str, str] = ("", "", "")
    pictures: tuple[tuple[str, bytes], ...] = ()

    def figures(self) -> dict[str, Figure]:
        """The numbers of the summary by name, in its order, with intervals."""
        found = {path: value for path, value in _leaves(self.totals) if path[0] not in _NOT_FIGURES}
        intervals = {path[1:]: value for path, value in _leaves(self.totals) if path[0] == "intervals"}
        figures = {}
        for path, value in found.items():
            if isinstance(value, list) or path[-1] == "half_width" or _is_bound(path, found):
                continue
            low, high = _interval(path, value, found, intervals)
            figures[_name(path)] = Figure(value, low, high)
        return figures

    def settings(self) -> dict[str, Any]:
        """The settings by name, nested ones joined by dots."""
        return dict(_flat(self.totals.get("settings") or {}))


def read_run(path: Path) -> WrittenRun:
    """Read a folder that a command wrote.

    Raises
    ------
    ValueError
        If it is none, or its files are damaged.
    """
    page = path / "report.html"
    if not (path / "summary.json").is_file() or not page.is_file():
        raise ValueError(
            f"{path} is no finished run of genmend (it has no summary.json and report.html): give a folder that was "
            "the --out of a command."
        )
    try:
        totals = json.loads((path / "summary.json").read_text(encoding="utf-8"))
        reader = _Page()
        reader.feed(page.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read ({error}): run its command again.") from error
    words = reader.title.split()
    if not isinstance(totals, dict) or words[:1] != ["genmend"] or len(words) < 2:
        raise ValueError(f"{path} holds no page of a command of genmend: run its command again.")
    command = words[1].rstrip(":")
    if command == "speak":
        command += " --edit" if "edits" in totals else " --file" if "riskiest" in totals else ""
    name, value, control = (" ".join(reader.figure.get(part, "").split()) for part in ("dt", "value", "dd"))
    return WrittenRun(path, command, totals, reader.sentence, (name, value, control), tuple(reader.pictures))


def figure_columns(runs: Sequence[WrittenRun]) -> dict[str, np.ndarray]:
    """A row for each run and figure: name of the column -> (rows,)."""
    rows = [(str(run.path), name, figure) for run in runs for name, figure in run.figures().items()]
    numbers = {
        name: np.array([np.nan if (value := getattr(figure, name)) is None else float(value) for _, _, figure in rows])
        for name in ("value", "low", "high")
    }
    return {"run": np.array([run for run, _, _ in rows]), "figure": np.array([name for _, name, _ in rows]), **numbers}


def _leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """The numbers, truth values and pairs of numbers of a summary, each with where it stands."""
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, (*path, str(key)))]
    if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        found = []
        for number, entry in enumerate(value):
            name = next((str(entry[key]) for key in _NAMED_BY if isinstance(entry.get(key), str)), str(number))
            found += _leaves({key: inner for key, inner in entry.items() if key not in _NAMED_BY}, (*path, name))
        return found
    pair = isinstance(value, list) and len(value) == 2 and all(isinstance(one, int | float) for one in value)
    return [(path, value)] if path and (isinstance(value, int | float) or value is None or pair) else []


def _is_bound(path: tuple[str, ...], found: dict[tuple[str, ...], Any]) -> bool:
    """Whether it is the lower or upper bound of another figure."""
    for ending in ("_lower", "_upper"):
        for place, part in enumerate(path):
            if part.endswith(ending) and (*path[:place], part.removesuffix(ending), *path[place + 1 :]) in found:
                return True
    return False


def _interval(
    path: tuple[str, ...], value: Any, found: dict[tuple[str, ...], Any], intervals: dict[tuple[str, ...], Any]
) -> tuple[float | None, float | None]:
    beside = found.get((*path[:-1], f"{path[-1]}_interval"))
    if path[:1] == ("k",):
        beside = intervals.get(path[1:])
    if isinstance(beside, list):
        return beside[0], beside[1]
    half = found.get((*path[:-1], "half_width"))
    if path[-1] == "mean" and half is not None and value is not None:
        return value - half, value + half
    for place, part in enumerate(path):
        bounds = [found.get((*path[:place], f"{part}{end}", *path[place + 1 :])) for end in ("_lower", "_upper")]
        if None not in bounds:
            return bounds[0], bounds[1]
    return None, None


def _name(path: tuple[str, ...]) -> str:
    if path[0] == "k" and len(path) == 3:
        return f"{path[2]}, k = {path[1]}"
    return ", ".join(
        part.replace("_", " ") if len(part) <= 40 else f"{part[:39]}\N{HORIZONTAL ELLIPSIS}" for part in path
    )


def _flat(value: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, inner in value.items():
        found += _flat(inner, f"{before}{key}.") if isinstance(inner, dict) else [(f"{before}{key}", inner)]
    return found


@dataclass
class _Page(HTMLParser):
    """The title of a page and its first screen."""

    title: str = ""
    sentence: str = ""
    figure: dict[str, str] = field(default_factory=dict)
    pictures: list[tuple[str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._into, self._depth = "", 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        kind = given.get("class", "")
        if tag == "div" and (self._depth or kind == "shown"):
            self._depth += 1
        self._into = {"title": "title", "dt": "dt" if not self.figure.get("dt") else ""}.get(tag, "")
        if tag == "p" and kind == "sentence":
            self._into = "sentence"
        if tag == "dd" and len(self.figure) < 3 and "dt" in self.figure:
            self._into = "value" if kind == "value" else "dd"
        if tag == "img" and self._depth and given.get("src", "").startswith(_PNG):
            try:
                self.pictures.append((given.get("alt", ""), b64decode(given["src"].removeprefix(_PNG), validate=True)))
            except Base64Error as error:
                raise ValueError(f"a picture of its page is damaged: {error}") from error

    def handle_endtag(self, tag: str) -> None:
        self._into = ""
        if tag == "div" and self._depth:
            self._depth -= 1

    def handle_data(self, data: str) -> None:
        if self._into in ("title", "sentence"):
            setattr(self, self._into, getattr(self, self._into) + data)
        elif self._into:
            self.figure[self._into] = self.figure.get(self._into, "") + data
