"""Every correction of the face experiment by name: ours and its control, the published ones and theirs, baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from experiments.faces.labelled import LabelledFaces
from genmend.activations import Correction, PullToMean, edited
from genmend.gans import ArtifactDetector, Generator, corrected
from genmend.gans.correctors import (
    Corrector,
    DefectiveUnits,
    LatentOptimisation,
    LocallyActiveUnits,
    ManifoldGuided,
    RandomNeurons,
    RandomUnits,
    RareNeurons,
    Truncation,
)
from genmend.gans.detection.defect_masks import box_masks

EARLY, WIDER = ("main.2", "main.5"), ("main.2", "main.5", "main.8")
GATE_QUANTILES = (0.98, 0.95)

Extractor = Callable[[Tensor], Tensor]
# Makes the images of a method, and says which samples it gave up (None: it never does).
Method = tuple[str, Callable[[], tuple[Tensor, np.ndarray | None]]]


@dataclass(frozen=True)
class Space:
    """A feature space with what was measured in it."""

    name: str
    extractor: Extractor
    detector: ArtifactDetector
    face_features: np.ndarray


def with_gate_quantile(correction: Correction, quantile: float) -> Correction:
    """The same correction whose gate opens above another quantile of normal samples' scores."""
    score = correction.info["gate_score_quantiles_of_normal"][str(quantile)]
    return replace(correction, gate=replace(correction.gate, threshold=score))


def random_control(correction: Correction, seed: int) -> Correction:
    """The same ladder on random neurons: in each layer as many as the correction's, capped to the same kind of mean.

    No latent is moved. The pull of the first layer stays; a ladder of rare neurons is switched off at random places
    instead.
    """
    shuffle = torch.Generator().manual_seed(seed)

    def shuffle_mask(mask: Tensor) -> Tensor:
        return mask.flatten()[torch.randperm(mask.numel(), generator=shuffle)].view(mask.shape)

    ladder = tuple(
        tuple(edit if isinstance(edit, PullToMean) else replace(edit, mask=shuffle_mask(edit.mask)) for edit in rung)
        for rung in correction.ladder
    )
    return replace(correction, ladder=ladder, descent=None)


def own_methods(
    generator: Generator, latents: Tensor, steer: Space, correction: Correction, seed: int
) -> Iterator[Method]:
    """The gated ladder, its rungs one by one, and the same on random neurons."""
    yield "uncorrected", lambda: (generator.generate(latents), None)
    control = random_control(correction, seed)

    def rung(edits: tuple) -> tuple[Tensor, None]:
        with edited(generator.module, *edits):
            return generator.generate(latents), None

    def mended(made: Correction, gated: bool) -> tuple[Tensor, np.ndarray]:
        result = corrected(generator, made, gate=gated, extractor=steer.extractor)(latents)
        return result.images, result.given_up

    for name, made in (("ladder", correction), ("random neurons", control)):
        for number in (1, 5, 9):
            yield f"{name}, rung {number} on all", lambda edits=made.ladder[number]: rung(edits)
    for name, made in (("ours", correction), ("random neurons", control)):
        for quantile in GATE_QUANTILES:
            gate = with_gate_quantile(made, quantile)
            yield f"{name}, gated at {quantile}", lambda gate=gate: mended(gate, True)
        yield f"{name}, ungated", lambda made=made: mended(made, False)


def fold_free_correctors(generator: Generator, latents: Tensor) -> dict[str, Corrector]:
    """The fitted correctors that learn from the generator's own samples alone, so that every fold has the same ones."""
    correctors: dict[str, Corrector] = {
        "truncation psi=0.7": Truncation(0.7),
        "truncation psi=0.5": Truncation(0.5),
        "rare R=0.1 main.2+5": RareNeurons(0.1, EARLY),
        "rare R=0.2 main.2+5": RareNeurons(0.2, EARLY),
        "rare R=0.3 main.2+5": RareNeurons(0.3, EARLY),
        "rare R=0.2 main.2+5+8": RareNeurons(0.2, WIDER),
        "local activation, contrast": LocallyActiveUnits("contrast", EARLY),
        # The estimator and layer that validation chooses in experiments.faces.defects.
        "local activation, differential, main.5": LocallyActiveUnits("differential", ("main.5",)),
    }
    return {name: corrector.fit(generator, latents) for name, corrector in correctors.items()}


def published_methods(
    generator: Generator,
    faces: LabelledFaces,
    training: np.ndarray,
    rows: np.ndarray,
    steer: Space,
    fold_free: dict[str, Corrector],
    seed: int,
) -> Iterator[Method]:
    """Correctors applied to all of `rows` without a gate: `fold_free`, and those fitted on the training rows."""
    normal = faces.latents[training[faces.normal[training]]]
    broken_rows = training[faces.artifact[training]]
    broken = faces.latents[broken_rows]
    boxes = box_masks(faces.boxes[broken_rows], 64, 64)
    own_normal = generator.latents(len(steer.detector.own_normal_), steer.detector.seed + 1)[
        torch.from_numpy(steer.detector.own_normal_)
    ][:1_000]

    def run(corrector: Corrector, reference: Tensor = normal, masks: Tensor | None = None) -> tuple[Tensor, None]:
        corrector.fit(generator, reference, broken, masks=masks)
        return corrector.correct(generator, faces.latents[rows]), None

    for name, corrector in fold_free.items():
        yield name, lambda corrector=corrector: (corrector.correct(generator, faces.latents[rows]), None)
    controls: dict[str, Corrector] = {
        "random neurons for rare R=0.2 main.2+5+8": RandomNeurons(fold_free["rare R=0.2 main.2+5+8"], seed=seed),
        "random units for local activation": RandomUnits(fold_free["local activation, contrast"], seed=seed),
        "random units for local activation, main.5": RandomUnits(
            fold_free["local activation, differential, main.5"], seed=seed
        ),
    }
    for name, control in controls.items():
        yield name, lambda control=control: run(control)
    for mode in ("global", "sequential", "pull"):
        for contrast in (False, True):
            made = DefectiveUnits(mode, contrast=contrast)
            name = f"defective units, {mode}{', contrast' if contrast else ''}"
            yield f"{name} (boxes)", lambda made=made: run(made, masks=boxes)
            if contrast:
                control = RandomUnits(DefectiveUnits(mode, contrast=True), seed=seed)
                yield f"random units for {name}", lambda control=control: run(control, masks=boxes)
    yield "defective units, sequential, contrast (Grad-CAM)", lambda: run(DefectiveUnits("sequential", contrast=True))
    if steer.name != "clip-vit-b16":  # half a second of gradient an image and step
        guided = {
            "manifold-guided": ManifoldGuided(steer.extractor, EARLY),
            "latent optimisation": LatentOptimisation(steer.extractor, n_steps=20),
        }
        for name, corrector in guided.items():
            yield f"{name}, {steer.name}", lambda corrector=corrector: run(corrector, own_normal)
