"""The command for diffusion pipelines, as `genmend.workbench.cli.main` adds it to its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from genmend.workbench.cli.options import MEND, Json, Out, Resume, finish, note, show_progress, usable_device
from genmend.workbench.cli.settings_options import command

if TYPE_CHECKING:
    from genmend.diffusion.search.settings import AmplifySettings

__all__ = ["commands", "gains_of"]

commands = typer.Typer()


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


def _named_or_in_order(text: str) -> dict[str, float] | tuple[float, ...]:
    """Numbers alone stay without names until it is known which blocks the model has."""
    found = gains_of(text)
    return found if "=" in text else tuple(found.values())


def _blocks_of(text: str) -> dict[int, float]:
    return {_number(key): gain for key, gain in gains_of(text).items()}


def _strengths_of(text: str) -> tuple[float, ...]:
    if text.strip() == "none":
        return ()
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError(f"--strengths is {text!r}; give numbers with a comma between them, or none.") from None


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"--blocks names {text!r}; give numbers of blocks, e.g. 14=1.05.") from None


def _device(value: str) -> str:
    return usable_device(value) if value else value


def _known_pipeline(model: str) -> str:
    from genmend.diffusion.pipeline_folder import check_model

    check_model(model)
    return model


@command(
    commands,
    panel=MEND,
    example='Example: genmend amplify reference --prompt "a creative dress" --out amplified',
    settings="genmend.diffusion.search.settings:AmplifySettings",
    texts={"gains": _named_or_in_order, "blocks": _blocks_of, "strengths": _strengths_of},
    before={"search": "correction", "seed": "device"},
)
def amplify(
    model: Annotated[
        str,
        typer.Argument(help="reference, a folder that diffusers wrote, or a hub name.", callback=_known_pipeline),
    ],
    out: Out,
    *,
    settings: AmplifySettings,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; the preset's or the model's own.", min=1)] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale; the preset's or the model's own.")] = None,
    height: Annotated[int | None, typer.Option(help="Of the images, in pixels.", min=8)] = None,
    width: Annotated[int | None, typer.Option(help="Of the images, in pixels.", min=8)] = None,
    dtype: Annotated[
        str, typer.Option(help="float32, bfloat16 or float16; on a GPU 16 bits and on a CPU 32 if not given.")
    ] = "",
    variant: Annotated[
        str, typer.Option(help="Of the weights' files; fp16 if not given, where there are such and dtype has 16 bits.")
    ] = "",
    offload: Annotated[
        str, typer.Option(help="model or sequential: parts wait off the device; none; auto: as the memory asks.")
    ] = "auto",
    lora: Annotated[str, typer.Option(help="A LoRA to attach first: a .safetensors file, or a hub name.")] = "",
    device: Annotated[
        str, typer.Option(help="cpu, cuda, cuda:1, mps; a GPU where there is one if not given.", callback=_device)
    ] = "",
    batch_size: Annotated[
        int | None, typer.Option(help="Images a call; 8, and 1 of large images on a CPU, if not given.", min=1)
    ] = None,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Amplify low frequencies in a diffusion pipeline: same-seed pairs, and in words whether they are newer or broken.

    A model of the hub: genmend amplify stabilityai/sdxl-turbo --prompt "a creative chair" --out chairs. Its size is
    said before it is downloaded; gains, steps and size are its family's, device and precision the machine's.
    """
    from genmend.diffusion.loading import load_text_to_image
    from genmend.diffusion.search.plan import check_before_loading
    from genmend.workbench.commands.amplify import run_amplify
    from genmend.workbench.pages.amplify import amplify_answer

    named = {"num_inference_steps": steps, "guidance_scale": guidance, "height": height, "width": width}
    settings = replace(settings, call={key: value for key, value in named.items() if value is not None})
    check_before_loading(model, settings)
    loaded = load_text_to_image(
        model, device=device, dtype=dtype, variant=variant, offload=offload, lora=lora, say=note
    )
    run = run_amplify(
        model, loaded, out, settings, batch_size=batch_size, resume=resume, progress=show_progress(), say=note
    )
    finish(run.to_dict(), out, as_json, amplify_answer(run).in_words())
