"""What this machine has and lacks for genmend: what ``genmend doctor`` shows."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from genmend.manifold.engine.native_screen import native_kernels
from genmend.storage.weights import PACKAGES, MissingWeightsError, cache_folder, find_weights
from genmend.workbench.commands.extras import (
    DISTRIBUTION,
    Extra,
    Package,
    install_command,
    installed_extras,
    normalised,
)
from genmend.workbench.commands.imports import Imports, mending_command, modules_of, try_imports

__all__ = ["Diagnosis", "Weights", "diagnose", "format_diagnosis"]


@dataclass(frozen=True)
class Weights:
    """One weights package: `path` is None where it was not fetched yet."""

    name: str
    path: str | None
    megabytes: float
    licence: str
    enables: str

    @property
    def command(self) -> str:
        """What gets it."""
        return f"genmend fetch {self.name}"


@dataclass(frozen=True)
class Diagnosis:
    """What was found; `findings` are the sentences that ask for something to be done."""

    genmend: str | None
    python: str
    platform: str
    extras: tuple[Extra, ...]
    torch: str | None
    torchaudio: str | None
    devices: tuple[str, ...]
    cores: int
    threads: int | None
    blas: tuple[str, ...]
    native_kernel: str | None
    native_kernels: tuple[str, ...]
    weights: tuple[Weights, ...]
    cache: str
    cache_free_gigabytes: float | None
    findings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, ready for JSON, the commands that get what is missing included."""
        result = asdict(self)
        for extra, found in zip(result["extras"], self.extras, strict=True):
            extra.update(state=found.state, complete=found.complete, command=found.command)
        for weights, entry in zip(result["weights"], self.weights, strict=True):
            weights["command"] = entry.command
        plain: dict[str, Any] = json.loads(json.dumps(result))
        return plain


def diagnose(requirements: Sequence[str] | None = None) -> Diagnosis:
    """Look at the installation and the machine; nothing is changed and nothing goes over the network.

    Parameters
    ----------
    requirements : sequence of str, optional
        Requirement lines to look at in place of the installed distribution's own.
    """
    findings: list[str] = []
    version = _version(DISTRIBUTION)
    if version is None:
        findings.append("genmend runs from a folder and is not installed: run `pip install -e .` in it.")
    extras = () if version is None and requirements is None else installed_extras(requirements)
    findings += [
        f"The core lacks {package.requirement} (found: {package.installed or 'nothing'}): run `{extra.command}`."
        for extra in extras
        for package in extra.packages
        if not extra.name and not package.accepted
    ]
    extras, imports = _import_all(extras)
    findings += _broken(extras, imports)
    if preset := os.environ.get("OPENBLAS_CORETYPE"):
        findings.append(
            f"OPENBLAS_CORETYPE is preset to {preset!r}, which can halve the speed of matrix products: "
            "unset it and OpenBLAS chooses by the processor."
        )
    kernels = native_kernels()
    if find_spec("genmend.manifold.engine._native") is None:
        findings.append(
            "The compiled manifold engine was not built, so torch or numpy does its work, several times slower: "
            "install a C++ compiler and then genmend again (with --force-reinstall --no-deps; in a checkout with -e .)."
        )
    cache = cache_folder()
    if reason := _not_writable(cache):
        findings.append(f"The cache folder {cache} {reason}: set GENMEND_CACHE to a folder that can be written.")
    return Diagnosis(
        genmend=version,
        python=platform.python_version(),
        platform=platform.platform(),
        extras=extras,
        torch=imports.torch.get("version"),
        torchaudio=None if "torchaudio" in imports.problems else _version("torchaudio"),
        devices=tuple(imports.torch.get("devices", ["cpu"])),
        cores=_cores(),
        threads=imports.torch.get("threads"),
        blas=imports.blas,
        native_kernel=kernels[0] if kernels else None,
        native_kernels=kernels,
        weights=tuple(map(_weights, PACKAGES)),
        cache=str(cache),
        cache_free_gigabytes=_free_gigabytes(cache),
        findings=tuple(findings),
    )


def _import_all(extras: Sequence[Extra]) -> tuple[tuple[Extra, ...], Imports]:
    """The extras with what cannot be imported of them, and what was found in trying."""
    versions = {p.name: p.installed for extra in extras for p in extra.packages if p.installed and p.accepted}
    found = try_imports(modules_of([*{**versions, **dict.fromkeys(("numpy", "scipy", "torch"))}]))
    remedies = {
        name: mending_command(name, versions[name], found, list(versions))
        for name in found.problems
        if name in versions
    }
    return tuple(
        replace(
            extra,
            packages=tuple(
                replace(p, problem=found.problems.get(p.name), remedy=remedies.get(p.name)) if p.accepted else p
                for p in extra.packages
            ),
        )
        for extra in extras
    ), found


