"""``genmend serve``: the page in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genmend.workbench.cli.options import note

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def serve(
    port: Annotated[
        int | None, typer.Option(help="The first free one from 7860 on if not given.", min=1, max=65535)
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for all that the page writes.")] = Path("served"),
) -> None:
    """Everything in the browser: samples, generators, pipelines, voices, and what a network sees.

    It answers on this machine only; from elsewhere ssh -L 7860:127.0.0.1:7860 MACHINE, then the same address.

    Needs gradio, which the extra ui brings.
    """
    from genmend.workbench.app.server import serve as run_server

    if out.exists() and not out.is_dir():
        raise FileExistsError(f"--out is {out}, which is a file; give a folder, which is made where there is none.")
    run_server(out, port, said=note)
