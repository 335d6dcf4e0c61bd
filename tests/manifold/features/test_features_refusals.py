"""What `features_of` says where something does not go: which file, why, and what to do; never an advice to unpickle."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from genmend.manifold.features import ImageExtractor, UnusableSampleError, features_of, load_extractor
from genmend.manifold.features.extractors import loading


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for row in range(3):
        Image.new("RGB", (6, 6), (row, 0, 0)).save(tmp_path / "images" / f"{row}.png")
    return tmp_path / "images"


def named(monkeypatch, network):
    """`network` as the extractor that the name "own:extractor" means."""
    monkeypatch.setitem(loading._own, "own:extractor", network)
    return "own:extractor"


class Picky(nn.Module):
    """Has no features of a black image."""

    def forward(self, pixels):
        means = pixels.flatten(1).mean(1, keepdim=True)
        return torch.where(means > 0, means, torch.nan)


def test_a_sample_that_only_the_extractor_refuses_is_named_by_its_path(folder, caplog):
    extractor = ImageExtractor("picky", Picky(), 4, (0, 0, 0), (1, 1, 1))
    with pytest.raises(UnusableSampleError, match=r"its features are not finite") as error:
        features_of(folder, extractor)
    assert error.value.path == str(folder / "0.png")
    with caplog.at_level(logging.WARNING):
        found = features_of(folder, extractor, on_error="report")
    assert [record.args[0] for record in caplog.records] == [str(folder / "0.png")]
    assert found.skipped == [("0.png", "its features are not finite")]  # below its folder, as the names are
    with pytest.raises(UnusableSampleError) as error:
        features_of(np.zeros((2, 5, 5, 3), dtype=np.uint8), extractor)
    assert error.value.path == "0"


@pytest.mark.parametrize("reason", [RuntimeError("no driver\nmore of it"), AssertionError("not compiled with CUDA")])
def test_a_device_that_is_not_there_is_one_sentence(folder, monkeypatch, reason):
    extractor = ImageExtractor("picky", Picky(), 4, (0, 0, 0), (1, 1, 1))

    def refuse(device):
        raise reason

    monkeypatch.setattr(extractor, "to", refuse)
    words = rf"device is 'cuda', which cannot be used here \({str(reason).splitlines()[0]}\); 'cpu' always can be\.$"
    with pytest.raises(ValueError, match=words):
        features_of(folder, named(monkeypatch, extractor), device="cuda")


def test_a_device_of_another_name_is_refused(folder, monkeypatch):
    extractor = ImageExtractor("picky", Picky(), 4, (0, 0, 0), (1, 1, 1))
    with pytest.raises(ValueError, match=r"device is 'gpu', which cannot be used here"):
        features_of(folder, named(monkeypatch, extractor), device="gpu")


@pytest.mark.parametrize("content", [b"", b"PK..", b"\x80\x04K\x01.", b"PK\x03\x04 damaged"])
def test_what_is_no_npz_is_never_called_a_pickle_to_trust(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz is no intact \.npz file") as error:
        features_of(tmp_path / "a.npz")
    assert "pickle" not in str(error.value)


def test_an_npz_of_several_arrays_says_which(tmp_path):
    np.savez(tmp_path / "two.npz", x=np.ones((3, 2)), y=np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"it holds 2 arrays: x, y"):
        features_of(tmp_path / "two.npz")
    np.savez(tmp_path / "none.npz")
    with pytest.raises(ValueError, match=r"it holds 0 arrays: none"):
        features_of(tmp_path / "none.npz")


class Harm:
    def __reduce__(self):
        return (print, ("code of a file was run",))


LIBRARIES = [("timm", "test_resnet.r160_in1k"), ("torchvision", "resnet18"), ("open_clip", "RN50")]


@pytest.mark.parametrize(("library", "model"), LIBRARIES)
@pytest.mark.parametrize("ending", ["pth", "bin"])
def test_no_library_unpickles_weights(tmp_path, capsys, monkeypatch, library, model, ending):
    pytest.importorskip(library)
    monkeypatch.setattr(loading, "_own", {})
    torch.save({"state_dict": {"conv1.weight": Harm()}}, tmp_path / f"harm.{ending}")
    with pytest.raises(ValueError, match=rf"harm\.{ending}"):
        load_extractor(f"{library}:{model}@{tmp_path / f'harm.{ending}'}")
    assert "was run" not in capsys.readouterr().out


def test_a_refused_pickle_comes_without_the_advice_to_run_it(tmp_path):
    torch.save({"a": Harm()}, tmp_path / "harm.pth")
    with pytest.raises(ValueError, match=r"holds pickled objects, which could run code; save a state dict") as error:
        load_extractor(f"torchvision:resnet18@{tmp_path / 'harm.pth'}")
    assert "weights_only" not in str(error.value)


def test_timm_s_own_default_does_not_matter(tmp_path, capsys, monkeypatch):
    """Some of its releases unpickle: what it would be given is looked at first."""
    timm = pytest.importorskip("timm")
    torch.save({"state_dict": {"conv1.weight": Harm()}}, tmp_path / "harm.pth")
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: torch.load(tmp_path / "harm.pth", weights_only=False))
    with pytest.raises(ValueError, match=r"harm\.pth cannot be read as weights"):
        load_extractor(f"timm:test_resnet.r160_in1k@{tmp_path / 'harm.pth'}")
    assert "was run" not in capsys.readouterr().out


def test_nothing_of_a_pickle_is_run(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.array([Harm()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", np.array([Harm()], dtype=object), allow_pickle=True)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ValueError, match=name):
            features_of(tmp_path / name)
    assert capsys.readouterr().out == ""
