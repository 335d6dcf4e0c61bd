"""VGG16-fc2 and the FID Inception against the preprocessing and the networks of the codes they were published with."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from genmend.manifold.features import ImageExtractor, load_extractor
from genmend.manifold.features.extractors import loading
from genmend.manifold.features.extractors.vgg16_fc2 import PUBLISHED
from genmend.manifold.features.resizing import resize

torchvision = pytest.importorskip("torchvision")
DRAW = np.random.default_rng(0)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(loading, "_own", {})


def eight_bit(height, width, n=2):
    """Smooth images (n, 3, h, w) uint8: a wrong kernel or normalisation shows, 8-bit rounding hardly."""
    coarse = torch.from_numpy(np.random.default_rng(0).random((n, 3, 6, 5)).astype(np.float32))
    smooth = functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)
    return (smooth.clamp(0, 1) * 255).round().byte()


class TinyVGG(nn.Module):
    """A network in VGG16's layout whose layers are a few units wide."""

    def __init__(self, weights=None):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 5, stride=7), nn.ReLU())
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(4 * 49, 9), nn.ReLU(), nn.Dropout(), nn.Linear(9, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 5)
        )

    def forward(self, images):
        return self.classifier(torch.flatten(self.avgpool(self.features(images)), 1))


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A tiny VGG16 in torchvision's place, and its file."""
    monkeypatch.setattr(torchvision.models, "vgg16", TinyVGG)
    torch.manual_seed(1)
    network = TinyVGG().eval()
    torch.save(network.state_dict(), tmp_path / "vgg.pth")
    return network, tmp_path / "vgg.pth"


def as_published(name, images):
    """What each published code hands to its network, by the libraries that it uses: PIL, torchvision, torch."""
    if name == "torch-fidelity":
        tensorflow = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow")
        resized = tensorflow.interpolate_bilinear_2d_like_tensorflow1x(
            images.float(), size=(224, 224), align_corners=False
        )
        scaled = [[255 * value for value in values] for values in (MEAN, STD)]
        return torchvision.transforms.functional.normalize(resized, *scaled)
    if name in ("rarity-tensors", "divrare"):
        values = images / 255 if name == "rarity-tensors" else images / 255 * 2 - 1
        return functional.interpolate(values, size=(224, 224))
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    if name == "rarity":
        pictures = [picture.resize((224, 224), Image.Resampling.BICUBIC) for picture in pictures]
    else:
        pictures = [torchvision.transforms.Resize([224, 224])(picture) for picture in pictures]
    tensors = torch.stack([torchvision.transforms.functional.to_tensor(picture) for picture in pictures])
    return torchvision.transforms.functional.normalize(tensors, MEAN, STD)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize(("height", "width"), [(300, 260), (40, 500)])
def test_vgg16_is_given_what_the_published_code_gives_it(tiny, name, height, width):
    network, path = tiny
    extractor = load_extractor(f"vgg16-fc2:{name}@{path}")
    images = eight_bit(height, width)
    expected = as_published(name, images)
    # Pillow rounds to 8 bits after each of its two passes: half a step each, in units of the normalised values.
    tolerance = 1.3 / 255 / min(STD) if name in ("rarity", "ipr") else 1e-4
    np.testing.assert_allclose(extractor.prepare(images / 255), expected, atol=tolerance)
    with torch.no_grad():
        found = extractor(images / 255)
        layers = 5 if PUBLISHED[name].relu else 4
        flat = torch.flatten(network.avgpool(network.features(extractor.prepare(images / 255))), 1)
        torch.testing.assert_close(found, network.classifier[:layers](flat))
    assert (found < 0).any() == (not PUBLISHED[name].relu)


def test_the_published_feature_spaces_are_five(tiny):
    _, path = tiny
    images = eight_bit(300, 260) / 255
    prepared = [load_extractor(f"vgg16-fc2:{name}@{path}").prepare(images) for name in PUBLISHED]
    for number, first in enumerate(prepared):
        for second in prepared[:number]:
            assert (first - second).abs().max() > 0.01
    records = {str(load_extractor(f"vgg16-fc2:{name}@{path}").pipeline()) for name in PUBLISHED}
    assert len(records) == len(PUBLISHED)
    assert load_extractor(f"vgg16-fc2:divrare@{path}").pipeline()["antialias"] is False


def test_vgg16_s_refusals_say_what_is_accepted(tiny, tmp_path, monkeypatch):
    _, path = tiny
    with pytest.raises(ValueError, match=r"no preprocessing 'stylegan'; rarity, rarity-tensors, divrare, ipr, torch"):
        load_extractor(f"vgg16-fc2:stylegan@{path}")
    with pytest.raises(ValueError, match=r"names no model; write it as vgg16-fc2:NAME"):
        load_extractor("vgg16-fc2:")
    torch.save({"features.0.weight": torch.zeros(4, 3, 5, 5)}, tmp_path / "part.pth")
    with pytest.raises(ValueError, match=r"part\.pth does not fit: .*classifier"):
        load_extractor(f"vgg16-fc2:rarity@{tmp_path / 'part.pth'}")

    def offline(weights=None):
        raise OSError("no network")

    monkeypatch.setattr(torchvision.models, "vgg16", offline)
    with pytest.raises(ConnectionError, match=r"no network.*vgg16-fc2:rarity@PATH"):
        load_extractor("vgg16-fc2:rarity")


