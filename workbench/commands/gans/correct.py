"""``genmend correct``: mend the samples that need it, write them before and after, and the mend as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genmend.activations import save_correction
from genmend.concepts import ExplanationMasks
from genmend.gans import Generator
from genmend.gans.correctors.correct import CorrectRun, correct
from genmend.gans.correctors.registry import MethodSettings
from genmend.gans.settings import DetectorSettings
from genmend.storage.pieces import Work
from genmend.storage.tables import write_csv, write_json, write_npy
from genmend.workbench.pages.gans.correct import write_correct_report
from genmend.workbench.pages.pictures import ImageFolders

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["masks_from", "run_correct"]

_EXPLAIN = "explain:"


def masks_from(text: str) -> tuple[Path | None, ExplanationMasks | None]:
    """What ``--masks`` means: a file of drawn masks, or a method that explains; neither if empty.

    Raises
    ------
    ValueError
        If no method that explains has the name; the message lists them.
    """
    if text.startswith(_EXPLAIN):
        return None, ExplanationMasks(text.removeprefix(_EXPLAIN).strip())
    return (Path(text) if text else None), None


def run_correct(
    generator: Generator,
    latents: Tensor,
    out: Path,
    *,
    correction_file: Path | None = None,
    method: MethodSettings | None = None,
    detector_file: Path | None = None,
    normal: Path | None = None,
    gate: bool = True,
    gate_at: float | None = None,
    judge: str = "",
    settings: DetectorSettings | None = None,
    allow_other_weights: bool = False,
    resume: bool = True,
    progress: bool = True,
) -> CorrectRun:
    """Correct latents with `genmend.gans.correct` and write everything to `out`.

    Files: ``before/`` and ``after/`` with a PNG a row, ``corrections.csv``, ``summary.json``, ``report.html``; where
    the method can be kept in one ``correction.safetensors``; where it moves latents ``latents.npy``, those that the
    images were generated from; ``work/`` holds what an interrupted run goes on from.
    """
    images = ImageFolders(out)
    run = correct(
        generator,
        latents,
        correction=correction_file,
        method=method,
        detector=detector_file,
        normal=normal,
        gate=gate,
        gate_at=gate_at,
        judge=judge,
        settings=settings,
        allow_other_weights=allow_other_weights,
        images=images,
        work=Work(out / "work", resume, progress),
    )
    out.mkdir(parents=True, exist_ok=True)
    images.remove_others(len(latents))
    _write_moved(out / "latents.npy", latents, run.latents)
    if run.in_file:
        # A correction that was given keeps the figures of whoever made it.
        kept = run.correction_with_figures() if correction_file is None else run.correction
        save_correction(out / "correction.safetensors", kept)
    else:  # of an earlier run with another method
        (out / "correction.safetensors").unlink(missing_ok=True)
    write_csv(out / "corrections.csv", run.treatment.columns())
    write_json(out / "summary.json", run.to_dict())
    write_correct_report(out / "report.html", run, generator, latents, images)
    return run


def _write_moved(path: Path, given: Tensor, moved: Tensor) -> None:
    """The latents that the images after were generated from, where they are others; else no file, and no older one."""
    path.unlink(missing_ok=True)
    if not given.cpu().equal(moved):
        write_npy(path, moved.numpy())
