"""Classifier and masks: a square that breaks images is found where it is; masks of all sources; discriminators."""

import numpy as np
import pytest
import torch
from gans_toys import toy_generator
from PIL import Image
from sklearn.exceptions import NotFittedError
from torch import nn

from genmend.activations import Gate
from genmend.gans.correctors import DefectiveUnits
from genmend.gans.detection.defect_classifier import DefectClassifier
from genmend.gans.detection.defect_masks import (
    METHODS,
    GateScore,
    attribution_masks,
    box_masks,
    brush_masks,
    made_masks,
    mask_quality,
)
from genmend.gans.families.pretrained import load_faces


class Backbone(nn.Module):
    """Fixed edges and colours, pooled: enough to see a bright square."""

    def __init__(self):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.conv = nn.Conv2d(3, 12, 3, padding=1)
        self.conv.weight.data = torch.randn(self.conv.weight.shape, generator=draw)
        self.conv.bias.data.zero_()
        self.act = nn.ReLU()
        self.requires_grad_(False).eval()

    def forward(self, images):
        return self.act(self.conv(images)).square().mean((2, 3))


@pytest.fixture(scope="module")
def pictures():
    draw = torch.Generator().manual_seed(1)
    images = torch.rand(80, 3, 24, 24, generator=draw) * 0.3
    boxes = np.array([[x, y, x + 6, y + 6] for x, y in torch.randint(0, 18, (80, 2), generator=draw).tolist()])
    broken = torch.arange(80) % 2 == 0
    marked = box_masks(boxes, 24, 24)
    images = torch.where((marked > 0) & broken[:, None, None], 0.9, images.movedim(1, 0)).movedim(0, 1)
    return images, broken.float(), boxes


@pytest.fixture(scope="module")
def classifier(pictures):
    return DefectClassifier(Backbone()).fit(pictures[0][:60], pictures[1][:60])


def test_classifier_tells_held_out_images_apart(classifier, pictures):
    scores = classifier.score(pictures[0][60:])
    assert scores[pictures[1][60:] == 1].min() > scores[pictures[1][60:] == 0].max()
    probabilities = classifier.predict_proba(pictures[0][60:])
    np.testing.assert_allclose(np.log(probabilities[:, 1] / probabilities[:, 0]), scores, atol=1e-3)
    assert classifier.feature_layer_ == "extractor.act"
    assert not classifier.module_.training


@pytest.mark.parametrize("method", METHODS)
def test_attributions_find_the_square(classifier, pictures, method):
    pytest.importorskip("captum")
    images, boxes = pictures[0][60::2], pictures[2][60::2]
    before = {name: len(part._forward_hooks) for name, part in classifier.module_.named_modules()}
    soft = attribution_masks(classifier, images, method, threshold=None)
    assert soft.shape == (10, 24, 24)
    assert soft.min() >= 0
    assert soft.max() <= 1
    assert mask_quality(soft, box_masks(boxes, 24, 24)).hit.mean() >= 0.8
    assert set(attribution_masks(classifier, images, method).unique().tolist()) == {0.0, 1.0}
    assert {name: len(part._forward_hooks) for name, part in classifier.module_.named_modules()} == before
    torch.testing.assert_close(attribution_masks(classifier, images[3:5], method, threshold=None), soft[3:5])


def test_grad_cam_by_hand(classifier, pictures):
    pytest.importorskip("captum")
    images = pictures[0][60:62]
    maps = classifier.module_.extractor.act(classifier.module_.extractor.conv(images)).requires_grad_(True)
    logit = classifier.module_.head(maps.square().mean((2, 3)))[:, 1].sum()
    (gradient,) = torch.autograd.grad(logit, [maps])
    cam = (gradient.mean((2, 3), keepdim=True) * maps).sum(1).clamp(min=0).detach()
    low, high = cam.amin((1, 2), keepdim=True), cam.amax((1, 2), keepdim=True)
    found = attribution_masks(classifier, images, "grad-cam", threshold=None)
    torch.testing.assert_close(found, (cam - low) / (high - low), atol=1e-5, rtol=1e-4)


def test_a_head_that_is_not_trained_attributes_nothing(pictures):
    with pytest.raises(NotFittedError, match="random head"):
        attribution_masks(DefectClassifier(Backbone()), pictures[0])
    with pytest.raises(NotFittedError):
        DefectClassifier(Backbone()).score(pictures[0])


def test_three_classes(pictures):
    images, shares, _ = pictures
    real = (torch.rand(40, 3, 24, 24, generator=torch.Generator().manual_seed(5)) * 0.3).flip(1) + torch.tensor(
        [0.4, 0.0, 0.0]
    ).view(3, 1, 1)
    classifier = DefectClassifier(Backbone()).fit(images[:60], shares[:60], real[:30])
    assert classifier.classes_ == ("real", "normal", "artifact")
    assert (classifier.predict_proba(real[30:]).argmax(1) == 0).all()
    assert (classifier.predict_proba(images[60:]).argmax(1) == 1 + shares[60:].numpy()).mean() > 0.9


