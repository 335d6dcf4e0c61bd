"""``genmend serve``: the page in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from genmend.workbench.cli.options import (
    GENERATOR,
    SETUP,
    BatchSize,
    Device,
    GeneratorOptions,
    Layers,
    Model,
    generator_from,
    note,
)
from genmend.workbench.cli.settings_options import command

__all__ = ["commands"]

commands = typer.Typer()


def _known_folder(pipeline: str) -> str:
    from genmend.diffusion.pipeline_folder import check_pipeline_folder

    folder = Path(pipeline).expanduser()
    if pipeline != "reference":
        if not (folder / "model_index.json").is_file():
            raise ValueError(f"--pipeline is {pipeline!r}; give reference, or a folder that save_pretrained wrote.")
        check_pipeline_folder(folder)
    return pipeline


def _known_voice(voice: str) -> str:
    from genmend.tts.voices.load import check_voice

    if voice:
        check_voice(voice)
    if voice.endswith((".onnx", ".safetensors")) and not Path(voice).is_file():
        raise FileNotFoundError(f"There is no file {voice}; give --voice a voice that is there.")
    return voice


@command(commands, panel=SETUP, example="Example: genmend serve", which=GENERATOR)
def serve(
    model: Model = "",
    *,
    port: Annotated[
        int | None, typer.Option(help="The first free one from 7860 on if not given.", min=1, max=65535)
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for all that the page writes.")] = Path("served"),
    pipeline: Annotated[
        str,
        typer.Option(help="Of the tab Amplify: reference, or a folder that diffusers wrote.", callback=_known_folder),
    ] = "reference",
    voice: Annotated[
        str,
        typer.Option(help="Of the tab Voice, beside joe: a Piper .onnx, or what speak takes.", callback=_known_voice),
    ] = "",
    which: GeneratorOptions,
    layers: Layers = "",
    device: Device = "cpu",
    batch_size: BatchSize = None,
) -> None:
    """Everything in the browser: samples, generators, pipelines, voices, and what a network sees.

    MODEL is what the tab Generator shows; faces if not given.

    It answers on this machine only; from elsewhere ssh -L 7860:127.0.0.1:7860 MACHINE, then the same address.

    Needs gradio, which the extra ui brings.
    """
    from genmend.workbench.app.context import Models
    from genmend.workbench.app.server import serve as run_server

    if out.exists() and not out.is_dir():
        raise FileExistsError(f"--out is {out}, which is a file; give a folder, which is made where there is none.")
    options: dict[str, Any] = {"layers": layers, "device": device, "batch_size": batch_size}
    # Faces are loaded, and fetched where they are not here yet, when the tab is first opened.
    own = model not in ("", "faces") or which.given() or options != {"layers": "", "device": "cpu", "batch_size": None}
    generator = generator_from(model or "faces", which, **options) if own else None
    run_server(out, port, models=Models(pipeline, voice, generator), said=note)
