"""What can be shared as one file: saved in a folder with its card, pushed to the hub, and read back from either."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Self

from genmend.storage.hub.kinds import KINDS
from genmend.storage.hub.repository import find_shared, upload
from genmend.storage.hub.shelf import write_shelf

__all__ = ["Shareable", "push"]


def push(
    shared: Shareable | Path,
    repo_id: str,
    *,
    licence: str,
    about: str = "",
    private: bool = False,
    revision: str | None = None,
    message: str = "",
) -> str:
    """Push it to a repository of the hub, with a card made of what the file says.

    Parameters
    ----------
    shared
        What can be shared, or a file of one of the `KINDS`.
    repo_id
        OWNER/NAME; made where it is not there.
    licence
        Of the file, e.g. ``mit``; look at that of the model it was made from, which may bind it.
    about
        Words of your own for the card.
    private
        Whether a repository that is made can be seen by its owner alone.
    revision
        The branch to push to; the main one where None.
    message
        Of the commit.

    Returns
    -------
    str
        The address of the commit.

    Raises
    ------
    ValueError
        If there is no licence, or the name is none of a repository.
    storage.hub.repository.HubError
        If the hub is not reached, or refuses.
    ModuleNotFoundError
        If huggingface_hub is not installed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        written, shelf = Path(scratch) / "file", Path(scratch) / "shelf"
        written.mkdir()
        file = shared if isinstance(shared, Path) else shared._saved_in(written)
        write_shelf(file, shelf, source=repo_id, licence=licence, about=about)
        return upload(shelf, repo_id, private=private, revision=revision, message=message)


class Shareable:
    """Base of corrections, detectors, regions and repairs: a subclass says by `_kinds` which files hold it."""

    #: Names in `KINDS`, of which the first is how it is saved.
    _kinds: ClassVar[tuple[str, ...]]

    def save_pretrained(self, folder: str | os.PathLike[str], *, licence: str, about: str = "") -> Path:
        """Save it in a folder, with a card made of what the file says.

        Parameters
        ----------
        folder
            Made where it is not there.
        licence
            Of the file, e.g. ``mit``; look at that of the model it was made from, which may bind it.
        about
            Words of your own for the card.

        Returns
        -------
        Path
            The file in the folder.

        Raises
        ------
        ValueError
            If there is no licence, or it cannot be saved.
        OSError
            If the folder cannot be written.
        """
        with tempfile.TemporaryDirectory() as scratch:
            file = self._saved_in(Path(scratch))
            # The card names the folder and not where it lies here.
            return write_shelf(file, Path(folder), source=Path(folder).resolve().name, licence=licence, about=about)

    push_to_hub = push

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str], *, revision: str | None = None) -> Self:
        """Load it from a folder, a file, or a repository of the hub; the file is data, and no code of it runs.

        Parameters
        ----------
        source
            A path; where there is none of this name, a repository OWNER/NAME.
        revision
            A branch, tag or commit of the repository; the commit of what you have looked at never changes.

        Raises
        ------
        ValueError
            If what is there is of another kind or damaged.
        FileNotFoundError
            If there is nothing.
        storage.hub.repository.HubError
            If the hub is not reached, or has no such repository.
        ModuleNotFoundError
            If a repository is meant and huggingface_hub is not installed.
        """
        found = find_shared(Path(source) if isinstance(source, os.PathLike) else source, revision=revision)
        wanted = " or ".join(KINDS[name].noun for name in cls._kinds)
        if found.kind.name not in cls._kinds:
            raise ValueError(
                f"{source} holds {found.kind.noun}, but {wanted} is wanted; read it by "
                f"{found.kind.read_by}.from_pretrained."
            )
        loaded: Any = found.kind.function("load")(found.path)
        if not isinstance(loaded, cls):
            raise ValueError(f"{source} holds {type(loaded).__name__}; read it by its from_pretrained.")
        return loaded

    def _saved_in(self, folder: Path) -> Path:
        """Write its file to a folder, by the name that files of its kind have."""
        kind = KINDS[self._kinds[0]]
        kind.function("save")(folder / kind.file, self)
        return folder / kind.file
