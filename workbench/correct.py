"""``genmend correct``: mend the samples that need it, write them before and after, and the mend as a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from activations import AblateNeurons, CapNeurons, Correction, atomic_write, load_correction, save_correction
from gans import CorrectedGenerator, Generator, Treatment, ablated_share, corrected, fit_correction
from workbench.charts import ladder_chart, score_histogram
from workbench.checkpoints import checkpointed, generator_facts, settings_key, tensor_digest
from workbench.detect import DetectorSettings, fit_key, fitted_detector
from workbench.pictures import heat_overlay, image_grid, to_pixels
from workbench.report import Facts, Figure, Picture, Section, write_report
from workbench.tables import write_csv, write_json

__all__ = ["CorrectRun", "before_after_grid", "run_correct", "switched_off"]

CHUNK = 64


@dataclass(frozen=True)
class CorrectRun:
    """Result of ``genmend correct``."""

    model: str
    treatment: Treatment
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``."""
        return {"model": self.model, **self.treatment.to_dict(), "settings": self.settings}


def run_correct(
    generator: Generator,
    latents: Tensor,
    out: Path,
    *,
    correction_file: Path | None = None,
    gate: bool = True,
    settings: DetectorSettings | None = None,
    allow_other_weights: bool = False,
    resume: bool = True,
    progress: bool = True,
) -> CorrectRun:
    """Correct latents and write everything to `out`.

    Files: ``before/`` and ``after/`` with a PNG a row, ``corrections.csv``, ``correction.safetensors``,
    ``summary.json``, ``report.html``; ``work/`` holds what an interrupted run goes on from.
    """
    settings = settings or DetectorSettings()
    work = out / "work"
    correction = _correction(generator, work, correction_file, settings, resume=resume, progress=progress)
    mend = corrected(generator, correction, gate=gate, allow_other_weights=allow_other_weights)
    out.mkdir(parents=True, exist_ok=True)
    save_correction(out / "correction.safetensors", correction)
    about = generator_facts(generator) | {"gate": gate, "correction": _digest(correction)}
    parts = [
        _corrected_chunk(mend, chunk, number * CHUNK, out, about, resume, progress)
        for number, chunk in enumerate(latents.split(CHUNK))
    ]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    used = {"correction_file": str(correction_file or ""), "gate": gate, "correction": correction.info}
    run = CorrectRun(generator.name, Treatment(**joined), used if correction_file else used | asdict(settings))
    write_csv(out / "corrections.csv", run.treatment.columns())
    write_json(out / "summary.json", run.to_dict())
    _write_correct_report(out / "report.html", run, mend, latents)
    return run


def switched_off(generator: Generator, correction: Correction, latents: Tensor, rungs: NDArray[np.int64]) -> Tensor:
    """Heat maps ``[n, side, side]`` of where each sample's rung acts on its uncorrected activations; 0 if untouched."""
    side = int(generator.generate(latents[:1]).shape[-1])
    heat = torch.zeros(len(latents), side, side)
    for rung in np.unique(rungs[rungs >= 0]):
        rows = torch.from_numpy(np.flatnonzero(rungs == rung))
        edits = [edit for edit in correction.ladder[rung] if isinstance(edit, AblateNeurons | CapNeurons)]
        heat[rows] = ablated_share(generator, latents[rows], {edit.layer: edit.mask for edit in edits}, side)
    return heat


def before_after_grid(
    generator: Generator, correction: Correction, latents: Tensor, after: Tensor, rungs: Any
) -> bytes:
    """Three rows as one PNG: before, where neurons were switched off, after."""
    before = generator.generate(latents)
    heat = heat_overlay(before, switched_off(generator, correction, latents, np.asarray(rungs)))
    return image_grid([before, heat, after])


def _correction(
    generator: Generator, work: Path, file: Path | None, settings: DetectorSettings, *, resume: bool, progress: bool
) -> Correction:
    if file is not None:
        return load_correction(file)
    path = work / f"correction-{fit_key(generator, settings)}.safetensors"
    if resume and path.is_file():
        return load_correction(path)
    detector = fitted_detector(generator, work, settings, resume=resume, progress=progress)
    correction = fit_correction(generator, detector, progress=progress)
    save_correction(path, correction)
    return correction


def _digest(correction: Correction) -> str:
    """Names all that decides what a correction does: every tensor in full, for masks of equal sums are not equal."""
    held = [*filter(None, [correction.gate]), *(edit for rung in correction.ladder for edit in rung)]
    tensors = [value for one in held for value in vars(one).values() if isinstance(value, Tensor)]
    limits = [] if correction.gate is None else [correction.gate.bias, correction.gate.threshold]
    digests = [tensor_digest(value) for value in (*tensors, *correction.tensors.values())]
    return settings_key({"info": correction.info, "limits": limits, "tensors": digests})


def _corrected_chunk(
    mend: CorrectedGenerator,
    latents: Tensor,
    first: int,
    out: Path,
    about: dict[str, Any],
    resume: bool,
    progress: bool,
) -> dict[str, NDArray[Any]]:
    key = settings_key(about | {"latents": tensor_digest(latents), "first": first})
    rows = range(first, first + len(latents))
    whole = all((out / folder / f"{row:05d}.png").is_file() for folder in ("before", "after") for row in rows)

    def compute() -> dict[str, NDArray[Any]]:
        result = mend(latents, progress=progress)
        _write_images(out / "before", mend.generator.generate(latents), first)
        _write_images(out / "after", result.images, first)
        return result.columns()

    return checkpointed(out / "work", f"corrected-{key}", resume and whole, compute)


def _write_images(folder: Path, images: Tensor, first: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for row, pixels in enumerate(to_pixels(images), start=first):
        with atomic_write(folder / f"{row:05d}.png") as temporary:
            Image.fromarray(pixels).save(temporary, format="PNG")


def _write_correct_report(path: Path, run: CorrectRun, mend: CorrectedGenerator, latents: Tensor) -> None:
    done, totals = run.treatment, run.to_dict()
    shown = np.flatnonzero(done.changed)[np.argsort(-done.gate_before[done.changed], kind="stable")][:12]
    blocks: list[Any] = []
    if len(shown):
        chosen = latents[torch.from_numpy(shown)]
        after = mend(chosen).images
        grid = before_after_grid(mend.generator, mend.correction, chosen, after, done.rung[shown])
        blocks.append(
            Picture(f"Before, where neurons were switched off, after: rows {', '.join(map(str, shown))}", grid)
        )
    before_after = {"before": done.gate_before, "after": done.gate_after}
    rungs = ladder_chart(totals["n_by_rung"], len(mend.correction.ladder), totals["n_given_up"])
    write_report(
        path,
        f"genmend correct: {run.model}",
        f"{totals['n_changed']} of {totals['n']} samples were corrected, {totals['n_given_up']} given up (no rung "
        "brought them back among the model's own normal samples; they stay as they were), the others left untouched.",
        [
            Section("Samples", [*blocks, Figure("The rung that was taken.", rungs)]),
            Section(
                "Scores", [Figure("Gate score, higher = more broken.", score_histogram(before_after, "gate score"))]
            ),
            Section("Settings", [Facts("What this run used", totals)]),
        ],
    )
