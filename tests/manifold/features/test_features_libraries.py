"""Models of other libraries, tiny and with random weights in the true layout: nothing is downloaded."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from genmend.manifold.features import extractor_of_file, features_of, load_extractor
from genmend.manifold.features.extractors import loading

IMAGES = torch.rand(3, 3, 50, 40, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """No extractor of one test is there in the next, and no cache of the user is touched."""
    monkeypatch.setattr(loading, "_own", {})
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))


def randomised(network, seed=0):
    """Weights of which every layer lets something through."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.2 + 0.02)
    return network.eval()


def saved(network, path):
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path)
    return path


def features(extractor, images=IMAGES):
    with torch.no_grad():
        return extractor(images).numpy()


# --- timm -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def timm():
    return pytest.importorskip("timm")


@pytest.mark.parametrize("name", ["test_resnet.r160_in1k", "test_vit.r160_in1k"])
@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_timm_features_are_those_before_the_classifier(timm, tmp_path, name, ending):
    network = randomised(timm.create_model(name))
    path = saved(network, tmp_path / f"w.{ending}")
    extractor = load_extractor(f"timm:{name}@{path}")
    config = timm.data.resolve_model_data_config(network)
    transform = timm.data.create_transform(**config, is_training=False)
    # timm's transform works on 8-bit images and clamps them after each pass; ours on floats.
    smooth = functional.interpolate(IMAGES[..., :5, :4], size=(50, 40), mode="bilinear")
    eighths = (smooth * 255).round().byte()
    pixels = torch.stack([transform(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in eighths])
    with torch.no_grad():
        expected = network.forward_head(network.forward_features(pixels), pre_logits=True).numpy()
    found = features(extractor, eighths / 255)
    assert found.shape == expected.shape
    np.testing.assert_allclose(extractor.prepare(eighths / 255), pixels, atol=0.03)  # one step of 1/255, normalised
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
    record = extractor.pipeline()
    assert record["extractor"] == f"timm:{name}"
    assert "timm" in record["versions"]
    assert load_extractor(f"timm:{name}@{path}") is extractor


def test_dinov2_is_taken_at_224_pixels_of_the_whole_image(timm, tmp_path, monkeypatch):
    create = timm.create_model
    small = {"depth": 1, "embed_dim": 24, "num_heads": 2}
    monkeypatch.setattr(timm, "create_model", lambda *args, **options: create(*args, **options, **small))
    name = "vit_small_patch14_dinov2.lvd142m"
    network = randomised(timm.create_model(name))  # 518 pixels, as it is published
    path = saved(network, tmp_path / "w.safetensors")
    extractor = load_extractor(f"timm:{name}@{path}")
    assert extractor.pipeline()["resize"] == {"side": 224, "shorter": None, "mode": "bicubic"}
    assert features(extractor).shape == (3, 24)
    # The positions are those of 518 pixels, resampled by timm.
    assert extractor.network.pos_embed.shape == (1, 1 + 16 * 16, 24)
    assert torch.equal(extractor.network.blocks[0].mlp.fc1.weight, network.blocks[0].mlp.fc1.weight)


def test_timm_errors_say_what_to_do(timm, tmp_path):
    with pytest.raises(ValueError, match="timm has no model called 'resnet5000'"):
        load_extractor("timm:resnet5000")
    with pytest.raises(ValueError, match="There is no weights file"):
        load_extractor("timm:test_resnet@nowhere.pth")
    other = saved(nn.Linear(2, 2), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"(?s)do not fit timm's test_resnet.*Missing.*Unexpected"):
        load_extractor(f"timm:test_resnet@{other}")
    with pytest.raises(ConnectionError, match=r"timm could not download test_resnet.* as timm:test_resnet.*@PATH"):
        load_extractor("timm:test_resnet.r160_in1k")
    with pytest.raises(ValueError, match="names no model"):
        load_extractor("timm:")


# --- torchvision ----------------------------------------------------------------------------------------------------


@pytest.fixture
def torchvision():
    return pytest.importorskip("torchvision")


@pytest.mark.parametrize("shape", [(50, 40), (40, 50), (300, 301), (256, 256), (511, 300)])
def test_torchvision_preprocessing_is_the_weights_own(torchvision, tmp_path, shape):
    network = randomised(torchvision.models.shufflenet_v2_x0_5(weights=None))
    path = saved(network, tmp_path / "w.pth")
    extractor = load_extractor(f"torchvision:shufflenet_v2_x0_5@{path}")
    images = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(1))
    expected = torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT.transforms()(images)
    torch.testing.assert_close(extractor.prepare(images), expected, rtol=0, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(network.fc(extractor(images)), network(expected), rtol=1e-4, atol=1e-4)
    assert extractor.pipeline()["layer"] == "input of fc"


def test_the_last_linear_layer_of_published_networks_is_taken_off(torchvision):
    from genmend.manifold.features.extractors.torchvision_models import _take_off_last_linear

    with torch.device("meta"):  # structure only: these networks are large
        vgg = torchvision.models.vgg16()
        kept = [type(module) for module in vgg.classifier[:5]]
        assert _take_off_last_linear("vgg16", vgg) == "fc2_relu"
        inception = torchvision.models.inception_v3(init_weights=False)
        assert _take_off_last_linear("inception_v3", inception) == "input of fc"
        with pytest.raises(ValueError, match="squeezenet1_0 does not end in a linear layer"):
            _take_off_last_linear("squeezenet1_0", torchvision.models.squeezenet1_0())
    # classifier[:5] ends in the ReLU after fc2; what follows it changes nothing in eval mode.
    assert kept == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU]
    assert [type(module) for module in vgg.classifier] == [*kept, nn.Dropout, nn.Identity]
    assert isinstance(inception.fc, nn.Identity)
    assert isinstance(inception.AuxLogits.fc, nn.Linear)


