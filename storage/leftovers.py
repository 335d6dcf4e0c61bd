"""What earlier runs have left: temporary files of killed ones, told by their names; results of other settings."""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
import tempfile
import time
import zlib
from collections.abc import Collection
from contextlib import suppress
from functools import cache
from pathlib import Path

__all__ = ["remove_leftovers", "remove_others", "temporary_folder", "temporary_name"]

_DAY = 24 * 3600.0
_TEMPORARY = re.compile(r"\..*\.(?:([0-9a-f]{8})-(\d+)-[0-9a-z_]{8}|[0-9a-f]{16})\.tmp(?:\.[^.]*)?", re.DOTALL)


def temporary_name(path: Path) -> str:
    """Return a hidden name beside `path`, another at every call: ``.<stem>.<machine>-<process>-<random>.tmp<suffix>``.

    A long stem is cut, for names have at most 255 bytes.
    """
    return f".{path.stem[:40]}.{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.tmp{path.suffix}"


def temporary_folder(parent: str | os.PathLike[str]) -> tempfile.TemporaryDirectory[str]:
    """Make a hidden folder in `parent` for a ``with`` block; `remove_leftovers` knows those of killed processes."""
    return tempfile.TemporaryDirectory(dir=parent, prefix=f".folder.{_machine()}-{os.getpid()}-", suffix=".tmp")


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove temporary files and folders in `folder` (not below it) whose makers are dead; those of the living stay.

    A maker on this machine is dead if no process has its number. One that can't be asked (another machine on a shared
    disk, this one before it was started anew, a name of older versions) counts as dead when its file was last touched a
    day ago. What can't be listed or removed is left.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            named = _TEMPORARY.fullmatch(entry.name)
            with suppress(OSError):
                if named and _is_left(entry, *named.groups()):
                    shutil.rmtree(entry) if entry.is_dir(follow_symlinks=False) else os.unlink(entry)


def remove_others(folder: Path, pattern: str, names: Collection[str]) -> None:
    """Remove the files in `folder` that match `pattern` and are not among `names`, and the folder if none is left.

    They are an earlier run's with other settings, and would be taken for results of this one.
    """
    for file in folder.glob(pattern):
        if file.name not in names:
            file.unlink(missing_ok=True)
    with suppress(OSError):  # something is in it, or it is not there
        folder.rmdir()


def _is_left(entry: os.DirEntry[str], machine: str | None, process: str | None) -> bool:
    if process is not None and machine == _machine() and os.name == "posix":  # elsewhere signal 0 ends a process
        return not _lives(int(process))
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > _DAY


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's
        return True
    return True


@cache
def _machine() -> str:
    """Eight hex digits for where process numbers mean the same: this machine since its start, and this container."""
    facts = [platform.node()]
    with suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with suppress(OSError):
        facts.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return f"{zlib.crc32(' '.join(facts).encode()):08x}"
