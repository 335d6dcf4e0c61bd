"""A region from a file holds the samples that the saved one holds; anything else in a file is refused."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from genmend.concepts.regions.configurations import Configurations
from genmend.concepts.regions.region import Region
from genmend.concepts.regions.region_file import RegionFileError, load_region, save_region
from genmend.storage.container import save

LIMITS = tuple(map(float, np.array([0.1, -0.25, 0.3], dtype=np.float32)))


def some_samples(n=40, d=9):
    bits = np.packbits(np.random.default_rng(0).random((n, d)) < 0.5, axis=1)
    limits = np.array([*LIMITS, *[0.0] * (d - 3)], dtype=np.float32)
    return Configurations(bits, d, limits, "given", "act", (d,), False)


def test_regions_come_back_and_hold_the_same_samples(tmp_path):
    one = Region("act", (0, 2), (True, False), 1, (LIMITS[0], LIMITS[2]))
    two = Region("act", (1,), (True,), 1, LIMITS[1:2])
    for region in (one, one & two, ~(one | ~two)):
        save_region(tmp_path / "r.safetensors", region)
        loaded = load_region(tmp_path / "r.safetensors")
        assert loaded == region
        assert np.array_equal(loaded.contains(some_samples()), region.contains(some_samples()))


def test_what_is_no_region_is_refused(tmp_path):
    path = tmp_path / "r.safetensors"
    arrays = {
        "neurons.0": np.array([0]), "states.0": np.array([1], np.uint8), "thresholds.0": np.array([0.0])
    }  # fmt: skip
    rule = {"layer": "act", "at_least": 1, "number": 0}
    deep = rule
    for _ in range(60):
        deep = {"not": [deep]}
    for wrong, words in [
        ({**rule, "at_least": 2}, "at_least is 2"),
        ({**rule, "at_least": True}, "at_least"),
        ({**rule, "number": 1}, r"neurons\.1"),
        ({**rule, "layer": 3}, "a rule says"),
        ({"xor": [rule]}, "a rule says"),
        ({"and": []}, "0 regions"),
        ({"not": [rule, rule]}, "2 regions"),
        (deep, "too deep"),
        ([rule], "no rule"),
    ]:
        save(path, "genmend.region", arrays, {"rule": wrong, "layers": ["act"]})
        with pytest.raises(RegionFileError, match=words):
            load_region(path)
    save(path, "genmend.region", {**arrays, "neurons.0": np.array([-1])}, {"rule": rule, "layers": ["act"]})
    with pytest.raises(RegionFileError, match="no numbers of neurons"):
        load_region(path)
    save(path, "genmend.region", {**arrays, "thresholds.0": np.array([np.nan])}, {"rule": rule, "layers": ["act"]})
    with pytest.raises(RegionFileError, match="not finite"):
        load_region(path)
    save_file(arrays, path)
    with pytest.raises(RegionFileError, match="holds something else"):
        load_region(path)
    region = Region("act", (0,), (True,), 1, (0.0,))
    for _ in range(60):
        region = ~region
    with pytest.raises(ValueError, match="more than 50 deep"):
        save_region(tmp_path / "deep.safetensors", region)
    assert not (tmp_path / "deep.safetensors").exists()