def test_inception_gets_the_normalisation_that_its_weights_want(torchvision, monkeypatch):
    from genmend.manifold.features.extractors import torchvision_models

    monkeypatch.setattr(torchvision_models, "read_weights", lambda path, into: None)
    with torch.device("meta"):
        assert torchvision_models._build("inception_v3", None, "w.pth").transform_input


def test_torchvision_errors_say_what_to_do(torchvision, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no classifier called 'resnet5000'"):
        load_extractor("torchvision:resnet5000")
    with pytest.raises(ValueError, match="has no weights 'V3'; it has IMAGENET1K_V1, IMAGENET1K_V2"):
        load_extractor("torchvision:resnet50.V3")
    other = saved(nn.Linear(2, 2), tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"(?s)other\.safetensors does not fit.*Missing.*Unexpected"):
        load_extractor(f"torchvision:shufflenet_v2_x0_5@{other}")
    (tmp_path / "damaged.pth").write_bytes(b"damaged")
    torch.save({"weights": torch.zeros(1), "epoch": 3}, tmp_path / "more.pth")
    for name, reason in (
        ("damaged.pth", "cannot be read"),
        ("more.pth", "more than tensors"),
        ("no.pth", "There is no"),
    ):
        with pytest.raises(ValueError, match=reason):
            load_extractor(f"torchvision:shufflenet_v2_x0_5@{tmp_path / name}")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ConnectionError, match=r"torchvision could not download .*@PATH"):
        load_extractor("torchvision:shufflenet_v2_x0_5")


# --- open_clip and transformers -------------------------------------------------------------------------------------


def test_open_clip_image_embeddings(tmp_path):
    open_clip = pytest.importorskip("open_clip")
    text = {"context_length": 8, "vocab_size": 20, "width": 8, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16}
    (tmp_path / "tiny-of-tests.json").write_text(json.dumps({"embed_dim": 6, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(tmp_path / "tiny-of-tests.json")
    whole = randomised(open_clip.create_model("tiny-of-tests", load_weights=False))
    path = saved(whole, tmp_path / "w.safetensors")
    extractor = load_extractor(f"open_clip:tiny-of-tests@{path}")
    with torch.no_grad():
        expected = whole.encode_image(extractor.prepare(IMAGES))
    np.testing.assert_allclose(features(extractor), expected, atol=1e-5)
    assert extractor.pipeline()["resize"] == {"side": 32, "shorter": 32, "mode": "bicubic"}
    with pytest.raises(ValueError, match="no model called 'ViT-Z'"):
        load_extractor("open_clip:ViT-Z")
    with pytest.raises(ValueError, match=r"open_clip:tiny-of-tests needs weights: .*it has none.*got ''"):
        load_extractor("open_clip:tiny-of-tests")
    other = saved(nn.Linear(2, 2), tmp_path / "other.pth")
    with pytest.raises(ValueError, match="does not fit open_clip's tiny-of-tests"):
        load_extractor(f"open_clip:tiny-of-tests@{other}")


@pytest.mark.parametrize("whole", [True, False])
def test_clip_of_a_transformers_folder(tmp_path, whole):
    transformers = pytest.importorskip("transformers")
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 32, "patch_size": 16, "projection_dim": 6}
    if whole:
        text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
        config = transformers.CLIPConfig(vision_config=vision, text_config={**text, "vocab_size": 20}, projection_dim=6)
        model = randomised(transformers.CLIPModel(config))
    else:
        model = randomised(transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**vision)))
    model.save_pretrained(tmp_path)
    preprocessor = {"size": {"shortest_edge": 32}, "resample": 2, "image_mean": [0.1] * 3, "image_std": [0.2] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    extractor = load_extractor(f"transformers:{tmp_path}")
    pixels = extractor.prepare(IMAGES)
    with torch.no_grad():
        if whole:
            expected = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
        else:
            expected = model(pixel_values=pixels).image_embeds
    np.testing.assert_allclose(features(extractor), expected, atol=1e-5)
    record = extractor.pipeline()
    assert record["resize"] == {"side": 32, "shorter": 32, "mode": "bilinear"}
    assert record["normalisation"]["mean"] == pytest.approx([0.1] * 3)


TINY_WAVE = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
    "conv_dim": (8, 8), "conv_stride": (5, 4), "conv_kernel": (10, 8), "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2, "num_feat_extract_layers": 2,
}  # fmt: skip


