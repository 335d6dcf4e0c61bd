"""A diagnosis in words: what ``genmend doctor`` prints where no JSON is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.doctor import Diagnosis, Weights
    from workbench.extras import Extra

__all__ = ["format_diagnosis"]


def format_diagnosis(diagnosis: Diagnosis) -> str:
    """The diagnosis as lines of text; what has to be done comes last, where a terminal shows it.

    Parameters
    ----------
    diagnosis : Diagnosis
        From `workbench.doctor.diagnose`.
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
