"""Files that are there whole or not at all: whoever reads one sees the old content or the new, never half of it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

# activations has the same for writers that want a path; neither package may import the other.


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a new binary file; what the block writes into it becomes `path` when the block ends well.

    It lies beside `path` under a name of its own, is flushed to disk, and renamed over `path`. On any error, an
    interrupt or a full disk included, it is removed and `path` is left as it was. A killed process cannot tidy up: it
    may leave a hidden ``.<name>.<random>.tmp``. A `path` that is a symbolic link is replaced, not followed.

    Raises
    ------
    OSError
        As the file system gives it: no such folder, no space left, no permission.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "note"
    >>> with whole_file(target) as file:
    ...     _ = file.write(b"whole")
    >>> target.read_bytes()
    b'whole'
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Bring the rename itself to disk; where folders cannot be opened (Windows) the system does without."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
