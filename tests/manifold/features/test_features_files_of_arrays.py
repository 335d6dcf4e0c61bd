"""Arrays in files as samplers, extractors and spreadsheets write them: what is read, as what, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from genmend.manifold.features import ImageExtractor, features_of
from genmend.manifold.features.feature_set import kind_of

VALUES = np.random.default_rng(0).standard_normal((7, 3))
PIXELS = np.random.default_rng(1).integers(0, 256, (5, 6, 8, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))


def saved(path, array):
    """An array under a name to which numpy adds no ending."""
    with path.open("wb") as file:
        np.save(file, array)


class Means(nn.Module):
    def forward(self, pixels):
        return pixels.mean(3).flatten(1)


def extractor():
    return ImageExtractor("means", Means(), 4, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


def no_extractor(_):
    raise AssertionError("features need none")


# --- images ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
def test_images_of_a_diffusion_sampler(tmp_path, compressed):
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "samples_5x6x8x3.npz", PIXELS, np.arange(5))  # arr_0 and the labels, arr_1
    saved(tmp_path / "samples.NPY", PIXELS)
    np.save(tmp_path / "first.npy", PIXELS.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    save_file({"images": torch.from_numpy(PIXELS)}, tmp_path / "s.safetensors")
    whole = features_of(PIXELS, extractor())
    for path in sorted(path for path in tmp_path.iterdir() if path.is_file()):
        found = features_of(path, extractor(), cache=False)
        assert (found.kind, found.names, kind_of(path)) == ("images", list("01234"), "images")
        np.testing.assert_allclose(found.values, whole.values, atol=1e-5)
        np.testing.assert_allclose(found.sample(2).numpy(), PIXELS[2].transpose(2, 0, 1) / 255, atol=1e-6)
        assert found.source == str(path)


def test_only_the_images_looked_at_are_read(tmp_path):
    np.save(tmp_path / "a.npy", PIXELS)
    np.savez(tmp_path / "b.npz", PIXELS)
    from genmend.manifold.features.feature_arrays import open_array

    for name in ("a.npy", "b.npz"):
        opened = open_array(tmp_path / name)
        assert isinstance(opened, np.memmap)
        np.testing.assert_array_equal(opened, PIXELS)


def test_a_stored_array_whose_check_sum_is_wrong_is_refused(tmp_path):
    np.savez(tmp_path / "b.npz", PIXELS)
    content = bytearray((tmp_path / "b.npz").read_bytes())
    content[400] ^= 255
    (tmp_path / "b.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"b\.npz:arr_0 is no intact array"):
        features_of(tmp_path / "b.npz", extractor())


@pytest.mark.parametrize("shape", [(3, 20, 20), (20, 20, 3), (4, 20, 20)])
def test_one_image_in_colour_is_not_several_in_gray(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape, dtype=np.uint8))
    for source in (np.zeros(shape), torch.zeros(shape), tmp_path / "a.npy"):
        with pytest.raises(ValueError, match=r"one image in colour or several in gray: give image\[None\]"):
            features_of(source, extractor())


def test_arrays_whose_channels_cannot_be_told_are_refused():
    with pytest.raises(ValueError, match="channels may be first or last"):
        features_of(np.zeros((2, 3, 8, 3), dtype=np.uint8), extractor())
    with pytest.raises(ValueError, match=r"features of a pooling layer: give them as \(n, d\)"):
        features_of(np.zeros((2, 2048, 1, 1)), extractor())
    four = np.random.default_rng(0).random((2, 4, 9, 3))  # four rows in colour
    np.testing.assert_array_equal(
        features_of(four, extractor()).values, features_of(four.transpose(0, 3, 1, 2), extractor()).values
    )


@pytest.mark.parametrize(
    "form",
    [
        lambda x: torch.from_numpy(x).to(torch.bfloat16).permute(0, 3, 1, 2),
        lambda x: torch.from_numpy(x).half(),
        lambda x: (x * 65535).round().astype(np.uint16),
        lambda x: x.astype(">f4"),
        lambda x: np.asfortranarray(x),
        lambda x: np.concatenate([x, np.ones((*x.shape[:3], 1))], axis=3),  # opaque
        lambda x: list(torch.from_numpy(x).to(torch.bfloat16)),
    ],
    ids=["bfloat16", "float16", "uint16", "big-endian", "Fortran order", "RGBA", "list of bfloat16"],
)
def test_images_of_many_types(form):
    images = np.random.default_rng(2).random((3, 8, 9, 3)).astype(np.float32)
    found = features_of(form(images), extractor())
    np.testing.assert_allclose(found.values, features_of(images, extractor()).values, atol=0.02)


def test_images_of_two_shades():
    bits = np.random.default_rng(2).random((5, 8, 9)) > 0.5
    np.testing.assert_array_equal(
        features_of(bits, extractor()).values, features_of(bits.astype(np.float32), extractor()).values
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.zeros(2, 3, 8, 8).to(torch.float8_e4m3fn), r"tensor of torch\.float8_e4m3fn on cpu"),
        (lambda: torch.zeros(2, 3, 8, 8).to_sparse(), r"torch\.sparse_coo tensor on cpu"),
        (lambda: torch.zeros(2, 3, 8, 8, device="meta"), "on meta"),
        (lambda: torch.zeros(4, 8).to(torch.float8_e5m2), r"tensor of torch\.float8_e5m2"),
        (lambda: torch.zeros(4, 8).to_sparse_csr(), r"torch\.sparse_csr tensor"),
    ],
)
def test_tensors_that_numpy_does_not_have_are_one_sentence(make, words):
    with pytest.raises(TypeError, match=words + r".*; dense tensors of .* are accepted; convert it first"):
        features_of(make(), extractor())


def test_samples_from_minus_one_to_one_say_how_to_scale_them():
    with pytest.raises(ValueError, match=r"go from -1 to 1; floats in \[0, 1\] are accepted; \(images \+ 1\) / 2"):
        features_of(np.linspace(-1, 1, 3 * 8 * 8).reshape(1, 3, 8, 8), extractor())


# --- features -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["i8", "i1", "u1", "u2", ">f4", ">f8", ">i4", "f2", "f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_every_number_and_order(tmp_path, dtype, order):
    values = np.asarray((20 * VALUES).astype(dtype), order=order)
    np.save(tmp_path / "a.npy", values)
    found = features_of(tmp_path / "a.npy", no_extractor)
    np.testing.assert_array_equal(np.asarray(found.values, dtype=np.float64), values.astype(np.float64))
    assert isinstance(found.values, np.memmap) == (dtype in ("f2", "f4", "f8") and order == "C")


@pytest.mark.parametrize("name", ["features", "arr_0", "feats", "reps"])
def test_names_that_are_meant(tmp_path, name):
    np.savez(tmp_path / "a.npz", **{name: VALUES, "labels": np.arange(7), "another": VALUES[:2]})
    np.testing.assert_array_equal(features_of(tmp_path / "a.npz").values, VALUES)


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_one_of_several_by_its_name(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    if ending == "npz":
        np.savez(path, train=VALUES, test=VALUES[:4])
    else:
        save_file({"train": torch.from_numpy(VALUES), "test": torch.from_numpy(VALUES[:4]).bfloat16()}, path)
    assert len(features_of(f"{path}:test")) == 4
    np.testing.assert_array_equal(features_of(f"{path}:train").values, VALUES)
    with pytest.raises(ValueError, match=r"holds no array 'tset'; it holds test, train"):
        features_of(f"{path}:tset")
    with pytest.raises(ValueError, match=r"holds 2 (arrays|tensors)"):
        features_of(path)


def test_statistics_are_no_samples(tmp_path):
    np.savez(tmp_path / "fid_stats.npz", mu=np.zeros(4), sigma=np.eye(4))
    with pytest.raises(ValueError, match=r"holds mu and sigma, the mean and covariance .* give their features"):
        features_of(tmp_path / "fid_stats.npz")


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (VALUES[0], "Reshape your data"),
        (np.array(3.0), r"has shape \(\)"),
        (VALUES > 0, "dtype bool"),
        (VALUES.astype("U9"), "dtype <U"),
        (VALUES.astype(complex), "dtype complex128"),
        (np.zeros(5, dtype=[("a", float), ("b", int)]), "dtype"),
        (np.zeros((2, 2, 2, 2, 2)), r"has shape \(2, 2, 2, 2, 2\)"),
        (np.zeros((0, 3)), "minimum of 1 is required|is empty"),
    ],
)
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_other_arrays_are_one_sentence_that_names_the_file(tmp_path, array, words, ending):
    (np.save if ending == "npy" else np.savez)(tmp_path / f"bad.{ending}", array)
    with pytest.raises((ValueError, TypeError), match=rf"(?s)bad\.{ending}.*({words})"):
        features_of(tmp_path / f"bad.{ending}")


def test_shards_in_a_folder_or_a_list(tmp_path):
    place = tmp_path / "shards"
    place.mkdir()
    np.save(place / "b.npy", VALUES[4:])
    saved(place / "a.NPY", VALUES[:4])
    (place / "readme.txt").write_text("how they were made")
    for source in (place, [place / "a.NPY", place / "b.npy"]):
        found = features_of(source, no_extractor)
        assert (found.kind, kind_of(source), len(found)) == ("array", "array", 7)
        np.testing.assert_array_equal(found.values, VALUES)
    Image.new("RGB", (4, 4)).save(place / "c.png")  # then the arrays are something else
    assert kind_of(place) == "images"


# --- tables ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1,2.5,-3\n4,5,6e1\n", ["0", "1"]),
        ("a,b,c\n1,2.5,-3\n4,5,6e1\n", ["0", "1"]),
        (",a,b,c\n0,1,2.5,-3\n1,4,5,6e1\n", ["0", "1"]),  # pandas' index
        ("name,a,b,c\nx.png,1,2.5,-3\ny.png,4,5,6e1\n", ["x.png", "y.png"]),
        ("x.png,1,2.5,-3\ny.png,4,5,6e1\n", ["x.png", "y.png"]),
        ("1;2.5;-3\r\n4;5;6e1\r\n", ["0", "1"]),
        ("\ufeffa\tb\tc\n1\t2.5\t-3\n\n4\t5\t6e1", ["0", "1"]),
    ],
)
def test_tables(tmp_path, text, names):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    found = features_of(tmp_path / "a.csv", no_extractor)
    np.testing.assert_array_equal(found.values, [[1, 2.5, -3], [4, 5, 60]])
    assert (found.kind, found.names) == ("array", names)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no rows of numbers"),
        ("a,b\n", "no rows of numbers"),
        ("a,b\n1,2\n3,\n", r"line 3, column b is empty"),
        ("a,b\n1,2\n3,cat\n", r"line 3, column b holds 'cat'"),
        ("1,2\n3\n", r"line 2 has 1 cells and the first has 2"),
        ("1,2\n3,nan\n", "NaN in row 1"),
        ("a;b\n1,5;2,5\n", "holds '2,5'; a number with a decimal point"),
    ],
)
def test_tables_that_cannot_be_used_are_one_sentence(tmp_path, text, words):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.csv.*{words}"):
        features_of(tmp_path / "a.csv")


def test_bytes_that_are_no_table(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\x80\x04\xff\xfe\x00" * 20)
    with pytest.raises(ValueError, match=r"a\.csv is no text table"):
        features_of(tmp_path / "a.csv")


# --- many files -----------------------------------------------------------------------------------------------------


def test_a_bad_file_says_how_to_leave_it_out_and_how_far_it_came(tmp_path):
    place = tmp_path / "images"
    place.mkdir()
    for row in range(20):
        Image.new("RGB", (6, 6), (row, 0, 0)).save(place / f"{row:02}.png")
    (place / "11.png").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"11\.png cannot be used: .*12 of 20 samples were looked at.*--on-error skip"):
        features_of(place, extractor())
