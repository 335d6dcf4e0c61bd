"""What the commands of the command line share: options, the generator they name, how they end."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "GENERATOR",
    "MEASURE",
    "MEND",
    "SETUP",
    "BatchSize",
    "Device",
    "GeneratorOptions",
    "Json",
    "Latents",
    "Layers",
    "Model",
    "N",
    "Out",
    "Resume",
    "Seed",
    "be_quiet",
    "finish",
    "generator_from",
    "given_latents",
    "known_model",
    "not_too_large",
    "note",
    "show_progress",
    "usable_device",
]

MEASURE, MEND, SETUP = "Measure", "Mend", "Setup"  # the panels of the help

_TOO_LARGE = 2**63
_DRAWN = 500  # samples, where neither latents nor their number are given
_quiet = False


def not_too_large(value: int | None) -> int | None:
    """Refuse whole numbers that neither numpy nor torch can hold, with the range."""
    if value is not None and value >= _TOO_LARGE:
        raise typer.BadParameter(f"{value} is out of range; give a whole number below 2**63, {_TOO_LARGE}.")
    return value


Seed = Annotated[int, typer.Option(help="Of the samples.", min=0, callback=not_too_large)]


def known_model(model: str) -> str:
    """Refuse a MODEL that cannot be one, before anything heavy is imported."""
    from genmend.gans.model_names import check_model

    if model:
        check_model(model)
    return model


Model = Annotated[
    str,
    typer.Argument(
        help="faces, portraits, eyes, eyes:brown, a plug-in, module:callable that returns yours, or a folder that "
        "genmend convert wrote.",
        callback=known_model,
    ),
]
Latents = Annotated[
    Path | None,
    typer.Option(
        help="A .npy array (n, *latent shape); drawn, and kept in --out as drawn.npy, if not given.",
        exists=True,
        dir_okay=False,
    ),
]
N = Annotated[
    int | None,
    typer.Option("--n", help="Samples to draw where no --latents are given; 500.", min=1, callback=not_too_large),
]
Out = Annotated[Path, typer.Option(help="Folder for all results.")]
Layers = Annotated[
    str,
    typer.Option(
        help="Layers to inspect, comma-separated; all activation layers if empty, of a large model the early ones."
    ),
]


def usable_device(value: str) -> str:
    """Refuse a device that torch does not know or does not find here, before anything is loaded."""
    if value == "cpu":
        return value
    from genmend.activations.usable_device import check_device

    return check_device(value)


Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.", callback=usable_device)]
BatchSize = Annotated[
    int | None, typer.Option(help="Images a forward pass; the model's own: fewer of larger images.", min=1)
]
Resume = Annotated[bool, typer.Option(help="Go on from what an interrupted run left in --out.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


GENERATOR = "genmend.workbench.cli.options:GeneratorOptions"


@dataclass(frozen=True)
class GeneratorOptions:
    """The options that say, beside MODEL, which generator is meant; every command that takes a generator has them."""

    latent_shape: str = field(default="", metadata={"help": "Of your own module, e.g. 128 or 64,1,1."})
    value_range: str = field(
        default="",
        metadata={"help": "Black and white in your own module's images, e.g. 0,1 or 0,255; -1,1 if empty."},
    )
    psi: float | None = field(
        default=None, metadata={"help": "Truncation: psi of a converted StyleGAN2, truncation of a BigGAN-deep."}
    )
    space: str = field(
        default="", metadata={"help": "Latent space of a converted StyleGAN2: z, w or w+; also of --latents."}
    )
    label: int | None = field(
        default=None,
        metadata={
            "help": "Class of every sample, of a conditional model; the latent's last number chooses it if not given."
        },
    )

    def given(self) -> dict[str, Any]:
        """Those that are not at their defaults, by their names on the command line."""
        found = {f"--{one.name.replace('_', '-')}": getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in found.items() if value not in ("", None)}


def generator_from(
    model: str,
    options: GeneratorOptions,
    *,
    layers: str = "",
    device: str = "cpu",
    batch_size: int | None = None,
    extractor: str = "",
) -> Any:
    """The generator that MODEL and its options name, on the device; a named extractor is put there too."""
    from genmend.gans import load_generator
    from genmend.manifold.features import load_extractor

    text = options.latent_shape
    try:
        shape = tuple(int(part) for part in text.split(",")) if text else None
    except ValueError:
        raise ValueError(f"--latent-shape is {text!r}; give whole numbers, e.g. 128 or 64,1,1.") from None
    black_and_white = _two_numbers(options.value_range) if options.value_range else None
    named = tuple(name.strip() for name in layers.split(",")) if layers else ()
    of_family = _model_options(model, options.psi, options.space, options.label)
    generator = load_generator(model, shape, named, value_range=black_and_white, **of_family)
    generator.module.to(device)
    features: Any = load_extractor(extractor) if extractor else None
    if hasattr(features, "to"):  # a network, not a function
        features.to(device)
    return generator if batch_size is None else replace(generator, batch_size=batch_size)


def _two_numbers(text: str) -> tuple[float, float]:
    """Black and white, of ``0,255`` or ``0..255``."""
    try:
        low, high = (float(part) for part in text.strip("()[] ").replace("..", ",").split(","))
    except ValueError:
        raise ValueError(f"--value-range is {text!r}; give black and white, e.g. 0,1 or 0,255 or -1,1.") from None
    return low, high


def _model_options(model: str, psi: float | None, space: str, label: int | None) -> dict[str, Any]:
    """What --psi, --space and --label say, in the words of the model's family."""
    given = (("psi", psi), ("space", space), ("label", label))
    chosen = {name: value for name, value in given if value not in (None, "")}
    if not chosen:
        return {}
    flags = " and ".join(f"--{name}" for name in chosen)
    if not Path(model).exists():
        if set(chosen) == {"label"}:
            return chosen
        raise ValueError(f"MODEL {model!r} takes no {flags}; a folder of genmend convert does, if its family has them.")
    from genmend.gans.conversion.folder import read_options

    family, known = read_options(model)
    if "truncation" in known and "psi" in chosen:  # the same by another name
        chosen["truncation"] = chosen.pop("psi")
    missing = [name for name in chosen if name not in known]
    if missing:
        raise ValueError(f"{family} takes no --{' and no --'.join(missing)}; leave it out.")
    return chosen


