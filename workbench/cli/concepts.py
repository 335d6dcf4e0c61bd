"""``genmend explain``: what a classifier sees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genmend.workbench.cli.options import Device, Json, Out, Resume, finish, note, show_progress
from genmend.workbench.cli.settings_options import command

if TYPE_CHECKING:
    from genmend.concepts.settings import ExplainSettings

__all__ = ["commands"]

commands = typer.Typer()


@command(commands, settings="genmend.concepts.settings:ExplainSettings")
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
    from genmend.workbench.pages.concepts.explain import in_words

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
    note(in_words(totals))
    finish(totals, out, as_json)
