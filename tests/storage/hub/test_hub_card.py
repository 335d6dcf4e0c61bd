"""A card says what the file says and nothing else, and no fact of a file becomes markup or a command."""

import json

import pytest
import torch
import yaml
from torch import nn

from genmend.activations import Correction, Gate, ScaleUnits, StopRule
from genmend.storage.hub.kinds import KINDS, describe
from genmend.storage.hub.shelf import write_shelf

NET = nn.Linear(4, 6)
MADE_WITH = {
    "method": "defective-units",
    "parameters": {"share": 0.3},
    "settings": {
        "extractor": "efficientnet-lite0", "n_statistics": 50, "n_reference": 40, "flagged_share": None, "seed": 3,
    },
    "labels": True,
    "masks": "",
    "detector": False,
    "normal": False,
}  # fmt: skip
MEASURED = {"samples": 40, "samples_changed": 7, "judge": None}
JUDGE = {"extractor": "clip-vit-b16", "n": 7, "inside_before": 0.25, "inside_after": 0.5}


def card(folder, licence="mit", about="", gate=False, **info):
    rule = StopRule(0.0, 1.0, 1.0, 2, torch.ones(3, 6), torch.ones(3)) if gate else None
    gated = Gate("efficientnet-lite0", torch.ones(6), 0.0, 0.5) if gate else None
    correction = Correction.of(NET, [[ScaleUnits("", (1,), 0.5)]], gate=gated, stop_rule=rule, info=info)
    correction.save_pretrained(folder, licence=licence, about=about)
    text = (folder / "README.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def test_the_front_matter_is_what_the_hub_reads(tmp_path):
    front, _ = card(tmp_path)
    assert front == {"library_name": "genmend", "license": "mit", "tags": ["genmend", "correction"]}
    front, body = card(tmp_path, licence="Licence of the Model")
    assert (front["license"], front["license_name"]) == ("other", "Licence of the Model")
    assert "may fall under that model's licence" in body


def test_a_licence_is_asked_for_and_no_markup(tmp_path):
    for licence in ("", "  ", "mit\ntags: [x]", "a: b"):
        with pytest.raises(ValueError, match="licence"):
            card(tmp_path / "none", licence=licence)
    assert not (tmp_path / "none").exists()
    with pytest.raises(TypeError, match="licence"):
        Correction.of(NET, [[ScaleUnits("", (1,), 0.5)]]).save_pretrained(tmp_path)


def test_what_the_file_does_not_hold_is_left_out_and_said(tmp_path):
    _, body = card(tmp_path)
    assert "The file holds none." in body
    assert "Reproduce" not in body
    assert "With which settings it was made." in body
    for word in ("None", "null", "nan", "gate looks", "faces"):
        assert word not in body, word
    _, body = card(tmp_path, generator="faces", measured=MEASURED, made_with=MADE_WITH, gate=True)
    assert "| samples changed | 7 |" in body
    assert "No other judge was asked." in body
    assert "With which settings" not in body
    line = "genmend correct faces --latents LATENTS.npy --method defective-units --labels LABELS --extractor"
    assert f"{line} efficientnet-lite0 --n-statistics 50 --n-reference 40 --seed 3 --out mended --set share=0.3" in body
    _, body = card(tmp_path, measured=MEASURED | {"judge": JUDGE})
    assert "| by clip-vit-b16: inside after | 0.5 |" in body
    assert "had no part in it" in body


def test_the_lines_on_its_use_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, body = card(tmp_path / "plain")
    assert str(tmp_path) not in body
    python = body.split("```python\n")[1].split("```")[0]
    told = {"model": NET, "inputs": torch.ones(2, 4)}
    exec(python, told)
    assert told["output"].shape == (2, 6)


def test_facts_of_a_stranger_are_text(tmp_path):
    evil = "x | y\n# head\n<script>alert(1)</script> [a](http://b) `c` ```"
    _, body = card(tmp_path, method=evil, generator="$(rm -rf ~); faces", about=f"{evil}\n---", made_with=MADE_WITH)
    assert "<script>" not in body.replace("\\<script\\>", "")
    assert "\n# head" not in body
    assert "[a](" not in body
    assert "genmend correct MODEL " in body
    assert "$(rm" not in body.split("```")[1]
    rows = [line for line in body.splitlines() if "alert" in line and line.startswith("|")]
    assert len(rows) == 1


def test_every_kind_describes_its_old_files():
    from pathlib import Path

    data = Path(__file__).parents[2] / "old_files" / "data"
    found = {}
    for name, file in {
        "correction": "corrections/ladder",
        "amplification": "amplifications/low",
        "detector": "detectors/free",
        "normal-region": "regions/strings",
        "voice-repairs": "voices/repairs",
    }.items():
        kind, described = describe(data / f"{file}.safetensors")
        assert kind is KINDS[name]
        assert described.title
        assert "{source}" in described.use
        found[name] = described
    assert found["detector"].does["learnt from"] == "a generator's own samples, without labels"
    assert found["voice-repairs"].does["combinations"] == 2
    assert found["amplification"].does["noise levels"] == "0.5 to 4.0"
    assert found["normal-region"].does["groups"].startswith("3, of 3 to")


def test_the_json_says_which_file_and_its_digest(tmp_path):
    card(tmp_path / "one")
    told = json.loads((tmp_path / "one" / "genmend.json").read_text())
    file = tmp_path / "one" / "correction.safetensors"
    assert (told["kind"], told["file"], told["bytes"]) == ("correction", file.name, file.stat().st_size)
    write_shelf(file, tmp_path / "one", source="x", licence="mit")  # in place: the file stays whole
    assert json.loads((tmp_path / "one" / "genmend.json").read_text()) == told
