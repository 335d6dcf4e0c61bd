"""A pipeline of a hub on loopback: only what is needed is downloaded, and its size is said first."""

import shutil
from collections import namedtuple

import diffusion_toys
import pytest
from huggingface_hub import constants
from stub_hub import hub  # noqa: F401 (a fixture)

from genmend.diffusion.hub_pipeline import fetch_pipeline
from genmend.diffusion.loading import load_text_to_image
from genmend.storage.hub.repository import HubError

NAME = "stabilityai/sdxl-turbo"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """SDXL's layout in two precisions, and beside them what nobody needs."""
    place = tmp_path_factory.mktemp("sdxl")
    pipe = diffusion_toys.sdxl(place)
    pipe.save_pretrained(place / "pipe")
    pipe.save_pretrained(place / "pipe", variant="fp16")
    found = {
        path.relative_to(place / "pipe").as_posix(): path.read_bytes()
        for path in (place / "pipe").rglob("*")
        if path.is_file()
    }
    others = ("sd_xl_turbo_1.0.safetensors", "unet/model.onnx", "unet/diffusion_pytorch_model.bin", "unet/x/y.json")
    return found | dict.fromkeys(others, b"large") | {"README.md": b"words"}


def asked_for(stub):
    return {path.split("/", 5)[5] for method, path in stub.asked if method == "GET" and "/resolve/" in path}


@pytest.mark.parametrize(("dtype", "ours", "not_ours"), [("bfloat16", ".fp16", ""), ("float32", "", ".fp16")])
def test_only_what_is_needed_is_downloaded_and_its_size_is_said_first(hub, files, dtype, ours, not_ours):  # noqa: F811
    hub.commit(NAME, files)
    said = []
    folder = fetch_pipeline(NAME, dtype=dtype, say=lambda text: said.append((text, asked_for(hub))))
    assert f"unet/diffusion_pytorch_model{ours}.safetensors" in asked_for(hub)
    assert f"unet/diffusion_pytorch_model{not_ours}.safetensors" not in asked_for(hub)
    weights = {name for name in asked_for(hub) if name.endswith(".safetensors")}
    assert len(weights) == 4
    assert not asked_for(hub) & {"README.md", "sd_xl_turbo_1.0.safetensors", "unet/model.onnx", "unet/x/y.json"}
    ((text, before),) = said
    n_bytes = sum(len(files[name]) for name in asked_for(hub) - {"model_index.json"})
    assert f"{n_bytes / 1e6:.1f} MB to download" in text
    assert not any(name.endswith(".safetensors") for name in before)
    hub.asked.clear()
    assert fetch_pipeline(NAME, dtype=dtype, say=said.append) == folder
    assert len(said) == 1  # nothing is downloaded again
    assert not asked_for(hub) - {"model_index.json"}


def test_without_the_hub_the_cache_is_used(hub, files, monkeypatch):  # noqa: F811
    hub.commit(NAME, files)
    loaded = load_text_to_image(NAME, dtype="bfloat16")
    assert (loaded.name, loaded.pipe.unet.dtype) == (NAME, loaded.pipe.vae.dtype)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    folder = fetch_pipeline(NAME, dtype="bfloat16")
    with pytest.raises(HubError, match="or not all of it, and HF_HUB_OFFLINE is set"):
        fetch_pipeline(NAME, variant="bf16")
    shutil.rmtree(folder / "vae")
    with pytest.raises(HubError, match="hf download stabilityai/sdxl-turbo"):
        fetch_pipeline(NAME, dtype="bfloat16")


def test_what_cannot_be_fetched_is_one_sentence(hub, files, monkeypatch, tmp_path):  # noqa: F811
    hub.commit(NAME, files)
    hub.commit("you/notes", {"README.md": b"no pipeline"})
    hub.commit("you/gated", files)
    hub.gated.add("you/gated")
    hub.commit("you/pickled", {name: text for name, text in files.items() if not name.endswith(".safetensors")})
    for model, words in (
        ("you/none", "no repository you/none"),
        ("you/notes", "no model_index.json, so it is no diffusers pipeline"),
        ("you/gated", "is gated: accept its terms"),
        ("you/pickled", "can run code, are never read"),
    ):
        with pytest.raises((HubError, ValueError), match=words) as caught:
            fetch_pipeline(model)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="variants there are: fp16; leave it out"):
        fetch_pipeline(NAME, variant="bf16")
    usage = namedtuple("usage", "free")(1e6)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    with pytest.raises(ValueError, match=r"takes 1\d\.\d MB more and 1\.0 MB are free"):
        fetch_pipeline(NAME)
    assert not [name for name in asked_for(hub) if name.endswith(".safetensors")]