def _broken(extras: Sequence[Extra], found: Imports) -> list[str]:
    """A sentence of each package that cannot be imported, of torch first."""
    beside = f" beside torch {found.torch['version']}" if found.torch else ""
    broken = {p.name: p for extra in extras for p in extra.packages if p.problem}
    # Where a package fails with what it requires, that alone has to be mended.
    broken = {n: p for n, p in broken.items() if not any(o.problem == p.problem for o in _required_among(n, broken))}
    sentences = {
        name: f"{name} {p.installed} cannot be imported{beside * name.startswith('torch')} ({p.problem}): "
        f"run `{p.remedy}`."
        for name, p in broken.items()
    }
    if "torch" in found.problems and "torch" not in sentences:
        sentences["torch"] = f"torch cannot be imported ({found.problems['torch']}): run `{install_command()}`."
    return [sentences[name] for name in sorted(sentences, key=lambda name: (name != "torch", name))]


def _required_among(name: str, packages: Mapping[str, Package]) -> list[Package]:
    """Those of `packages` that a distribution requires."""
    required = {normalised(Requirement(line).name) for line in metadata.requires(name) or ()} - {normalised(name)}
    return [package for other, package in packages.items() if normalised(other) in required]


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cores() -> int:
    """Cores this process may use, which a container or taskset can make fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _weights(name: str) -> Weights:
    entry = PACKAGES[name]
    try:
        path: str | None = str(find_weights(name))
    except MissingWeightsError:
        path = None
    return Weights(name, path, entry.megabytes, entry.licence, entry.enables)


def _existing(folder: Path) -> Path:
    return next(parent for parent in [folder, *folder.absolute().parents] if parent.exists())


def _not_writable(folder: Path) -> str | None:
    nearest = _existing(folder)
    if not nearest.is_dir():
        return f"cannot be made, since {nearest} is a file"
    return None if os.access(nearest, os.W_OK | os.X_OK) else "cannot be written"


def _free_gigabytes(folder: Path) -> float | None:
    try:
        return round(shutil.disk_usage(_existing(folder)).free / 1e9, 1)
    except OSError:
        return None


def format_diagnosis(diagnosis: Diagnosis) -> str:
    """The diagnosis as lines of text; what has to be done comes last, where a terminal shows it.

    Parameters
    ----------
    diagnosis : Diagnosis
        From `genmend.workbench.commands.doctor.diagnose`.
    """
    broken = any(p.name == "torchaudio" and p.problem for extra in diagnosis.extras for p in extra.packages)
    kernel = ", ".join(diagnosis.native_kernels) or "none works here; torch or numpy searches"
    free = "" if diagnosis.cache_free_gigabytes is None else f" ({diagnosis.cache_free_gigabytes} GB free)"
    lines = [
        f"genmend        {diagnosis.genmend or 'not installed'}",
        f"Python         {diagnosis.python} on {diagnosis.platform}",
        f"torch          {diagnosis.torch or 'missing'}",
        f"torchaudio     {diagnosis.torchaudio or ('broken: see below' if broken else 'missing')}",
        f"devices        {', '.join(diagnosis.devices)}",
        f"cores          {diagnosis.cores} (threads of torch: {diagnosis.threads or 'unknown'})",
        f"BLAS           {'; '.join(diagnosis.blas) or 'none recognised'}",
        f"native kernels {kernel}",
        f"cache          {diagnosis.cache}{free}",
    ]
    lines += ["", "Weights"] + [line for weights in diagnosis.weights for line in _weights_lines(weights)]
    lines += ["", "Extras"] + [line for extra in diagnosis.extras for line in _extra_lines(extra)]
    if not diagnosis.extras:
        lines.append("  unknown, since genmend is not installed as a distribution")
    lines += ["", "To do" if diagnosis.findings else "Nothing to do."]
    lines += [f"  - {finding}" for finding in diagnosis.findings]
    return "\n".join(lines)


def _weights_lines(weights: Weights) -> list[str]:
    if weights.path:
        return [f"  ok       {weights.name}: {weights.enables}"]
    return [
        f"  missing  {weights.name}: {weights.enables}",
        f"           get it: {weights.command} ({weights.megabytes} MB, {weights.licence})",
    ]


def _extra_lines(extra: Extra) -> list[str]:
    lines = [f"  {extra.state:7}  {extra.name or 'core'}: {extra.enables}"]
    found = [f"{p.name} {p.installed}" for p in extra.packages if p.accepted and not p.problem]
    lacking = [
        f"{package.requirement} ({'missing' if package.installed is None else f'found {package.installed}'})"
        for package in extra.packages
        if not package.accepted
    ]
    if found and extra.name != "all":  # which would repeat every line above
        lines.append(f"           has {', '.join(found)}")
    for package in extra.packages:
        if package.problem:
            lines += [
                f"           cannot import {package.name} {package.installed}: {package.problem}",
                f"           mend it: {package.remedy}",
            ]
    if lacking:
        lines += [f"           lacks {', '.join(lacking)}", f"           get it: {extra.command}"]
    return lines
