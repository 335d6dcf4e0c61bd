"""``genmend convert``, as `genmend.workbench.cli.main` adds it to its own commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genmend.workbench.cli.options import SETUP, Device, Json, Out, Seed, finish

__all__ = ["commands"]

commands = typer.Typer()


@commands.command(rich_help_panel=SETUP, epilog="Example: genmend convert ffhq.pkl --i-trust-this-file --out converted")
def convert(
    file: Annotated[Path, typer.Argument(help="A foreign checkpoint: .pkl, .pt, .pth, .safetensors.", exists=True)],
    out: Out,
    family: Annotated[str, typer.Option(help="Its layout; by the names of its arrays if auto.")] = "auto",
    group: Annotated[str, typer.Option(help="Which of its models, e.g. g_ema; the averaged one if empty.")] = "",
    n_classes: Annotated[int, typer.Option(help="Of a conditional DCGAN.", min=0)] = 0,
    i_trust_this_file: Annotated[bool, typer.Option("--i-trust-this-file", help="Needed: see SECURITY.md.")] = False,
    samples: Annotated[bool, typer.Option(help="Load the result and draw some; --no-samples for huge models.")] = True,
    seed: Seed = 0,
    device: Device = "cpu",
    batch_size: Annotated[int | None, typer.Option(help="Images a forward pass; the family's own.", min=1)] = None,
    resume: Annotated[
        bool, typer.Option(help="Do not convert a file again that was converted before (same digest).")
    ] = True,
    as_json: Json = False,
) -> None:
    """Turn a foreign checkpoint into safetensors and JSON, to use as MODEL."""
    from genmend.workbench.commands.gans.convert import SampleSettings, in_words, run_convert

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
    finish(run.to_dict(), out, as_json, in_words(run))
