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


@commands.command()
def rare(
    model: Model,
    out: Out,
    latents: Annotated[
        Path | None, typer.Option(help="References, a .npy array [n, *latent shape].", exists=True, dir_okay=False)
    ] = None,
    n_references: Annotated[int, typer.Option(help="References to draw where no --latents are given.", min=1)] = 16,
    n_versions: Annotated[int, typer.Option(help="Rare versions of each reference.", min=1)] = 5,
    steps: Annotated[int, typer.Option(help="Steps of the search.", min=0)] = 60,
    noise: Annotated[float, typer.Option(help="Noise on the reference latent that each version starts from.")] = 0.1,
    k_reference: Annotated[
        int, typer.Option(help="A version stays as near its reference as this many own samples are.", min=1)
    ] = 100,
    density: Annotated[str, typer.Option(help="gmm, or flow (needs the extra flows).")] = "gmm",
    max_artifact_score: Annotated[
        float | None, typer.Option(help="In log-odds; by default 80 % of own normal samples lie below the limit.")
    ] = None,
    latent_shape: LatentShape = "",
    layers: Layers = "",
    extractor: Extractor = "efficientnet-lite0",
    n_statistics: NStatistics = 10_000,
    n_reference: NReference = 5_000,
    seed: Seed = 1_000_003,
    device: Device = "cpu",
    batch_size: BatchSize = 8,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Diverse rare versions of references, inside the normal manifold and below an artifact limit; or none."""
    from gans.rare import RareSearch
    from workbench.detect import DetectorSettings, load_latents
    from workbench.rare import RareSettings, run_rare

    settings = RareSettings(
        DetectorSettings(extractor, n_statistics=n_statistics, n_reference=n_reference, seed=seed),
        density=density,  # type: ignore[arg-type]  # RareSettings checks it
        max_artifact_score=max_artifact_score,
        search=RareSearch(n_versions=n_versions, n_steps=steps, noise=noise, k_reference=k_reference),
    )
    generator = generator_from(model, latent_shape, layers, device, batch_size, extractor)
    run = run_rare(
        generator,
        out,
        latents=None if latents is None else load_latents(latents, generator),
        n_references=n_references,
        settings=settings,
        resume=resume,
        progress=show_progress(),
    )
    finish(run.to_dict(), out, as_json)
