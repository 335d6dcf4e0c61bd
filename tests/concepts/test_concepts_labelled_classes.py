"""Classes for a network that gives features: a linear probe of labelled folders."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from genmend.concepts import labelled_classes
from genmend.concepts.classifiers import gives_features, load_classifier
from genmend.concepts.labelled_classes import classifier_of_folders, fit_classes
from genmend.manifold.features.image_extractor import ImageExtractor
from genmend.storage.pieces import Work


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_probe_scores_the_class_of_a_feature_highest(n_classes):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(n_classes), 20)
    features = (5 * np.eye(n_classes, 6)[labels] + rng.standard_normal((len(labels), 6))).astype(np.float32)
    scores, right = fit_classes(features, labels.tolist())
    with torch.no_grad():
        made = scores(torch.from_numpy(features))
        assert made.shape == (len(labels), n_classes)
        assert (made.argmax(1).numpy() == labels).mean() > 0.9
        torch.testing.assert_close(scores(3 * torch.from_numpy(features)), made, msg="a feature's length says nothing")
    assert 0.8 < right <= 1
    shuffled = fit_classes(features, rng.permutation(labels).tolist())[1]
    assert shuffled < 0.8, "chance is not called right"


@pytest.fixture
def folders(tmp_path, monkeypatch):
    network = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
    extractor = ImageExtractor("means", network, side=8, mean=(0.5,) * 3, std=(0.5,) * 3)
    monkeypatch.setattr(labelled_classes, "load_extractor", lambda name: extractor)
    rng = np.random.default_rng(0)
    for name, colour in (("10", (200, 30, 30)), ("9", (30, 200, 30)), ("blue", (30, 30, 200))):
        (tmp_path / "all" / name).mkdir(parents=True)
        for number in range(5):
            pixels = np.clip(np.array(colour) + rng.integers(-30, 30, (8, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "all" / name / f"{number}.png")
    return tmp_path


def test_folders_are_classes(folders):
    work = Work(folders / "work")
    classifier = classifier_of_folders("means", folders / "all", work=work)
    assert classifier.classes == ("10", "9", "blue")
    assert "15 images" in classifier.made
    assert "name 100% of the other half right" in classifier.made
    green = torch.tensor([0.1, 0.8, 0.1]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8)
    scores = classifier.module(classifier.prepare(green))
    assert classifier.class_name(int(scores.argmax())) == "9"
    assert classifier.class_number("9") == 1, "a name that is a number is a name first"
    again = classifier_of_folders("means", folders / "all", work=work)
    torch.testing.assert_close(again.module(classifier.prepare(green)), scores)


def test_no_folders_is_said(folders):
    with pytest.raises(ValueError, match="give --reference FOLDER, with a folder of images for each class"):
        classifier_of_folders("means", folders / "all" / "9")
    with pytest.raises(ValueError, match="clip-vit-b16 gives features and no classes"):
        load_classifier("clip-vit-b16")
    assert not gives_features("efficientnet-lite0")
    assert gives_features("timm:resnet18")
