"""``genmend score`` and ``genmend features``: sets of samples against each other, and a reference kept for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genmend.storage.named_paths import named_paths
from genmend.workbench.cli.options import MEASURE, Json, Out, finish, note, show_progress, usable_device
from genmend.workbench.cli.settings_options import command

if TYPE_CHECKING:
    from genmend.workbench.commands.read_settings import FeaturesSettings
    from genmend.workbench.commands.score_settings import ScoreSettings

__all__ = ["commands"]

commands = typer.Typer()

Resume = Annotated[bool, typer.Option(help="Use features that the cache holds, and keep new ones there.")]


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--k is {text!r}; give whole numbers, e.g. 3 or 3,5.") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _all_there(paths: list[Path]) -> list[Path]:
    return [_there(path) for path in paths]


def _there(path: Path) -> Path:
    """Refuse a path that is not there; PATH:KEY is where the path is, and a pattern where its files are."""
    try:
        named_paths(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}; give a folder of images or audio files, .tar or .parquet files of images, or a .npy, .npz, "
            ".safetensors or .csv file."
        ) from None
    return path


@command(
    commands,
    panel=MEASURE,
    example="Example: genmend score photographs/ samples/ --bootstrap 40 --out scored",
    settings="genmend.workbench.commands.score_settings:ScoreSettings",
    texts={"k": _numbers, "metrics": _names, "device": usable_device},
    before=dict.fromkeys(("on_error", "limit", "seed", "device", "batch_size"), "check"),
)
def score(
    reference: Annotated[
        Path,
        typer.Argument(
            help="Folder of images or audio, .tar or .parquet files of images, or a .npy, .npz, .safetensors or .csv "
            "file of features, or of images. PATH:KEY names one array, column or ending of several, "
            "'train-*.parquet' and '{000..009}.tar', in quotes, several files of one set.",
            callback=_there,
        ),
    ],
    queries: Annotated[
        list[Path],
        typer.Argument(
            help="What to score against it: the same kinds. Several are compared with each other.", callback=_all_there
        ),
    ],
    out: Out,
    *,
    settings: ScoreSettings,
    check: Annotated[
        bool, typer.Option("--check", help="Exit 1 if a set is worse than the first by more than chance.")
    ] = False,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Precision, recall, density, coverage, rarity and their kin of one set against another, or of several."""
    if len(queries) > 1:
        _compare(reference, queries, out, settings, check, resume, as_json)
        return
    if check:
        raise ValueError("--check says whether a set is worse than the first: give two or more behind the reference.")
    from genmend.workbench.commands.score import run_score
    from genmend.workbench.pages.score import score_answer

    run = run_score(reference, queries[0], out, settings=settings, resume=resume, progress=show_progress())
    result = run.to_dict()
    finish(result, out, as_json, score_answer(result).in_words())


def _compare(
    reference: Path, queries: list[Path], out: Path, settings: ScoreSettings, check: bool, resume: bool, as_json: bool
) -> None:
    from genmend.workbench.commands.compare import run_compare
    from genmend.workbench.pages.compare import compare_answer, worse_in_words

    run = run_compare(reference, queries, out, settings=settings, resume=resume, progress=show_progress())
    result = run.to_dict()
    finish(result, out, as_json, compare_answer(result).in_words())
    if check and result["worse_than_first"]:
        note(worse_in_words(result))
        raise typer.Exit(1)
    if check and not result["ranks"]:
        raise ValueError("--check found nothing that can be ranked: ask for a metric that can, with --bootstrap 50.")


@command(
    commands,
    panel=MEASURE,
    example="Example: genmend features photographs/ --out ref.safetensors",
    settings="genmend.workbench.commands.read_settings:FeaturesSettings",
    texts={"device": usable_device},
)
def features(
    source: Annotated[
        Path, typer.Argument(help="Folder of images or audio, or a file, as genmend score takes it.", callback=_there)
    ],
    out: Annotated[Path, typer.Option(help="The .safetensors file, to be a reference or a query of genmend score.")],
    *,
    settings: FeaturesSettings,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Keep the features of a set in a file, with what made them: a reference that is computed once."""
    from genmend.workbench.commands.features import features_in_words, features_summary, run_features

    found = run_features(source, out, settings=settings, resume=resume, progress=show_progress())
    summary = features_summary(found, out, settings.most_k)
    note(features_in_words(summary))
    if as_json:
        typer.echo(json.dumps(summary, allow_nan=False))
