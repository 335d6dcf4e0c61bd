"""Files that are there whole or not at all: whoever reads one sees the old content or the new, never half of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from genmend.storage.leftovers import remove_leftovers, temporary_name

__all__ = ["copy_file", "whole_file", "write_bytes"]


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; what the block writes there becomes `path` when the block ends well.

    The temporary file has a name of its own for every call and keeps the suffix, by which some writers choose the
    format. It is flushed to disk and renamed over `path`. On any error, an interrupt or a full disk included, it is
    removed and `path` is left as it was. A killed process cannot tidy up: it may leave its temporary file, and `path`
    as it was; the next process that writes to the folder removes what the dead have left there. A `path` that is a
    symbolic link is replaced, not followed.

    Raises
    ------
    OSError
        As the file system gives it: no such folder, no space left, no permission.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with whole_file(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    path = Path(path)
    _tidy_once(os.path.abspath(path.parent))
    temporary = path.with_name(temporary_name(path))
    # Made here, and exclusively, so that the name is ours; with the mode an ordinary open() would give (mkstemp's is
    # for the owner alone, and the rename would carry it to the final file).
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    mode = temporary.stat().st_mode
    try:
        yield temporary
        temporary.chmod(mode)  # some writers, safetensors' for one, replace the file by one for the owner alone
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def copy_file(given: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Copy a file's content to `path`, whole or not at all; nothing is done where both are one file."""
    given, path = Path(given), Path(path)
    if path.exists() and path.samefile(given):
        return
    with whole_file(path) as temporary, temporary.open("wb") as copy, given.open("rb") as content:
        shutil.copyfileobj(content, copy, 1 << 24)


@cache
def _tidy_once(folder: str) -> None:
    """At a process's first file in a folder; listing it for every file would be slow."""
    remove_leftovers(folder)


def _sync_folder(folder: Path) -> None:
    """Bring the rename itself to disk; where folders cannot be opened (Windows) the system does without."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
