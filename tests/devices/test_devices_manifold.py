"""Metrics, extractors and streaming statistics on a device: nothing mixes, and the numbers are those of the CPU."""

import numpy as np
import pytest
import torch
from labelled_device import labelled_device
from torch import nn

from genmend.activations import ActivationRate, MeanVariance, TopSamples, UnitQuantiles
from genmend.manifold import Manifold, NormalRegion, evaluate, kid, knn_radii, nearest_neighbors, vendi_score
from genmend.manifold.engine.torch_screen import TorchScreen
from genmend.manifold.features import ImageExtractor, extract, features_of
from genmend.manifold.features.audio_extractor import pooled_audio


class Wide(nn.Module):
    """A convolution with pooling; a network that a torch extractor may have."""

    def __init__(self, channels=3):
        super().__init__()
        kind = nn.Conv2d if channels == 3 else nn.Conv1d
        self.convolution = kind(channels, 5, 3)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.convolution.reset_parameters()

    def forward(self, x):
        return self.convolution(x).flatten(2).mean(2)


def features(n, seed):
    return np.random.default_rng(seed).normal(size=(n, 12)).astype(np.float32)


def same(found, expected):
    np.testing.assert_array_equal(found.cpu() if isinstance(found, torch.Tensor) else found, expected)


def test_metrics_of_features_on_the_device_are_those_of_the_cpu():
    x, y = features(90, 0), features(80, 1)
    x[0] = y[0] = 40  # far out
    with labelled_device() as device:
        for dtype in (torch.float32, torch.float16):
            one, two = torch.from_numpy(x).to(dtype), torch.from_numpy(y).to(dtype)
            expected = evaluate(one.float().numpy(), two.float().numpy(), (3, 5))
            found = evaluate(one.to(device), two.to(device), (3, 5))
            for name, values in found.per_sample().items():
                same(values, expected.per_sample()[name])
            assert found.to_dict()["k"] == expected.to_dict()["k"]


def test_functions_of_tensors_on_the_device():
    x, y = features(60, 0), features(50, 1)

    def found(one, two):
        near = nearest_neighbors(one, two, 3)
        manifold = Manifold(3).fit(one)
        region = NormalRegion().fit(one)
        of_two = [manifold.rarity(two), region.score_samples(two)]
        return [knn_radii(one, 3), near.distances, near.indices, *of_two, kid(one, two, seed=0), vendi_score(one)]

    expected = found(x, y)
    with labelled_device() as device:
        there = found(torch.from_numpy(x).to(device), torch.from_numpy(y).to(device))
        for one, other in zip(there, expected, strict=True):
            same(one, other)
        assert all(one.device == device for one in there[:4])


def test_the_screen_is_on_the_device():
    x, y = features(60, 0), features(50, 1)
    expected = TorchScreen.of(x, half=False)
    with labelled_device() as device:
        screen = TorchScreen.of(x, str(device), half=False)
        assert screen.codes.device == device
        bounds = screen.bounds(screen.encode(y), slice(0, 60), np.empty(0))
        assert bounds.device == device
        same(bounds, expected.bounds(expected.encode(y), slice(0, 60), np.empty((50, 60), np.float32)))
        same(screen.encode_own(slice(5, 9)), expected.encode_own(slice(5, 9)))


@pytest.mark.parametrize("own", [False, True])
def test_images_go_to_the_extractor(own):
    """Also to a network of one's own, as by ``--extractor module:callable --device cuda``; it was given the CPU's."""
    images = torch.rand(5, 3, 20, 20, generator=torch.Generator().manual_seed(0))

    def extractor():
        return Wide() if own else ImageExtractor("toy", Wide(), 16, (0.5,) * 3, (0.2,) * 3)

    expected = extract(extractor(), images)
    with labelled_device() as device:
        same(extract(extractor().to(device), images), expected)
        same(extract(extractor().to(device), images.to(device)), expected)
        there = features_of(images, extractor().to(device), cache=False)
        same(there.values, features_of(images, extractor(), cache=False).values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_recordings_go_to_the_extractor(dtype):
    wave = np.random.default_rng(0).normal(size=400).astype(np.float32)

    def vector(device):
        network = Wide(1).to(device, dtype)
        made = pooled_audio(
            "toy", network, lambda waves: network(waves[:, None].to(dtype))[:, None], sample_rate=16_000,
            variance_floor=None, library="torch",
        )  # fmt: skip
        return made(wave)

    expected = vector("cpu")
    with labelled_device() as device:
        same(vector(device), expected)


def test_streaming_statistics_take_batches_of_any_device():
    maps = torch.randn(40, 3, 4, 4, generator=torch.Generator().manual_seed(0))

    def found(first, second):
        kinds = (
            ActivationRate,
            MeanVariance,
            lambda: MeanVariance("unit"),
            lambda: UnitQuantiles(40, 0.2),
            lambda: UnitQuantiles(40, 0.2, most_values=0),
            lambda: TopSamples(2),
        )
        statistics = [kind() for kind in kinds]
        others = [kind() for kind in kinds]
        for one, other in zip(statistics, others, strict=True):
            one.update(maps[:20].to(first))
            other.update(maps[20:].to(second))
            if isinstance(other, TopSamples):
                one.update(maps[20:].to(first))
            else:
                one.merge(other)
        rate, mean, by_unit, quantiles, counted, top = statistics
        return [
            rate.rate,
            mean.variance,
            by_unit.mean,
            quantiles.quantile(0.9),
            counted.quantile(0.9),
            top.values,
            top.samples,
        ]

    expected = found("cpu", "cpu")
    with labelled_device() as device:
        for places in ((device, device), (device, "cpu")):
            for one, other in zip(found(*places), expected, strict=True):
                same(one, other)
