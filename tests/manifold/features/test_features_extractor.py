"""Calling extractors: preprocessing, gradients, batches, names, and what is refused."""

import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from genmend.manifold.features import AUDIO_EXTRACTORS, EXTRACTORS, ImageExtractor, extract, load_extractor
from genmend.manifold.features.extractors import loading
from genmend.storage.weights import MissingWeightsError

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)


class Flat(nn.Module):
    """The normalised picture itself, so that a test sees what the network is given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.dropout = nn.Dropout(0.5)

    def forward(self, pixels):
        return self.dropout(pixels * self.weight).flatten(1)


@pytest.fixture
def extractor():
    return ImageExtractor("flat", Flat().train(), side=8, mean=MEAN, std=STD)


def pictures(n=5, side=12, seed=0):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def normalised(resized):
    return (resized - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


def test_pictures_of_the_right_size_are_only_normalised(extractor):
    images = pictures(side=8)
    torch.testing.assert_close(extractor(images), normalised(images).flatten(1), rtol=0, atol=1e-5)


def test_pictures_are_resized_with_antialiasing(extractor):
    images = pictures(side=32)
    expected = functional.interpolate(images, size=(8, 8), mode="bicubic", align_corners=False, antialias=True)
    torch.testing.assert_close(extractor(images), normalised(expected.clamp(0, 1)).flatten(1), rtol=0, atol=1e-5)
    # A checkerboard averages to grey; without antialiasing it would stay black and white.
    board = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * torch.ones(1, 3, 1, 1)
    grey = extractor(board).view(3, 8, 8)[:, 1:-1, 1:-1]
    torch.testing.assert_close(grey, normalised(torch.full((1, 3, 6, 6), 0.5))[0], rtol=0, atol=0.05)


def test_what_bicubic_overshoots_is_clamped(extractor):
    edge = torch.zeros(1, 3, 4, 4)
    edge[..., 2:] = 1
    shown = extractor(edge).view(1, 3, 8, 8)
    unclamped = functional.interpolate(edge, size=(8, 8), mode="bicubic", align_corners=False, antialias=True)
    assert unclamped.max() > 1.01
    assert shown.max() == normalised(torch.ones(1, 3, 1, 1)).max()


def test_pictures_need_not_be_square(extractor):
    assert extractor(torch.rand(2, 3, 20, 9)).shape == (2, 192)


def test_the_network_is_frozen_and_in_eval_mode(extractor):
    assert not any(module.training for module in extractor.network.modules())
    assert not any(parameter.requires_grad for parameter in extractor.parameters())
    assert torch.equal(extractor(pictures()), extractor(pictures()))


def test_gradients_reach_the_images(extractor):
    images = pictures().requires_grad_()
    extractor(images).square().sum().backward()
    assert torch.isfinite(images.grad).all()
    assert (images.grad.abs().flatten(1).max(1).values > 1e-3).all()
    # Against a finite difference of one pixel, in float64.
    double = ImageExtractor("flat", Flat(), side=8, mean=MEAN, std=STD).double()
    assert torch.autograd.gradcheck(double, pictures(1, 5).double().mul(0.5).add(0.2).requires_grad_())


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 1, 8, 8), (2, 4, 8, 8), (2, 8, 8, 3), (2, 3, 8)])
def test_images_of_another_shape_are_refused(extractor, shape):
    with pytest.raises(ValueError, match=r"Images have shape .*give \(n, 3, height, width\)"):
        extractor(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_images_of_whole_numbers_are_refused(extractor, dtype):
    """0..255 would be clamped to black and white, without a word."""
    with pytest.raises(ValueError, match=r"dtype .*images / 255"):
        extractor(torch.full((2, 3, 8, 8), 200, dtype=dtype))


def test_extract_does_not_depend_on_the_batch_size(extractor):
    images = pictures(11)
    whole = extract(extractor, images, batch_size=11)
    assert whole.shape == (11, 192)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, extractor(images).numpy(), atol=1e-6)
    for batch_size in (1, 4, 100):
        np.testing.assert_allclose(extract(extractor, images, batch_size=batch_size), whole, atol=1e-5)


def test_extract_takes_any_callable_and_keeps_the_order():
    images = torch.arange(7.0).div(10).view(7, 1, 1, 1).expand(7, 3, 2, 2)
    sizes = []

    def mean_colour(batch):
        sizes.append(len(batch))
        return batch.mean((2, 3)).half()

    found = extract(mean_colour, images, batch_size=3)
    assert sizes == [3, 3, 1]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], np.arange(7) / 10, atol=1e-3)


def test_extract_builds_no_gradient_graph():
    seen = []

    def spy(batch):
        seen.append((batch * batch).requires_grad)
        return batch.flatten(1)

    extract(spy, pictures().requires_grad_())
    assert seen == [False]


def test_no_images_are_refused(extractor):
    with pytest.raises(ValueError, match="no images"):
        extract(extractor, torch.zeros(0, 3, 8, 8))


@pytest.mark.parametrize(
    "result", [lambda batch: batch, lambda batch: batch.flatten(), lambda batch: batch.flatten(1)[:1]]
)
def test_an_extractor_that_returns_no_vectors_is_refused(result):
    with pytest.raises(ValueError, match="one vector per image"):
        extract(result, pictures(4))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pictures_that_are_not_finite_are_named(extractor, value):
    images = pictures(6)
    images[4, 1, 3, 3] = value
    with pytest.raises(ValueError, match=r"image 4 are not finite"):
        extract(lambda batch: batch.flatten(1), images, batch_size=2)
    if value != value:
        with pytest.raises(ValueError, match=r"image 4 are not finite"):
            extract(extractor, images, batch_size=2)


def test_a_callable_is_handed_through(extractor):
    assert load_extractor(extractor) is extractor


def test_an_own_extractor_is_loaded_by_name(tmp_path, monkeypatch):
    (tmp_path / "features_own.py").write_text("def build():\n    return lambda images: images.mean((2, 3))\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert extract(load_extractor("features_own:build"), pictures(2)).shape == (2, 3)
        with pytest.raises(ValueError, match="has no 'biuld'; it has build"):
            load_extractor("features_own:biuld")
    finally:
        sys.modules.pop("features_own", None)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="No extractor is called 'inception'; give one of efficientnet-lite0, clip"):
        load_extractor("inception")


NEEDS = {"efficientnet-lite0-layers": "efficientnet-lite0"}
LIBRARY = {
    "efficientnet-lite0": "timm",
    "efficientnet-lite0-layers": "timm",
    "clip-vit-b16": "transformers",
    "mobilenet-v2": "torchvision",
    "whisper-tiny": "faster_whisper",
    "speaker": "librosa",
}


@pytest.mark.parametrize("name", [*EXTRACTORS, *AUDIO_EXTRACTORS])
def test_missing_weights_say_how_to_get_them(name, tmp_path, monkeypatch):
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path))
    pytest.importorskip(LIBRARY[name])
    monkeypatch.setattr(loading, "_embedded", loading._embedded.__wrapped__)  # not one loaded before
    with pytest.raises(MissingWeightsError, match=f"genmend fetch {NEEDS.get(name, name)}`"):
        load_extractor(name)


@pytest.mark.parametrize("shape", [(32, 20), (20, 32), (9, 9), (8, 31)])
def test_the_centre_is_cut_out_where_the_shorter_side_is_scaled(shape):
    extractor = ImageExtractor("flat", Flat(), side=8, mean=MEAN, std=STD, mode="bilinear", shorter=10)
    images = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    scale = 10 / min(shape)
    height, width = int(shape[0] * scale + 1e-9), int(shape[1] * scale + 1e-9)
    resized = functional.interpolate(images, size=(height, width), mode="bilinear", antialias=True)
    top, left = round((height - 8) / 2), round((width - 8) / 2)
    cut = resized[..., top : top + 8, left : left + 8]
    torch.testing.assert_close(extractor(images), normalised(cut).flatten(1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", [{"mode": "lanczos"}, {"shorter": 7}])
def test_preprocessing_that_is_not_had_is_refused(options):
    with pytest.raises(ValueError, match=r"accepted|cut out"):
        ImageExtractor("flat", Flat(), side=8, mean=MEAN, std=STD, **options)
