"""The commands that look into a generator, as `genmend.workbench.cli.main` adds them to its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genmend.workbench.cli.duration import say_duration
from genmend.workbench.cli.options import (
    GENERATOR,
    MEASURE,
    BatchSize,
    Device,
    GeneratorOptions,
    Json,
    Model,
    Out,
    Resume,
    finish,
    generator_from,
    not_too_large,
    show_progress,
)
from genmend.workbench.cli.settings_options import command

if TYPE_CHECKING:
    from genmend.gans.settings import DissectSettings, ExploreSettings

__all__ = ["commands"]

commands = typer.Typer()


@command(
    commands,
    panel=MEASURE,
    example="Example: genmend dissect faces --layers main.5 --out dissected",
    settings="genmend.gans.settings:DissectSettings",
    which=GENERATOR,
    before={"seed": "device"},
)
def dissect(
    model: Model,
    out: Out,
    *,
    layers: Annotated[
        str,
        typer.Option(
            help="Layers to inspect, comma-separated, or all; all activation layers if empty, of a large model the "
            "early ones."
        ),
    ] = "",
    settings: DissectSettings,
    which: GeneratorOptions,
    device: Device = "cpu",
    batch_size: BatchSize = None,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Label units with concepts, test what they cause; galleries of what excites them."""
    from genmend.gans.duration import dissect_seconds
    from genmend.workbench.commands.gans.dissect import run_dissect
    from genmend.workbench.pages.gans.dissect import dissect_answer

    every = layers.strip() == "all"
    named = "" if every else layers
    generator = generator_from(model, which, layers=named, device=device, batch_size=batch_size)
    inspected = generator.layers if every else ()
    say_duration(generator, "", lambda pace: dissect_seconds(pace, settings))
    run = run_dissect(generator, out, layers=inspected, settings=settings, resume=resume, progress=show_progress())
    finish(run.to_dict(), out, as_json, dissect_answer(run).in_words())


@command(
    commands,
    panel=MEASURE,
    example="Example: genmend explore faces --n-queries 2 --out explored",
    settings="genmend.gans.settings:ExploreSettings",
    which=GENERATOR,
    before={"seed": "device"},
)
def explore(
    model: Model,
    out: Out,
    *,
    latents: Annotated[
        Path | None, typer.Option(help="Queries, a .npy array (n, *latent shape).", exists=True, dir_okay=False)
    ] = None,
    n_queries: Annotated[
        int, typer.Option(help="Queries to draw where no --latents are given.", min=1, callback=not_too_large)
    ] = 4,
    layer: Annotated[str, typer.Option(help="Whose boundaries; the first activation layer if empty.")] = "",
    settings: ExploreSettings,
    which: GeneratorOptions,
    device: Device = "cpu",
    batch_size: BatchSize = None,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Find the few boundaries that make an image, and samples on the same side of all of them."""
    from genmend.gans.detection.detect import load_latents
    from genmend.workbench.commands.gans.explore import run_explore
    from genmend.workbench.pages.gans.explore import explore_answer

    generator = generator_from(
        model, which, layers=layer, device=device, batch_size=batch_size, extractor=settings.extractor
    )
    run = run_explore(
        generator,
        out,
        latents=None if latents is None else load_latents(latents, generator),
        n_queries=n_queries,
        settings=settings,
        resume=resume,
        progress=show_progress(),
    )
    finish(run.to_dict(), out, as_json, explore_answer(run.to_dict(), run.queries).in_words())
