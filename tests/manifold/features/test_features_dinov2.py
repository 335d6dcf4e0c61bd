"""DINOv2 by our own network: small ones of the true layout against transformers' and timm's."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from genmend.manifold.features import load_extractor
from genmend.manifold.features.extractors import dinov2, loading
from genmend.manifold.features.extractors.dinov2 import SIZES, Dinov2, Size, as_published
from genmend.manifold.features.extractors.local_weights import stored_tensors
from genmend.manifold.features.extractors.published_tables import published_tables

PLAIN, GATED = Size(48, 2, 3), Size(48, 2, 3, gated=True)
PIXELS = torch.randn(2, 3, 42, 42, generator=torch.Generator().manual_seed(0))


def randomised(network):
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.2)
    return network.eval()


def transformers_network(size):
    transformers = pytest.importorskip("transformers")
    options = {"hidden_size": size.width, "num_hidden_layers": size.depth, "num_attention_heads": size.heads,
               "image_size": 42, "patch_size": 14, "use_swiglu_ffn": size.gated}  # fmt: skip
    if size.registers:
        config = transformers.Dinov2WithRegistersConfig(num_register_tokens=size.registers, **options)
        return randomised(transformers.Dinov2WithRegistersModel(config))
    return randomised(transformers.Dinov2Model(transformers.Dinov2Config(**options)))


@pytest.mark.parametrize("size", [PLAIN, GATED, Size(48, 2, 3, registers=4)])
def test_the_features_are_those_of_transformers(size, tmp_path):
    theirs = transformers_network(size)
    theirs.save_pretrained(tmp_path)  # the names of files are those that were published
    ours = Dinov2(size, 42)
    ours.load_state_dict(as_published(stored_tensors(tmp_path / "model.safetensors")))
    with torch.no_grad():
        expected = theirs(PIXELS).last_hidden_state[:, 0]
        torch.testing.assert_close(ours(PIXELS), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("registers", [0, 4])
def test_the_features_are_those_of_timm(registers):
    timm = pytest.importorskip("timm")
    name = "vit_small_patch14_reg4_dinov2" if registers else "vit_small_patch14_dinov2"
    theirs = randomised(timm.create_model(name, depth=2, embed_dim=48, num_heads=3, img_size=42))
    state = dict(theirs.state_dict())
    if registers:  # timm has no place for the class token's position: it is added to the token when weights are read
        zero = torch.zeros(1, 1, 48)
        state["pos_embed"] = torch.cat([zero, state["pos_embed"]], dim=1)
    ours = Dinov2(Size(48, 2, 3, registers=registers), 42)
    ours.load_state_dict(as_published(state))
    with torch.no_grad():
        torch.testing.assert_close(ours(PIXELS), theirs(PIXELS), rtol=1e-4, atol=1e-4)


def cubic(at):
    """Keys' kernel with a = -0.75, as torch takes it."""
    at, a = np.abs(at), -0.75
    near = (a + 2) * at**3 - (a + 3) * at**2 + 1
    far = a * at**3 - 5 * a * at**2 + 8 * a * at - 4 * a
    return np.where(at <= 1, near, np.where(at < 2, far, 0))


def test_positions_are_resampled_as_the_publishers_do():
    """Row i of 16 lies at (i + 1/2) * 37 / 16.1 - 1/2 of the 37: the publishers' offset of 0.1, not 37 / 16."""
    network = randomised(Dinov2(Size(4, 1, 1)))
    grid = network.pos_embed[0, 1:].detach().double().numpy().reshape(37, 37, 4)
    at = (np.arange(16) + 0.5) * 37 / 16.1 - 0.5
    taps = np.floor(at)[:, None].astype(int) + np.arange(-1, 3)
    weights = np.zeros((16, 37))
    for row, (place, four) in enumerate(zip(at, taps, strict=True)):
        np.add.at(weights[row], np.clip(four, 0, 36), cubic(place - four))
    expected = np.einsum("ia,jb,abd->ijd", weights, weights, grid).reshape(256, 4)
    found = network._positions(16, 16)[0].detach().numpy()
    np.testing.assert_allclose(found[1:], expected, atol=1e-5)
    np.testing.assert_array_equal(found[0], network.pos_embed[0, 0].detach().numpy())


