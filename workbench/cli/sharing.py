"""The commands that share files, as `genmend.workbench.cli.main` adds them to its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genmend.workbench.cli.options import (
    GENERATOR,
    MEND,
    SETUP,
    BatchSize,
    Device,
    GeneratorOptions,
    Json,
    Out,
    finish,
    generator_from,
    known_model,
    note,
    show_progress,
)
from genmend.workbench.cli.settings_options import command

if TYPE_CHECKING:
    from genmend.gans.preview.settings import PreviewSettings
    from genmend.storage.hub.repository import Shared

__all__ = ["commands"]

commands = typer.Typer()

_FILE = "mended/correction.safetensors"

Source = Annotated[str, typer.Argument(help="A repository OWNER/NAME of the hub; also a folder or a file.")]
Revision = Annotated[str, typer.Option(help="Branch, tag or commit of the repository; a commit never changes.")]


@commands.command(rich_help_panel=SETUP, epilog=f"Example: genmend push {_FILE} you/faces-correction --licence mit")
def push(
    file: Annotated[
        Path,
        typer.Argument(
            help="A correction, amplification, detector, region, repairs of a voice or a reference's features.",
            exists=True,
        ),
    ],
    repository: Annotated[str, typer.Argument(help="OWNER/NAME on the hub; made where it is not there.")],
    licence: Annotated[
        str,
        typer.Option(
            "--licence", "--license", help="Of the file, e.g. mit; look at that of its model, which may bind it."
        ),
    ] = "",
    about: Annotated[str, typer.Option(help="Words of your own for the card.")] = "",
    private: Annotated[bool, typer.Option("--private", help="A repository that is made is yours alone.")] = False,
    revision: Revision = "",
    as_json: Json = False,
) -> None:
    """Share a file on the hub, with a card made of what stands in it."""
    from genmend.storage import find_shared
    from genmend.storage import push as push_to_hub

    found = find_shared(file)
    address = push_to_hub(
        found.path, repository, licence=licence, about=about, private=private, revision=revision or None
    )
    if as_json:
        typer.echo(json.dumps({"repository": repository, "kind": found.kind.name, "commit": address}))
    note(f"Shared: {address}")


@commands.command(rich_help_panel=SETUP, epilog="Example: genmend pull you/faces-correction --out fetched")
def pull(
    source: Source,
    out: Annotated[Path, typer.Option(help="Folder for the file and its card.")],
    revision: Revision = "",
    as_json: Json = False,
) -> None:
    """Fetch what was shared, check it, and say what it is; it is data, and nothing of it is run."""
    from genmend.workbench.commands.pull import run_pull

    pulled = run_pull(source, out, revision=revision or None)
    if as_json:
        typer.echo(json.dumps(pulled.to_dict()))
    note(pulled.text)


@command(
    commands,
    panel=MEND,
    example="Example: genmend attach faces you/faces-correction --out preview",
    settings="genmend.gans.preview.settings:PreviewSettings",
    which=GENERATOR,
)
def attach(
    model: Annotated[
        str, typer.Argument(help="What the file was made for: MODEL of detect, or of amplify, or VOICE of speak.")
    ],
    source: Source,
    out: Out,
    *,
    settings: PreviewSettings,
    prompt: Annotated[
        list[str] | None, typer.Option(help="What a pipeline draws, at most 8 images of each; again for more.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Denoising steps of a pipeline; its own if not given.", min=1)
    ] = None,
    text: Annotated[str, typer.Option(help="What a voice says.")] = "",
    phonemes: Annotated[str, typer.Option(help="IPA in place of what espeak-ng makes of the text.")] = "",
    revision: Revision = "",
    which: GeneratorOptions,
    device: Device = "cpu",
    batch_size: BatchSize = None,
    as_json: Json = False,
) -> None:
    """Show what a shared correction does before anyone trusts it: its facts, and samples beside a control."""
    from genmend.storage import find_shared

    shared = find_shared(source, revision=revision or None)
    if shared.kind.name == "correction":
        _attach_to_generator(model, shared, out, settings, which, device, batch_size, as_json)
    elif shared.kind.name == "amplification":
        _attach_to_pipeline(model, shared, out, settings, tuple(prompt or ()), steps, device, batch_size, as_json)
    elif shared.kind.name == "voice-repairs":
        _attach_to_voice(model, shared, out, text, phonemes, device, as_json)
    else:
        raise ValueError(f"{source} holds {shared.kind.noun}, which changes no model; `genmend pull` says what it is.")


def _attach_to_generator(
    model: str,
    shared: Shared,
    out: Path,
    settings: PreviewSettings,
    which: GeneratorOptions,
    device: str,
    batch_size: int | None,
    as_json: bool,
) -> None:
    known_model(model)
    from genmend.workbench.commands.gans.attach import run_attach
    from genmend.workbench.pages.gans.attach import attach_answer

    generator = generator_from(model, which, device=device, batch_size=batch_size)
    preview = run_attach(generator, shared, out, settings, progress=show_progress())
    finish(preview.to_dict(), out, as_json, attach_answer(preview).in_words())


def _attach_to_pipeline(
    model: str,
    shared: Shared,
    out: Path,
    settings: PreviewSettings,
    prompts: tuple[str, ...],
    steps: int | None,
    device: str,
    batch_size: int | None,
    as_json: bool,
) -> None:
    from genmend.diffusion.pipeline_folder import check_model

    check_model(model)
    if not prompts:
        raise ValueError(f"{shared.source} holds an amplification, which is tried on a prompt; give --prompt.")
    from genmend.diffusion.loading import load_text_to_image
    from genmend.workbench.commands.attach import run_attach_amplification

    found = run_attach_amplification(
        model,
        load_text_to_image(model, device=device, say=note),
        shared,
        prompts,
        out,
        n=settings.n,
        seed=settings.seed,
        call=None if steps is None else {"num_inference_steps": steps},
        batch_size=batch_size,
        progress=show_progress(),
    )
    finish(found, out, as_json, f"{shared.source}, on {found['fit']}.")


def _attach_to_voice(
    model: str, shared: Shared, out: Path, text: str, phonemes: str, device: str, as_json: bool
) -> None:
    from genmend.tts.voices.load import check_voice

    check_voice(model)
    if not (text.strip() or phonemes):
        raise ValueError(f"{shared.source} holds repairs of a voice, which are tried on a text; give --text.")
    from genmend.tts import load_voice
    from genmend.tts.mending.settings import SpeakSettings
    from genmend.workbench.commands.attach import run_attach_repairs

    said = SpeakSettings(phonemes=phonemes or None)
    voice = load_voice(model, device=device)
    found = run_attach_repairs(voice, shared, text, out, settings=said, progress=show_progress())
    finish(found, out, as_json, f"{shared.source}, on {found['fit']}.")
