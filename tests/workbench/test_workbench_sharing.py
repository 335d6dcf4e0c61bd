# ruff: noqa: F811 (a fixture is imported, and an argument)
"""genmend push and pull, as a person types them."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from scratch_commands import genmend
from stub_hub import environment_of, hub, running_hub  # noqa: F401 (hub is a fixture)
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


OF_A_FRESH_PROCESS = """
import hashlib, sys
from genmend.activations import Correction
from genmend.gans import corrected, load_generator
generator = load_generator("faces")
done = corrected(generator, Correction.from_pretrained(sys.argv[1]))(generator.latents(8, seed=7))
print(int(done.changed.sum()), hashlib.sha256(done.images.numpy().tobytes()).hexdigest())
"""


@pytest.mark.all
@pytest.mark.real("faces", "efficientnet-lite0")
def test_a_fitted_correction_gives_the_same_pixels_in_a_fresh_process(tmp_path):
    np.save(tmp_path / "z.npy", np.random.default_rng(3).standard_normal((8, 100)).astype(np.float32))
    few = ["--n-statistics", "100", "--n-reference", "100", "--extractor", "efficientnet-lite0"]
    done = genmend(tmp_path, "correct", "faces", "--latents", "z.npy", "--out", "mended", *few)
    assert done.returncode == 0, done.stderr
    said = []
    with running_hub() as stub:
        environment = os.environ | environment_of(stub, tmp_path)
        push = [sys.executable, "-m", "genmend", "push", "mended", "me/faces", "--licence", "mit"]
        subprocess.run(push, cwd=tmp_path, env=environment, check=True, capture_output=True)
        card = stub.files("me/faces")[1]["README.md"].decode()
        for source in ("me/faces", "mended/correction.safetensors"):
            run = [sys.executable, "-c", OF_A_FRESH_PROCESS, source]
            done = subprocess.run(run, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
            said.append(done.stdout)
    assert said[0] == said[1]
    assert "| samples | 8 |" in card
    assert "genmend correct faces --latents LATENTS.npy --method contrast-descent" in card
