"""The command for diffusion pipelines, as `genmend.workbench.cli.main` adds it to its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genmend.workbench.cli.options import Device, Json, Out, Resume, finish, show_progress

__all__ = ["commands", "gains_of"]

commands = typer.Typer()


@commands.command()
def amplify(
    model: Annotated[str, typer.Argument(help="reference, a folder that diffusers wrote, or a hub name.")],
    out: Out,
    prompt: Annotated[list[str], typer.Option(help="What to draw; again for more.")],
    gains: Annotated[
        str, typer.Option(help="down0=1.1,down1=1.3,mid=1.8; or the same in this order: 1.1,1.3,1.8.")
    ] = "",
    preset: Annotated[str, typer.Option(help="sdxl-turbo, sdxl-lightning-1, sd-1.5, ...; see diffusion.PRESETS.")] = "",
    search: Annotated[
        bool, typer.Option("--search", help="Search the gains that are newest and still usable.")
    ] = False,
    correction: Annotated[Path | None, typer.Option(help="An amplification.safetensors.", exists=True)] = None,
    blocks: Annotated[str, typer.Option(help="Of a transformer: 14=1.05,15=1.05 (experimental).")] = "",
    cutoff: Annotated[
        float | None, typer.Option(help="Where the low band ends; by default the preset's, or 5.")
    ] = None,
    cutoff_unit: Annotated[str, typer.Option(help="bins, or nyquist for a share of it.")] = "",
    n: Annotated[int, typer.Option(help="Images of each prompt.", min=1)] = 8,
    n_cloud: Annotated[
        int, typer.Option(help="Unamplified images that novelty is measured from; 0: none.", min=0)
    ] = 64,
    n_search: Annotated[int, typer.Option(help="Seeds of a search.", min=4)] = 16,
    n_trials: Annotated[int, typer.Option(help="Choices of gains that a search tries first.", min=2)] = 24,
    tau: Annotated[float, typer.Option(help="Share of the usability that a search keeps.", min=0, max=1)] = 0.95,
    usability: Annotated[str, typer.Option(help="clip:MODEL by hub name or folder; none; reference has its own.")] = "",
    features: Annotated[str, typer.Option(help="Extractor of the novelty; efficientnet-lite0 if empty.")] = "",
    control: Annotated[str, typer.Option(help="Draw a control too: full, high, random or noise.")] = "",
    real: Annotated[
        Path | None, typer.Option(help="Folder of real images: novelty counts only among them.", exists=True)
    ] = None,
    keep_inside: Annotated[
        float, typer.Option(help="Share of the samples among --real images that a search keeps.", min=0, max=1)
    ] = 0.0,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; the pipeline's own if not given.", min=1)] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale; the pipeline's own if not given.")] = None,
    height: Annotated[int | None, typer.Option(help="Of the images, in pixels.", min=8)] = None,
    width: Annotated[int | None, typer.Option(help="Of the images, in pixels.", min=8)] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    seed: Annotated[int, typer.Option(help="Of the first image; cloud and search use seeds far above.", min=0)] = 0,
    device: Device = "cpu",
    batch_size: Annotated[int, typer.Option(help="Images a call.", min=1)] = 8,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Amplify low frequencies in a diffusion pipeline: same-seed pairs, usability kept, novelty won."""
    from genmend.diffusion.loading import load_text_to_image
    from genmend.diffusion.search.comparison import AmplifySettings
    from genmend.workbench.commands.amplify import run_amplify

    named = {"num_inference_steps": steps, "guidance_scale": guidance, "height": height, "width": width}
    settings = AmplifySettings(
        prompts=tuple(prompt),
        gains=gains_of(gains) if gains else None,
        preset=preset,
        correction=correction,
        search=search,
        blocks={_number(key): gain for key, gain in gains_of(blocks).items()} if blocks else None,
        cutoff=cutoff,
        cutoff_unit=cutoff_unit,
        n=n,
        n_cloud=n_cloud,
        n_search=n_search,
        n_trials=n_trials,
        tau=tau,
        usability=usability,
        features=features,
        control=control,
        real=real,
        keep_inside=keep_inside,
        seed=seed,
        call={key: value for key, value in named.items() if value is not None},
    )
    loaded = load_text_to_image(model, device=device, dtype=dtype)
    run = run_amplify(model, loaded, out, settings, batch_size=batch_size, resume=resume, progress=show_progress())
    finish(run.to_dict(), out, as_json)


def gains_of(text: str) -> dict[str, float]:
    """``slot=gain`` pairs; or gains alone, in the order down0, down1, ..., mid.

    Raises
    ------
    ValueError
        If it is neither.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        if any("=" in part for part in parts):
            pairs = (part.split("=", 1) for part in parts)
            return {slot.strip(): float(gain) for slot, gain in pairs}
        slots = [*(f"down{i}" for i in range(len(parts) - 1)), "mid"]
        return dict(zip(slots, map(float, parts), strict=True))
    except ValueError:
        raise ValueError(f"Gains are {text!r}; give down0=1.1,mid=1.8, or numbers with a comma between them.") from None


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"--blocks names {text!r}; give numbers of blocks, e.g. 14=1.05.") from None
