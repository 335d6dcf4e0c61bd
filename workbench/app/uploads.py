"""Files of a visitor: checked by kind and size before they are opened, and put into a folder of their own."""

from __future__ import annotations

import secrets
import shutil
import stat
import weakref
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from genmend.manifold.features.audio_files import AUDIO_SUFFIXES
from genmend.manifold.features.image_files import IMAGE_SUFFIXES
from genmend.storage.atomic import whole_file
from genmend.workbench.app.guard import ARRAY_SUFFIXES, MOST_BYTES, suffix_of

__all__ = ["SAMPLE_SUFFIXES", "OwnFolder", "check_upload", "take_file", "take_samples"]

SAMPLE_SUFFIXES = IMAGE_SUFFIXES | AUDIO_SUFFIXES
MOST_FILES = 20_000
MOST_UNPACKED = 4 * MOST_BYTES


class OwnFolder:
    """A new folder that is removed, with all in it, when nobody holds this object any more."""

    def __init__(self, parent: Path) -> None:
        self.path = parent / secrets.token_hex(8)
        self.path.mkdir(parents=True)
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def take_samples(uploaded: Sequence[str], folder: Path, files: Path) -> Path:
    """Put uploaded samples into `folder` and return what `manifold.features_of` takes: a folder, or one array's file.

    Parameters
    ----------
    uploaded : sequence of str
        Paths of uploads as the page has them: a zip of images or recordings, several of these themselves, or one
        .npy, .npz, .safetensors or .csv file.
    folder : Path
        Where they go; made here.
    files : Path
        The folder that uploads lie in; nothing outside it is opened.

    Raises
    ------
    ValueError
        For files of another kind, too many, too large, and for anything that is no upload.
    """
    if not uploaded:
        raise ValueError("No file was given: upload a zip of images or recordings, several of them, or an array.")
    paths = [check_upload(path, files) for path in uploaded]
    endings = {suffix_of(path.name) for path in paths}
    folder.mkdir(parents=True)
    if len(paths) == 1 and endings <= ARRAY_SUFFIXES:
        return Path(shutil.copyfile(paths[0], folder / f"array{endings.pop()}"))
    if endings == {".zip"}:
        for number, path in enumerate(paths):
            _unpack(path, folder / str(number) if len(paths) > 1 else folder)
        return folder
    if not endings <= SAMPLE_SUFFIXES:
        raise ValueError(
            f"Files ending in {', '.join(sorted(endings))} came together; give images or recordings, one zip of them, "
            "or one array (.npy, .npz, .safetensors, .csv)."
        )
    for number, path in enumerate(paths):
        name = path.name if not (folder / path.name).exists() else f"{number}-{path.name}"
        shutil.copyfile(path, folder / name)
    return folder


def take_file(uploaded: str | None, folder: Path, files: Path, suffix: str = ".safetensors") -> Path:
    """Copy one uploaded file into `folder`, which is there, under a name of the page's own.

    Raises
    ------
    ValueError
        For no file, one of another kind, one that is too large, and for anything that is no upload.
    """
    if not uploaded:
        raise ValueError(f"No file was given: upload a {suffix} file.")
    path = check_upload(uploaded, files)
    if suffix_of(path.name) != suffix:
        raise ValueError(f"{path.name} is none of the kind that is needed here: upload a {suffix} file.")
    return Path(shutil.copyfile(path, folder / f"uploaded{suffix}"))


def check_upload(path: str, files: Path) -> Path:
    """The path of a file below `files`, the folder of uploads; ValueError where it is none, or too large."""
    given = Path(path)
    if not given.is_relative_to(files) or ".." in given.parts or not given.resolve().is_relative_to(files.resolve()):
        raise ValueError("That is no file of this page: upload it.")
    if given.is_symlink() or not given.is_file():
        raise ValueError(f"{given.name} is no file: upload it again.")
    if given.stat().st_size > MOST_BYTES:
        raise ValueError(f"{given.name} has more than {MOST_BYTES // 2**20} MB: give fewer or smaller samples.")
    return given


def _unpack(path: Path, folder: Path) -> None:
    """Write the images or recordings of a zip below `folder`; other files in it are passed over."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if _is_sample(entry)]
            if not entries:
                raise ValueError(f"{path.name} holds neither images nor recordings that can be read.")
            size = sum(entry.file_size for entry in entries)
            if len(entries) > MOST_FILES or size > MOST_UNPACKED:
                raise ValueError(
                    f"{path.name} holds {len(entries)} files of {size / 2**20:.0f} MB; {MOST_FILES} and "
                    f"{MOST_UNPACKED // 2**20} MB are the most."
                )
            for entry in entries:
                target = folder.joinpath(*PurePosixPath(entry.filename).parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with whole_file(target) as temporary, archive.open(entry) as source, temporary.open("wb") as file:
                    _copy(source, file, entry.file_size, path.name)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise ValueError(f"{path.name} is no zip that can be unpacked: {error}.") from error


def _copy(source: object, target: object, size: int, name: str) -> None:
    """Copy at most as many bytes as the archive says: it may lie."""
    left = size
    while block := source.read(min(2**20, left + 1)):  # type: ignore[attr-defined]
        left -= len(block)
        if left < 0:
            raise ValueError(f"{name} holds a file that is larger than it says.")
        target.write(block)  # type: ignore[attr-defined]


def _is_sample(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is an image or a recording, at a place inside the archive's own folder; links are not."""
    name = entry.filename
    parts = PurePosixPath(name).parts
    plain = name.isprintable() and "\\" not in name and ":" not in name and not name.startswith("/")
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    link = stat.S_ISLNK(entry.external_attr >> 16)
    return plain and not hidden and not link and not entry.is_dir() and suffix_of(name) in SAMPLE_SUFFIXES