# Names of transformers' layout.
BESIDE_BLOCKS = {
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
    "pos_embed": "embeddings.position_embeddings",
    "cls_token": "embeddings.cls_token",
}


@pytest.fixture
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(loading, "_own", {})
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(dinov2.SIZES, "vitl14", PLAIN)
    monkeypatch.setitem(dinov2.SIZES, "vitg14", GATED)
    return tmp_path


def test_a_file_of_each_layout_gives_one_space(small):
    network = randomised(Dinov2(PLAIN))
    published = dict(network.state_dict()) | {"mask_token": torch.zeros(1, 48)}
    torch.save(published, small / "facebook.pth")
    layers = {}
    for name, value in network.state_dict().items():
        name = name.replace("blocks.", "encoder.layer.").replace("attn.proj", "attention.output.dense")
        for ours, other in BESIDE_BLOCKS.items():
            name = other + name.removeprefix(ours) if name.startswith(ours) else name
        name = name.replace("ls1.gamma", "layer_scale1.lambda1").replace("ls2.gamma", "layer_scale2.lambda1")
        if "attn.qkv" in name:
            for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                layers[name.replace("attn.qkv", f"attention.attention.{part}")] = third.contiguous()
        else:
            layers[name] = value
    save_file(layers, small / "transformers.safetensors")
    images = torch.rand(2, 3, 60, 50, generator=torch.Generator().manual_seed(2))
    found = []
    for file in ("facebook.pth", "transformers.safetensors"):
        extractor = load_extractor(f"dinov2:vitl14@{small / file}")
        with torch.no_grad():
            found.append(extractor(images))
        record = extractor.pipeline()
        assert record["resize"] == {"side": 224, "shorter": None, "mode": "bicubic"}
        assert (record["antialias"], record["extractor"]) == (True, "dinov2:vitl14")
    assert found[0].shape == (2, 48)
    assert torch.equal(*found)


def test_errors_say_what_to_do(small):
    with pytest.raises(ValueError, match=r"dinov2 has no network 'vith14'; vits14, vitb14, .* vitl14 for FD-DINOv2"):
        load_extractor("dinov2:vith14")
    with pytest.raises(ValueError, match=r"dinov2:vitl14@PATH: dinov2_vitl14_pretrain\.pth of facebookresearch"):
        load_extractor("dinov2:vitl14")
    with pytest.raises(ValueError, match=r"dinov2_vitb14_reg4_pretrain\.pth"):
        load_extractor("dinov2:vitb14-reg")
    with pytest.raises(ValueError, match="There is no weights file"):
        load_extractor("dinov2:vitl14@nowhere.pth")
    torch.save(dict(Dinov2(PLAIN).state_dict()), small / "plain.pth")
    with pytest.raises(ValueError, match=r"plain\.pth does not fit dinov2:vitg14: .*Missing.*w12"):
        load_extractor(f"dinov2:vitg14@{small / 'plain.pth'}")


def test_the_published_sizes_and_tables():
    assert {name: (size.width, size.depth) for name, size in SIZES.items() if "-" not in name} == {
        "vits14": (384, 12), "vitb14": (768, 12), "vitl14": (1024, 24), "vitg14": (1536, 40),
    }  # fmt: skip
    assert dinov2._Gated(1536).w3.in_features == 4096
    assert published_tables("dinov2:vitl14").startswith("tables of FD-DINOv2")
    for other in ("dinov2:vits14", "dinov2:vitl14-reg", "timm:vit_large_patch14_dinov2.lvd142m"):
        assert published_tables(other).startswith("none: "), other