def given_latents(latents: Path | None, n: int | None, generator: Any, out: Path) -> Any:
    """The latents of the file; or `n` drawn with seed 0, which are kept in `out`, so that other commands can take them.

    Raises
    ------
    ValueError
        If both are given.
    """
    from genmend.gans.detection.detect import load_latents

    if latents is not None:
        if n is not None:
            raise ValueError("--latents and --n both say which samples: give one of them.")
        return load_latents(latents, generator)
    from genmend.storage.tables import write_npy

    drawn = generator.latents(_DRAWN if n is None else n, 0)
    out.mkdir(parents=True, exist_ok=True)
    write_npy(out / "drawn.npy", drawn.cpu().numpy())
    return drawn


def be_quiet(quiet: bool) -> None:
    """Whether `note` says nothing, and no progress is shown."""
    global _quiet
    _quiet = quiet


def show_progress() -> bool:
    """Whether long work says how far it is."""
    return not _quiet


def note(text: str) -> None:
    """A message for people: stderr, so that stdout holds the result alone; nothing with --quiet."""
    if not _quiet:
        print(text, file=sys.stderr)


def finish(result: dict[str, Any], out: Path, as_json: bool, said: str = "") -> None:
    """Print the result as JSON where asked for, and say what was found and where the report is."""
    if said:
        note(said)
    if as_json:
        typer.echo(json.dumps(result, allow_nan=False))
    note(f"Report: {out / 'report.html'}")
