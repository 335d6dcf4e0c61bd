"""Names that other packages add: entry points of four groups, imported where their name is used and not before.

A plug-in is code that runs as ours does: whoever installs its package has chosen that. It adds names and takes none of
ours over.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genmend.storage.named_object import error_told, users_line

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = ["GROUPS", "PlugIn", "PlugInError", "PlugInWarning", "find_plug_in", "plug_ins"]

#: Kind of name -> group of entry points.
GROUPS = {
    "generator": "genmend.generators",
    "voice": "genmend.voices",
    "extractor": "genmend.extractors",
    "corrector": "genmend.correctors",
}
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


class PlugInError(ValueError):
    """A plug-in cannot be used; the message names its package."""


class PlugInWarning(UserWarning):
    """A package names a plug-in that is left out; everything else works."""


@dataclass(frozen=True)
class PlugIn:
    """A name that a package adds.

    Attributes
    ----------
    kind, name : str
        A key of `GROUPS`, and the name.
    value : str
        ``module:attribute``, as the package gives it.
    package, version : str
    """

    kind: str
    name: str
    value: str
    package: str
    version: str

    @property
    def source(self) -> str:
        """The package and its version."""
        return f"{self.package} {self.version}"

    def load(self) -> Any:
        """Import what it stands for.

        Raises
        ------
        PlugInError
            If the package's module cannot be imported, or has nothing of this name.
        """
        from importlib.metadata import EntryPoint

        with self._told("imported"):
            return EntryPoint(self.name, self.value, GROUPS[self.kind]).load()

    def made(self, *arguments: Any, **options: Any) -> Any:
        """What the callable that it stands for returns.

        Raises
        ------
        PlugInError
            If it cannot be imported, is no callable, or raises.
        """
        found = self.load()
        with self._told("called"):
            return found(*arguments, **options)

    @contextmanager
    def _told(self, done: str) -> Iterator[None]:
        try:
            yield
        except (Exception, SystemExit) as error:
            told = error_told(error, users_line(error, last=True))
            raise PlugInError(
                f"The {self.kind} {self.name!r} of the package {self.source} cannot be {done} ({told}): update that "
                f"package, or uninstall it; --traceback shows where."
            ) from error


def plug_ins(kind: str, reserved: Collection[str] = ()) -> dict[str, list[PlugIn]]:
    """What the installed packages add, by name; nothing is imported.

    Of a name that several packages add all are given. A package whose entry points cannot be read, or are no names, or
    are names of ours (`reserved`), is told by a `PlugInWarning`, and these are left out.
    """
    from importlib.metadata import distributions

    found: dict[str, list[PlugIn]] = {}
    seen: set[str] = set()
    for package in distributions():
        name = (package.name or "unknown") if _says_genmend(package) else ""
        if not name or name in seen:  # one that is found twice on the path counts once, as for Python itself
            continue
        seen.add(name)
        for plug_in in _of_package(package, name, kind):
            if plug_in.name in reserved:
                _warn(f"{plug_in.source} names a {kind} {plug_in.name!r}, which is genmend's own name: it is left out.")
            else:
                found.setdefault(plug_in.name, []).append(plug_in)
    return dict(sorted(found.items()))


def find_plug_in(kind: str, name: str, reserved: Collection[str] = ()) -> PlugIn | None:
    """The plug-in of a name; None where no package adds it, or the name is one of `reserved`.

    Raises
    ------
    PlugInError
        If two packages add it; the message names both.
    """
    if name in reserved or not _NAME.fullmatch(name):
        return None
    found = plug_ins(kind, reserved).get(name, [])
    if len(found) > 1:
        packages = " and ".join(dict.fromkeys(plug_in.source for plug_in in found))
        raise PlugInError(f"The {kind} {name!r} is added {len(found)} times, by {packages}: uninstall all but one.")
    return found[0] if found else None


def _says_genmend(package: Distribution) -> bool:
    try:
        return "genmend." in (package.read_text("entry_points.txt") or "")
    except (OSError, UnicodeDecodeError):
        return False


def _of_package(package: Distribution, name: str, kind: str) -> Iterator[PlugIn]:
    try:
        entries = [(entry.name, entry.value, entry.group) for entry in package.entry_points]
        version = str(package.version)
    except Exception as error:  # whatever a file that is no such file makes of the parser
        _warn(f"The entry points of the package {name} cannot be read ({error_told(error, None)}): they are left out.")
        return
    for entry, value, group in entries:
        if group != GROUPS[kind]:
            continue
        if not _NAME.fullmatch(entry) or not re.fullmatch(r"[\w.]+:[\w.]+", value):
            _warn(f"{name} {version} names a {kind} {entry!r} as {value!r}, which is no name or no module:callable: "
                  "it is left out.")  # fmt: skip
            continue
        yield PlugIn(kind, entry, value, name, version)


def _warn(message: str) -> None:
    warnings.warn(message, PlugInWarning, stacklevel=4)
