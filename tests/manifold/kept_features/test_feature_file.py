"""A reference kept on disk: the same numbers as from its features, refused where it is damaged or of another space."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from genmend.manifold import Manifold, evaluate, knn_radii, open_features, recall
from genmend.manifold.kept_features.feature_file import KeptFeatures, is_kept, load_features, save_features
from genmend.manifold.kept_features.same_space import OtherPipelineError, check_same_space

PIPELINE = {"extractor": "toy", "weights": "1a", "versions": {"torch": "2.11"}, "engine": "torch"}
METRICS = ("precision", "recall", "density", "coverage", "rarity", "clipped_density")


def drawn(n=60, d=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def a_set(values=None, **pipeline):
    values = drawn() if values is None else values
    return KeptFeatures(values, [f"{row}.png" for row in range(len(values))], "images", PIPELINE | pipeline)


@pytest.fixture
def kept(tmp_path):
    save_features(tmp_path / "ref.safetensors", a_set())
    return tmp_path / "ref.safetensors"


def test_what_was_kept_comes_back_with_the_radii_of_every_k(kept):
    found = load_features(kept)
    assert is_kept(kept)
    assert found.names[:2] == ["0.png", "1.png"]
    assert (found.kind, found.pipeline) == ("images", PIPELINE)
    np.testing.assert_array_equal(found.values, drawn())
    assert list(found.radii) == list(range(1, 11))
    for k, radii in found.radii.items():
        np.testing.assert_array_equal(radii, knn_radii(drawn(), k))
    np.testing.assert_array_equal(open_features(kept), drawn())  # whatever reads arrays reads it, too


def test_few_samples_have_radii_of_fewer_k_and_odd_names_survive(tmp_path):
    names = ["\udcff.png", "ä/ö.png", 'a "quoted"\n.png', ""]
    few = KeptFeatures(drawn(4).astype(np.float64), names, "array", {"extractor": None})
    save_features(tmp_path / "few.safetensors", few)
    found = load_features(tmp_path / "few.safetensors")
    assert found.names == names
    assert list(found.radii) == [1, 2, 3]
    assert found.values.dtype == np.float64
    with pytest.raises(ValueError, match="has 1 sample"):
        save_features(tmp_path / "one.safetensors", KeptFeatures(drawn(1), ["0"], "array", {"extractor": None}))
    with pytest.raises(ValueError, match=r"ends in '.npz'"):
        save_features(tmp_path / "few.npz", few)
    with pytest.raises(ValueError, match="cannot be kept"):
        save_features(tmp_path / "no.safetensors", a_set(mean=np.ones(3)))
    assert [path.name for path in tmp_path.iterdir()] == ["few.safetensors"]


@pytest.mark.parametrize("k", [3, (3, 5), 12])
def test_a_file_a_manifold_and_the_features_give_the_same_numbers(kept, k, monkeypatch):
    from genmend.manifold.metrics import evaluation_sweep

    query = drawn(50, seed=1)
    expected = evaluate(drawn(), query, k, METRICS)
    searched = []
    whole = evaluation_sweep.radii_of
    monkeypatch.setattr(evaluation_sweep, "radii_of", lambda *given: searched.append(len(given[1])) or whole(*given))
    for reference in (kept, str(kept), a_set(), Manifold(3).fit(drawn())):
        found = evaluate(reference, query, k, METRICS)
        assert found.to_dict() == expected.to_dict()
        for name, values in expected.per_sample().items():
            np.testing.assert_array_equal(found.per_sample()[name], values)
    # The radii of the query are searched each time, those of the reference where nothing brings them along.
    n_known = {3: 3, (3, 5): 2, 12: 0}[k]
    assert (searched.count(50), searched.count(60)) == (4, 4 - n_known)
    assert evaluate(drawn(), kept, 3, METRICS)[3].precision == 1  # a query may be kept, too
    assert recall(kept, query, 3) == evaluate(kept, query, 3, "recall")[3].recall


def test_the_manifolds_own_balls_are_not_taken_for_others(kept):
    with pytest.raises(ValueError, match="fitted with closed=False, and closed=True"):
        evaluate(Manifold(3, closed=False).fit(drawn()), drawn(seed=1), 3)
    evaluate(Manifold(3, closed=False).fit(drawn()), drawn(seed=1), 3, "precision", closed=False)
    (kept.parent / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no images"):
        evaluate(kept.parent / "empty", drawn(), 3)


def test_another_pipeline_is_refused_with_both_named(kept):
    other = a_set(extractor="clip-vit-b16", weights="2b")
    with pytest.raises(OtherPipelineError, match=r"The reference has features of toy and the query of clip-vit-b16"):
        evaluate(kept, other, 3)
    with pytest.raises(OtherPipelineError, match=r"weights 1a against 9c"):
        evaluate(kept, a_set(weights="9c"), 3)
    with pytest.raises(OtherPipelineError, match=r"side none against 224"):
        check_same_space(PIPELINE, PIPELINE | {"side": 224})
    assert check_same_space(PIPELINE, PIPELINE | {"engine": "onnx"}) == []
    assert check_same_space(PIPELINE, {"extractor": None}) == check_same_space(None, PIPELINE) == []
    newer = evaluate(kept, a_set(drawn(seed=1), versions={"torch": "2.12"}), 3)
    assert any("torch 2.11" in note and "torch 2.12" in note for note in newer.warnings)


def test_every_cut_and_every_flipped_bit_is_found_out(kept):
    whole = kept.read_bytes()
    for length in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        kept.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"ref.safetensors.*genmend"):
            load_features(kept)
        with pytest.raises(ValueError, match=r"ref.safetensors"):
            evaluate(kept, drawn(), 3)
    header = 8 + int.from_bytes(whole[:8], "little")
    for place in (header, header + 3, (header + len(whole)) // 2, len(whole) - 2, whole.index(b"toy"), 9):
        kept.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=r"ref.safetensors"):
            load_features(kept)
    kept.unlink()
    with pytest.raises(FileNotFoundError, match="`genmend features` writes one"):
        load_features(kept)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"radii": lambda radii: radii[:, ::-1].copy()}, "rise with k"),
        ({"radii": lambda radii: radii[:-1]}, "a float64 row a sample"),
        ({"radii": lambda radii: np.full_like(radii, np.nan)}, "finite"),
        ({"features": lambda values: values.astype(np.float16)}, "float16"),
        ({"features": lambda values: np.full_like(values, np.inf)}, "inf"),
        ({"names": lambda names: names[:-3]}, "cannot be loaded as features"),
        ({"more": lambda _: np.ones(3)}, "more"),
    ],
)
def test_a_file_that_somebody_built_is_checked_too(kept, change, words):
    from safetensors import safe_open

    from genmend.manifold.kept_features.feature_file import _digest

    with safe_open(kept, framework="np") as file:
        facts = json.loads(file.metadata()["genmend.features"])
    arrays = load_file(kept)
    for name, function in change.items():
        arrays[name] = function(arrays.get(name))
    told = {name: value for name, value in facts.items() if name not in ("digest", "schema")}
    facts["digest"] = _digest(told, arrays)
    save_file(arrays, kept, {"genmend.features": json.dumps(facts)})
    with pytest.raises(ValueError, match=words):
        load_features(kept)


def test_the_first_file_that_was_ever_written_is_read():
    found = load_features(Path(__file__).parents[2] / "old_files" / "data" / "references" / "first.safetensors")
    np.testing.assert_array_equal(found.values, np.arange(18, dtype=np.float32).reshape(6, 3) ** 2 / 7)
    np.testing.assert_array_equal(found.radii[2], knn_radii(found.values, 2))
    assert list(found.radii) == [1, 2, 3, 4, 5]
    assert found.names == [f"a/{row}.png" for row in range(6)]
    assert (found.kind, found.source, found.skipped) == ("images", "photographs", [("b.png", "cut")])
    assert found.pipeline == {"extractor": "toy", "weights": "1a", "versions": {"torch": "2.11"}}
    assert found.drawn == {"n_given": 7, "seed": 3, "folders_left_out": []}
