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

from genmend.activations import AblateNeurons, CapNeurons, Correction, load_correction, save_correction
from genmend.gans import Generator, Treatment, corrected
from genmend.gans.correctors import Corrector
from genmend.gans.correctors.fitting import fitted_method
from genmend.gans.correctors.gated import CorrectedGenerator
from genmend.gans.correctors.registry import MethodSettings
from genmend.gans.correctors.second_judge import Judged, judged
from genmend.gans.detection.kept_detector import DetectorSettings
from genmend.gans.detection.rare_activation import ablated_share
from genmend.gans.generator import generator_facts
from genmend.storage.atomic import whole_file
from genmend.storage.digests import settings_key, sha256_of_array
from genmend.storage.pieces import checkpointed
from genmend.storage.tables import write_csv, write_json
from genmend.workbench.pages.correct import write_correct_report
from genmend.workbench.pages.pictures import heat_overlay, image_grid, read_images, to_pixels

__all__ = ["CorrectRun", "before_after_grid", "run_correct", "switched_off", "switches_neurons"]

CHUNK = 64
N_SHOWN = 12


@dataclass(frozen=True)
class CorrectRun:
    """Result of ``genmend correct``.

    `limits`: the gate score above which a sample is flagged, and the distance / radius above which it is outside the
    normal manifold. `in_file`: whether ``correction.safetensors`` does the same. `judge`: what another extractor says.
    """

    model: str
    method: str
    treatment: Treatment
    limits: tuple[float, float]
    in_file: bool
    settings: dict[str, Any]
    judge: Judged | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``."""
        done, (gate, manifold) = self.treatment, self.limits
        return {
            "model": self.model,
            "method": self.method,
            **done.to_dict(),
            "n_flagged": _before_after(done.gate_before > gate, done.gate_after > gate),
            "n_outside": _before_after(done.manifold_before > manifold, done.manifold_after > manifold),
            "in_correction_file": self.in_file,
            "judge": None if self.judge is None else self.judge.to_dict(),
            "settings": self.settings,
        }


def run_correct(
    generator: Generator,
    latents: Tensor,
    out: Path,
    *,
    correction_file: Path | None = None,
    method: MethodSettings | None = None,
    gate: bool = True,
    judge: str = "",
    settings: DetectorSettings | None = None,
    allow_other_weights: bool = False,
    resume: bool = True,
    progress: bool = True,
) -> CorrectRun:
    """Correct latents and write everything to `out`.

    Files: ``before/`` and ``after/`` with a PNG a row, ``corrections.csv``, ``summary.json``, ``report.html``; where
    the method can be kept in one ``correction.safetensors``; where it moves latents ``latents.npy``, those that the
    images were drawn from; ``work/`` holds what an interrupted run goes on from. `judge`: an extractor other than the
    gate's, to look at the corrected samples too; none if empty.
    """
    settings, method = settings or DetectorSettings(), method or MethodSettings()
    if correction_file is not None:
        correction, corrector = load_correction(correction_file), None
    else:
        work = out / "work"
        correction, corrector = fitted_method(generator, work, method, settings, resume=resume, progress=progress)
    mend = corrected(generator, correction, gate=gate, corrector=corrector, allow_other_weights=allow_other_weights)
    out.mkdir(parents=True, exist_ok=True)
    about = generator_facts(generator) | {"gate": gate, "correction": _digest(correction)}
    parts = [
        _corrected_chunk(mend, chunk, number * CHUNK, out, about, resume, progress)
        for number, chunk in enumerate(latents.split(CHUNK))
    ]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    moved = joined.pop("latents")
    treatment, second = Treatment(**joined), None
    if judge:
        rows = np.flatnonzero(treatment.changed)
        seed = settings.seed
        second = judged(mend, out, rows, judge, about, seed=seed, resume=resume, progress=progress)
    run = _run(generator, correction, treatment, corrector, correction_file, method, settings, gate, second)
    _write_moved(out / "latents.npy", latents, moved)
    if run.in_file:
        save_correction(out / "correction.safetensors", correction)
    else:  # of an earlier run with another method
        (out / "correction.safetensors").unlink(missing_ok=True)
    write_csv(out / "corrections.csv", run.treatment.columns())
    write_json(out / "summary.json", run.to_dict())
    shown = np.flatnonzero(run.treatment.changed)
    shown = shown[np.argsort(-run.treatment.gate_before[shown], kind="stable")][:N_SHOWN]
    grid = b""
    if len(shown):
        after = read_images(out / "after", shown)
        grid = before_after_grid(generator, correction, latents[torch.from_numpy(shown)], after, joined["rung"][shown])
    middle = "where neurons were switched off" if switches_neurons(correction) else "where the image changed"
    write_correct_report(out / "report.html", run.to_dict(), run.treatment, correction, shown, grid, middle)
    return run


def switches_neurons(correction: Correction) -> bool:
    """Whether single neurons are edited, so that a map can show where."""
    return any(isinstance(edit, AblateNeurons | CapNeurons) for rung in correction.ladder for edit in rung)


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
    """Three rows as one PNG: before, where neurons were switched off (or else where the image changed), after."""
    before = generator.generate(latents)
    if switches_neurons(correction):
        heat = switched_off(generator, correction, latents, np.asarray(rungs))
    else:
        heat = (after - before).abs().mean(1)
    return image_grid([before, heat_overlay(before, heat), after])


def _before_after(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> dict[str, int]:
    return {"before": int(before.sum()), "after": int(after.sum())}


def _run(
    generator: Generator,
    correction: Correction,
    treatment: Treatment,
    corrector: Corrector | None,
    file: Path | None,
    method: MethodSettings,
    settings: DetectorSettings,
    gate: bool,
    judge: Judged | None,
) -> CorrectRun:
    assert correction.gate is not None  # else `corrected` has refused it
    used: dict[str, Any] = {"correction_file": str(file or ""), "gate": gate, "correction": correction.info}
    if file is None:
        used |= asdict(settings) | method.facts()
    limits = correction.gate.threshold, float(correction.info["stop_rule"]["normal_manifold_score"])
    name = str(correction.info.get("method", "")) if file else method.method
    return CorrectRun(generator.name, name, treatment, limits, corrector is None, used, judge)


def _digest(correction: Correction) -> str:
    """Names all that decides what a correction does: every tensor in full, for masks of equal sums are not equal."""
    held = [*filter(None, [correction.gate]), *(edit for rung in correction.ladder for edit in rung)]
    tensors = [value for one in held for value in vars(one).values() if isinstance(value, Tensor)]
    limits = [] if correction.gate is None else [correction.gate.bias, correction.gate.threshold]
    digests = [sha256_of_array(value) for value in (*tensors, *correction.tensors.values())]
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
    key = settings_key(about | {"latents": sha256_of_array(latents), "first": first})
    rows = range(first, first + len(latents))
    whole = all((out / folder / f"{row:05d}.png").is_file() for folder in ("before", "after") for row in rows)

    def compute() -> dict[str, NDArray[Any]]:
        result = mend(latents, progress=progress)
        _write_images(out / "before", mend.generator.generate(latents), first)
        _write_images(out / "after", result.images, first)
        return result.columns() | {"latents": result.latents.cpu().numpy()}

    return checkpointed(out / "work", f"moved-{key}", resume and whole, compute)


def _write_moved(path: Path, given: Tensor, moved: NDArray[np.float32]) -> None:
    """The latents that the images after were drawn from, where they are others; else nothing, not even an older one."""
    path.unlink(missing_ok=True)
    if not np.array_equal(given.cpu().numpy(), moved):
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.save(file, moved)


def _write_images(folder: Path, images: Tensor, first: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for row, pixels in enumerate(to_pixels(images), start=first):
        with whole_file(folder / f"{row:05d}.png") as temporary:
            Image.fromarray(pixels).save(temporary, format="PNG")
