"""The real face generator and its hand-labelled artifacts."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from genmend.activations import attach, load_correction, save_correction
from genmend.activations.correction import CorrectionMismatchError
from genmend.gans import DCGAN, ArtifactDetector, RareActivation, corrected, fit_correction, load_generator
from genmend.gans.correctors.ladder import Rung
from genmend.gans.families.pretrained import load_faces
from genmend.storage.weights import find_weights

LABELLED = Path(__file__).parents[2] / "experiments" / "data" / "face_artifacts"

pytestmark = pytest.mark.real("faces")


@pytest.fixture(scope="module")
def faces():
    return load_faces()


@pytest.fixture(scope="module")
def labelled():
    """Latents, and which are broken for both raters and normal for both."""
    with (LABELLED / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    raters = np.array([[int(row["rater_a"]), int(row["rater_b"])] for row in rows])
    assert [int(row["index"]) for row in rows] == list(range(len(rows)))
    return torch.from_numpy(np.load(LABELLED / "latents.npy")), (raters == 2).all(1), (raters == 0).all(1)


def test_the_generator_is_the_published_one(faces):
    assert sum(parameter.numel() for parameter in faces.module.parameters()) == 3_576_704
    assert isinstance(faces.module, DCGAN)
    assert not any(module.training for module in faces.module.modules())
    assert (faces.name, faces.latent_shape) == ("faces", (100,))
    assert faces.layers == ("main.2", "main.5", "main.8", "main.11")
    stored = torch.load(find_weights("faces"), map_location="cpu", weights_only=True)["netG_state_dict"]
    assert list(stored) == list(faces.module.state_dict())
    assert all(torch.equal(stored[name], value) for name, value in faces.module.state_dict().items())


def test_it_paints_different_pictures_in_range(faces):
    images = faces.sample(16, 3)
    assert images.shape == (16, 3, 64, 64)
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.flatten(1).std(1).min() > 0.03  # no flat ones
    # Painted, not noise: neighbouring pixels are nearly alike, and two faces are not.
    across = (images[..., 1:] - images[..., :-1]).abs().mean()
    assert across < 0.25 * (images[1:] - images[:-1]).abs().mean()


def test_faces_can_be_loaded_by_name_with_other_layers(faces):
    some = load_generator("faces", layers=("main.5",))
    assert some.layers == ("main.5",)
    assert torch.equal(some.sample(2, 1), faces.sample(2, 1))


@pytest.mark.all
def test_rare_activation_finds_the_labelled_artifacts_without_a_label(faces, labelled):
    latents, broken, normal = labelled
    rare = RareActivation(0.1).fit(faces, faces.latents(3000, 1_000_003))
    either = broken | normal
    assert (broken.sum(), normal.sum()) == (76, 201)
    scores = rare.score(faces, latents[torch.from_numpy(either)])
    assert roc_auc_score(broken[either], scores) > 0.90


@pytest.mark.real("efficientnet-lite0")
@pytest.mark.all
def test_a_correction_ships_as_a_file(faces, labelled, tmp_path):
    latents, broken, normal = labelled
    detector = ArtifactDetector(n_statistics=1000, n_reference=200).fit(faces)
    rungs = (Rung("rare", 0.1, ("main.2", "main.5")), Rung("contrast", 0.3, ("main.2", "main.5")))
    correction = fit_correction(faces, detector, rungs=rungs)
    path = tmp_path / "faces.correction.safetensors"
    save_correction(path, correction)

    loaded, fresh = load_correction(path), load_faces()
    assert loaded == correction
    some = torch.cat([latents[torch.from_numpy(broken)][:12], latents[torch.from_numpy(normal)][:12]])
    before = faces.generate(some)
    for rung in range(2):
        with attach(faces.module, correction, rung=rung):
            original = faces.generate(some)
        with attach(fresh.module, loaded, rung=rung):
            assert torch.equal(fresh.generate(some), original)
        assert (original - before).abs().mean() > 0.01
    assert torch.equal(fresh.generate(some), before)

    one, other = corrected(faces, correction)(some), corrected(fresh, loaded)(some)
    for name, values in vars(one).items():
        assert np.array_equal(np.asarray(getattr(other, name)), np.asarray(values)), name
    assert roc_auc_score(np.repeat([1, 0], 12), one.gate_before) > 0.8  # even so small a gate knows the broken ones
    assert (one.changed | one.given_up)[:12].any()

    with pytest.raises(CorrectionMismatchError, match="other weights"):
        corrected(faces.with_module(DCGAN().eval()), correction)
