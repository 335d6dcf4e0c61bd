"""Options made from settings: names, types, defaults and order, and the settings that a command gets."""

import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from genmend.workbench.cli.main import app
from genmend.workbench.cli.options import given_latents, usable_device
from genmend.workbench.cli.settings_options import command


@dataclass(frozen=True)
class Inner:
    depth: int = field(default=2, metadata={"help": "How deep.", "min": 1})
    hidden: int = 7


@dataclass(frozen=True)
class Outer:
    words: tuple[str, ...] = field(metadata={"help": "Words.", "option": "--word"})
    inner: Inner = field(default_factory=lambda: Inner(depth=5, hidden=9))
    shape: tuple[int, ...] = field(default=(3, 5), metadata={"help": "Numbers."})
    names: tuple[str, ...] | None = field(default=None, metadata={"help": "Names."})
    closed: bool = field(default=True, metadata={"help": "Open.", "option": "--open"})
    gate: bool = field(default=True, metadata={"help": "Gate."})
    rule: Literal["paper", "code"] = field(default="paper", metadata={"help": "Rule."})
    more: tuple[str, ...] = field(default=("a",), metadata={"help": "More."})
    file: Path | None = field(default=None, metadata={"help": "A file.", "exists": True})
    limit: float | None = field(default=None, metadata={"help": "A limit.", "max": 1})
    python_only: int = field(default=1, metadata={"help": "Not an option."})
    not_said: int = 3


@pytest.fixture
def run(monkeypatch):
    """Runs a command with arguments; gives the settings and the other values that it got."""
    module = ModuleType("settings_of_a_test")
    module.Outer = Outer
    monkeypatch.setitem(sys.modules, module.__name__, module)
    got = {}

    def make(out: str, *, settings: Outer, seed: int = 0, first: int = 1) -> None:
        """Make it."""
        got.update(out=out, settings=settings, seed=seed, first=first)

    program = typer.Typer(add_completion=False)
    register = command(
        program,
        settings="settings_of_a_test:Outer",
        before={"first": "words", "inner": "seed"},
        texts={"shape": lambda text: tuple(map(int, text.split(","))), "names": lambda text: tuple(text.split("+"))},
        leave_out=("python_only",),
    )
    assert register(make) is make

    def call(*arguments):
        got.clear()
        done = CliRunner().invoke(program, arguments, catch_exceptions=False)
        return done, dict(got)

    call.program = program
    return call


def test_each_field_with_a_help_is_an_option_where_the_parameter_stands(run):
    options = [parameter.opts[0] for parameter in get_command(run.program).params]
    assert options == [
        "out", "--first", "--word", "--shape", "--names", "--open", "--gate", "--rule", "--more", "--file", "--limit",
        "--depth", "--seed",
    ]  # fmt: skip


def test_the_defaults_are_those_of_the_fields(run):
    done, got = run("there", "--word", "x")
    assert done.exit_code == 0, done.output
    assert got == {"out": "there", "settings": Outer(("x",)), "seed": 0, "first": 1}
    assert got["settings"].inner == Inner(5, 9)


def test_given_options_fill_the_settings(run, tmp_path):
    done, got = run(
        "there", "--word", "x", "--word", "y", "--depth", "4", "--shape", "1,2", "--names", "a+b", "--open",
        "--no-gate", "--rule", "code", "--more", "b", "--file", str(tmp_path), "--limit", "0.5", "--seed", "8",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert got["seed"] == 8
    assert got["settings"] == Outer(
        ("x", "y"), Inner(4, 9), (1, 2), ("a", "b"), False, False, "code", ("b",), tmp_path, 0.5
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--word"),
        (["--word", "x", "--depth", "0"], "than or equal to 1 "),
        (["--word", "x", "--limit", "2"], "than or equal to 1 "),
        (["--word", "x", "--file", "no/such"], "does not exist"),
        (["--word", "x", "--python-only", "2"], "No such option"),
        (["--word", "x", "--not-said", "2"], "No such option"),
    ],
)
def test_what_does_not_fit_is_refused(run, arguments, words):
    done, got = run("there", *arguments)
    assert done.exit_code == 2
    assert words in done.output
    assert got == {}


def test_settings_are_not_imported_before_their_command_is_asked_for():
    program = typer.Typer(add_completion=False)

    def make(*, settings: Outer) -> None:
        """Make it."""

    command(program, settings="genmend_no_such_module:Outer")(make)

    @program.command()
    def other() -> None:
        """Do something else."""

    assert CliRunner().invoke(program, ["other"]).exit_code == 0
    assert "Make it." in CliRunner().invoke(program, ["--help"]).output
    assert isinstance(CliRunner().invoke(program, ["make", "--help"]).exception, ModuleNotFoundError)


def test_every_command_builds_and_no_option_is_there_twice():
    for name, one in get_command(app).commands.items():
        options = [option for parameter in one.params for option in parameter.opts + parameter.secondary_opts]
        assert len(options) == len(set(options)), name
        assert one.params, name


def test_help_and_defaults_are_the_fields():
    from genmend.gans.settings import RareSettings

    by_option = {parameter.opts[0]: parameter for parameter in get_command(app).commands["rare"].params}
    for one in fields(RareSettings().search):
        if "help" in one.metadata:
            option = by_option[one.metadata.get("option", "--" + one.name.replace("_", "-"))]
            assert (option.help, option.default) == (one.metadata["help"], one.default)
    assert by_option["--n-reference"].default == RareSettings().detector.n_reference == 5_000


@pytest.mark.parametrize(
    ("given", "there", "words"),
    [
        ("gpu", 1, "give cpu, cuda"),
        ("cuda:one", 1, "give cpu, cuda"),
        ("cuda", 0, "torch finds no such device here"),
        ("cuda:1", 1, "torch finds 1 such device here"),
        ("mps", 0, "torch finds no such device here"),
    ],
)
def test_a_device_that_is_not_there_is_refused(given, there, words, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: there)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: bool(there))
    with pytest.raises(ValueError, match=words):
        usable_device(given)


def test_devices_that_are_there_are_taken(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [usable_device(given) for given in ("cpu", "cuda", "cuda:1")] == ["cpu", "cuda", "cuda:1"]


@pytest.mark.parametrize(
    ("name", "default"),
    [
        *((name, "cpu") for name in ("detect", "train-detector", "correct", "dissect", "rare", "explore", "score")),
        ("amplify", ""),  # a GPU where there is one: pipelines are large
    ],
)
def test_a_command_that_runs_a_network_takes_a_device(name, default):
    command = get_command(app).commands[name]
    assert [one.default for one in command.params if one.name == "device"] == [default]


def test_latents_that_are_not_given_are_drawn_and_kept(tmp_path):
    torch = pytest.importorskip("torch")
    from genmend.gans import Generator

    generator = Generator(torch.nn.Sequential(torch.nn.Unflatten(1, (4, 1, 1)), torch.nn.ReLU()).eval(), (4,))
    drawn = given_latents(None, 3, generator, tmp_path / "out")
    assert drawn.equal(generator.latents(3, 0))
    kept = tmp_path / "out" / "drawn.npy"
    assert given_latents(kept, None, generator, tmp_path).equal(drawn)
    with pytest.raises(ValueError, match="--latents and --n both say which samples: give one of them"):
        given_latents(kept, 3, generator, tmp_path)
