"""The features by onnxruntime: torch's own to 1e-4, and by torch wherever more than their values is asked for."""

import copy
import logging

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.autograd import forward_ad

from genmend.manifold.features import (
    ImageExtractor,
    UnusableSampleError,
    extract,
    extraction,
    features_of,
    image_extractor,
    load_extractor,
)
from genmend.manifold.features.onnx_export import TOLERANCE, largest_difference

pytest.importorskip("onnxruntime")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch, request):
    if "real" not in request.keywords:
        monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "onnx"


def small(seed=0, **options):
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    network[1].running_mean.normal_()
    return ImageExtractor("small", network, 16, (0.5,) * 3, (0.2,) * 3, **{"onnx": True} | options)


def pictures(n=5, side=20):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(3))


def by_torch(extractor, images):
    with torch.no_grad():
        return extractor.network(extractor.prepare(images)).numpy()


@pytest.fixture
def runs(monkeypatch):
    """The number of images in each call of onnxruntime."""
    seen, real = [], image_extractor.onnx_features

    def counted(graph, pixels):
        seen.append(len(pixels))
        return real(graph, pixels)

    monkeypatch.setattr(image_extractor, "onnx_features", counted)
    return seen


def test_features_are_torch_s_whatever_the_batch_size_and_the_number_of_threads(runs, monkeypatch):
    extractor, images = small(), pictures(7)
    found = extract(extractor, images)
    assert sum(runs) == 7
    assert largest_difference(found, by_torch(extractor, images)) < 1e-5
    np.testing.assert_array_equal(found, extract(extractor, images, batch_size=2))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    np.testing.assert_array_equal(found, extract(extractor, images))


def test_the_same_network_at_another_side_is_another_graph(runs, cache):
    extractor, images = small(), pictures()
    larger = ImageExtractor("larger", extractor.network, 24, (0.5,) * 3, (0.2,) * 3, onnx=True)
    for made in (extractor, larger):
        assert largest_difference(extract(made, images), by_torch(made, images)) < 1e-5
    assert sum(runs) == 10
    assert len(list(cache.glob("*.onnx"))) == 2


def test_gradients_go_through_torch(runs):
    extractor, images = small(), pictures().requires_grad_()
    extractor(images).sum().backward()
    assert images.grad.abs().max() > 0
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(pictures(), torch.ones(5, 3, 20, 20))
        assert forward_ad.unpack_dual(extractor(dual)).tangent.abs().max() > 0
    assert extractor.double()(pictures().double()).dtype == torch.float64
    assert runs == []


