"""A third package's names, used on the command line and in Python wherever names are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scratch_commands import genmend

TEMPLATE = Path(__file__).parents[2] / "docs" / "plug_in"
ABOUT = "genmend_example-0.1.dist-info"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The template package as pip leaves it, without running pip."""
    place = tmp_path / "site"
    (place / ABOUT).mkdir(parents=True)
    (place / "genmend_example.py").write_text((TEMPLATE / "genmend_example.py").read_text())
    (place / ABOUT / "METADATA").write_text("Metadata-Version: 2.1\nName: genmend-example\nVersion: 0.1\n")
    listed = (TEMPLATE / "pyproject.toml").read_text().split("[project.entry-points.")[1:]
    entries = "\n".join("[" + part.split("[tool")[0].replace('"', "") for part in listed)
    (place / ABOUT / "entry_points.txt").write_text(entries)
    monkeypatch.syspath_prepend(place)
    yield place
    sys.modules.pop("genmend_example", None)


def test_the_names_are_listed_with_their_package(installed, tmp_path):
    done = genmend(tmp_path, "list", "--json")
    assert done.returncode == 0, done.stderr
    names = {(one["kind"], one["name"]): one["source"] for one in json.loads(done.stdout)["names"]}
    assert names["generator", "faces"] == "genmend"
    for added in [
        ("generator", "patterns"),
        ("voice", "steady-tacotron"),
        ("extractor", "thumbnails"),
        ("corrector", "dimmer"),
    ]:
        assert names[added] == "genmend-example 0.1"
    assert "genmend_example" not in sys.modules
    assert genmend(tmp_path, "list", "--check").returncode == 0


def test_a_generator_an_extractor_and_a_corrector_of_a_package_mend_samples(installed, tmp_path):
    np.save(tmp_path / "z.npy", np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32))
    options = ["--n-statistics", "60", "--n-reference", "60", "--flagged-share", "0.2", "--extractor", "thumbnails"]
    done = genmend(
        tmp_path, "correct", "patterns", "--latents", "z.npy", "--method", "dimmer", "--out", "out", *options
    )
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (told["model"], told["method"], told["in_correction_file"]) == ("patterns", "dimmer", True)
    done = genmend(tmp_path, "attach", "patterns", "out", "--out", "seen", "--n", "6")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "seen" / "summary.json").read_text())
    assert told["fit"] == "the weights it was made for"
    assert told["steps"][0]["change"] > 0


def test_a_voice_of_a_package_speaks(installed):
    from genmend.tts import load_voice
    from genmend.tts.voices.load import check_voice

    check_voice("steady-tacotron")
    assert load_voice("steady-tacotron").sample_rate == load_voice("tacotron").sample_rate


def test_what_fails_names_the_package_and_the_rest_works(installed, tmp_path):
    (installed / "genmend_example.py").write_text("import no_such_module_of_theirs")
    done = genmend(tmp_path, "list", "--check")
    assert done.returncode == 1
    assert done.stderr.count("genmend-example 0.1 cannot be imported") == 4
    assert "faces" in done.stdout
    np.save(tmp_path / "z.npy", np.zeros((2, 8), np.float32))
    done = genmend(tmp_path, "detect", "patterns", "--latents", "z.npy", "--out", "out")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "package genmend-example 0.1 cannot be imported (ModuleNotFoundError" in done.stderr
    done = genmend(tmp_path, "detect", "pattern", "--latents", "z.npy", "--out", "out")
    assert "genmend list" in done.stderr


@pytest.mark.all
def test_the_template_is_built_installed_and_used(tmp_path):
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    copy = tmp_path / "plug_in"
    copy.mkdir()
    for file in TEMPLATE.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    subprocess.run([*pip, "--no-build-isolation", "--target", str(site), str(copy)], check=True, capture_output=True)
    np.save(tmp_path / "z.npy", np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "genmend", "detect", "patterns", "--latents", "z.npy", "--extractor", "thumbnails"]
    command += ["--n-statistics", "40", "--n-reference", "40", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["model"] == "patterns"
