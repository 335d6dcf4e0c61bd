# ruff: noqa: F811 (a fixture is imported, and an argument)
"""genmend push and pull, as a person types them."""

import json

import pytest
from scratch_commands import genmend
from stub_hub import hub  # noqa: F401 (a fixture)
from torch import nn

from genmend.activations import Correction, ScaleUnits, load_correction, save_correction


@pytest.fixture
def file(tmp_path):
    correction = Correction.of(nn.Linear(3, 4), [[ScaleUnits("", (1,), 0.5)]], info={"generator": "faces\x1b[2J\nx"})
    save_correction(tmp_path / "correction.safetensors", correction)
    return tmp_path / "correction.safetensors"


def test_pushed_by_one_and_pulled_by_another(hub, file, tmp_path):
    done = genmend(tmp_path, "push", file, "me/fix", "--license", "MIT", "--about", "Mine.", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["kind"] == "correction"
    assert told["commit"] == f"{hub.endpoint}/me/fix/commit/{hub.files('me/fix')[0]}"
    assert b"> Mine." in hub.files("me/fix")[1]["README.md"]
    done = genmend(tmp_path, "pull", "me/fix", "--out", "got", "--json")
    assert done.returncode == 0, done.stderr
    assert load_correction(tmp_path / "got" / "correction.safetensors") == load_correction(file)
    assert json.loads(done.stdout)["commit"] == hub.files("me/fix")[0]
    assert "  layers: " in done.stderr
    assert "\x1b" not in done.stderr
    done = genmend(tmp_path, "pull", "me/fix", "--revision", "nowhere", "--out", "none")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "none").exists()


def test_without_a_licence_nothing_is_pushed(hub, file, tmp_path):
    done = genmend(tmp_path, "push", file, "me/fix")
    assert done.returncode == 2
    assert "--licence mit" in done.stderr
    assert hub.repositories == {}
    done = genmend(tmp_path, "push", file, "no repository", "--licence", "mit")
    assert (done.returncode, hub.repositories) == (2, {})
    assert "OWNER/NAME" in done.stderr
