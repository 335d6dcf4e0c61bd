"""The commands that share files, as `genmend.workbench.cli.main` adds them to its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genmend.workbench.cli.options import (
    BatchSize,
    Device,
    Json,
    Label,
    LatentShape,
    Out,
    Psi,
    Space,
    ValueRange,
    finish,
    generator_from,
    known_model,
    note,
    show_progress,
)
from genmend.workbench.cli.settings_options import command

if TYPE_CHECKING:
    from genmend.gans.preview.settings import PreviewSettings

__all__ = ["commands"]

commands = typer.Typer()

Source = Annotated[str, typer.Argument(help="A repository OWNER/NAME of the hub; also a folder or a file.")]
Revision = Annotated[str, typer.Option(help="Branch, tag or commit of the repository; a commit never changes.")]


@commands.command()
def push(
    file: Annotated[
        Path, typer.Argument(help="A correction, amplification, detector, region or repairs of a voice.", exists=True)
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
    from genmend.storage import find_shared, push_file

    found = find_shared(file)
    address = push_file(
        found.path, repository, licence=licence, about=about, private=private, revision=revision or None
    )
    if as_json:
        typer.echo(json.dumps({"repository": repository, "kind": found.kind.name, "commit": address}))
    note(f"Shared: {address}")


@commands.command()
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


@command(commands, settings="genmend.gans.preview.settings:PreviewSettings")
def attach(
    model: Annotated[
        str, typer.Argument(help="What the file was made for: MODEL of detect, or of amplify, or VOICE of speak.")
    ],
    source: Source,
    out: Out,
    *,
    settings: PreviewSettings,
    revision: Revision = "",
    latent_shape: LatentShape = "",
    value_range: ValueRange = "",
    psi: Psi = None,
    space: Space = "",
    label: Label = None,
    device: Device = "cpu",
    batch_size: BatchSize = None,
    as_json: Json = False,
) -> None:
    """Show what a shared correction does before anyone trusts it: its facts, and samples beside a control."""
    from genmend.storage import find_shared

    shared = find_shared(source, revision=revision or None)
    if shared.kind.name != "correction":
        raise ValueError(
            f"{source} holds {shared.kind.noun}, which attach cannot show; `genmend pull` says what it is."
        )
    known_model(model)
    from genmend.workbench.commands.gans.attach import run_attach
    from genmend.workbench.pages.gans.attach import preview_in_words

    generator = generator_from(model, latent_shape, value_range, "", device, batch_size, "", psi, space, label)
    preview = run_attach(generator, shared, out, settings, progress=show_progress())
    note(preview_in_words(preview))
    finish(preview.to_dict(), out, as_json)
