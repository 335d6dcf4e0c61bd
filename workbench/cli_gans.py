"""The commands for GANs, as `workbench.cli` adds them to its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli_options import (
    BatchSize,
    Device,
    Extractor,
    Json,
    Latents,
    LatentShape,
    Layers,
    Model,
    NReference,
    NStatistics,
    Out,
    Resume,
    Seed,
    finish,
    generator_from,
    show_progress,
)

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def detect(
    model: Model,
    latents: Latents,
    out: Out,
    detector: Annotated[Path | None, typer.Option(help="A detector.safetensors, in place of fitting one.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Flag above this combined score.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 if any sample is flagged.")] = False,
    latent_shape: LatentShape = "",
    layers: Layers = "",
    extractor: Extractor = "efficientnet-lite0",
    n_statistics: NStatistics = 10_000,
    n_reference: NReference = 2_000,
    seed: Seed = 1_000_003,
    device: Device = "cpu",
    batch_size: BatchSize = 32,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Score every latent's sample: how broken is it? Higher = more broken."""
    from workbench.detect import DetectorSettings, load_latents, run_detect

    generator = generator_from(model, latent_shape, layers, device, batch_size, extractor)
    run = run_detect(
        generator,
        load_latents(latents, generator),
        out,
        detector_file=detector,
        settings=DetectorSettings(extractor, n_statistics=n_statistics, n_reference=n_reference, seed=seed),
        threshold=threshold,
        resume=resume,
        progress=show_progress(),
    )
    finish(run.to_dict(), out, as_json)
    if check and run.detection.flagged.any():
        raise typer.Exit(1)


@commands.command()
def correct(
    model: Model,
    latents: Latents,
    out: Out,
    correction: Annotated[Path | None, typer.Option(help="A correction file, in place of making one.")] = None,
    gate: Annotated[bool, typer.Option(help="Correct only what the gate flags; --no-gate takes every sample.")] = True,
    allow_other_weights: Annotated[bool, typer.Option(help="Use a correction made for other weights.")] = False,
    latent_shape: LatentShape = "",
    layers: Layers = "",
    extractor: Extractor = "efficientnet-lite0",
    n_statistics: NStatistics = 10_000,
    n_reference: NReference = 2_000,
    seed: Seed = 1_000_003,
    device: Device = "cpu",
    batch_size: BatchSize = 32,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Mend the samples that need it; write them before and after, and the mend as a file."""
    from workbench.correct import run_correct
    from workbench.detect import DetectorSettings, load_latents

    generator = generator_from(model, latent_shape, layers, device, batch_size, extractor)
    run = run_correct(
        generator,
        load_latents(latents, generator),
        out,
        correction_file=correction,
        gate=gate,
        settings=DetectorSettings(extractor, n_statistics=n_statistics, n_reference=n_reference, seed=seed),
        allow_other_weights=allow_other_weights,
        resume=resume,
        progress=show_progress(),
    )
    finish(run.to_dict(), out, as_json)
