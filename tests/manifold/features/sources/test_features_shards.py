"""Arrays in several files, as samplers write batches, and the labels beside arrays."""

import numpy as np
import pytest

from genmend.manifold.features import UnusableSampleError, features_of
from genmend.manifold.features.feature_set import kind_of

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 6, 8, 3), dtype=np.uint8)
VALUES = np.random.default_rng(1).standard_normal((7, 5))


def means(images):
    return images.mean((2, 3))


def rows():
    return PIXELS.transpose(0, 3, 1, 2).astype(np.float32).mean((2, 3)) / 255


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed, None])
def test_batches_of_images(tmp_path, save):
    folder = tmp_path / "batches"
    folder.mkdir()
    for number, part in enumerate((slice(0, 3), slice(3, 7))):
        if save is None:
            np.save(folder / f"batch_{number}.npy", PIXELS[part])
        else:
            save(folder / f"batch_{number}.npz", PIXELS[part], np.arange(7)[part] % 3)
    (folder / "args.json").write_text("{}")
    ending = "npy" if save is None else "npz"
    for source in (folder, str(folder / f"batch_*.{ending}"), str(folder / f"batch_{{0..1}}.{ending}"),
                   [folder / f"batch_0.{ending}", folder / f"batch_1.{ending}"]):  # fmt: skip
        found = features_of(source, means)
        assert (found.kind, kind_of(source)) == ("images", "images")
        assert found.names[2:4] == [f"batch_0.{ending}:2", f"batch_1.{ending}:0"]
        assert found.labels == (None if save is None else list("0120120"))
        np.testing.assert_allclose(found.values, rows(), atol=1e-6)
        np.testing.assert_allclose(found.sample(5).numpy(), PIXELS[5].transpose(2, 0, 1) / 255, atol=1e-6)
    if save is not None:
        assert len(features_of(f"{folder}:arr_0", means)) == 7
    assert features_of(folder, means, limit=2, seed=3).names == [found.names[row] for row in
        sorted(np.random.default_rng(3).choice(7, 2, replace=False))]  # fmt: skip


def test_batches_of_features_with_labels(tmp_path):
    folder = tmp_path / "batches"
    folder.mkdir()
    np.savez(folder / "0.npz", features=VALUES[:3], labels=np.array(["a", "b", "a"]))
    np.savez(folder / "1.npz", features=VALUES[3:], labels=np.array(["b", "b", "a", "c"]))
    found = features_of(folder)
    assert (found.kind, kind_of(folder), found.labels) == ("array", "array", list("ababbac"))
    np.testing.assert_array_equal(found.values, VALUES)
    assert features_of(folder, limit=3, seed=1).labels == [
        found.labels[row] for row in sorted(np.random.default_rng(1).choice(7, 3, replace=False))
    ]
    assert features_of(folder / "0.npz").labels == ["a", "b", "a"]
    assert features_of(f"{folder / '0.npz'}:features").labels == ["a", "b", "a"]
    np.savez(folder / "2.npz", features=VALUES[:, :4])
    with pytest.raises(ValueError, match=r"2\.npz has 4 features, but the reference has 5"):
        features_of(folder)
    np.savez(tmp_path / "plain.npz", arr_0=VALUES, arr_1=np.linspace(0, 1, 7))
    assert features_of(tmp_path / "plain.npz").labels is None, "no whole numbers"


def test_batches_that_do_not_go_together_are_named(tmp_path):
    np.save(tmp_path / "0.npy", PIXELS[:3])
    np.save(tmp_path / "1.npy", PIXELS[3:].transpose(0, 3, 1, 2))
    with pytest.raises(ValueError, match=r"1\.npy holds images with channels first, and .*0\.npy with channels last"):
        features_of(tmp_path, means)
    np.save(tmp_path / "1.npy", VALUES)
    with pytest.raises(ValueError, match=r"1\.npy has shape \(7, 5\), and .*0\.npy holds images"):
        features_of(tmp_path, means)
    np.save(tmp_path / "1.npy", np.full((2, 6, 8, 3), np.nan, np.float32))
    with pytest.raises(UnusableSampleError, match=r"1\.npy, image 0 cannot be used: its values are NaN in places"):
        features_of(tmp_path, means)
    assert len(features_of(tmp_path, means, on_error="skip").skipped) == 2
    (tmp_path / "1.npy").write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"1\.npy is no intact \.npy file"):
        features_of(tmp_path, means)


@pytest.mark.parametrize("name", ["a[1].npz", "b{0..1}.npz"])
def test_a_name_that_looks_like_a_pattern_is_a_file_first(tmp_path, name):
    np.savez(tmp_path / name, VALUES)
    assert len(features_of(tmp_path / name)) == 7
