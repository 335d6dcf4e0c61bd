"""Segmenters of transformers by name, on small random networks of the same classes."""

import json
import sys

import pytest
import torch

from genmend.gans.dissection.concepts import SoftConcepts, checked_masks, load_concepts

transformers = pytest.importorskip("transformers")
IMAGES = torch.rand(3, 3, 24, 40, generator=torch.Generator().manual_seed(0))


def segformer():
    config = transformers.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16], patch_sizes=[7, 3], strides=[4, 2],
        num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=16, num_labels=4,
        id2label={0: "wall", 1: "sky", 2: "sky", 3: "tree"},
    )  # fmt: skip
    return transformers.SegformerForSemanticSegmentation(config)


def upernet():
    backbone = transformers.ConvNextConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 8, 8], out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    return transformers.UperNetForSemanticSegmentation(
        transformers.UperNetConfig(
            backbone_config=backbone, hidden_size=16, num_labels=3, auxiliary_channels=8, auxiliary_in_channels=8
        )
    )


def clipseg():
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.CLIPSegConfig(
        text_config=tower | {"vocab_size": 300, "bos_token_id": 298, "eos_token_id": 299},
        vision_config=tower | {"image_size": 32, "patch_size": 8},
        projection_dim=12, extract_layers=[0, 1], reduce_dim=8, decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )  # fmt: skip
    return transformers.CLIPSegForImageSegmentation(config)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    found = {}
    for build in (segformer, upernet, clipseg):
        torch.manual_seed(0)
        folder = tmp_path_factory.mktemp(build.__name__)
        network = build().eval()
        for parameter in network.parameters():  # large enough for more than one class to win somewhere
            parameter.data = torch.randn(parameter.shape) * 0.3
        network.save_pretrained(folder)
        found[build.__name__] = folder
    small = {"size": {"height": 32, "width": 48}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (found["segformer"] / "preprocessor_config.json").write_text(json.dumps(small))
    (found["upernet"] / "preprocessor_config.json").write_text(json.dumps({"size": {"shortest_edge": 64}}))
    words = {chr(number): number for number in range(97, 123)} | {f"{chr(n)}</w>": n + 100 for n in range(97, 123)}
    words |= {"<|startoftext|>": 298, "<|endoftext|>": 299}
    transformers.CLIPTokenizer(vocab=words, merges=[]).save_pretrained(found["clipseg"])
    return found


@pytest.mark.parametrize("family", ["segformer", "upernet"])
def test_the_likeliest_class_of_every_pixel_is_the_network_s(folders, family):
    concepts = load_concepts(f"{family}:{folders[family]}")
    masks = checked_masks(concepts, IMAGES)
    assert (masks.sum(1) == 1).all()
    network = transformers.AutoModelForSemanticSegmentation.from_pretrained(folders[family]).eval()
    size, mean, std = ((32, 48), 0.5, 0.25) if family == "segformer" else ((64, 64), None, None)
    scaled = torch.nn.functional.interpolate(IMAGES, size, mode="bilinear", antialias=True)
    mean, std = (
        torch.tensor(values if given is None else [given] * 3).view(1, 3, 1, 1)
        for given, values in ((mean, [0.485, 0.456, 0.406]), (std, [0.229, 0.224, 0.225]))
    )
    with torch.no_grad():
        logits = network((scaled - mean) / std).logits
    logits = torch.nn.functional.interpolate(logits, (24, 40), mode="bilinear", antialias=True)
    assert (masks.float().argmax(1) == logits.argmax(1)).float().mean() > 0.999
    assert torch.allclose(concepts.soft(IMAGES), logits.softmax(1), atol=1e-4)
    assert isinstance(concepts, SoftConcepts)
    images = IMAGES.clone().requires_grad_(True)
    concepts.soft(images)[:, 0].sum().backward()
    assert images.grad.any()
    assert load_concepts(f"{family}:{folders[family]}").digest == concepts.digest


def test_names_are_the_model_s_and_tell_equal_ones_apart(folders):
    assert load_concepts(f"segformer:{folders['segformer']}").names == ("wall", "sky (1)", "sky (2)", "tree")


def test_words_are_where_clipseg_itself_has_them(folders):
    concepts = load_concepts(f"clipseg:{folders['clipseg']}:hair, a hat")
    assert concepts.names == ("hair", "a hat")
    masks = checked_masks(concepts, IMAGES)
    network = transformers.CLIPSegForImageSegmentation.from_pretrained(folders["clipseg"]).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(folders["clipseg"])
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    scaled = torch.nn.functional.interpolate(IMAGES, (32, 32), mode="bilinear", antialias=True)
    scaled = (scaled - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    for number, word in enumerate(concepts.names):
        given = tokens([word] * 3, return_tensors="pt")
        with torch.no_grad():
            logits = network(input_ids=given["input_ids"], pixel_values=scaled).logits
        large = torch.nn.functional.interpolate(logits[:, None], (24, 40), mode="bilinear", antialias=True)[:, 0]
        assert torch.allclose(concepts.soft(IMAGES)[:, number], large.sigmoid(), atol=1e-5)
        assert torch.equal(masks[:, number], large.sigmoid() > 0.5)
    assert load_concepts(f"clipseg:{folders['clipseg']}:hair").digest != concepts.digest
    images = IMAGES.clone().requires_grad_(True)
    concepts.soft(images).sum().backward()
    assert images.grad.any()


def test_what_is_missing_or_of_another_kind_is_named(folders, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"needs a folder with config\.json and model\.safetensors"):
        load_concepts(f"segformer:{tmp_path}")
    with pytest.raises(ValueError, match="names no words; write it as clipseg:FOLDER:hair,glasses"):
        load_concepts(f"clipseg:{folders['clipseg']}")
    with pytest.raises(ValueError, match="holds a upernet, and segformer was asked for"):
        load_concepts(f"segformer:{folders['upernet']}")
    (tmp_path / "config.json").write_text((folders["segformer"] / "config.json").read_text())
    with pytest.raises(ValueError, match=r"could not load .*with safetensors"):
        load_concepts(f"segformer:{tmp_path}")
    state = torch.load  # a pickle beside the config is not read
    torch.save(segformer().state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="could not load"):
        load_concepts(f"segformer:{tmp_path}")
    assert state is torch.load
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs transformers.*genmend\[vision\]"):
        load_concepts(f"upernet:{folders['upernet']}")
