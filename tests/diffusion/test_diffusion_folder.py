"""Folders that are no pipelines, and those that would take all memory: one sentence with the file and the field."""

import json
import shutil
import struct

import diffusers
import diffusion_toys
import pytest

from genmend.diffusion.loading import load_text_to_image
from genmend.diffusion.pipeline_folder import slots_of_folder


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    place = tmp_path_factory.mktemp("folder")
    diffusion_toys.sd15(place).save_pretrained(place / "pipe")
    return place / "pipe"


def changed(written, tmp_path, file, change):
    folder = tmp_path / "pipe"
    shutil.copytree(written, folder)
    path = folder / file
    if isinstance(change, dict):
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    else:
        path.write_bytes(change)
    return folder


INDEX, SCHEDULER, UNET = "model_index.json", "scheduler/scheduler_config.json", "unet/config.json"


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        (INDEX, b"null", "holds NoneType as JSON"),
        (INDEX, b"[1, 2]", "holds list"),
        (INDEX, b"{", "no JSON that can be read"),
        (INDEX, b"[" * 100_000, "no JSON that can be read"),
        (INDEX, b"\xff\xfe\x00", "no JSON that can be read"),
        (INDEX, b"{}", "no _class_name"),
        (INDEX, {"_class_name": 7}, "gives _class_name as 7"),
        (INDEX, {"_class_name": ["pipeline.py", "Mine"]}, "gives _class_name as"),
        (INDEX, {"unet": ["diffusers", 3]}, "gives unet as"),
        (INDEX, {"unet": {"a": 1}}, "gives unet as"),
        (INDEX, {"unet": ["diffusers", "NoSuchThing"]}, "cannot be loaded by diffusers"),
        (INDEX, {"_class_name": "NoSuchPipeline"}, "cannot be loaded by diffusers"),
        (SCHEDULER, b"null", "holds NoneType"),
        (SCHEDULER, {"num_train_timesteps": 10**9}, "gives num_train_timesteps as 1000000000"),
        (SCHEDULER, {"num_train_timesteps": "many"}, "gives num_train_timesteps as 'many'"),
        (SCHEDULER, {"num_train_timesteps": -5}, "gives num_train_timesteps as -5"),
        (SCHEDULER, {"beta_end": float("inf")}, "Infinity is no number"),
        (SCHEDULER, {"beta_schedule": "unheard"}, "cannot be loaded by diffusers"),
        ("tokenizer/tokenizer_config.json", {"model_max_length": 10**30}, "gives model_max_length as 1"),
        (UNET, {"block_out_channels": [10**6] * 4}, "gives block_out_channels as"),
        (UNET, {"cross_attention_dim": 2**62}, "gives cross_attention_dim as"),
        (UNET, {"layers_per_block": 10**8}, "gives layers_per_block as"),
        (UNET, {"block_out_channels": [[[[[[1]]]]]]}, "gives block_out_channels as"),
        (UNET, {"_class_name": None, "down_block_types": "no"}, "cannot be loaded by diffusers"),
        ("text_encoder/config.json", {"hidden_size": 10**7}, "gives hidden_size as 10000000"),
        ("text_encoder/config.json", {"vocab_size": "all"}, "gives vocab_size as 'all'"),
        ("unet/diffusion_pytorch_model.safetensors", struct.pack("<Q", 2**60), "is damaged"),
        ("unet/diffusion_pytorch_model.safetensors", b"", "is damaged"),
    ],
)
def test_one_sentence_with_the_file_and_the_field(written, tmp_path, monkeypatch, file, change, words):
    folder = changed(written, tmp_path, file, change)
    if "cannot be loaded" not in words:  # known before diffusers allocates anything
        monkeypatch.setattr(diffusers.DiffusionPipeline, "from_pretrained", None)
    with pytest.raises(ValueError, match=words) as caught:
        load_text_to_image(str(folder))
    assert "\n" not in str(caught.value)


def test_a_whole_folder_loads(written):
    loaded = load_text_to_image(str(written))
    assert loaded.own_size == 64
    assert loaded.device == "cpu"


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"offload": "disk"}, "accepted are auto, none, model, sequential"), ({"offload": "model"}, "give --device cuda")],
)
def test_offloading_that_cannot_be(written, settings, words):
    with pytest.raises(ValueError, match=words):
        load_text_to_image(str(written), **settings)


def test_a_variant_of_the_weights(tmp_path):
    diffusion_toys.sd15(tmp_path).save_pretrained(tmp_path / "pipe", variant="fp16")
    assert load_text_to_image(str(tmp_path / "pipe"), variant="fp16").pipe.unet is not None


def test_what_can_be_amplified_is_known_before_the_pipeline_is_loaded(written, tmp_path):
    assert slots_of_folder(written) == ("down0", "down1", "down2", "down3", "mid")
    assert slots_of_folder(changed(written, tmp_path, UNET, {"mid_block_type": None})) == slots_of_folder(written)[:-1]
    shutil.move(tmp_path / "pipe" / "unet", tmp_path / "pipe" / "transformer")
    assert slots_of_folder(tmp_path / "pipe") == ()
