"""Which installed packages cannot be imported, why, and what mends them: tried in processes of their own."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from genmend.workbench.commands.extras import distribution_of, normalised, pip

__all__ = ["Imports", "mending_command", "modules_of", "try_imports"]

# Prints a line before and after each import, so that what a crash or a hang took with it is known. Imports may print:
# their stdout becomes stderr. torch tells its devices here, since importing it twice takes twice its seconds.
_TRY = """
import importlib, json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
def answer(**found):
    print(json.dumps(found), file=answers, flush=True)
for name, modules in json.loads(sys.argv[1]):
    answer(begun=name)
    problem = missing = None
    for module in modules:
        try:
            importlib.import_module(module)
        except BaseException as error:
            problem, first = f"{type(error).__name__}: {error}", error
            while first.__cause__:
                first = first.__cause__
            problem += f" ({first})" if first is not error else ""
            missing = first.name if isinstance(first, ModuleNotFoundError) else None
            break
    if name == "scipy" and not problem:
        import scipy.linalg  # brings its own BLAS beside numpy's
        from threadpoolctl import threadpool_info
        answer(blas=[
            f"{pool['internal_api']} {pool['version']} {pool.get('architecture', 'unnamed kernel')}, "
            f"threads: {pool['num_threads']}" for pool in threadpool_info() if pool["user_api"] == "blas"
        ])
    if name == "torch" and not problem:
        import torch
        devices = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
        answer(torch={
            "version": torch.__version__,
            "cuda": torch.version.cuda,
            "devices": devices + ["mps"] * torch.backends.mps.is_available() + ["cpu"],
            "threads": torch.get_num_threads(),
        })
    answer(name=name, problem=problem, missing=missing)
"""

# Measured, on Linux with Python 3.11: releases that load beside each torch. No release of torchaudio was found that
# loads beside torch 2.13, nor (libc10_cuda.so) 2.11.1 beside a torch without CUDA libraries.
_BESIDE_TORCH = {
    "torchaudio": {"2.11": "2.11.0", "2.12": "2.11.0", "2.14": "2.11.1", "2.15": "2.11.1"},
    "torchvision": {"2.12": "0.27.1", "2.14": "0.29.1", "2.15": "0.29.2"},
}
_NEEDS_CUDA = {"torchaudio": {"2.14", "2.15"}}
# Where nothing loads beside the torch that is here: the last releases that need no CUDA libraries.
_WITHOUT_CUDA = {"torch": "2.12.1", "torchvision": "0.27.1", "torchaudio": "2.11.0"}


@dataclass
class Imports:
    """What the tries found.

    Attributes
    ----------
    torch : dict
        ``version``, ``cuda`` (None in a build without it), ``devices``, ``threads``; empty where torch does not import.
    problems : dict
        Of each distribution that cannot be imported: why.
    missing : dict
        The module that was not found, of each distribution that lacks one.
    blas : tuple of str
        The matrix kernels that numpy and scipy have loaded, e.g. ``openblas 0.3.30 SkylakeX, threads: 2``.
    """

    torch: dict[str, Any] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    blas: tuple[str, ...] = ()


def modules_of(distributions: Sequence[str]) -> dict[str, list[str]]:
    """The modules to import of each installed distribution: the one of its own name, or all public ones."""
    by_distribution: dict[str, list[str]] = {}
    for module, names in metadata.packages_distributions().items():
        for name in set(names):
            by_distribution.setdefault(normalised(name), []).append(module)
    found = {}
    for name in distributions:
        public = [m for m in by_distribution.get(normalised(name), []) if m.isidentifier() and not m.startswith("_")]
        own = [module for module in public if normalised(module) == normalised(name)]
        found[name] = own or [module for module in sorted(public) if module not in ("tests", "test", "docs")]
    return found


def try_imports(modules: Mapping[str, Sequence[str]], timeout: float = 180) -> Imports:
    """Import everything, in one process; one that crashes loses that package alone, and another goes on.

    Parameters
    ----------
    modules : mapping
        Distribution -> the modules to import.
    timeout : float
        Seconds that one process may take.
    """
    found = Imports()
    first = ("numpy", "scipy", "torch")  # before others bring a BLAS of their own
    order = sorted(modules, key=lambda name: first.index(name) if name in first else len(first))
    left = [(name, list(modules[name])) for name in order]
    while left:
        # -P keeps a torch.py in the current folder out of it.
        command = [sys.executable, "-P", "-c", _TRY, json.dumps(left)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
            output, ended = done.stdout, f"ended with status {done.returncode}"
            # A process that crashed left no answer; what it last said is the best clue there is.
            ended += f": {(done.stderr.strip().splitlines() or ['no message'])[-1]}"
        except subprocess.TimeoutExpired as late:
            output, ended = _text(late.stdout), f"took more than {timeout:.0f} s"
        tried = _read(output, found)
        remaining = [entry for entry in left if entry[0] not in tried]
        if remaining:  # the first of them took the process along
            found.problems[remaining[0][0]] = f"the import {ended}"
        left = remaining[1:]
    return found


def _read(output: str, found: Imports) -> set[str]:
    """Add the answers of a process to `found`; the names that it came to an end with."""
    tried = set()
    for line in output.splitlines():
        if not line.endswith("}"):  # cut off
            continue
        answer = json.loads(line)
        found.torch |= answer.get("torch", {})
        found.blas = tuple(answer.get("blas", found.blas))
        if "name" in answer:
            name = answer["name"]
            tried.add(name)
            if answer["problem"]:
                found.problems[name] = _in_one_line(answer["problem"])
            if answer["missing"]:
                found.missing[name] = answer["missing"]
    return tried


def mending_command(name: str, version: str, found: Imports, installed: Sequence[str] = ()) -> str:
    """The line that mends a package which cannot be imported.

    Parameters
    ----------
    name, version : str
        The distribution, as installed.
    found : Imports
        The tries.
    installed : sequence of str
        The other distributions that are here: what is bound to one torch has to change with it.
    """
    if missing := found.missing.get(name):
        return f"{pip()} install {shlex.quote(distribution_of(missing))}"
    if name in _BESIDE_TORCH and found.torch:
        torch = ".".join(found.torch["version"].split(".")[:2])
        fitting = _BESIDE_TORCH[name].get(torch)
        if torch in _NEEDS_CUDA.get(name, ()) and not found.torch["cuda"]:
            fitting = None
        if fitting is None:
            wanted = [f"{n}=={v}" for n, v in _WITHOUT_CUDA.items() if n in ("torch", name) or n in installed]
            return f"{pip()} install {' '.join(map(shlex.quote, wanted))}"
        if fitting != version.partition("+")[0]:
            return f"{pip()} install {shlex.quote(f'{name}=={fitting}')}"
    return f"{pip()} install --force-reinstall --no-deps {shlex.quote(f'{name}=={version}')}"


def _in_one_line(text: str, longest: int = 300) -> str:
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= longest else line[: longest - 3] + "..."


def _text(output: str | bytes | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""
