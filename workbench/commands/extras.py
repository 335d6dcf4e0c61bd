"""What each extra of the installed distribution brings, which of its packages are here, and what installs the rest."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from packaging.requirements import Requirement

__all__ = [
    "DISTRIBUTION",
    "ENABLES",
    "Extra",
    "Package",
    "distribution_of",
    "install_command",
    "installed_extras",
    "installer",
    "normalised",
    "pip",
    "remedy",
]

DISTRIBUTION = "genmend"

# What a person can do with an extra, in the words of the command line. "later:" is said of what no room of this version
# does yet. Extras that name a command are advised first where that command lacks something.
ENABLES = {
    "": "the core: manifold metrics, recording and editing of layers, GAN detection and correction",
    "report": "report.html and every picture in it",
    "vision": "image features: EfficientNet-Lite0, MobileNetV2, CLIP, timm, torchvision, transformers; segmenters",
    "images": "the same without transformers: neither CLIP nor segmenters",
    "explain": "genmend explain; masks of what is broken, by attribution: Grad-CAM and others",
    "demo": "genmend demo",
    "diffusion": "genmend amplify: low frequencies of diffusers pipelines",
    "tts": "genmend speak: text-to-speech models; wav2vec2 features of recordings",
    "audio": "genmend score on recordings: Whisper features, speaker vectors",
    "audio-eval": "judges of speech: Whisper, pocketsphinx, hama, DNSMOS; genmend speak --repair",
    "flows": "genmend rare --density flow",
    "metrics": "Fréchet distances, torchmetrics classes of the manifold metrics, FID's Inception",
    "parquet": "genmend score on parquet files of images, as Hugging Face data sets are stored",
    "ray": "ShardedManifold: reference shards on Ray workers",
    "lightning": "a callback that scores samples while a generator trains",
    "ui": "genmend serve: everything in the browser",
    "hub": "genmend push, and pull and attach of a repository: corrections and the like on the hub",
    "all": "every extra above",
    "dev": "tests and checks of genmend itself",
}
# Distributions that are imported by another name than their own.
_IMPORTED_AS = {"sklearn": "scikit-learn", "PIL": "pillow", "faiss": "faiss-cpu", "xdist": "pytest-xdist"}
# What our code imports and a package of the extras requires.
_REQUIRED_BY = {"ctranslate2": "faster-whisper"}


@dataclass(frozen=True)
class Package:
    """One required package.

    Attributes
    ----------
    name, requirement : str
    installed : str, optional
        The version found; None where it is missing.
    accepted : bool
        Whether the requirement admits that version.
    problem, remedy : str, optional
        Why it cannot be imported, and the line that mends it; None where it can, and where nobody tried.
    """

    name: str
    requirement: str
    installed: str | None
    accepted: bool
    problem: str | None = None
    remedy: str | None = None


@dataclass(frozen=True)
class Extra:
    """One extra (`name` is empty for the core) with its packages, extras of ours inside it resolved."""

    name: str
    enables: str
    packages: tuple[Package, ...]

    @property
    def state(self) -> str:
        """``broken`` where a package cannot be imported, ``missing`` where one is lacking or too old, else ``ok``."""
        if any(package.problem for package in self.packages):
            return "broken"
        return "ok" if all(package.accepted for package in self.packages) else "missing"

    @property
    def complete(self) -> bool:
        """Whether every package is installed in a version that the requirement admits, and none is known as broken."""
        return self.state == "ok"

    @property
    def command(self) -> str:
        """What installs it."""
        return install_command(self.name)


def installed_extras(requirements: Sequence[str] | None = None) -> tuple[Extra, ...]:
    """The core and every extra, each with the installed versions of its packages.

    Parameters
    ----------
    requirements : sequence of str, optional
        Requirement lines as a distribution's metadata gives them; those of the installed genmend by default.

    Raises
    ------
    importlib.metadata.PackageNotFoundError
        If no `requirements` are given and genmend is not installed as a distribution.
    """
    lines = metadata.requires(DISTRIBUTION) or [] if requirements is None else requirements
    parsed = [Requirement(line) for line in lines]
    return tuple(
        Extra(name, ENABLES.get(name, "(not described)"), tuple(map(_package, _required(parsed, name))))
        for name in ["", *_extra_names(parsed)]
    )


def install_command(extra: str = "") -> str:
    """The line that installs an extra (or the core) the way genmend itself was installed."""
    suffix = f"[{extra}]" if extra else ""
    origin, editable = _origin()
    if origin is None:
        return f"{installer()} {shlex.quote(DISTRIBUTION + suffix)}"
    here = "." if origin == Path.cwd() else str(origin)
    options = "--config-settings editable_mode=strict -e " if editable else ""
    return f"{installer()} {options}{shlex.quote(here + suffix)}"


def installer() -> str:
    """What installs into the environment that genmend runs in: pip, or pipx or uv where one of them has made it."""
    environment = Path(sys.prefix)
    if (environment / "pipx_metadata.json").is_file():
        return "pipx install --force"
    # uvx runs it from uv's own cache, into which nothing is installed: a tool of the same name takes its place.
    if (environment / "uv-receipt.toml").is_file() or "archive-v0" in environment.parts:
        return "uv tool install --force"
    if find_spec("pip") is None and shutil.which("uv"):
        return f"uv pip install --python {_python()}"
    return f"{pip()} install"


def remedy(module: str, command: str = "", requirements: Sequence[str] | None = None) -> str | None:
    """What to do about a module that could not be imported.

    Parameters
    ----------
    module : str
        Its name, as ``ModuleNotFoundError.name`` has it.
    command : str
        The command of genmend that was run, e.g. ``speak``: where several extras bring the module, its own is advised.
    requirements : sequence of str, optional
        As of `installed_extras`.

    Returns
    -------
    str or None
        The line to type. None where no extra that lacks anything brings the module.
    """
    distribution = distribution_of(module)
    wanted = normalised(_REQUIRED_BY.get(distribution, distribution))
    try:
        extras = installed_extras(requirements)
    except metadata.PackageNotFoundError:
        return None
    lacking = [e for e in extras if any(normalised(p.name) == wanted and not p.accepted for p in e.packages)]
    of_command = [e for e in lacking if command and f"{DISTRIBUTION} {command}" in e.enables]
    return next((extra.command for extra in of_command + lacking), None)


def pip() -> str:
    """How this Python's pip is called: ``pip`` only where that is the one on the PATH."""
    found = shutil.which("pip")
    if found and Path(found).parent == Path(sys.executable).parent:
        return "pip"
    return f"{_python()} -m pip"


