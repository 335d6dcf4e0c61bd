"""--psi and --space: truncation and latent space of converted generators, in every command that takes a MODEL."""

import json

import numpy as np
import pytest
import torch
from scratch_commands import SCRATCH, genmend

from genmend.activations.digests import model_layout
from genmend.gans.conversion.folder import save_generator
from genmend.gans.families import LAYOUTS
from genmend.workbench.cli.options import GeneratorOptions, generator_from

STYLED = {
    "z_width": 6, "w_width": 5, "widths": {"4": 6, "8": 5, "16": 4}, "n_mapping": 2, "n_classes": 0, "embedded": 0,
    "channels": 3, "clamp": None, "mapping_rate": 1.0,
}  # fmt: skip
BIG = {
    "z_width": 4, "n_classes": 2, "embedded": 4, "base": 8, "blocks": [[False, 16, 16], [True, 16, 8]],
    "attention": None, "n_statistics": 5,
}  # fmt: skip
PLAIN = {"latent_width": 7, "widths": [8, 6], "channels": 3, "n_classes": 0, "dropout": None}


def save(folder, family, config):
    torch.manual_seed(0)
    module = LAYOUTS[family].build(config)
    assert model_layout(module)
    facts = {"source": f"{folder.name}.pt", "source_sha256": "", "group": "", "reader": "", "refused": []}
    options = dict(LAYOUTS[family].options)
    save_generator(folder, module, {**facts, "isolation": {}, "family": family, "config": config, "options": options})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("options")
    (folder / "scratch.py").write_text(SCRATCH)
    save(folder / "styled", "stylegan2-nvidia", STYLED)
    save(folder / "big", "biggan-deep", BIG)
    save(folder / "plain", "dcgan", PLAIN)
    save(folder / "classes", "stylegan2-nvidia", STYLED | {"n_classes": 3, "embedded": 6})
    rng = np.random.default_rng(0)
    for width in (5, 6):
        np.save(folder / f"{width}.npy", rng.standard_normal((9, width)).astype(np.float32))
    return folder


def chosen(model, psi=None, space="", label=None):
    return generator_from(str(model), GeneratorOptions(psi=psi, space=space, label=label), batch_size=8)


def test_a_stylegan2_takes_both_and_a_biggan_the_truncation(folder):
    styled = chosen(folder / "styled", 0.5, "w+")
    assert (styled.settings["psi"], styled.settings["space"], styled.latent_shape) == (0.5, "w+", (6, 5))
    assert chosen(folder / "styled").settings["psi"] == 1
    assert chosen(folder / "styled", psi=0).settings["psi"] == 0
    big = chosen(folder / "big", 0.4)
    assert big.settings["truncation"] == 0.4
    assert big.latents(50, 0)[:, :4].abs().max() <= 0.8 < chosen(folder / "big").latents(50, 0)[:, :4].abs().max()


@pytest.mark.parametrize(
    ("model", "psi", "space", "words"),
    [
        ("plain", 0.5, "", "dcgan takes no --psi; leave it out"),
        ("plain", None, "w", "dcgan takes no --space; leave it out"),
        ("plain", 0.5, "w", "dcgan takes no --psi and no --space; leave it out"),
        ("big", 0.5, "w", "biggan-deep takes no --space; leave it out"),
        ("styled", 3.0, "", "psi is 3.0; give a number from 0"),
        ("styled", None, "v", "space is 'v'"),
        ("big", 0.0, "", "truncation is 0.0; give a number above 0"),
    ],
)
def test_what_a_family_has_not_is_named(folder, model, psi, space, words):
    with pytest.raises(ValueError, match=words):
        chosen(folder / model, psi, space)


def test_other_models_take_neither():
    with pytest.raises(ValueError, match="MODEL 'faces' takes no --psi and --space; a folder of genmend convert does"):
        chosen("faces", 0.5, "w")


def test_latents_are_those_of_the_space_and_results_of_another_psi_are_not_taken_for_this_one(folder):
    options = ["--extractor", "scratch:network", "--n-statistics", "60", "--n-reference", "40", "--space", "w"]
    runs = {}
    for psi in ("1", "0.5"):
        done = genmend(
            folder, "detect", "styled", "--latents", "5.npy", "--out", "found", "--psi", psi, *options, "--json"
        )
        assert done.returncode == 0, done.stderr
        runs[psi] = json.loads(done.stdout)
    assert "space w" in runs["1"]["model"]
    assert "psi 0.5" in runs["0.5"]["model"]
    assert len(list((folder / "found" / "work").glob("detector-*"))) == 2
    done = genmend(folder, "detect", "styled", "--latents", "6.npy", "--out", "bad", *options)
    assert done.returncode == 2
    assert "takes ['n', 5]" in done.stderr


@pytest.mark.parametrize("command", ["detect", "correct", "dissect", "rare", "explore"])
def test_every_command_with_a_model_has_both(folder, command):
    needed = {"detect": ["--latents", "6.npy"], "correct": ["--latents", "6.npy"]}.get(command, [])
    done = genmend(folder, command, "plain", "--out", "bad", "--psi", "0.5", "--space", "w", *needed)
    assert done.returncode == 2
    assert "dcgan takes no --psi and no --space" in done.stderr


def test_the_label_fixes_the_class_and_the_number_that_else_chooses_it_is_named(folder):
    free, fixed = chosen(folder / "classes"), chosen(folder / "classes", label=2)
    assert (free.latent_shape, fixed.latent_shape) == ((7,), (6,))
    z = fixed.latents(4, 0)
    last_class = torch.cat([z, torch.full((4, 1), 3.0)], dim=1)
    assert torch.equal(fixed.generate(z), free.generate(last_class))
    words = r"takes \['n', 7\].*6 numbers of z, and last .* chooses among 3 classes; for latents of 6 give .*--label"
    with pytest.raises(ValueError, match=words):
        free.checked_latents(z)
    with pytest.raises(ValueError, match=r"takes \['n', 6\].*the class is fixed to 2; without --label a number more"):
        fixed.checked_latents(last_class)
    assert chosen(folder / "big", label=1).latent_shape == (4,)
    with pytest.raises(ValueError, match="label is 3; give a class from 0 to 2"):
        chosen(folder / "classes", label=3)
    with pytest.raises(ValueError, match="label is 0; give None: this generator has no classes"):
        chosen(folder / "styled", label=0)


def test_the_batch_size_is_the_familys_unless_given(folder, monkeypatch):
    monkeypatch.setattr("genmend.gans.families.stylegan2_adapter._PIXELS_A_BATCH", 1024)
    assert generator_from(str(folder / "styled"), GeneratorOptions()).batch_size == 4
    assert chosen(folder / "styled").batch_size == 8


@pytest.mark.parametrize("command", ["detect", "correct", "dissect", "rare", "explore"])
def test_every_command_passes_the_label_on(folder, command):
    needed = {"detect": ["--latents", "6.npy"], "correct": ["--latents", "6.npy"]}.get(command, [])
    done = genmend(folder, command, "plain", "--out", "bad", "--label", "1", *needed)
    assert done.returncode == 2
    assert "label is 1; give None" in done.stderr
    done = genmend(folder, command, "faces", "--out", "bad", "--label", "1", *needed)
    assert done.returncode == 2
    assert "takes no options ['label']" in done.stderr
