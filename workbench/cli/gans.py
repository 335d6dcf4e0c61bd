"""The commands for GANs, as `genmend.workbench.cli.main` adds them to its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from genmend.workbench.cli.options import (
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
    Psi,
    Resume,
    Seed,
    Space,
    finish,
    generator_from,
    note,
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
    psi: Psi = None,
    space: Space = "",
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
    from genmend.gans.detection.detect import DetectorSettings, load_latents
    from genmend.workbench.commands.detect import run_detect

    generator = generator_from(model, latent_shape, layers, device, batch_size, extractor, psi=psi, space=space)
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
    method: Annotated[
        str,
        typer.Option(
            help="ladder, defective-units, rare-neurons, locally-active-units, manifold-guided, truncation, "
            "latent-optimisation; random-units and random-neurons are controls of the second and third."
        ),
    ] = "ladder",
    parameters: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of the method, e.g. share=0.3; again for more.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Folder with latents.npy and labels.csv, to learn from in place of a detector.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="A .npy array [n, h, w]: where each latent of --labels is broken, 0..1.")
    ] = None,
    correction: Annotated[Path | None, typer.Option(help="A correction file, in place of making one.")] = None,
    gate: Annotated[bool, typer.Option(help="Correct only what the gate flags; --no-gate takes every sample.")] = True,
    judge: Annotated[
        str, typer.Option(help="Another extractor than --extractor, to judge the corrected samples; none if empty.")
    ] = "",
    allow_other_weights: Annotated[bool, typer.Option(help="Use a correction made for other weights.")] = False,
    latent_shape: LatentShape = "",
    psi: Psi = None,
    space: Space = "",
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
    from genmend.gans.correctors.registry import MethodSettings, parsed_parameters
    from genmend.gans.detection.detect import DetectorSettings, load_latents
    from genmend.gans.detection.labelled_samples import load_labelled
    from genmend.workbench.commands.correct import run_correct

    if correction is not None and (method != "ladder" or parameters or labels):
        raise ValueError("--correction is a correction made before; leave out --method, --set and --labels with it.")
    if masks is not None and labels is None:
        raise ValueError("--masks are those of labelled latents; give --labels too.")
    wanted = MethodSettings(method, parsed_parameters(parameters or ()))
    wanted.check_masks(masks)
    generator = generator_from(model, latent_shape, layers, device, batch_size, extractor, psi=psi, space=space)
    if labels is not None:
        wanted = replace(wanted, labels=load_labelled(labels, generator, masks))
    run = run_correct(
        generator,
        load_latents(latents, generator),
        out,
        correction_file=correction,
        method=wanted,
        gate=gate,
        judge=judge,
        settings=DetectorSettings(extractor, n_statistics=n_statistics, n_reference=n_reference, seed=seed),
        allow_other_weights=allow_other_weights,
        resume=resume,
        progress=show_progress(),
    )
    finish(run.to_dict(), out, as_json)


@commands.command()
def dissect(
    model: Model,
    out: Out,
    layer: Annotated[
        list[str] | None, typer.Option(help="Layer to dissect, again for more; all activation layers if not given.")
    ] = None,
    segmenter: Annotated[
        list[str] | None, typer.Option(help="classical, face-parser, or module:callable; again for more.")
    ] = None,
    n_images: Annotated[int, typer.Option(help="Samples to segment; classical sees --n-statistics.", min=8)] = 2_000,
    n_statistics: Annotated[int, typer.Option(help="Samples behind the units' statistics.", min=8)] = 10_000,
    thresholds: Annotated[str, typer.Option(help="iqr: the best for each concept; fixed: the top 0.5 %.")] = "iqr",
    rule: Annotated[str, typer.Option(help="Which units are detectors: paper or code.")] = "paper",
    causal: Annotated[
        list[str] | None, typer.Option(help="CONCEPT or CONCEPT@LAYER: test whether its units cause it.")
    ] = None,
    n_units: Annotated[int, typer.Option(help="Units that a causal test switches off.", min=1)] = 20,
    alpha_steps: Annotated[int, typer.Option(help="Steps of the search for causal units; 0: by IoU.", min=0)] = 0,
    artifact_units: Annotated[
        str,
        typer.Option(help="An extractor: rank units by how far from normal in it the images are that excite them."),
    ] = "",
    latent_shape: LatentShape = "",
    psi: Psi = None,
    space: Space = "",
    seed: Annotated[int, typer.Option(help="Of the samples; seed + 1 chooses thresholds.", min=0)] = 0,
    device: Device = "cpu",
    batch_size: BatchSize = 32,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Label units with concepts, test what they cause; galleries of what excites them."""
    from genmend.gans.dissection.causal_study import CausalSettings
    from genmend.gans.dissection.dissection import DissectSettings
    from genmend.workbench.commands.dissect import run_dissect

    settings = DissectSettings(
        segmenters=tuple(segmenter or ["classical"]),
        n_images=n_images,
        n_statistics=n_statistics,
        thresholds=thresholds,  # type: ignore[arg-type]  # DissectSettings checks it
        rule=rule,  # type: ignore[arg-type]
        causal=tuple(causal or ()),
        causal_settings=CausalSettings(n_units=n_units, alpha_steps=alpha_steps),
        artifact_units=artifact_units,
        seed=seed,
    )
    named = [name for name in layer or () if name != "all"]
    generator = generator_from(model, latent_shape, ",".join(named), device, batch_size, psi=psi, space=space)
    run = run_dissect(generator, out, settings=settings, resume=resume, progress=show_progress())
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
    artifact_limit: Annotated[
        bool, typer.Option(help="Accept only versions that look no more broken than normal samples.")
    ] = True,
    max_artifact_score: Annotated[
        float | None, typer.Option(help="In log-odds; by default 80 % of own normal samples lie below the limit.")
    ] = None,
    latent_shape: LatentShape = "",
    psi: Psi = None,
    space: Space = "",
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
    from genmend.gans.detection.detect import DetectorSettings, load_latents
    from genmend.gans.rare import RareSearch
    from genmend.gans.rare.find import RareSettings
    from genmend.workbench.commands.rare import run_rare

    settings = RareSettings(
        DetectorSettings(extractor, n_statistics=n_statistics, n_reference=n_reference, seed=seed),
        density=density,  # type: ignore[arg-type]  # RareSettings checks it
        artifact_limit=artifact_limit,
        max_artifact_score=max_artifact_score,
        search=RareSearch(n_versions=n_versions, n_steps=steps, noise=noise, k_reference=k_reference),
    )
    generator = generator_from(model, latent_shape, layers, device, batch_size, extractor, psi=psi, space=space)
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


