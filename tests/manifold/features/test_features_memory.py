"""What `features_of` takes that is already in memory: lists of images of any form and size, and waves."""

import numpy as np
import pytest
import torch
from PIL import Image

from genmend.manifold.features import AudioExtractor, ImageExtractor, UnusableSampleError, features_of

DRAW = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))


def extractor():
    return ImageExtractor("flat", torch.nn.Flatten(), 4, (0, 0, 0), (1, 1, 1))


def energy(wave):
    return np.array([np.square(wave).sum(), wave.size])


def test_images_of_a_list_may_differ_in_form_and_size(tmp_path):
    arrays = [DRAW.integers(0, 256, (height, 9, 3), dtype=np.uint8) for height in (8, 12, 7, 9)]
    pillow = [Image.fromarray(array) for array in arrays]
    for name, picture in enumerate(pillow):
        picture.save(tmp_path / f"{name}.png")
    expected = features_of(sorted(tmp_path.glob("*.png")), extractor()).values
    tensors = [torch.from_numpy(array).permute(2, 0, 1) / 255 for array in arrays]
    mixed = [pillow[0], arrays[1], tensors[2], tensors[3].numpy()]
    for images in (pillow, arrays, tensors, mixed, tuple(pillow)):
        found = features_of(images, extractor())
        assert (found.kind, found.names) == ("images", ["0", "1", "2", "3"])
        assert found.source == "4 images in memory"
        np.testing.assert_allclose(found.values, expected, atol=1e-6)
        np.testing.assert_array_equal(features_of(images, extractor()).values, found.values)  # out of the cache


def test_pillow_s_modes_are_read_as_their_files_are(tmp_path):
    gray = Image.fromarray(DRAW.integers(0, 256, (8, 8), dtype=np.uint8))
    clear = Image.fromarray(DRAW.integers(0, 256, (8, 8, 4), dtype=np.uint8), "RGBA")
    pictures = [gray, clear, gray.convert("P"), clear.convert("LA")]
    for name, picture in enumerate(pictures):
        picture.save(tmp_path / f"{name}.png")
    expected = features_of(sorted(tmp_path.glob("*.png")), extractor()).values
    np.testing.assert_allclose(features_of(pictures, extractor()).values, expected, atol=1e-6)


def test_a_list_s_bad_image_is_named_by_its_place():
    good = DRAW.random((5, 5, 3)).astype(np.float32)
    for bad, reason in (
        (good + 1, "floats in \\[0, 1\\] are accepted"),
        (np.zeros((5, 5, 5), np.uint8), "shape"),
        (np.zeros((5, 5, 3), np.int64), "int64"),
    ):
        with pytest.raises(UnusableSampleError, match=reason) as error:
            features_of([good, bad, good], extractor())
        assert error.value.path == "image 1"
        left = features_of([good, bad, good], extractor(), on_error="skip")
        assert (left.names, [name for name, _ in left.skipped]) == (["0", "2"], ["1"])


def test_a_wave_array_with_a_sample_rate_is_no_feature_array():
    waves = DRAW.standard_normal((3, 4000)).astype(np.float32)
    audio = AudioExtractor("energy", 8000, energy, {"layer": "energy"})
    expected = features_of(list(waves), audio, sample_rate=8000)
    for given in (waves, torch.from_numpy(waves), waves.tolist()):
        found = features_of(given, audio, sample_rate=8000)
        assert found.kind == "audio"
        np.testing.assert_allclose(found.values, expected.values, rtol=1e-6)
    assert features_of(waves, audio).kind == "array"
    with pytest.raises(ValueError, match=r"Waves have shapes \[\(2, 8\)\]; give at least one, mono \(samples,\)"):
        features_of(np.zeros((1, 2, 8)), audio, sample_rate=8000)


@pytest.mark.parametrize("source", [[object()], [np.zeros(3), np.zeros((4, 4, 3))], b"bytes", 3, [3.0], {}])
def test_other_things_are_refused_with_what_is_accepted(source):
    with pytest.raises(TypeError, match=r"The source is a \w+; give a folder or list of images"):
        features_of(source, extractor())


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8])
def test_waves_of_integers_are_brought_to_full_scale(dtype):
    wave = 0.5 * np.sin(np.arange(4000) / 9)
    audio = AudioExtractor("energy", 8000, energy, {"layer": "energy"})
    largest = {np.int16: 2**15, np.int32: 2**31, np.uint8: 2**7}[dtype]
    whole = np.round(wave * largest + (128 if dtype is np.uint8 else 0)).astype(dtype)
    found = features_of([whole], audio, sample_rate=8000).values
    np.testing.assert_allclose(found, features_of([wave], audio, sample_rate=8000).values, rtol=0.02)


def test_floats_on_the_scale_of_integers_are_refused():
    with pytest.raises(UnusableSampleError, match="its samples reach 12000, and full scale is 1"):
        features_of([np.linspace(-12000, 12000, 4000)], energy, sample_rate=8000)


def test_waves_with_channels_are_no_images():
    with pytest.raises(ValueError, match=r"Waves have shapes \[\(2, 4000\)\]; give at least one, mono"):
        features_of([np.zeros((2, 4000))], energy, sample_rate=8000)


def test_masked_features_are_refused():
    values = np.ma.masked_less(DRAW.standard_normal((6, 3)), -0.5)
    with pytest.raises(TypeError, match="is a masked array with masked values"):
        features_of(values)
