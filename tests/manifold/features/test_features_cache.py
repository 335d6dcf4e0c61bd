"""The cache of features: by content, whole or not at all, resumable after a kill, and never trusted when damaged."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from genmend.manifold.features import ImageExtractor, feature_cache, features_of
from genmend.manifold.features.feature_cache import ShardWriter, cached_rows, folder_of

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Counting:
    """An own callable that says what makes its features, and counts the images it is given."""

    def __init__(self, version=1):
        self.version, self.seen = version, 0

    def pipeline(self):
        return {"extractor": "counting", "version": self.version}

    def __call__(self, images):
        self.seen += len(images)
        return images.mean((2, 3)) * self.version


def computed(source, extractor=None, **options):
    """The features, and how many images had to be computed for them."""
    extractor = extractor or Counting()
    before = extractor.seen
    values = features_of(source, extractor, **options).values
    return values, extractor.seen - before


def shards(cache):
    return sorted(cache.rglob("*.safetensors"))


def test_what_was_computed_is_not_computed_again():
    first, n = computed(IMAGES)
    assert n == 30
    again, n = computed(IMAGES)
    assert n == 0
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, IMAGES.mean((1, 2)) / 255, atol=1e-6)


def test_rows_go_by_content_whatever_batch_order_or_company():
    first, _ = computed(IMAGES, batch_size=7)
    order = np.random.default_rng(1).permutation(30)
    shuffled, n = computed(IMAGES[order], batch_size=3)
    assert n == 0
    np.testing.assert_array_equal(shuffled, first[order])
    more = np.concatenate([255 - IMAGES[:2], IMAGES, IMAGES[:1]])
    values, n = computed(more)
    assert n == 2
    np.testing.assert_array_equal(values[2:32], first)
    np.testing.assert_array_equal(values[32], first[0])


def test_files_go_by_their_bytes_not_by_their_names(tmp_path):
    for name, image in zip("abc", IMAGES, strict=False):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    first, n = computed(paths)
    assert n == 3
    paths[0].rename(tmp_path / "z.png")
    values, n = computed([tmp_path / "z.png", *paths[1:]])
    assert n == 0
    np.testing.assert_array_equal(values, first)
    Image.fromarray(IMAGES[9]).save(paths[1])  # other content under the old name
    values, n = computed([tmp_path / "z.png", *paths[1:]])
    assert n == 1
    np.testing.assert_allclose(values[1], IMAGES[9].mean((0, 1)) / 255, atol=1e-6)


def test_another_pipeline_has_other_rows():
    first, _ = computed(IMAGES)
    second, n = computed(IMAGES, Counting(version=2))
    assert n == 30
    np.testing.assert_allclose(second, 2 * first, rtol=1e-6)

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, pixels):
            return pixels.mean((2, 3)) * self.weight

    network = Plain()
    extractor = ImageExtractor("plain", network, 4, [0] * 3, [1] * 3)
    first = features_of(IMAGES, extractor).values
    network.weight.data.fill_(3)
    np.testing.assert_allclose(features_of(IMAGES, extractor).values, 3 * first, rtol=1e-5)


def test_dtype_and_sample_rate_are_part_of_the_content():
    floats = IMAGES.astype(np.float32) / 255
    computed(IMAGES)
    assert computed(floats)[1] == 30

    class Length:
        sample_rate = 16_000

        def pipeline(self):
            return {"extractor": "length"}

        def __call__(self, wave):
            return np.array([len(wave)])

    waves = [np.ones(1600, np.float32)]
    assert features_of(waves, Length(), sample_rate=16_000).values[0, 0] == 1600
    assert features_of(waves, Length(), sample_rate=8_000).values[0, 0] == 3200


def test_without_the_cache_nothing_is_read_or_written(cache):
    assert computed(IMAGES, cache=False)[1] == 30
    assert not cache.exists()


def test_a_callable_that_does_not_say_what_it_does_is_not_cached(cache):
    features_of(IMAGES, lambda images: images.mean((2, 3)))
    assert not cache.exists()


def test_shards_are_full_or_the_last(cache, monkeypatch):
    monkeypatch.setattr(feature_cache, "ROWS_A_SHARD", 8)
    first, _ = computed(IMAGES)
    assert len(shards(cache)) == 4
    assert computed(IMAGES)[1] == 0
    assert computed(IMAGES[:9])[1] == 0
    np.testing.assert_array_equal(computed(IMAGES)[0], first)


def test_slow_rows_are_written_before_their_shard_is_full(cache, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    writer = ShardWriter(folder_of("0" * 64))
    writer.add(b"a" * 32, np.zeros(2, np.float32))
    assert shards(cache) == []
    clock[0] = 21.0
    writer.add(b"b" * 32, np.zeros(2, np.float32))
    assert len(shards(cache)) == 1


@pytest.mark.parametrize("damage", ["cut", "flip a value", "flip a key", "empty", "other file"])
def test_a_damaged_shard_is_computed_again(cache, monkeypatch, damage):
    monkeypatch.setattr(feature_cache, "ROWS_A_SHARD", 10)
    first, _ = computed(IMAGES)
    path = shards(cache)[1]
    content = bytearray(path.read_bytes())
    if damage.startswith("flip"):
        # The header names the keys before the values; the data follow in that order.
        content[-1 if damage == "flip a value" else len(content) - 10 * 12 - 5] ^= 1
    path.write_bytes({"cut": bytes(content[:-3]), "empty": b"", "other file": b"x" * 99}.get(damage, bytes(content)))
    again, n = computed(IMAGES)
    assert n == 10
    np.testing.assert_array_equal(again, first)
    assert computed(IMAGES)[1] == 0  # and mended


def test_an_error_keeps_what_was_computed():
    broken = IMAGES.astype(np.float32) / 255
    broken[20] = 7
    extractor = Counting()
    with pytest.raises(ValueError, match="image 20"):
        features_of(broken, extractor, batch_size=5)
    assert extractor.seen == 20
    broken[20] = 0.5
    assert computed(broken)[1] == 10


def test_an_interrupt_in_the_extractor_keeps_what_was_computed():
    class Interrupted(Counting):
        def __call__(self, images):
            if self.seen == 18:
                raise KeyboardInterrupt
            return super().__call__(images)

    with pytest.raises(KeyboardInterrupt):
        features_of(IMAGES, Interrupted(), batch_size=6)
    assert computed(IMAGES)[1] == 12


KILLED = """
import os, signal, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from test_features_cache import Counting
from genmend.manifold.features import feature_cache, features_of

