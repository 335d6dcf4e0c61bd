"""The README is true: its Python runs, its commands exist, its pictures are there."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from genmend import tts
from genmend.tts.text.corpus import read_sentences
from genmend.workbench.cli.main import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.real("faces", "efficientnet-lite0", "joe")
@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.splitlines()[0])
@pytest.mark.all
def test_python_snippets_run(snippet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The whole corpus takes a minute.
    monkeypatch.setattr(tts, "read_sentences", lambda: read_sentences()[:150])
    names = {}
    exec(compile(snippet, "README.md", "exec"), names)
    if "result" in names:
        assert len(names["result"].images) == 8
    elif "build" in names:
        assert names["build"]().sample(2, seed=0).shape == (2, 3, 8, 8)
    elif "corrector" in names:
        assert names["mended"].shape == (4, 3, 64, 64)
    elif "pipe" in names:
        assert names["images"].shape == (4, 3, 32, 32)
        assert (tmp_path / "amplification.safetensors").is_file()
    elif "diagnosis" in names:
        assert [word.word for word in names["diagnosis"].words] == ["Nguyen", "left"]
        assert (tmp_path / "mended.onnx").is_file()
    else:
        assert 0.8 < names["scores"][5].coverage <= 1


def test_there_are_snippets_to_run():
    assert len(SNIPPETS) == 6


def test_commands_and_their_options_exist():
    commands = get_command(app).commands
    mentioned = re.findall(r"^genmend (\w+)(.*)$", README, flags=re.MULTILINE)
    assert {name for name, _ in mentioned} >= {"detect", "correct"}
    for name, rest in mentioned:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[\w-]+", rest)) <= known


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^make (\w+)", README, flags=re.MULTILINE)
    assert {"demo", "test"} <= set(targets)
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)


def test_pictures_and_files_it_names_are_there():
    linked = re.findall(r"\]\(([^)#]+)\)", README)
    assert linked
    assert all((ROOT / path).is_file() for path in linked if "://" not in path)