@commands.command()
def explore(
    model: Model,
    out: Out,
    latents: Annotated[
        Path | None, typer.Option(help="Queries, a .npy array [n, *latent shape].", exists=True, dir_okay=False)
    ] = None,
    n_queries: Annotated[int, typer.Option(help="Queries to draw where no --latents are given.", min=1)] = 4,
    layer: Annotated[str, typer.Option(help="Whose boundaries; the first activation layer if empty.")] = "",
    tolerance: Annotated[
        float, typer.Option(help="RMSE (0..1) that the boundaries alone may miss the image by.")
    ] = 0.05,
    granularity: Annotated[
        str, typer.Option(help="neuron, or unit for whole feature maps: looser regions.")
    ] = "neuron",
    method: Annotated[
        str, typer.Option(help="bouncing (layers affine in the latent), hit-and-run, tree; auto: one of the first two.")
    ] = "auto",
    n: Annotated[int, typer.Option(help="Latents to explore round each query.", min=2)] = 32,
    n_moves: Annotated[
        int | None, typer.Option(help="Moves of each walk; by default 100 of bouncing, 1000 of hit-and-run.", min=1)
    ] = None,
    extractor: Annotated[
        str, typer.Option(help="Its features tell how alike images are; '' for pixels alone.")
    ] = "efficientnet-lite0",
    latent_shape: LatentShape = "",
    psi: Psi = None,
    space: Space = "",
    seed: Annotated[int, typer.Option(help="Of the queries; query i is explored with seed + i.", min=0)] = 0,
    device: Device = "cpu",
    batch_size: BatchSize = 32,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Find the few boundaries that make an image, and samples on the same side of all of them."""
    from genmend.gans.boundaries.explore import ExploreSettings
    from genmend.gans.detection.detect import load_latents
    from genmend.workbench.commands.explore import run_explore

    settings = ExploreSettings(
        tolerance=tolerance,
        granularity=granularity,  # type: ignore[arg-type]  # ExploreSettings checks it
        method=method,  # type: ignore[arg-type]
        n=n,
        n_moves=n_moves,
        extractor=extractor,
        seed=seed,
    )
    generator = generator_from(model, latent_shape, layer, device, batch_size, extractor, psi=psi, space=space)
    run = run_explore(
        generator,
        out,
        latents=None if latents is None else load_latents(latents, generator),
        n_queries=n_queries,
        settings=settings,
        resume=resume,
        progress=show_progress(),
    )
    finish(run.to_dict(), out, as_json)


@commands.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A foreign checkpoint: .pkl, .pt, .pth.")],
    out: Out,
    family: Annotated[str, typer.Option(help="Its layout; by the names of its arrays if auto.")] = "auto",
    group: Annotated[str, typer.Option(help="Which of its models, e.g. g_ema; the averaged one if empty.")] = "",
    n_classes: Annotated[int, typer.Option(help="Of a conditional DCGAN.", min=0)] = 0,
    i_trust_this_file: Annotated[bool, typer.Option("--i-trust-this-file", help="Needed: see SECURITY.md.")] = False,
    samples: Annotated[bool, typer.Option(help="Load the result and draw some; --no-samples for huge models.")] = True,
    seed: Annotated[int, typer.Option(help="Of these samples.", min=0)] = 0,
    device: Device = "cpu",
    batch_size: Annotated[int | None, typer.Option(help="Images a forward pass; the family's own.", min=1)] = None,
    resume: Annotated[bool, typer.Option(help="Read nothing that was converted before, by its digest.")] = True,
    as_json: Json = False,
) -> None:
    """Turn a foreign checkpoint into safetensors and JSON, to use as MODEL."""
    from genmend.workbench.commands.convert import SampleSettings, in_words, run_convert

    run = run_convert(
        file,
        out,
        family,
        trusted=i_trust_this_file,
        group=group,
        n_classes=n_classes,
        samples=SampleSettings(seed, device, batch_size) if samples else None,
        resume=resume,
    )
    note(in_words(run))
    finish(run.to_dict(), out, as_json)