@pytest.mark.slow
def test_the_whole_vgg16_equals_torch_fidelity_s(tmp_path):
    theirs = pytest.importorskip("torch_fidelity.feature_extractor_vgg16")
    torch.manual_seed(0)
    torch.save(torchvision.models.vgg16(weights=None).state_dict(), tmp_path / "vgg.pth")
    network = theirs.FeatureExtractorVGG16(
        "vgg16", ["fc2_relu"], feature_extractor_weights_path=str(tmp_path / "vgg.pth")
    )
    images = eight_bit(90, 130)
    with torch.no_grad():
        (expected,) = network(images)
        found = load_extractor(f"vgg16-fc2:torch-fidelity@{tmp_path / 'vgg.pth'}")(images / 255)
    assert found.shape == (2, 4096)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * expected.max().item())


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    """torch-fidelity's network with random weights, and its file."""
    theirs = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        torch.save({}, path)
        network = theirs.FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))
    torch.save(network.state_dict(), path)
    return network, path


@pytest.mark.parametrize(("height", "width"), [(64, 48), (350, 400)])
def test_the_fid_inception_equals_torch_fidelity_s(inception, height, width):
    network, path = inception
    images = eight_bit(height, width)
    extractor = load_extractor(f"torch_fidelity:inception-v3-compat@{path}")
    with torch.no_grad():
        (expected,) = network(images)
        found = extractor(images / 255)
    assert found.shape == (2, 2048)
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())
    record = extractor.pipeline()
    assert record["resize"] == {"side": 299, "shorter": None, "mode": "bilinear-tf1"}
    assert "torch-fidelity" in record["versions"]


class Harm:
    def __reduce__(self):
        return (print, ("code of a file was run",))


def test_a_pickle_in_the_place_of_weights_is_not_run(inception, tmp_path, capsys):
    torch.save({"fc.weight": Harm()}, tmp_path / "harm.pth")
    for name in ("torch_fidelity:inception-v3-compat", "vgg16-fc2:rarity"):
        with pytest.raises(ValueError, match=r"harm\.pth cannot be read as weights"):
            load_extractor(f"{name}@{tmp_path / 'harm.pth'}")
    assert "was run" not in capsys.readouterr().out


def test_the_fid_inception_s_refusals_say_what_to_do(inception, tmp_path):
    with pytest.raises(ValueError, match=r"Give the weights as torch_fidelity:inception-v3-compat@PATH, .*https://"):
        load_extractor("torch_fidelity:inception-v3-compat")
    with pytest.raises(ValueError, match=r"only torch_fidelity:inception-v3-compat; .*vgg16-fc2:torch-fidelity"):
        load_extractor(f"torch_fidelity:vgg16@{inception[1]}")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth does not fit"):
        load_extractor(f"torch_fidelity:inception-v3-compat@{tmp_path / 'other.pth'}")


# --- kernels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "wanted"), [((7, 5), (13, 4)), ((5, 7), (5, 21)), ((1, 1), (3, 2))])
def test_tensorflow_1_positions_by_hand(given, wanted):
    image = DRAW.random(given)
    expected = np.empty(wanted)
    for row in range(wanted[0]):
        for column in range(wanted[1]):
            y, x = row * given[0] / wanted[0], column * given[1] / wanted[1]
            top, left = int(y), int(x)
            below, right = min(top + 1, given[0] - 1), min(left + 1, given[1] - 1)
            upper = image[top, left] * (1 - (x - left)) + image[top, right] * (x - left)
            lower = image[below, left] * (1 - (x - left)) + image[below, right] * (x - left)
            expected[row, column] = upper * (1 - (y - top)) + lower * (y - top)
    found = resize(torch.from_numpy(image)[None, None], wanted, "bilinear-tf1", antialias=False)
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["nearest", "bilinear-tf1"])
def test_kernels_without_antialiasing_have_gradients_and_say_so(mode):
    extractor = ImageExtractor("e", nn.Flatten(), 8, (0.5,) * 3, (0.5,) * 3, mode=mode)
    images = torch.rand(1, 3, 20, 30, requires_grad=True)
    extractor(images).sum().backward()
    assert images.grad.abs().sum() > 0
    assert extractor.pipeline()["antialias"] is False


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match=r"kernel is 'lanczos'; 'bicubic', 'bilinear', 'nearest', 'bilinear-tf1' are"):
        ImageExtractor("e", nn.Flatten(), 8, (0.5,) * 3, (0.5,) * 3, mode="lanczos")