@pytest.mark.parametrize("normalise", [True, False])
def test_wav2vec2_of_a_transformers_folder(tmp_path, normalise):
    transformers = pytest.importorskip("transformers")
    model = randomised(transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**TINY_WAVE)))
    model.save_pretrained(tmp_path)
    own = transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise)
    own.save_pretrained(tmp_path)
    wave = np.random.default_rng(0).normal(0.1, 0.3, 4000).astype(np.float32)
    with torch.no_grad():
        inputs = own(wave, sampling_rate=16_000, return_tensors="pt").input_values
        expected = model(inputs).last_hidden_state[0].mean(0)
    found = features_of([wave, wave[:2000]], f"transformers:{tmp_path}", sample_rate=16_000)
    assert found.values.shape == (2, 16)
    np.testing.assert_allclose(found.values[0], expected, atol=1e-5)
    assert "transformers" in found.pipeline["versions"]
    short = features_of([wave, wave[:7]], f"transformers:{tmp_path}", sample_rate=16_000, on_error="skip")
    assert "too short" in short.skipped[0][1]


def test_transformers_errors_say_what_to_do(tmp_path):
    transformers = pytest.importorskip("transformers")
    with pytest.raises(ValueError, match=r"could not load .*nowhere.* give a folder"):
        load_extractor(f"transformers:{tmp_path}/nowhere")
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="of the family 'bert'; clip, clip_vision_model, wav2vec2"):
        load_extractor(f"transformers:{tmp_path}")
    # A pickled file is not looked at, and missing weights are not replaced by random ones.
    model = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**TINY_WAVE))
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=f"could not load '{tmp_path}'"):
        load_extractor(f"transformers:{tmp_path}")
    weights = {name: tensor for name, tensor in model.state_dict().items() if "layers.1." not in name}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks weights .*encoder\.layers\.1\."):
        load_extractor(f"transformers:{tmp_path}")


# --- torchaudio -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalise", [True, False])
def test_a_torchaudio_bundle(tmp_path, monkeypatch, normalise):
    torchaudio = pytest.importorskip("torchaudio")
    from dataclasses import replace

    params = dict(torchaudio.pipelines.WAV2VEC2_BASE._params)
    params |= {"extractor_conv_layer_config": [(8, 10, 5), (8, 8, 4)], "encoder_embed_dim": 16, "encoder_num_layers": 2}
    params |= {"encoder_num_heads": 2, "encoder_pos_conv_kernel": 4, "encoder_pos_conv_groups": 2}
    params |= {"encoder_ff_interm_features": 16}
    tiny = replace(torchaudio.pipelines.WAV2VEC2_BASE, _params=params, _normalize_waveform=normalise)
    monkeypatch.setattr(torchaudio.pipelines, "WAV2VEC2_TINY", tiny, raising=False)
    network = randomised(torchaudio.models.wav2vec2_model(**params))
    path = saved(network, tmp_path / "w.pth")
    wave = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.1
    found = features_of([wave[0].numpy()], f"torchaudio:WAV2VEC2_TINY@{path}", sample_rate=16_000)
    whole = torchaudio.pipelines._wav2vec2.utils._extend_model(network, normalize_waveform=normalise)
    with torch.no_grad():
        expected = whole(wave)[0][0].mean(0)
    np.testing.assert_allclose(found.values[0], expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"no wav2vec2 bundle called 'WAV3'; it has .*WAV2VEC2_BASE"):
        load_extractor("torchaudio:WAV3")


# --- names ----------------------------------------------------------------------------------------------------------


def test_a_file_cannot_ask_for_a_library_s_model_by_itself(timm, tmp_path):
    path = saved(timm.create_model("test_resnet"), tmp_path / "w.safetensors")
    name = f"timm:test_resnet@{path}"
    with pytest.raises(ValueError, match="if you trust it, call load_extractor"):
        extractor_of_file(name)
    extractor = load_extractor(name)
    assert extractor_of_file(name) is extractor


def test_a_missing_library_is_named_with_its_remedy(monkeypatch):
    import sys

    for library, remedy in (("timm", r"genmend\[vision\]"), ("open_clip", "pip install open_clip_torch")):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(ModuleNotFoundError, match=f"needs the package {library}, .*{remedy}"):
            load_extractor(f"{library}:some")
