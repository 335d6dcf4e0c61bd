"""The command line: ``genmend COMMAND``. Results go to files and, with --json, to stdout; messages go to stderr."""

from __future__ import annotations

import logging
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from genmend import __version__
from genmend.storage.named_object import UsersCodeError, error_told, users_line
from genmend.workbench.cli.concepts import commands as concept_commands
from genmend.workbench.cli.conversion import commands as conversion_commands
from genmend.workbench.cli.diffusion import commands as diffusion_commands
from genmend.workbench.cli.gans import commands as gan_commands
from genmend.workbench.cli.options import be_quiet, note
from genmend.workbench.cli.report import commands as report_commands
from genmend.workbench.cli.samples import commands as sample_commands
from genmend.workbench.cli.serve import commands as serve_commands
from genmend.workbench.cli.setup import commands as setup_commands
from genmend.workbench.cli.sharing import commands as sharing_commands
from genmend.workbench.cli.tts import commands as speech_commands
from genmend.workbench.cli.units import commands as unit_commands
from genmend.workbench.command_line import typed

__all__ = ["app", "main"]

app = typer.Typer(
    help="Inspect pretrained generative models and mend what they get wrong, without retraining.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="genmend COMMAND --help ends with an example of each.",
    pretty_exceptions_enable=False,
)
app.add_typer(sample_commands)  # the first of the help's panels
app.add_typer(gan_commands)
app.add_typer(unit_commands)
app.add_typer(conversion_commands)
app.add_typer(diffusion_commands)
app.add_typer(speech_commands)
app.add_typer(concept_commands)
app.add_typer(report_commands)
app.add_typer(serve_commands)
app.add_typer(sharing_commands)
app.add_typer(setup_commands)  # the last of the help's panels


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"genmend {__version__}")
        raise typer.Exit


@app.callback()
def _before_the_command(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from, not what it means alone.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Say nothing but errors; may stand behind the command too.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line: exit 0 done, 1 a finding (with --check), 2 error, 130 interrupted."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    if "" not in sys.path:
        # module:callable finds the user's modules in the current folder. Last: a torch.py there is not torch.
        sys.path.append("")
    with warnings.catch_warnings():
        warnings.showwarning = _shown(warnings.showwarning)
        code = _run(app)
    sys.exit(code)


def _shown(usual: Callable[..., None]) -> Callable[..., None]:
    """Show warnings that are for people as a sentence, others as they are usually shown."""

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
        ours = category.__module__.startswith("genmend.")
        note(f"Warning: {message}") if ours or category is UserWarning else usual(message, category, *place)

    return show


def _run(run: Callable[..., Any]) -> int:
    started = time.time()
    code = _code_of(run)
    if code == 2:
        _say_what_is_left(started)
    return code


def _say_what_is_left(started: float) -> None:
    """After an error: which of the files in --out this run has left there."""
    arguments = sys.argv[1:]
    given = [value for flag, value in pairwise(arguments) if flag == "--out"]
    given += [argument.removeprefix("--out=") for argument in arguments if argument.startswith("--out=")]
    for what, words in (("work", "the same command goes on from it"), ("misfit.html", "it lists what does not fit")):
        left = Path(given[-1], what) if given else None
        if left is not None and left.exists() and left.stat().st_mtime >= started - 1:
            note(f"Left in {left.parent}: {what} ({words}).")


def _code_of(run: Callable[..., Any]) -> int:
    # Anywhere on the line, also behind the command, where people add it after an error.
    whole = "--traceback" in sys.argv[1:]
    be_quiet("--quiet" in sys.argv[1:])
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument not in ("--traceback", "--quiet")]
    try:
        with typed(sys.argv[1:]):
            return _outcome(run)
    except Exception as error:
        line = None if isinstance(error, UsersCodeError | ModuleNotFoundError) else users_line(error)
        if whole:
            traceback.print_exception(error)
        if line is not None:
            _complain(
                f"genmend: Your code raised {error_told(error, line)}; mend it there, or see more with --traceback."
            )
        elif isinstance(error, ImportError):
            _complain(f"genmend: {str(error).rstrip('.')}{_import_remedy(error)}")
        elif isinstance(error, MemoryError | OverflowError):
            _complain(f"genmend: {str(error).rstrip('.') or 'There is not enough memory'}; give smaller numbers.")
        elif isinstance(error, ValueError | TypeError | LookupError | OSError | RuntimeError):
            _complain(f"genmend: {error}{_library_remedy(error)}")
        elif not hasattr(error, "format_message"):  # typer's own usage errors: their class is private
            raise
        elif error.format_message():  # without one, the help was asked for and printed
            _complain(f"genmend: {error.format_message()} See genmend --help, or genmend COMMAND --help.")
        return 2


def _complain(text: str) -> None:
    """Say what went wrong: with --quiet too."""
    print(text, file=sys.stderr)


def _outcome(run: Callable[..., Any]) -> int:
    try:
        code = run(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    if code == 130:  # Typer's own answer to Ctrl-C
        note("Interrupted: nothing is half-written; run the same command again to go on from here.")
    return code if isinstance(code, int) else 0


def _import_remedy(error: ImportError) -> str:
    """What to do about a module that is not there, or that is and cannot be imported."""
    from genmend.workbench.commands.extras import remedy

    line = remedy(error.name, _asked()) if error.name and isinstance(error, ModuleNotFoundError) else None
    if line is None:
        return "." if "pip install" in str(error) else _ask_the_doctor()
    return "." if line in str(error) else f"; run `{line}`."


def _library_remedy(error: Exception) -> str:
    """A compiled library that does not load looks like any other error: an OSError, a RuntimeError of who needed it."""
    signs = ("undefined symbol", "cannot open shared object", "Could not load this library", "torchvision::nms")
    return _ask_the_doctor() if any(sign in str(error) for sign in signs) else ""


def _ask_the_doctor() -> str:
    if _asked() == "doctor":
        return "; the doctor itself needs that package: install it anew (pip install --force-reinstall)."
    return "; `genmend doctor` says which package is missing or broken, and how to mend it."


def _asked() -> str:
    """The command on the command line."""
    return next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
