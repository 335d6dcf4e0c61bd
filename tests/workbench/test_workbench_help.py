"""The help: short and long, three panels, an example at the end of each, one word for one meaning."""

import os
import shlex
import subprocess
import sys
from collections import defaultdict

import pytest
from rich.text import Text
from typer.main import get_command
from typer.testing import CliRunner

from genmend.workbench.cli import options
from genmend.workbench.cli.main import _code_of, app

COMMANDS = get_command(app).commands

# Read one by one: the same word for the same thing, told for the command.
TOLD_FOR_EACH = {
    "--allow-other-weights", "--batch-size", "--check", "--correction", "--device",
    "--extractor", "--k", "--labels", "--latents", "--layer", "--layers", "--method",
    "--model", "--n", "--n-images", "--n-reference", "--n-statistics", "--out", "--resume", "--seed", "--side",
    "--prompt", "--steps", "--target",
}  # fmt: skip


def options_of(command):
    return [parameter for parameter in command.params if parameter.param_type_name == "option"]


def test_every_command_stands_in_one_of_three_panels():
    panels = [command.rich_help_panel for command in COMMANDS.values()]
    assert set(panels) == {"Measure", "Mend", "Setup"}
    assert list(dict.fromkeys(panels)) == ["Measure", "Mend", "Setup"]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_help_ends_with_an_example_that_its_command_takes(name):
    command = COMMANDS[name]
    words = shlex.split(command.epilog.removeprefix("Example: "))
    assert words[:2] == ["genmend", name]
    known = {flag for option in options_of(command) for flag in (*option.opts, *option.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known
    shown = CliRunner().invoke(app, [name, "-h"], env={"COLUMNS": "100", "TERM": "dumb"}).output
    assert " ".join(shown.split()).endswith(" ".join(command.epilog.split()))


@pytest.mark.parametrize("name", COMMANDS)
def test_no_help_has_brackets_that_are_eaten_as_markup(name):
    texts = [COMMANDS[name].help, COMMANDS[name].epilog, *(one.help or "" for one in COMMANDS[name].params)]
    for text in texts:
        assert Text.from_markup(text).plain == text


def test_an_option_means_the_same_in_every_command():
    helps = defaultdict(set)
    for command in COMMANDS.values():
        for option in options_of(command):
            helps[option.opts[0]].add(option.help)
    assert {name for name, texts in helps.items() if len(texts) > 1} <= TOLD_FOR_EACH
    assert not set(helps) & {"--features", "--judged-by"}


@pytest.fixture
def given(monkeypatch):
    yield lambda *arguments: monkeypatch.setattr(sys, "argv", ["genmend", *arguments])
    options.be_quiet(False)


def test_quiet_says_nothing_but_errors(given, capsys):
    def run(standalone_mode):
        options.note("Report: x")
        assert options.show_progress() == (not quiet)
        if quiet:
            raise ValueError("No such thing.")

    quiet = False
    given("score")
    assert _code_of(run) == 0
    assert capsys.readouterr().err == "Report: x\n"
    quiet = True
    given("score", "--quiet")
    assert _code_of(run) == 2
    assert sys.argv == ["genmend", "score"]
    said = capsys.readouterr().err
    assert "No such thing" in said
    assert "Report" not in said


def test_a_shell_completes_commands_and_options():
    def completed(line):
        told = {"_GENMEND_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
        code = (
            "import sys; sys.argv = ['genmend']; from genmend.workbench.cli.main import app; app(prog_name='genmend')"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | told, capture_output=True, text=True, check=False
        )
        return done.stdout.split()

    assert "detect" in completed("genmend de")
    assert "--judge-extractor" in completed("genmend correct --judge")
