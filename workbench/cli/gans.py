"""The commands for GANs, as `genmend.workbench.cli.main` adds them to its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genmend.workbench.cli.duration import say_duration
from genmend.workbench.cli.options import (
    GENERATOR,
    MEASURE,
    MEND,
    BatchSize,
    Device,
    GeneratorOptions,
    Json,
    Latents,
    Layers,
    Model,
    N,
    Out,
    Resume,
    finish,
    generator_from,
    given_latents,
    known_model,
    not_too_large,
    show_progress,
)
from genmend.workbench.cli.settings_options import command

if TYPE_CHECKING:
    from genmend.gans.settings import DetectorSettings, RareSettings, TrainSettings

__all__ = ["commands"]

commands = typer.Typer()

DETECTOR = "genmend.gans.settings:DetectorSettings"
DetectorFile = Annotated[
    Path | None,
    typer.Option("--detector", help="A detector.safetensors, e.g. of train-detector, in place of fitting one."),
]
Normal = Annotated[
    Path | None,
    typer.Option(
        help="Folder of real or normal images, or a file of genmend features of such, in place of the model's own "
        "normal samples: where most of these are not normal."
    ),
]


@command(
    commands,
    panel=MEASURE,
    example="Example: genmend detect faces --n 500 --out found",
    settings=DETECTOR,
    which=GENERATOR,
)
def detect(
    model: Model,
    out: Out,
    *,
    latents: Latents = None,
    n: N = None,
    detector: DetectorFile = None,
    normal: Normal = None,
    threshold: Annotated[float | None, typer.Option(help="Flag above this combined score.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 if any sample is flagged.")] = False,
    which: GeneratorOptions,
    layers: Layers = "",
    settings: DetectorSettings,
    device: Device = "cpu",
    batch_size: BatchSize = None,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Score every latent's sample: how broken is it? Higher = more broken."""
    from genmend.gans.duration import detect_seconds
    from genmend.workbench.commands.gans.detect import run_detect
    from genmend.workbench.pages.gans.detect import detect_answer

    generator = generator_from(
        model, which, layers=layers, device=device, batch_size=batch_size, extractor=settings.extractor
    )
    loaded, fitted = given_latents(latents, n, generator, out), detector is not None
    say_duration(generator, settings.extractor, lambda pace: detect_seconds(pace, settings, len(loaded), fitted=fitted))
    run = run_detect(
        generator,
        loaded,
        out,
        detector_file=detector,
        normal=normal,
        settings=settings,
        threshold=threshold,
        resume=resume,
        progress=show_progress(),
    )
    finish(run.to_dict(), out, as_json, detect_answer(run).in_words())
    if check and run.detection.flagged.any():
        raise typer.Exit(1)