def test_tuning_trains_a_copy_and_lowers_the_loss(pictures):
    backbone, (images, shares, _) = Backbone(), pictures
    weights = backbone.conv.weight.clone()
    settings = {"regularisation": 1e-5, "seed": 2}
    plain = DefectClassifier(backbone, **settings).fit(images, shares)
    tuned = DefectClassifier(backbone, tuned=("conv",), epochs=5, learning_rate=1e-2, **settings).fit(images, shares)
    assert torch.equal(backbone.conv.weight, weights)
    assert not torch.equal(tuned.module_.extractor.conv.weight, weights)
    losses = [-np.log(c.predict_proba(images)[np.arange(80), shares.long().numpy()]).mean() for c in (plain, tuned)]
    assert losses[1] < losses[0]
    assert not any(parameter.requires_grad for parameter in tuned.module_.parameters())


def test_brush_and_boxes(tmp_path):
    painted = np.zeros((8, 8), dtype=np.uint8)
    painted[2:4, 4:8] = 255
    Image.fromarray(painted).save(tmp_path / "mask.png")
    expected = box_masks([[4, 2, 8, 4]], 8, 8)
    assert torch.equal(brush_masks([tmp_path / "mask.png"], 8, 8), expected)
    assert torch.equal(brush_masks(painted[None], 8, 8), expected)
    assert torch.equal(brush_masks(painted[None] > 0, 8, 8), expected)
    assert brush_masks(painted[None], 16, 16).shape == (1, 16, 16)


@pytest.mark.parametrize(
    "make",
    [
        lambda: box_masks([[4, 2, 4, 5]], 8, 8),
        lambda: box_masks([[0, 0, 9, 5]], 8, 8),
        lambda: box_masks([[0, 0, 5]], 8, 8),
        lambda: box_masks([[0, 0, np.nan, 5]], 8, 8),
        lambda: brush_masks(np.zeros((8, 8)), 8, 8),
        lambda: brush_masks(np.full((1, 8, 8), 2.0), 8, 8),
        lambda: brush_masks([], 8, 8),
        lambda: mask_quality(torch.zeros(1, 8, 8), torch.zeros(1, 8, 9)),
    ],
)
def test_masks_that_do_not_fit_are_refused(make):
    with pytest.raises(ValueError, match="give"):
        make()


def test_quality_by_hand():
    drawn = box_masks([[0, 0, 4, 4], [0, 0, 4, 4], [0, 0, 4, 4]], 8, 8)
    masks = torch.stack([drawn[0], box_masks([[2, 0, 6, 4]], 8, 8)[0], torch.zeros(8, 8)])
    quality = mask_quality(masks, drawn)
    np.testing.assert_allclose(quality.iou, [1, 8 / 24, 0])
    np.testing.assert_allclose(quality.hit, [1, 0.5, 0])


def test_defective_units_make_their_own_masks():
    pytest.importorskip("captum")
    generator = toy_generator()
    normal, broken = generator.latents(30, 1), generator.latents(30, 2) * 2
    found = DefectiveUnits(classifier=DefectClassifier(Backbone())).fit(generator, normal, broken)
    fitted = DefectClassifier(Backbone()).fit(
        torch.cat([generator.generate(broken), generator.generate(normal)]), torch.arange(60) < 30
    )
    masks = attribution_masks(fitted, generator.generate(broken))
    expected = DefectiveUnits().fit(generator, normal, broken, masks=masks)
    for layer, scores in expected.scores_.items():
        assert torch.equal(found.scores_[layer], scores)


@pytest.mark.real("faces", "efficientnet-lite0")
def test_on_the_real_faces():
    pytest.importorskip("captum")
    generator = load_faces()
    images = generator.sample(24, 3)
    classifier = DefectClassifier(regularisation=1e-3).fit(images, torch.arange(24) % 2)
    masks = attribution_masks(classifier, images[:2], threshold=None)
    assert masks.shape == (2, 64, 64)
    assert (masks.amax((1, 2)) == 1).all()
    assert classifier.feature_layer_ == "extractor.network.bn2"


def test_a_gate_is_one_differentiable_score_of_images(pictures):
    images, backbone = pictures[0][:5], Backbone()
    gate = Gate("any", torch.linspace(-1, 1, 12, dtype=torch.float64), 0.25, 0.0)
    score = GateScore(gate, backbone)
    np.testing.assert_allclose(score(images).numpy(), gate.score(backbone(images).numpy()), rtol=1e-5)
    given = images.clone().requires_grad_()
    score(given).sum().backward()
    assert given.grad.flatten(1).any(1).all()
    assert not score.training
    assert GateScore(gate, lambda images: backbone(images)).eval()(images).shape == (5,)


class Marks:
    name, passes = "marks", 1

    def __init__(self, make):
        self.make = make

    def __call__(self, score, images):
        return self.make(images)


def test_made_masks_come_batch_by_batch_and_must_fit_and_mark_something(pictures):
    images, score = pictures[0], nn.Identity()
    masks = made_masks(Marks(lambda images: images[:, 0] > 0.5), score, images.split(7))
    assert masks.equal((images[:, 0] > 0.5).float())
    with pytest.raises(ValueError, match=r"marks gave masks of shape \(7, 3, 24, 24\) for images .*\(7, 24, 24\)"):
        made_masks(Marks(lambda images: images), score, images.split(7))
    with pytest.raises(ValueError, match="By marks no pixel of the 80 broken samples speaks for the gate's score"):
        made_masks(Marks(lambda images: 0 * images[:, 0]), score, images.split(7))
