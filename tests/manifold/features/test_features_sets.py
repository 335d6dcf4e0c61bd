"""features_of: every source it takes, what it records, what it leaves out and what it refuses."""

import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file
from torch import nn

from genmend.manifold.features import AudioExtractor, ImageExtractor, UnusableSampleError, features_of, read_image

SIDE = 6


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))


class Means(nn.Module):
    """Row means and a weight, so that there is something to digest."""

    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weight]))

    def forward(self, pixels):
        return pixels.mean(3).flatten(1) * self.weight


def extractor(weight=1.0, name="means", **options):
    return ImageExtractor(name, Means(weight), SIDE, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), **options)


def pixels(n=5, height=8, width=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Images of several sizes in subfolders, with hidden and other files between them."""
    place = tmp_path / "images"
    sizes = {"b.png": (8, 8), "a.webp": (5, 9), "deep/c.jpg": (20, 11), "deep/er/d.PNG": (8, 8)}
    for seed, (name, (height, width)) in enumerate(sizes.items()):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        options = {"lossless": True} if name.endswith("webp") else {}
        Image.fromarray(pixels(1, height, width, seed)[0]).save(place / name, **options)
    (place / ".hidden").mkdir()
    for name in (".hidden/e.png", ".f.png", "labels.csv"):
        (place / name).write_text("not an image")
    return place


NAMES = ["a.webp", "b.png", "deep/c.jpg", "deep/er/d.PNG"]


def alone(paths):
    """Each image by itself through the whole extractor: the oracle."""
    with torch.no_grad():
        return np.concatenate([extractor()(read_image(path)[None]).numpy() for path in paths])


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_a_folder_is_read_sorted_and_deep_whatever_the_batch(folder, batch_size):
    found = features_of(folder, extractor(), batch_size=batch_size, cache=False)
    assert (found.kind, found.names, found.skipped) == ("images", NAMES, [])
    assert found.values.dtype == np.float32
    np.testing.assert_allclose(found.values, alone([folder / name for name in NAMES]), atol=1e-5)
    assert len(found) == 4
    assert found.source == str(folder)


def test_a_list_keeps_its_order_and_names(folder):
    paths = [folder / "deep/c.jpg", str(folder / "a.webp"), folder / "deep/c.jpg"]
    found = features_of(paths, extractor())
    assert found.names == [str(path) for path in paths]
    np.testing.assert_allclose(found.values, alone(paths), atol=1e-5)
    np.testing.assert_allclose(features_of(paths[0], extractor()).values, alone(paths[:1]), atol=1e-5)


def test_arrays_and_tensors_of_any_layout_agree(tmp_path):
    images = pixels()
    expected = features_of(torch.from_numpy(images).permute(0, 3, 1, 2) / 255, extractor(), cache=False)
    assert expected.names == ["0", "1", "2", "3", "4"]
    forms = [
        images,
        images.transpose(0, 3, 1, 2),
        images / 255,
        (images / 255).astype(np.float32),
        torch.from_numpy(images),
    ]
    for form in forms:
        np.testing.assert_allclose(features_of(form, extractor()).values, expected.values, atol=1e-5)
    for index, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    np.testing.assert_allclose(
        features_of([tmp_path / f"{i}.png" for i in range(5)], extractor()).values, expected.values, atol=1e-5
    )
    gray = images[..., 0]
    colour = features_of(np.repeat(gray[..., None], 3, 3), extractor()).values
    for form in (gray, gray[..., None], gray[:, None], torch.from_numpy(gray)):
        np.testing.assert_allclose(features_of(form, extractor()).values, colour, atol=1e-5)


def test_any_callable_works_and_gets_batches_of_one_size(folder):
    shapes = []

    def colours(images):
        shapes.append(tuple(images.shape))
        return images.mean((2, 3)).double()

    found = features_of(folder, colours)
    assert shapes == [(1, 3, 5, 9), (1, 3, 8, 8), (1, 3, 20, 11), (1, 3, 8, 8)]
    assert found.values.dtype == np.float32
    np.testing.assert_allclose(
        found.values, [read_image(folder / name).mean((1, 2)).numpy() for name in NAMES], atol=1e-6
    )
    assert found.pipeline == {"extractor": f"{colours.__qualname__}"}
    shapes.clear()
    features_of(pixels(), colours, batch_size=2)
    assert [shape[0] for shape in shapes] == [2, 2, 1]
    with pytest.raises(ValueError, match=r"135 features for a\.webp and 192 for b\.png"):
        features_of(folder, lambda images: images.flatten(1))


def test_a_limit_is_a_seeded_choice_that_is_recorded(folder):
    whole = features_of(pixels(), extractor())
    few = features_of(pixels(), extractor(), limit=2)
    rows = [int(name) for name in few.names]
    assert rows == sorted(rows)
    np.testing.assert_array_equal(few.values, whole.values[rows])
    assert few.to_dict()["drawn"] == {"n_given": 5, "seed": 0, "folders_left_out": []}
    assert few.names == features_of(pixels(), extractor(), limit=2).names
    others = {tuple(features_of(pixels(), extractor(), limit=2, seed=seed).names) for seed in range(8)}
    assert len(others) > 3
    everything = features_of(pixels(), extractor(), limit=99)
    assert (len(everything), everything.drawn) == (5, None)
    values = features_of(VALUES, limit=3, seed=4)
    np.testing.assert_array_equal(values.values, VALUES[[int(name) for name in values.names]])
    one = features_of(folder, extractor(), limit=1)
    assert one.drawn["folders_left_out"] == sorted({"", "deep", "deep/er"} - {one.names[0].rpartition("/")[0]})


def test_linked_folders_are_entered_once(folder, tmp_path):
    (tmp_path / "more").mkdir()
    Image.fromarray(pixels(1, 4, 4, 9)[0]).save(tmp_path / "more" / "z.png")
    (folder / "linked").symlink_to(tmp_path / "more")
    (folder / "deep" / "round").symlink_to(folder)
    assert features_of(folder, extractor()).names == sorted([*NAMES, "linked/z.png"])


def test_classes_in_folders_are_all_drawn_of(tmp_path):
    for label in "abc":
        (tmp_path / label).mkdir()
        for number in range(20):
            Image.fromarray(pixels(1, 4, 4, number)[0]).save(tmp_path / label / f"{number}.png")
    found = features_of(tmp_path, extractor(), limit=20)
    assert {name[0] for name in found.names} == set("abc")
    assert found.drawn == {"n_given": 60, "seed": 0, "folders_left_out": []}


# --- the record -----------------------------------------------------------------------------------------------------


def test_the_pipeline_holds_all_that_makes_the_features():
    found = features_of(pixels(), extractor())
    assert json.loads(json.dumps(found.pipeline)) == found.pipeline
    assert found.pipeline["extractor"] == "means"
    assert found.pipeline["resize"] == {"side": SIDE, "shorter": None, "mode": "bicubic"}
    assert found.pipeline["antialias"] is True
    assert found.pipeline["normalisation"]["mean"] == pytest.approx([0.5, 0.4, 0.3])
    assert found.pipeline["dtype"] == "float32"
    assert set(found.pipeline["versions"]) == {"torch", "pillow"}
    assert features_of(pixels(), extractor()).pipeline == found.pipeline
    others = [extractor(weight=2.0), extractor(mode="bilinear"), extractor(shorter=7), extractor(antialias=False)]
    assert all(other.pipeline() != found.pipeline for other in others)
    assert others[0].pipeline()["weights"] != found.pipeline["weights"]


def test_to_dict_is_ready_for_json(folder):
    (folder / "z.png").write_bytes(b"damaged")
    record = features_of(folder, extractor(), on_error="skip").to_dict()
    assert json.loads(json.dumps(record)) == record
    assert (record["n"], record["d"], record["kind"], record["n_skipped"]) == (4, 18, "images", 1)
    assert record["skipped"][0][0] == "z.png"


# --- what can't be used ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [True, False])
def test_a_damaged_file_raises_is_skipped_or_reported(folder, cached, caplog):
    whole = features_of(folder, extractor(), cache=cached)
    (folder / "a1.png").write_bytes(b"damaged")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    with pytest.raises(UnusableSampleError, match=r"(a1|gone)\.png cannot be used"):
        features_of(folder, extractor(), cache=cached)
    for on_error in ("skip", "report"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            found = features_of(folder, extractor(), on_error=on_error, cache=cached)
        assert found.names == NAMES
        np.testing.assert_allclose(found.values, whole.values, atol=1e-6)
        assert [name for name, _ in found.skipped] == ["a1.png", "gone.png"]
        assert "it is no PNG" in found.skipped[0][1]
        logged = {record.args[0] for record in caplog.records}
        assert logged == ({str(folder / name) for name in ("a1.png", "gone.png")} if on_error == "report" else set())


def test_features_that_are_not_finite_are_not_used():
    def root(images):
        return (images.mean((2, 3)) - 0.4).sqrt()

    images = np.full((3, 4, 4, 3), 0.6)
    images[1] = 0.1
    found = features_of(images, root, on_error="skip")
    assert (found.names, found.skipped) == (["0", "2"], [("1", "its features are not finite")])
    with pytest.raises(UnusableSampleError, match="1 cannot be used: its features are not finite"):
        features_of(images, root)


def test_nothing_usable_is_an_error(folder):
    for name in NAMES:
        (folder / name).write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"None of the 4 samples of .* can be used; a\.webp"):
        features_of(folder, extractor(), on_error="skip")


def test_a_thin_strip_is_refused_where_it_would_be_scaled_up():
    strip = np.zeros((1, 1, 1 << 20, 3), dtype=np.uint8)
    with pytest.raises(UnusableSampleError, match="less elongated"):
        features_of(strip, ImageExtractor("means", Means(), 64, [0] * 3, [1] * 3, shorter=64))


@pytest.mark.parametrize("value", [1.5, -0.2, np.nan, 255.0])
def test_floats_outside_the_range_are_refused(value):
    images = np.full((2, 4, 4, 3), 0.5)
    images[1, 0, 0, 0] = value
    with pytest.raises(UnusableSampleError, match=r"image 1 cannot be used: its values .*\[0, 1\]"):
        features_of(images, extractor())


def test_empty_and_mixed_and_missing_sources_are_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no images .* and no audio files; give"):
        features_of(tmp_path / "empty")
    (tmp_path / "empty" / "a.txt").write_text("a")
    with pytest.raises(ValueError, match=r"only \.txt"):
        features_of(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"There is no .*nowhere; give a folder"):
        features_of(tmp_path / "nowhere")
    (folder / "a.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"both images and audio \(.*\.png, \.wav, \.webp\)"):
        features_of(folder)
    with pytest.raises(ValueError, match=r"files of other kinds \(\.csv\)"):
        features_of([folder / "labels.csv"])
    with pytest.raises(ValueError, match="empty list"):
        features_of([])
    with pytest.raises(TypeError, match="The source is a int"):
        features_of(3)


@pytest.mark.parametrize("shape", [(2, 8, 8, 5), (0, 8, 8, 3), (5,), (0, 8, 8), (1, 2, 3, 4, 3)])
def test_arrays_of_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"has shape .*give images"):
        features_of(np.zeros(shape), extractor())


def test_arrays_of_other_types_are_refused():
    with pytest.raises(ValueError, match="dtype int64; give floats"):
        features_of(np.zeros((2, 4, 4, 3), dtype=np.int64), extractor())


@pytest.mark.parametrize(
    "options", [{"on_error": "ignore"}, {"limit": 0}, {"batch_size": 0}, {"batch_size": 2.5}, {"limit": -1}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=r"on_error|limit|batch_size"):
        features_of(pixels(), extractor(), **options)


def test_an_extractor_for_the_other_kind_is_refused():
    voice = AudioExtractor("voice", 16_000, lambda wave: wave[:2], {})
    with pytest.raises(ValueError, match=r"holds images, but the extractor 'voice' is for audio; give one of effic"):
        features_of(pixels(), voice)
    with pytest.raises(ValueError, match=r"holds audio, but the extractor 'means' is for images; .* whisper-tiny"):
        features_of([np.ones(9)], extractor(), sample_rate=16_000)


# --- features that are there already --------------------------------------------------------------------------------

VALUES = np.random.default_rng(0).normal(size=(7, 3))


def no_extractor(_):
    raise AssertionError("features need none")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_feature_files_are_opened(tmp_path, dtype):
    values = VALUES.astype(dtype)
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "b.npz", values)
    np.savez_compressed(tmp_path / "c.npz", names=np.arange(7), features=values)
    save_file({"features": values, "other": values[:2]}, tmp_path / "d.safetensors")
    for name in ("a.npy", "b.npz", "c.npz", "d.safetensors"):
        found = features_of(tmp_path / name, no_extractor)
        assert (found.kind, found.names, found.pipeline) == ("array", list("0123456"), {"extractor": None})
        np.testing.assert_array_equal(found.values, values)
        assert isinstance(found.values, np.memmap) == (not name.endswith("npz"))
        assert found.to_dict()["source"] == str(tmp_path / name)


def test_features_in_memory_are_taken():
    assert np.shares_memory(features_of(VALUES, no_extractor).values, VALUES)  # no copy
    assert features_of(torch.from_numpy(VALUES)).kind == "array"


def test_feature_files_that_cannot_be_used_are_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", np.array([{}, {}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "two.npz", a=VALUES, b=VALUES)
    np.savez(tmp_path / "flat.npz", VALUES[0])
    broken = VALUES.copy()
    broken[4, 1] = np.nan
    np.save(tmp_path / "nan.npy", broken)
    np.savez(tmp_path / "nan.npz", broken)
    for name in ("a.npy", "a.npz", "a.safetensors"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 damaged")
    for path in sorted(tmp_path.glob("*.*")):
        with pytest.raises(ValueError, match=path.name):
            features_of(path)
    with pytest.raises(ValueError, match="row 4"):
        features_of(tmp_path / "nan.npz")
    with pytest.raises(FileNotFoundError):
        features_of(tmp_path / "missing.npz")
    with pytest.raises(ValueError, match="NaN in row 4"):
        features_of(broken)
