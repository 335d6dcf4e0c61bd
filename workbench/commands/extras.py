"""What each extra of the installed distribution brings, and which of its packages are here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement

__all__ = ["DISTRIBUTION", "ENABLES", "Extra", "Package", "installed_extras"]

DISTRIBUTION = "genmend"

# What a person can do with an extra, in the words of the command line. "later:" is said of what no room of this version
# does yet.
ENABLES = {
    "": "the core: manifold metrics, recording and editing of layers, GAN detection and correction",
    "report": "report.html and every picture in it",
    "vision": "image features: EfficientNet-Lite0, MobileNetV2, CLIP, models of timm, torchvision and transformers",
    "explain": "masks of what is broken, by attribution: Grad-CAM and others",
    "demo": "genmend demo",
    "diffusion": "genmend amplify: low frequencies of diffusers pipelines",
    "tts": "genmend speak: text-to-speech models; wav2vec2 features of recordings",
    "audio": "genmend score on recordings: Whisper features, speaker vectors",
    "audio-eval": "judges of speech: Whisper, pocketsphinx, hama, DNSMOS; genmend speak --repair",
    "flows": "genmend rare --density flow",
    "metrics": "Fréchet distances, torchmetrics classes of the manifold metrics, FID's Inception; later: LPIPS",
    "ray": "ShardedManifold: reference shards on Ray workers",
    "hub": "later: models by their hub name",
    "ui": "later: the web page",
    "security": "later: scans of pickled checkpoints before a conversion",
    "all": "every extra above",
    "dev": "tests and checks of genmend itself",
}


@dataclass(frozen=True)
class Package:
    """One required package: its requirement, the version found (None: missing), and whether that version will do."""

    name: str
    requirement: str
    installed: str | None
    accepted: bool


@dataclass(frozen=True)
class Extra:
    """One extra (`name` is empty for the core) with its packages, extras of ours inside it resolved."""

    name: str
    enables: str
    packages: tuple[Package, ...]

    @property
    def complete(self) -> bool:
        """Whether every package is installed in a version that the requirement admits."""
        return all(package.accepted for package in self.packages)

    @property
    def command(self) -> str:
        """What installs it."""
        return f"pip install '{DISTRIBUTION}[{self.name}]'" if self.name else f"pip install {DISTRIBUTION}"


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