def _python() -> str:
    python = Path(sys.executable)
    near = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    return shlex.quote(os.fspath(near))


def distribution_of(module: str) -> str:
    """The distribution that a module is installed with."""
    top = module.partition(".")[0]
    return _IMPORTED_AS.get(top, top.replace("_", "-"))


def normalised(name: str) -> str:
    """A distribution's name as indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _origin() -> tuple[Path | None, bool]:
    """The folder or the wheel that genmend was installed from, if it is here, and whether as editable."""
    try:
        text = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None, False
    origin = json.loads(text) if text else {}
    url = urlparse(origin.get("url", ""))
    path = Path(url2pathname(url.path))
    if url.scheme != "file" or ("dir_info" not in origin and not path.is_file()):
        return None, False
    return path, bool(origin.get("dir_info", {}).get("editable"))


def _extra_names(requirements: Sequence[Requirement]) -> list[str]:
    """Names of the extras, in the order of `ENABLES` and then as found."""
    found = {name for requirement in requirements for name in _named_extras(requirement)}
    known = [name for name in ENABLES if name in found]
    return known + sorted(found - set(known))


def _named_extras(requirement: Requirement) -> set[str]:
    # A marker is a tree of lists and (variable, operator, value) triples; its public text is regular enough.
    words = str(requirement.marker or "").replace("(", " ").replace(")", " ").split()
    return {words[i + 2].strip("\"'") for i in range(len(words) - 2) if words[i : i + 2] == ["extra", "=="]}


def _required(
    requirements: Sequence[Requirement], extra: str, within: frozenset[str] = frozenset()
) -> list[Requirement]:
    """Requirements of `extra` alone (not the core's), with those of the extras that it names put in their place."""
    found: dict[str, Requirement] = {}
    for requirement in requirements:
        marker = requirement.marker
        applies = marker is None or marker.evaluate({"extra": ""})
        if extra:
            applies = not applies and marker is not None and marker.evaluate({"extra": extra})
        if not applies:
            continue
        if requirement.name == DISTRIBUTION:
            for inner in sorted(requirement.extras - within):
                for nested in _required(requirements, inner, within | {extra, inner}):
                    found.setdefault(nested.name, nested)
        else:
            found[requirement.name] = requirement
    return list(found.values())


def _package(requirement: Requirement) -> Package:
    try:
        version: str | None = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        version = None
    accepted = version is not None and requirement.specifier.contains(version, prereleases=True)
    return Package(requirement.name, f"{requirement.name}{requirement.specifier}", version, accepted)