@command(
    commands,
    panel=MEND,
    example="Example: genmend train-detector --good good_images/ --bad bad_images/ --out trained",
    settings="genmend.gans.settings:TrainSettings",
    which=GENERATOR,
    before={"detector": "device"},
    leave_out=("flagged_share",),  # labels decide
)
def train_detector(
    out: Out,
    *,
    model: Annotated[
        str,
        typer.Argument(
            help="Whose latents are labelled, as for detect; none with --good and --bad.", callback=known_model
        ),
    ] = "",
    labels: Annotated[
        Path | None,
        typer.Option(help="Folder with latents.npy and labels.csv (rater_a: 0 normal, 1 borderline, 2 broken)."),
    ] = None,
    good: Annotated[Path | None, typer.Option(help="Folder of good images, in place of MODEL and --labels.")] = None,
    bad: Annotated[Path | None, typer.Option(help="Folder of broken images.")] = None,
    which: GeneratorOptions,
    layers: Layers = "",
    settings: TrainSettings,
    device: Device = "cpu",
    batch_size: BatchSize = None,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Learn from labels what is broken; write a detector file for detect and correct.

    genmend train-detector faces --labels judged --out trained, or
    genmend train-detector --good good_images --bad bad_images --out trained; then
    genmend detect faces --detector trained/detector.safetensors --latents Z.npy --out found.
    """
    from genmend.workbench.commands.gans.train_detector import run_train_detector
    from genmend.workbench.pages.gans.train_detector import train_detector_answer

    generator = None
    if model:
        generator = generator_from(
            model, which, layers=layers, device=device, batch_size=batch_size, extractor=settings.detector.extractor
        )
    run = run_train_detector(
        out,
        generator=generator,
        labels=labels,
        good=good,
        bad=bad,
        settings=settings,
        resume=resume,
        progress=show_progress(),
    )
    finish(run.to_dict(), out, as_json, train_detector_answer(run.to_dict()).in_words())


@command(
    commands,
    panel=MEND,
    example="Example: genmend correct faces --n 500 --detector found/detector.safetensors --out mended",
    settings=DETECTOR,
    which=GENERATOR,
)
def correct(
    model: Model,
    out: Out,
    *,
    latents: Latents = None,
    n: N = None,
    method: Annotated[
        str,
        typer.Option(
            help="contrast-descent, ladder, defective-units, rare-neurons, locally-active-units, manifold-guided, "
            "truncation, latent-optimisation; random-units and random-neurons are controls of the third and fourth."
        ),
    ] = "contrast-descent",
    parameters: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of the method, e.g. share=0.3; again for more.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Folder with latents.npy and labels.csv, to learn from in place of a detector.")
    ] = None,
    masks: Annotated[
        str,
        typer.Option(
            help="Where samples are broken: a .npy array (n, h, w), 0..1, of --labels; or explain:NAME, what makes the "
            "gate call them so, e.g. explain:dga."
        ),
    ] = "",
    detector: DetectorFile = None,
    normal: Normal = None,
    correction: Annotated[Path | None, typer.Option(help="A correction file, in place of making one.")] = None,
    gate: Annotated[bool, typer.Option(help="Correct only what the gate flags; --no-gate takes every sample.")] = True,
    gate_at: Annotated[
        float | None, typer.Option(help="Correct above this gate score, in place of the correction's threshold.")
    ] = None,
    judge: Annotated[
        str,
        typer.Option(
            "--judge-extractor",
            help="Another extractor than --extractor, to judge the corrected samples; none if empty.",
        ),
    ] = "",
    allow_other_weights: Annotated[bool, typer.Option(help="Use a correction made for other weights.")] = False,
    which: GeneratorOptions,
    layers: Layers = "",
    settings: DetectorSettings,
    device: Device = "cpu",
    batch_size: BatchSize = None,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Mend the samples that need it; write them before and after, and the mend as a file."""
    from genmend.gans.correctors.registry import MethodSettings, parse_parameters
    from genmend.gans.detection.labelled_samples import load_labelled
    from genmend.gans.duration import Pace, correct_seconds
    from genmend.workbench.commands.gans.correct import masks_from, run_correct
    from genmend.workbench.pages.gans.correct import correct_answer

    if correction is not None and (method != "contrast-descent" or parameters or labels or detector or normal):
        raise ValueError(
            "--correction is a correction made before; leave out --method, --set, --labels, --detector and --normal "
            "with it."
        )
    drawn, explained = masks_from(masks)
    if drawn is not None and labels is None:
        raise ValueError("--masks are those of labelled latents; give --labels too, or --masks explain:NAME.")
    if gate_at is not None and not gate:
        raise ValueError("--gate-at sets where the gate opens and --no-gate leaves it out; give one of the two.")
    wanted = MethodSettings(method, parse_parameters(parameters or ()), masks=explained)
    wanted.check_masks(drawn)
    generator = generator_from(
        model, which, layers=layers, device=device, batch_size=batch_size, extractor=settings.extractor
    )
    if labels is not None:
        wanted = replace(wanted, labels=load_labelled(labels, generator, drawn))
    loaded, fitted = given_latents(latents, n, generator, out), correction is not None
    passes = 0 if explained is None else explained.passes

    def seconds(pace: Pace) -> float:
        return correct_seconds(
            pace, settings, len(loaded), fitted=fitted, detected=detector is not None, explained=passes
        )

    say_duration(generator, settings.extractor, seconds)
    run = run_correct(
        generator,
        loaded,
        out,
        correction_file=correction,
        method=wanted,
        detector_file=detector,
        normal=normal,
        gate=gate,
        gate_at=gate_at,
        judge=judge,
        settings=settings,
        allow_other_weights=allow_other_weights,
        resume=resume,
        progress=show_progress(),
    )
    finish(run.to_dict(), out, as_json, correct_answer(run).in_words())


@command(
    commands,
    panel=MEND,
    example="Example: genmend rare faces --n-references 8 --out rare",
    settings="genmend.gans.settings:RareSettings",
    which=GENERATOR,
    before={"search": "density", "detector": "device"},
)
def rare(
    model: Model,
    out: Out,
    *,
    latents: Annotated[
        Path | None, typer.Option(help="References, a .npy array (n, *latent shape).", exists=True, dir_okay=False)
    ] = None,
    n_references: Annotated[
        int, typer.Option(help="References to draw where no --latents are given.", min=1, callback=not_too_large)
    ] = 16,
    normal: Normal = None,
    settings: RareSettings,
    which: GeneratorOptions,
    layers: Layers = "",
    device: Device = "cpu",
    batch_size: BatchSize = None,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Diverse rare versions of references, inside the normal manifold and below an artifact limit; or none."""
    from genmend.gans.detection.detect import load_latents
    from genmend.gans.duration import rare_seconds
    from genmend.workbench.commands.gans.rare import run_rare
    from genmend.workbench.pages.gans.rare import rare_answer

    generator = generator_from(
        model, which, layers=layers, device=device, batch_size=batch_size, extractor=settings.detector.extractor
    )
    loaded = None if latents is None else load_latents(latents, generator)
    n = n_references if loaded is None else len(loaded)
    say_duration(generator, settings.detector.extractor, lambda pace: rare_seconds(pace, settings, n))
    run = run_rare(
        generator,
        out,
        latents=loaded,
        n_references=n_references,
        normal=normal,
        settings=settings,
        resume=resume,
        progress=show_progress(),
    )
    finish(run.to_dict(), out, as_json, rare_answer(run.to_dict()).in_words())
