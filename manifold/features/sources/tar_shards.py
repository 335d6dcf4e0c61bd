"""Images in tar archives, as webdataset writes them: read where they lie, and never unpacked.

A sample's key is its name up to the first dot of its last part; what follows says what a member is: ``000017.jpg`` and
``000017.cls`` are an image and its class. Layout: github.com/webdataset/webdataset.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from torch import Tensor

from genmend.manifold.features.image_files import IMAGE_SUFFIXES, MOST_BYTES
from genmend.manifold.features.sources.files import encoded_image
from genmend.manifold.features.sources.samples import Samples, label_text
from genmend.manifold.features.unusable import UnusableSampleError
from genmend.storage.digests import sha256_of

__all__ = ["COMPRESSED", "is_compressed_tar", "tar_samples"]

COMPRESSED = (".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst")
_LABELS = ("cls", "label", "class")  # ending of a member that holds a class; with .json, the keys of it
_KEYS = ("label", "cls", "class", "class_name", "category")
_MOST_LABEL_BYTES = 1 << 20
_BLOCK = 512
_LOOKED_AT = 1 << 20  # bytes behind the last member, which are all 0


class _Image(NamedTuple):
    shard: int
    name: str
    ending: str  # of its key
    offset: int
    size: int
    reason: str  # why it cannot be read; empty where it can


def is_compressed_tar(path: Path) -> bool:
    """Whether a name is that of a compressed archive."""
    name = path.name.lower()
    return name.endswith(COMPRESSED) and (".tar." in name or path.suffix.lower() in (".tgz", ".tbz2", ".txz"))


def tar_samples(paths: Sequence[Path], ending: str, description: str) -> Samples:
    """The images of one or several archives in their order, with a class where there is a .cls or a .json.

    Parameters
    ----------
    paths
        Of archives.
    ending
        Which images are meant where a key has several, e.g. "input.png".
    description

    Raises
    ------
    ValueError
        If one is damaged, cut off or compressed, holds no images, or several of a key of which none is named.
    """
    images: list[_Image] = []
    classes: dict[tuple[int, str], str] = {}
    for shard, path in enumerate(paths):
        of_shard: dict[str, _Image] = {}  # the last of a name counts, as when it is unpacked
        for one in _members(path, shard, classes):
            of_shard[one.name] = one
        images += of_shard.values()
    images = _meant(images, ending, description)
    names = [one.name for one in images]
    if len(set(names)) < len(names):
        names = [f"{one.name} ({paths[one.shard].name})" for one in images]

    def place(index: int) -> str:
        return f"{paths[images[index].shard]}, {images[index].name}"

    def content(index: int) -> bytes:
        one = images[index]
        if one.reason:
            raise UnusableSampleError(place(index), one.reason)
        if one.size > MOST_BYTES:
            raise UnusableSampleError(place(index), f"it is larger than {MOST_BYTES >> 20} MB; give a smaller image")
        try:
            with paths[one.shard].open("rb") as file:
                file.seek(one.offset)
                found = file.read(one.size)
        except OSError as error:
            raise UnusableSampleError(place(index), f"{error.strerror or error}") from error
        return found  # fewer bytes, where the file has changed, are no whole image

    def load(index: int) -> tuple[bytes, Tensor]:
        return encoded_image(content(index), place(index))

    keys = [(one.shard, _key(one.name)[0]) for one in images]
    return Samples(
        "images",
        names,
        lambda index: bytes.fromhex(sha256_of([content(index)])),
        load,
        description,
        labels={index: classes[key] for index, key in enumerate(keys) if key in classes},
        where=place,
        threads=True,
    )


def _members(path: Path, shard: int, classes: dict[tuple[int, str], str]) -> Iterator[_Image]:
    """The images of an archive; the classes of its keys are added to `classes`."""
    n = 0
    of_json: dict[tuple[int, str], str] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # else it keeps every header
                n += 1
                name = member.name.removeprefix("./")
                key, ending = _key(name)
                suffix = PurePosixPath(name).suffix.lower()
                if PurePosixPath(name).name.startswith(".") or member.isdir():
                    continue
                if suffix in IMAGE_SUFFIXES:
                    plain = member.isreg() and not member.issparse()
                    reason = "" if plain else "it is a link inside the archive; store the image itself"
                    yield _Image(shard, name, ending, member.offset_data, member.size, reason)
                elif ending in (*_LABELS, "json") and member.isreg() and member.size <= _MOST_LABEL_BYTES:
                    file = archive.extractfile(member)
                    text = b"" if file is None else file.read()
                    found = _of_json(text) if ending == "json" else label_text(text)
                    if found is not None:
                        (of_json if ending == "json" else classes)[shard, key] = found
            end = archive.offset
    except tarfile.TarError as error:
        what = f"after {n} members ({error})" if n else f"({error})"
        raise ValueError(f"{path} is no intact tar archive {what}; write it again, uncompressed") from error
    for place, label in of_json.items():
        classes.setdefault(place, label)
    with path.open("rb") as raw:
        raw.seek(end)
        rest = raw.read(_LOOKED_AT)
    if len(rest) < _BLOCK or any(rest):  # the reader stops at what is no header, as if the archive ended there
        raise ValueError(f"{path} is cut off or damaged after {n} members: its end does not follow; write it again")


def _key(name: str) -> tuple[str, str]:
    """A member's key and ending: its name up to and after the first dot of the last part."""
    folder, slash, last = name.rpartition("/")
    stem, _, ending = last.partition(".")
    return f"{folder}{slash}{stem}", ending.lower()


def _of_json(text: bytes) -> str | None:
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return next((label for key in _KEYS if key in found and (label := label_text(found[key])) is not None), None)


def _meant(images: list[_Image], ending: str, description: str) -> list[_Image]:
    """Those of one ending, where it is named or a key has several."""
    endings = Counter(one.ending for one in images)
    shown = ", ".join(f".{name}" for name, _ in endings.most_common(5))
    if not images:
        raise ValueError(f"{description} holds no images ({', '.join(sorted(IMAGE_SUFFIXES)[:6])}, ...); give tar "
                         f"archives that do.")  # fmt: skip
    if ending:
        wanted = ending.lower().removeprefix(".")
        if wanted not in endings:
            raise ValueError(f"{description} holds no images that end in .{wanted}; it has {shown}.")
        return [one for one in images if one.ending == wanted]
    keys = Counter((one.shard, _key(one.name)[0]) for one in images)
    # Else the names of a plain archive have dots in them.
    if len(endings) > 1 and len(endings) <= max(keys.values()) and max(endings.values()) > 1:
        first = sorted(endings)[0]
        raise ValueError(f"{description} holds several images a sample ({shown}); name one, as PATH:{first}.")
    return images
