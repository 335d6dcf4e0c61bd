"""``genmend explain`` and ``genmend regions``: what a network sees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genmend.workbench.cli.options import (
    GENERATOR,
    MEASURE,
    Device,
    GeneratorOptions,
    Json,
    Out,
    Resume,
    finish,
    generator_from,
    known_model,
    show_progress,
)
from genmend.workbench.cli.settings_options import command

if TYPE_CHECKING:
    from genmend.concepts.settings import CircuitSettings, ExplainSettings, RegionsSettings

__all__ = ["commands"]

commands = typer.Typer()


@command(
    commands,
    panel=MEASURE,
    example="Example: genmend explain photo.jpg --out explained",
    settings="genmend.concepts.settings:ExplainSettings",
)
def explain(
    images: Annotated[Path, typer.Argument(help="An image, a folder of images, or a .npy array of them.", exists=True)],
    out: Out,
    *,
    model: Annotated[
        str,
        typer.Option(
            help="mobilenet-v2, efficientnet-lite0, torchvision:NAME, or module:callable that returns your classifier."
        ),
    ] = "mobilenet-v2",
    target: Annotated[
        str, typer.Option(help="The class to explain, by number or name; each image's own best one if empty.")
    ] = "",
    side: Annotated[int, typer.Option(help="Pixels of a side, for a classifier of your own.", min=1)] = 224,
    settings: ExplainSettings,
    device: Device = "cpu",
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Why does a classifier say so? Maps by every method that serves it, measured against noise.

    genmend fetch mobilenet-v2, then genmend explain photo.jpg --out explained.
    """
    from genmend.workbench.commands.concepts.explain import run_explain
    from genmend.workbench.pages.concepts.explain import explain_answer

    run = run_explain(
        images,
        out,
        model=model,
        target=target,
        side=side,
        device=device,
        settings=settings,
        resume=resume,
        progress=show_progress(),
    )
    totals = run.to_dict()
    finish(totals, out, as_json, explain_answer(totals).in_words())


@command(
    commands,
    panel=MEASURE,
    example="Example: genmend regions photos --query cat.jpg --out alike",
    settings="genmend.concepts.settings:RegionsSettings",
    which=GENERATOR,
)
def regions(
    source: Annotated[
        str, typer.Argument(help="A folder of images, or a .npy array of them; with --latents a generator.")
    ],
    out: Out,
    *,
    query: Annotated[str, typer.Option(help="A sample, by number or name: which others does the layer see so?")] = "",
    flagged: Annotated[
        Path | None,
        typer.Option(
            help="Which samples are broken: a folder of genmend detect, labels.csv or .npy. Of which kinds are they?",
            exists=True,
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="Of images: mobilenet-v2 (if empty), efficientnet-lite0, torchvision:NAME, or module:callable."
        ),
    ] = "",
    side: Annotated[
        int | None, typer.Option(help="Pixels of a side, for a classifier of your own; 224 if not given.", min=1)
    ] = None,
    latents: Annotated[
        Path | None, typer.Option(help="Of a generator: those of genmend detect, a .npy array.", exists=True)
    ] = None,
    which: GeneratorOptions,
    settings: RegionsSettings,
    device: Device = "cpu",
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Which samples does a layer take for alike: of a query, or of those that are flagged as broken?

    genmend regions photos --query cat.jpg --out alike, or after genmend detect faces --latents Z.npy --out found:
    genmend regions faces --latents Z.npy --flagged found --out kinds.
    """
    from genmend.concepts.classifiers import load_classifier
    from genmend.concepts.regions.samples import image_samples
    from genmend.workbench.commands.concepts.regions import latent_samples, run_regions
    from genmend.workbench.pages.concepts.regions import regions_answer

    of_images = "images, but --latents names a generator"
    if latents is not None and model:
        raise ValueError(f"--model is an option of {of_images}: leave it out.")
    if latents is not None and side is not None:
        raise ValueError(f"--side is an option of {of_images}: leave it out.")
    if latents is None and which.given():
        option = next(iter(which.given()))
        raise ValueError(f"{option} is an option of generators, which need --latents: leave it out.")
    if latents is not None:
        from genmend.gans.detection.detect import load_latents

        generator = generator_from(known_model(source), which, device=device)
        samples = latent_samples(generator, load_latents(latents, generator))
    else:
        samples = image_samples(
            _images(source), load_classifier(model or "mobilenet-v2", side=side or 224), device=device
        )
    run = run_regions(
        samples, out, query=query, flagged=flagged, settings=settings, resume=resume, progress=show_progress()
    )
    totals = run.to_dict()
    finish(totals, out, as_json, regions_answer(totals).in_words())


def _images(source: str) -> Path:
    """The path of images; ValueError where it is something else that a user might well give."""
    path = Path(source)
    if (path / "scores.csv").is_file() and (path / "detector.safetensors").is_file():
        raise ValueError(
            f"{source} is an output of genmend detect: name its generator and latents, "
            f"genmend regions MODEL --latents Z.npy --flagged {source} --out ..."
        )
    if not path.exists():
        raise ValueError(
            f"There is no {source}: give a folder of images or a .npy array of them; a generator needs --latents, "
            "those that genmend detect was given."
        )
    return path


@command(
    commands,
    panel=MEASURE,
    example="Example: genmend circuit photo.jpg --reference photographs/ --out circuits",
    settings="genmend.concepts.settings:CircuitSettings",
)
def circuit(
    images: Annotated[Path, typer.Argument(help="An image, a folder of images, or a .npy array of them.", exists=True)],
    out: Out,
    *,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Folder or .npy array of many images like those that the model knows, which say what each unit "
            "answers to; IMAGES itself, or the folder that the one image is in, if empty. For "
            "clip-vit-b16 with a folder of images for each class.",
            exists=True,
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="mobilenet-v2, efficientnet-lite0, torchvision:NAME, module:callable that returns your classifier, or "
            "clip-vit-b16 and other features, whose classes are the folders of the reference."
        ),
    ] = "mobilenet-v2",
    target: Annotated[
        str, typer.Option(help="The class to ask about, by number or name; each image's own best one if empty.")
    ] = "",
    side: Annotated[int, typer.Option(help="Pixels of a side, for a classifier of your own.", min=1)] = 224,
    settings: CircuitSettings,
    device: Device = "cpu",
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Which units of a classifier make which for an image? Circuits, and what each carries of the class.

    genmend fetch mobilenet-v2, then genmend circuit photo.jpg --reference photographs/ --out circuits.
    """
    from genmend.workbench.commands.concepts.circuit import run_circuit
    from genmend.workbench.pages.concepts.circuits import circuit_answer

    run = run_circuit(
        images,
        out,
        model=model,
        reference=reference,
        target=target,
        side=side,
        device=device,
        settings=settings,
        resume=resume,
        progress=show_progress(),
    )
    totals = run.to_dict()
    finish(totals, out, as_json, circuit_answer(totals).in_words())
