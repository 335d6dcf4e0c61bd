# ruff: noqa: F811 (a fixture is imported, and an argument)
"""genmend attach: what a person sees of a correction that somebody has shared, before they use it."""

import json

import pytest
import torch
from scratch_commands import SCRATCH, genmend
from stub_hub import hub  # noqa: F401 (a fixture)

from genmend.activations import Correction, ScaleUnits
from genmend.gans import load_generator

LATENTS = ["--latent-shape", "12", "--n", "6", "--n-shown", "2"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "scratch.py").write_text(SCRATCH)
    monkeypatch.syspath_prepend(tmp_path)
    generator = load_generator("scratch:build", (12,))
    correction = Correction.of(
        generator.module,
        [[ScaleUnits("wake", (0, 5), 0.5)], [ScaleUnits("wake", (0, 5), 0.0)]],
        info={"generator": "<b>"},
    )
    correction.save_pretrained(tmp_path / "shared", licence="mit")
    return tmp_path


def test_from_a_folder_and_from_a_hub_it_shows_the_same(folder, hub):
    done = genmend(folder, "attach", "scratch:build", "shared", "--out", "seen", *LATENTS, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("On 6 fresh samples its edits change the pixels by ")
    told = json.loads(done.stdout)
    assert told["fit"] == "the weights it was made for"
    assert [step["step"] for step in told["steps"]] == ["rung 1 of 2", "rung 2 of 2"]
    assert told["steps"][1]["change"] > told["steps"][0]["change"] > 0
    page = (folder / "seen" / "report.html").read_text()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    for words in ("the weights it was made for", "activations.scale_units", "the file has no gate", "unedited, edited"):
        assert words in page, words
    assert page.index("What the file says") < page.index("How strong it can be")
    assert "the same edits at random places: " in page
    assert genmend(folder, "push", "shared", "me/fix", "--licence", "mit").returncode == 0
    done = genmend(folder, "attach", "scratch:build", "me/fix", "--out", "again", *LATENTS, "--json")
    assert json.loads(done.stdout) == told
    summary = json.loads((folder / "again" / "summary.json").read_text())
    assert (summary["source"], summary["commit"]) == ("me/fix", hub.files("me/fix")[0])


def test_other_weights_are_told_and_not_tried(folder):
    done = genmend(folder, "attach", "scratch:other_weights", "shared", "--out", "seen", *LATENTS)
    assert done.returncode == 0, done.stderr
    assert "Nothing was tried: this is other weights than those it was made for." in done.stderr
    page = (folder / "seen" / "report.html").read_text()
    assert "How strong it can be" not in page
    assert "other weights than those" in page
    done = genmend(
        folder, "attach", "scratch:other_weights", "shared", "--out", "seen", *LATENTS, "--allow-other-weights"
    )
    assert "On 6 fresh samples" in done.stderr


def test_what_cannot_be_shown_is_told_in_a_sentence(folder):
    torch.save({"a": torch.ones(1)}, folder / "correction.safetensors")
    for source, words in [
        ("correction.safetensors", "a pickle or an archive"),
        ("nowhere", "OWNER/NAME"),
        ("scratch.py", "no intact safetensors file"),
    ]:
        done = genmend(folder, "attach", "scratch:build", source, "--out", "none", *LATENTS)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (folder / "none").exists()