class Killed(Counting):
    def __call__(self, images):
        if self.seen >= 20:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(images)

feature_cache.ROWS_A_SHARD = 8
features_of(np.load(sys.argv[2]), Killed(), batch_size=4)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is POSIX")
@pytest.mark.all
def test_a_killed_run_is_resumed_and_gives_the_same(tmp_path, cache):
    np.save(tmp_path / "images.npy", IMAGES)
    here = os.path.dirname(__file__)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, here, str(tmp_path / "images.npy")],
        env={**os.environ, "GENMEND_CACHE": str(cache)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert len(shards(cache)) == 2
    resumed, n = computed(IMAGES, batch_size=4)
    assert n == 14  # of the 20 that were computed, two whole shards of 8 were on disk
    uninterrupted = features_of(IMAGES, Counting(), batch_size=4, cache=False).values
    np.testing.assert_array_equal(resumed, uninterrupted)


def test_a_file_left_by_a_killed_write_is_not_read(cache):
    computed(IMAGES)
    (shards(cache)[0].parent / ".abc.safetensors.0123.tmp").write_bytes(b"half a shard")
    assert computed(IMAGES)[1] == 0


def test_two_runs_may_write_the_same_rows():
    folder = folder_of("1" * 64)
    for _ in range(2):
        with ShardWriter(folder) as writer:
            writer.add(b"a" * 32, np.arange(3, dtype=np.float32))
    with ShardWriter(folder) as writer:
        writer.add(b"b" * 32, np.ones(3, dtype=np.float32))
        writer.add(b"a" * 32, np.arange(3, dtype=np.float32))
    found = cached_rows(folder, {b"a" * 32, b"b" * 32, b"c" * 32})
    assert {key: row.tolist() for key, row in found.items()} == {b"a" * 32: [0, 1, 2], b"b" * 32: [1, 1, 1]}