def test_batch_norms_are_folded_where_gradients_are_wanted_and_nowhere_else():
    extractor, slow = small(), small(onnx=False)
    slopes = []
    for one in (extractor, slow):
        images = pictures().requires_grad_()
        one(images).square().sum().backward()
        slopes.append(images.grad)
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-6)
    norms = [
        [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        for network in (extractor._folded[1], extractor.network)
    ]
    assert [len(found) for found in norms] == [0, 1]
    assert slow._folded is None
    assert extractor.pipeline()["weights"] == slow.pipeline()["weights"]


def test_a_batch_norm_that_does_not_follow_its_convolution_is_not_folded():
    class Shared(nn.Module):
        """One whose modules stand in another order than they run in."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.norm = nn.BatchNorm2d(3)
            self.norm.running_mean.fill_(0.3)

        def forward(self, pixels):
            return self.conv(self.norm(pixels)).clamp(min=0).mean((2, 3))

    extractor = ImageExtractor("shared", Shared(), 16, (0.5,) * 3, (0.2,) * 3, onnx=True)
    images = pictures().requires_grad_()
    found = extractor(images).detach().numpy()
    np.testing.assert_array_equal(found, by_torch(extractor, pictures()))
    assert extractor._folded[1] is None


def test_what_a_network_without_onnx_computes_it_computes_itself(runs):
    extract(small(onnx=False), pictures())
    assert runs == []


@pytest.mark.parametrize("change", ["hook", "weights", "training"])
def test_a_network_that_was_changed_runs_itself(change, runs):
    extractor, images = small(), pictures()
    before = extract(extractor, images)
    if change == "hook":
        handle = extractor.network[0].register_forward_hook(lambda module, given, output: output * 2)
    elif change == "weights":
        extractor.network[0].weight.add_(1)
    else:
        extractor.network.train()
    after = extract(extractor, images)
    assert np.abs(after - before).max() > 1e-2
    assert extractor.engine.startswith("torch")
    if change == "hook":
        handle.remove()
        np.testing.assert_array_equal(extract(extractor, images), before)


def test_a_copy_with_other_weights_has_a_graph_of_its_own(runs, cache):
    extractor, images = small(), pictures()
    extract(extractor, images)
    other = copy.deepcopy(extractor)
    other.network[0].weight.add_(1)
    other._looked_for_graph, other._state = False, []
    np.testing.assert_allclose(extract(other, images), by_torch(other, images), rtol=1e-4, atol=1e-5)
    assert sum(runs) == 10
    assert len(list(cache.glob("*.onnx"))) == 2


@pytest.mark.parametrize("damage", [b"", b"x" * 99, None])
def test_a_damaged_graph_is_exported_again(damage, cache, runs):
    before = extract(small(), pictures())
    (path,) = cache.glob("*.onnx")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content if damage is None else damage)
    np.testing.assert_array_equal(extract(small(), pictures()), before)
    assert sum(runs) == 10
    assert [file.name for file in cache.glob("*.onnx")] == [path.name]


def built(times, weights="a"):
    """An extractor whose network is built when it is needed; `times` counts."""

    def build():
        times.append(1)
        return small(3).network

    return ImageExtractor("built", build, 16, (0.5,) * 3, (0.2,) * 3, onnx=True, weights=weights)


def test_a_network_is_built_when_more_than_its_features_is_wanted(runs, monkeypatch):
    times = []
    before = extract(built(times), pictures())
    assert times == [1]  # exported
    extractor = built(times)
    np.testing.assert_array_equal(extract(extractor, pictures()), before)
    record = extractor.pipeline()
    assert features_of(pictures(), extractor).pipeline == record
    assert times == [1]
    assert [name for name, _ in extractor.named_modules()][:3] == ["", "network", "network.0"]
    assert times == [1, 1]
    assert extractor.pipeline() == record
    images = pictures().requires_grad_()
    extractor(images).sum().backward()
    assert images.grad.abs().max() > 0
    extractor.network[0].weight.add_(1)
    assert extractor.engine.startswith("torch")
    assert extractor.pipeline()["weights"] != record["weights"]
    extract(built(times, weights="b"), pictures())
    assert times == [1] * 3
    monkeypatch.setattr(image_extractor, "versions_of", lambda *packages: dict.fromkeys(packages, "of tomorrow"))
    extract(built(times), pictures())
    assert times == [1] * 4


@pytest.mark.parametrize("damage", ["", "{", None])
def test_a_graph_without_its_record_is_exported_again(damage, cache):
    times = []
    record = built(times).pipeline()
    (path,) = cache.glob("*.json")
    path.unlink() if damage is None else path.write_text(damage)
    assert built(times).pipeline() == record
    assert times == [1, 1]
    assert built(times).pipeline() == record
    assert times == [1, 1]


def test_an_extractor_moves_before_it_is_built():
    times = []
    extractor = built(times).to("cpu").double()
    assert not times
    assert extractor.network[0].weight.dtype == torch.float64
    assert extractor(pictures().double()).dtype == torch.float64


def test_files_go_through_threads_in_order_and_those_that_fail_are_told(tmp_path, monkeypatch, runs):
    for index, image in enumerate(pictures(30)):
        pixels = (image * 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / f"{index:02}.png")
    (tmp_path / "07.png").write_bytes(b"no image")
    one = features_of(tmp_path, small(), cache=False, on_error="skip")
    before = torch.get_num_threads()
    monkeypatch.setattr(extraction.torch, "get_num_threads", lambda: 3)
    three = features_of(tmp_path, small(), cache=False, on_error="skip")
    slow = features_of(tmp_path, small(onnx=False), cache=False, on_error="skip")
    with pytest.raises(UnusableSampleError, match=r"07.png .*\(8 of 30 samples were looked at"):
        features_of(tmp_path, small())
    assert sum(features_of(tmp_path, small(), limit=30, on_error="skip").values.shape) == 29 + 8
    monkeypatch.undo()
    torch.set_num_threads(before)
    assert [name for name, _ in three.skipped] == ["07.png"]
    np.testing.assert_array_equal(three.values, one.values)
    np.testing.assert_allclose(slow.values, one.values, atol=1e-5)
    assert three.names == one.names


class Unknown(nn.Module):
    """A step that the exporter does not know."""

    def forward(self, pixels):
        return torch.linalg.svdvals(pixels.mean(1))


@pytest.mark.parametrize("reason", ["no onnxruntime", "no export", "other features", "no place"])
def test_without_a_graph_torch_runs_and_one_line_says_so(reason, monkeypatch, caplog, cache):
    extractor = small()
    if reason == "no onnxruntime":
        monkeypatch.setattr(image_extractor.importlib.util, "find_spec", lambda name: None)
    elif reason == "no export":
        extractor = ImageExtractor("small", Unknown(), 16, (0,) * 3, (1,) * 3, onnx=True)
    elif reason == "other features":
        monkeypatch.setattr(
            "genmend.manifold.features.onnx_export.onnx_features", lambda graph, pixels: pixels[:, 0, 0]
        )
        monkeypatch.setattr("genmend.manifold.features.onnx_export.largest_difference", lambda found, wanted: 2e-4)
    else:
        cache.parent.mkdir(parents=True)
        cache.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        found = [extract(extractor, pictures()) for _ in range(2)]
    np.testing.assert_allclose(found[0], by_torch(extractor, pictures()), rtol=1e-5, atol=1e-5)
    (record,) = caplog.records
    expected = {
        "no onnxruntime": "genmend[vision]",
        "no export": "cannot be exported",
        "other features": "by 0.0002",
        "no place": "",
    }
    assert "small runs by torch, about half as fast" in record.getMessage()
    assert expected[reason] in record.getMessage()
    assert reason == "no place" or not cache.exists() or not list(cache.iterdir())


def test_the_engine_is_recorded_and_a_cache_of_either_serves_both(runs):
    slow = features_of(pictures(), small(onnx=False))
    fast = features_of(pictures(), small())
    assert runs == []  # the other engine's rows: of one class of tolerance
    np.testing.assert_array_equal(slow.values, fast.values)
    assert fast.pipeline["engine"].startswith("onnxruntime ")
    assert slow.pipeline["engine"].startswith("torch ")
    features_of(pictures(), small(), cache=False)
    assert sum(runs) == 5


@pytest.mark.real("efficientnet-lite0", "mobilenet-v2", "clip-vit-b16")
@pytest.mark.parametrize(
    "name",
    [
        "efficientnet-lite0",
        "efficientnet-lite0-layers",
        "mobilenet-v2",
        pytest.param("clip-vit-b16", marks=pytest.mark.clip),
    ],
)
def test_every_embedded_extractor_has_the_same_features_by_onnxruntime(name, runs):
    extractor = load_extractor(name)
    images = torch.nn.functional.interpolate(pictures(4, 8), size=72, mode="bicubic").clamp(0, 1)
    found = extract(extractor, images)
    assert sum(runs) == 4
    assert largest_difference(found, by_torch(extractor, images)) < TOLERANCE
    assert np.abs(found - by_torch(extractor, images)).max() < 1e-4
    assert largest_difference(extract(extractor, images, batch_size=3), found) < 1e-5
