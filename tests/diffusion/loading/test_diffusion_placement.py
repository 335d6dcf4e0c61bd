"""Which weights are read, where they go, and what is said where the memory is too small."""

import diffusion_toys
import pytest

from genmend.diffusion.loading import TextToImage, load_text_to_image
from genmend.diffusion.lora import attach_lora
from genmend.diffusion.pipeline_weights import bytes_in_memory, files_to_read, variant_of
from genmend.diffusion.placement import place
from genmend.diffusion.search.default_gains import settled
from genmend.diffusion.search.settings import AmplifySettings

SDXL = {"unet": 5_135_000_000, "text_encoder_2": 1_390_000_000, "text_encoder": 246_000_000, "vae": 167_000_000}
PARTS = ("unet", "vae")


@pytest.mark.parametrize(
    ("free", "asked", "offload"),
    [(24e9, "auto", "none"), (8e9, "auto", "model"), (4e9, "auto", "sequential"), (8e9, "none", "none")],
)
def test_parts_wait_where_the_device_is_too_small(free, asked, offload):
    placed = place(SDXL, "cuda", "bfloat16", asked, {"cpu": 16e9, "cuda": free})
    assert placed.offload == offload
    assert "the weights take 6.9 GB" in placed.words
    assert ("--offload" in placed.words) == (offload != "none")


@pytest.mark.parametrize(
    ("free", "asked", "words"),
    [
        ({"cpu": 6e9}, "auto", "take 6.9 GB in bfloat16 and 6.0 GB of memory are free"),
        ({"cpu": 16e9, "cuda": 6e9}, "none", "6.0 GB are free there; give --offload model"),
        ({"cpu": 16e9, "cuda": 4e9}, "model", "4.0 GB are free there; give --offload sequential"),
    ],
)
def test_too_little_memory_is_said_before_anything_is_read(free, asked, words):
    with pytest.raises(ValueError, match=words):
        place(SDXL, "cuda" if "cuda" in free else "cpu", "bfloat16", asked, free)


def test_the_variant_follows_the_precision():
    both = ["unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors"]
    assert [variant_of(both, PARTS, dtype) for dtype in ("float32", "float16", "bfloat16")] == ["", "fp16", "fp16"]
    assert variant_of(both[1:], PARTS, "float32") == "fp16"  # there is nothing else
    assert variant_of(["unet/diffusion_pytorch_model.non_ema.safetensors", *both], PARTS, "float32") == ""
    shards = [f"vae/diffusion_pytorch_model{end}.safetensors" for end in (".fp16-00001-of-00002", "-00001-of-00002")]
    old = "vae/diffusion_pytorch_model-00001-of-00002.fp16.safetensors"
    assert files_to_read([*both, *shards], PARTS, "fp16") == [both[1], shards[0]]
    assert files_to_read([both[0], old, shards[1]], PARTS, "") == [both[0], shards[1]]
    assert files_to_read([both[0], "vae/diffusion_pytorch_model.safetensors", both[1]], PARTS, "fp16") == [
        both[1],
        "vae/diffusion_pytorch_model.safetensors",  # a part without the variant is read as it is
    ]
    with pytest.raises(ValueError, match="variants alone: bf16"):
        variant_of(["unet/diffusion_pytorch_model.bf16.safetensors"], PARTS, "float32")


def test_weights_are_counted_in_the_precision_they_run_in(tmp_path):
    pipe = diffusion_toys.sd15(tmp_path)
    pipe.save_pretrained(tmp_path / "pipe")
    n = {name: sum(w.numel() for w in getattr(pipe, name).parameters()) for name in ("unet", "vae", "text_encoder")}
    assert bytes_in_memory(tmp_path / "pipe", "", "float32") == {name: 4 * count for name, count in n.items()}
    assert bytes_in_memory(tmp_path / "pipe", "", "float16") == {name: 2 * count for name, count in n.items()}
    index = tmp_path / "pipe" / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "diffusion_pytorch_model-00002-of-00002.safetensors"}}')
    with pytest.raises(ValueError, match="lacks diffusion_pytorch_model-00002-of-00002"):
        load_text_to_image(str(tmp_path / "pipe"))


@pytest.mark.parametrize(
    ("toy", "name", "preset"),
    [
        ("sdxl", "stabilityai/sdxl-turbo", "sdxl-turbo"),
        ("sdxl", "ByteDance/SDXL-Lightning", "sdxl-lightning-4"),
        ("sdxl", "models/mine", "sdxl"),
        ("sd15", "stabilityai/sd-turbo", "sd-1.5"),  # the name of another family does not count
    ],
)
def test_what_is_amplified_where_nothing_is_said(tmp_path, toy, name, preset):
    model = TextToImage(getattr(diffusion_toys, toy)(tmp_path), name=name)
    found, why = settled(model, AmplifySettings(("a chair",)))
    assert found.preset == preset
    assert f"are those of {preset}" in why
    chosen = AmplifySettings(("a chair",), gains={"mid": 2.0})
    assert settled(model, chosen) == (chosen, "")


def test_of_a_transformer_the_middle_blocks_and_that_they_are_ours(tmp_path):
    found, why = settled(TextToImage(diffusion_toys.flux(tmp_path)), AmplifySettings(("a chair",)))
    assert found.blocks == {1: 1.1}
    assert "Nothing is published for transformers: blocks 1 to 1 of FluxTransformer2DModel x 1.1 are ours" in why


def test_a_lora_that_cannot_be_attached(tmp_path, monkeypatch):
    pipe = diffusion_toys.sd15(tmp_path)
    (tmp_path / "lora.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="no such file"):
        attach_lora(pipe, "./none.safetensors")
    with pytest.raises(ValueError, match="never read"):
        attach_lora(pipe, str(tmp_path / "lora.bin"))
    monkeypatch.setattr("diffusers.utils.is_peft_available", lambda: False)
    (tmp_path / "lora.safetensors").write_bytes(b"")
    with pytest.raises(ModuleNotFoundError, match="pip install peft"):
        attach_lora(pipe, str(tmp_path / "lora.safetensors"))
