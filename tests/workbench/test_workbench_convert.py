"""``genmend convert`` as a user runs it."""

import json
import sys

import pytest
import torch

from gans import DCGAN, load_generator
from workbench import cli


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["genmend", "convert", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


def test_convert_writes_a_folder_that_is_a_model(monkeypatch, capsys, tmp_path):
    torch.manual_seed(0)
    module = DCGAN(7, (8, 6)).eval()
    torch.save(module.state_dict(), tmp_path / "own.pth")
    out = tmp_path / "out"
    assert run(monkeypatch, tmp_path / "own.pth", "--out", out, "--i-trust-this-file", "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == json.loads((out / "summary.json").read_text())
    assert "SHA-256" in printed.err
    assert "Refused names: none" in printed.err
    generator = load_generator(str(out))
    z = generator.latents(2, 0)
    with torch.no_grad():
        assert torch.equal(generator.run(z), module(z))


def test_without_the_flag_it_explains_and_writes_nothing(monkeypatch, capsys, tmp_path):
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04N.")
    assert run(monkeypatch, tmp_path / "x.pkl", "--out", tmp_path / "out") == 2
    assert "--i-trust-this-file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
