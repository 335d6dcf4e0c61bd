"""Detection: directions by planted artifacts, scores against loops, thresholds, and the detector file."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from gans_toys import EXTRACTOR, LAYERS, toy_extractor, toy_features, toy_generator
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score

from genmend.gans import ArtifactDetector, load_detector, save_detector
from genmend.gans.detection import detect
from genmend.gans.detection.artifact_detector import RATES
from genmend.gans.detection.detector_file import DetectorFileError
from genmend.gans.detection.tail import tail_of
from genmend.manifold import Manifold

PLANTED = np.repeat([0, 1], 80)  # the second half is drawn from twice as wide a normal distribution


@pytest.fixture(scope="module")
def generator():
    return toy_generator()


@pytest.fixture(scope="module")
def detector(generator):
    return ArtifactDetector(EXTRACTOR, n_statistics=300, n_reference=240, seed=5).fit(generator)


@pytest.fixture(scope="module")
def latents(generator):
    drawn = generator.latents(160, 9)
    drawn[80:] *= 2
    return drawn


@pytest.fixture(scope="module")
def supervised(generator, latents):
    detector = ArtifactDetector(EXTRACTOR, n_statistics=300, n_reference=240, seed=5).fit(generator)
    training = generator.latents(160, 10)
    training[80:] *= 2
    return detector.fit_supervised(*detector.measure(generator, training), PLANTED.astype(float))


@pytest.fixture(scope="module")
def two_parts(detector):
    """The detector as it decides without a learned score: by the mean of rare activation and distance."""
    older = copy.copy(detector)
    older.learned_ = older.own_scores_ = older.tail_ = None
    return older


def own_distance(detector):
    """Distances of the own samples, each normal one against the others, by loops."""
    features, normal = detector.own_features_.astype(np.float64), detector.own_normal_
    distance = []
    for i in range(len(features)):
        others = [np.linalg.norm(features[i] - features[j]) for j in np.flatnonzero(normal) if j != i]
        distance.append(sorted(others)[detector.k - 1])
    return np.array(distance)


def test_planted_artifacts_score_higher_in_every_column(generator, detector, latents):
    detection = detector.score(generator, latents)
    assert detection.supervised is None
    assert set(detection.columns()) == {"rare_activation", "distance_to_normal", "learned", "combined", "flagged"}
    np.testing.assert_array_equal(detection.combined, detection.learned)  # the learned score decides
    for name in ("rare_activation", "distance_to_normal", "learned"):
        values = getattr(detection, name)
        assert values.shape == (160,)
        assert np.isfinite(values).all()
        assert roc_auc_score(PLANTED, values) > 0.9
        assert roc_auc_score(PLANTED, -values) < 0.1  # the swapped direction would not pass
    assert detection.flagged[80:].mean() > detection.flagged[:80].mean() + 0.4
    assert detection.inside[:80].mean() > detection.inside[80:].mean() + 0.3


def test_narrow_latents_are_not_taken_for_artifacts(generator, detector):
    """What lies nearer to the centre than normal samples is no artifact: the score is not plain unlikeliness."""
    narrow = detector.score(generator, generator.latents(60, 9) * 0.5)
    assert not narrow.flagged.any()


def test_flagged_is_above_the_threshold_and_not_on_it(generator, detector, latents):
    detection = detector.score(generator, latents)
    np.testing.assert_array_equal(detection.flagged, detection.combined > detector.threshold_)
    np.testing.assert_array_equal(detection.columns()["flagged"], detection.flagged.astype(int))
    assert 0 < detection.flagged.sum() < 160
    assert detection.to_dict()["n_flagged"] == detection.flagged.sum()
    on_it = type(detection)(**vars(detection) | {"combined": np.full(160, detection.threshold)})
    assert not on_it.flagged.any()


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_the_flagged_share_of_the_own_samples_is_flagged(generator, share):
    detector = ArtifactDetector(EXTRACTOR, n_statistics=200, n_reference=200, flagged_share=share).fit(generator)
    assert (detector.own_scores_ > detector.threshold_).sum() == share * 200
    np.testing.assert_array_equal(detector.own_flagged_, detector.own_scores_ > detector.threshold_)
    np.testing.assert_array_equal(detector.own_normal_, ~detector.own_flagged_)  # left out of the normal manifold


def test_a_flagged_share_of_0_leaves_none_out(generator):
    detector = ArtifactDetector(EXTRACTOR, n_statistics=100, n_reference=100, flagged_share=0.0).fit(generator)
    assert detector.own_normal_.all()
    assert not detector.own_flagged_.any()


def test_own_samples_are_measured_against_the_others(detector):
    """Leave-one-out: counting a sample as its own neighbour would make every own sample look too normal."""
    own = own_distance(detector)
    assert detector.scale_["distance_to_normal"] == (pytest.approx(own.mean()), pytest.approx(own.std()))
    with_itself = detector.score_measured(detector.own_features_, detector.own_counts_).distance_to_normal
    normal = detector.own_normal_
    assert (with_itself[normal] < detector.manifold_.radii_).all()


def test_own_samples_are_scored_by_models_that_did_not_see_them(detector):
    """Else the own samples would look further apart than others, and the threshold would lie too high."""
    seen = detector.learned_(detector.own_features_)
    suspects = detector.own_scores_ > np.quantile(detector.own_scores_, 0.8)
    assert (seen - detector.own_scores_)[suspects].mean() > 0
    assert 0.8 < detector.learned_auroc_ <= 1


def test_the_rate_is_the_one_that_agrees_best_with_the_distance(generator, detector):
    """Of a rate that finds the far samples and one that finds nothing, the first is taken."""
    assert detector.rare_.rate in RATES
    far = np.argsort(Manifold(3).fit(detector.own_features_).radii_)[-24:]
    telling, blind = np.zeros(240), np.arange(240) % 7.0
    telling[far] = 1
    chosen = copy.deepcopy(detector)
    chosen._choose_rate({0.01: {"a": blind}, 0.02: {"a": telling}, 0.05: {"a": blind}})
    assert chosen.rare_.rate == 0.02
    np.testing.assert_allclose(chosen.own_counts_[:, 0], (telling - telling.mean()) / telling.std())
    assert ArtifactDetector(EXTRACTOR, rate=0.3, n_statistics=50, n_reference=50).fit(generator).rare_.rate == 0.3


def test_distance_equals_brute_force(generator, detector, latents):
    features = toy_features(generator.generate(latents)).double().numpy()
    reference = detector.own_features_[detector.own_normal_].astype(np.float64)
    expected = [sorted(np.linalg.norm(reference - row, axis=1))[detector.k - 1] for row in features]
    np.testing.assert_allclose(detector.score(generator, latents).distance_to_normal, expected, rtol=1e-5)


def test_without_a_learned_score_combined_is_the_mean_of_both_in_own_standard_deviations(two_parts, generator, latents):
    detector = two_parts
    detection = detector.score(generator, latents)
    (rare_mean, rare_std), (distance_mean, distance_std) = (
        detector.scale_["rare_activation"],
        detector.scale_["distance_to_normal"],
    )
    rare = detector.own_counts_.sum(1)
    assert (rare_mean, rare_std) == (pytest.approx(rare.mean()), pytest.approx(rare.std()))
    expected = (detection.rare_activation - rare_mean) / rare_std / 2
    expected += (detection.distance_to_normal - distance_mean) / distance_std / 2
    np.testing.assert_allclose(detection.combined, expected, rtol=1e-12)


def test_rarity_is_nan_exactly_outside(generator, detector, latents):
    detection = detector.score(generator, latents)
    np.testing.assert_array_equal(np.isnan(detection.rarity), ~detection.inside)
    assert 0 < detection.inside.sum() < 160


def test_scores_do_not_depend_on_the_other_samples(generator, detector, latents):
    whole, part = detector.score(generator, latents), detector.score(generator, latents[70:75])
    np.testing.assert_array_equal(part.rare_activation, whole.rare_activation[70:75])
    np.testing.assert_allclose(part.combined, whole.combined[70:75], atol=1e-5)


@pytest.mark.parametrize("kind", ["detector", "supervised", "two_parts"])
def test_samples_are_scored_a_block_at_a_time_so_that_features_of_all_are_never_held(
    request, generator, latents, monkeypatch, kind
):
    monkeypatch.setattr(detect, "CHUNK", 16)
    monkeypatch.setattr(detect, "_SCORED_AT_ONCE", 48)
    detector = request.getfixturevalue(kind)
    sizes, whole = [], detector.score(generator, latents)
    score = detector.score_measured
    monkeypatch.setattr(detector, "score_measured", lambda x, counts: sizes.append(len(x)) or score(x, counts))
    blocks = detect.score_samples(generator, detector, latents)
    assert sizes == [48, 48, 48, 16]
    assert blocks.threshold == whole.threshold
    for name, values in whole.columns().items():
        np.testing.assert_allclose(blocks.columns()[name], values, rtol=1e-5, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(blocks.inside, whole.inside)


def test_fitting_twice_gives_the_same_detector(generator, detector, latents):
    again = ArtifactDetector(EXTRACTOR, n_statistics=300, n_reference=240, seed=5).fit(generator)
    assert again.threshold_ == detector.threshold_
    np.testing.assert_array_equal(again.score(generator, latents).combined, detector.score(generator, latents).combined)


def test_a_supervised_detector_decides_by_its_own_score(generator, supervised, latents):
    detection = supervised.score(generator, latents)
    np.testing.assert_array_equal(detection.combined, detection.supervised)
    assert np.isfinite(detection.supervised).all()
    assert roc_auc_score(PLANTED, detection.supervised) > 0.95
    inputs = supervised.supervised_inputs(supervised.own_features_, supervised.own_counts_)
    assert inputs.shape == (240, 48 + len(LAYERS))
    own = supervised.supervised_(inputs)
    assert supervised.threshold_ == tail_of(own, supervised.seed).default_threshold(own)
    assert "supervised" in detection.columns()


def test_labels_may_contradict_the_unsupervised_direction(generator, latents):
    """The supervised score follows the labels, not the score underneath."""
    detector = ArtifactDetector(EXTRACTOR, n_statistics=300, n_reference=240, seed=5).fit(generator)
    detector.fit_supervised(*detector.measure(generator, latents), 1.0 - PLANTED)
    assert roc_auc_score(PLANTED, detector.score(generator, latents).combined) < 0.1


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_flagged_share_outside_0_to_1_is_refused(generator, share):
    with pytest.raises(ValueError, match=r"flagged_share is .*share in \[0, 1\)"):
        ArtifactDetector(EXTRACTOR, flagged_share=share).fit(generator)


def test_too_few_reference_samples_are_refused(generator):
    with pytest.raises(ValueError, match="reference"):
        ArtifactDetector(EXTRACTOR, n_statistics=10, n_reference=3).fit(generator)


# --- the file -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["detector", "supervised"])
def test_a_loaded_detector_scores_bit_for_bit_the_same(request, generator, latents, tmp_path, kind):
    detector = request.getfixturevalue(kind)
    save_detector(tmp_path / "d.safetensors", detector)
    loaded = load_detector(tmp_path / "d.safetensors")
    assert loaded.get_params() == detector.get_params()
    assert list(tmp_path.iterdir()) == [tmp_path / "d.safetensors"]  # nothing left behind
    before, after = detector.score(generator, latents), loaded.score(generator, latents)
    for name, values in vars(before).items():
        np.testing.assert_array_equal(getattr(after, name), values)
    np.testing.assert_array_equal(loaded.own_normal_, detector.own_normal_)
    np.testing.assert_array_equal(loaded.own_flagged_, detector.own_flagged_)
    assert (loaded.tail_, loaded.learned_auroc_) == (detector.tail_, detector.learned_auroc_)
    assert loaded.rare_.rate == detector.rare_.rate


def test_labels_can_be_added_to_a_loaded_detector(generator, detector, supervised, latents, tmp_path):
    save_detector(tmp_path / "d", detector)
    loaded = load_detector(tmp_path / "d")
    training = generator.latents(160, 10)
    training[80:] *= 2
    loaded.fit_supervised(*loaded.measure(generator, training), PLANTED.astype(float))
    np.testing.assert_array_equal(
        loaded.score(generator, latents).combined, supervised.score(generator, latents).combined
    )


def test_a_nameless_extractor_cannot_be_saved(generator, tmp_path):
    detector = ArtifactDetector(toy_extractor(), n_statistics=50, n_reference=50).fit(generator)
    with pytest.raises(ValueError, match="extractor is given by name"):
        save_detector(tmp_path / "d", detector)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_detector(tmp_path / "nowhere.safetensors")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


def test_damaged_and_foreign_files_are_refused(detector, tmp_path):
    path = tmp_path / "d.safetensors"
    save_detector(path, detector)
    whole = path.read_bytes()
    contents = {
        "empty": b"",
        "text": b"index,score\n0,1\n",
        "pickle": pickle.dumps(Bomb()),
        "cut": whole[:-100],
        "cut in the header": whole[:40],
        "huge header": (2**62).to_bytes(8, "little") + whole[8:],
    }
    for content in contents.values():
        path.write_bytes(content)
        with pytest.raises(DetectorFileError, match=r"d\.safetensors"):
            load_detector(path)
    torch.save({"a": Bomb()}, path)
    with pytest.raises(DetectorFileError, match=r"d\.safetensors"):
        load_detector(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(DetectorFileError, match=r"genmend\.detector/1"):
        load_detector(path)


def drop(key):
    return lambda facts, tensors: facts.pop(key)


def put(key, value):
    return lambda facts, tensors: facts.__setitem__(key, value)


def tensor(name, value):
    return lambda facts, tensors: tensors.__setitem__(name, value)


@pytest.mark.parametrize(
    "damage",
    [
        *(drop(key) for key in ("extractor", "settings", "layers", "scale", "threshold", "supervised")),
        put("extractor", 5),
        put("settings", {"rate": 0.1, "colour": "blue"}),
        put("settings", []),
        put("layers", ["no such"]),
        put("count_mean", {}),
        put("count_std", "x"),
        put("scale", [1, 2]),
        put("scale", {"rare_activation": [1]}),
        put("threshold", None),
        put("threshold", float("nan")),
        put("threshold", 10**400),
        put("threshold", -(10**400)),
        put("threshold", "0.5"),
        put("threshold", True),
        put("rare_weight", 10**400),
        put("n_samples", 10**400),
        put("n_samples", -3),
        put("n_samples", 2.5),
        put("scale", {"rare_activation": [0, 10**400], "distance_to_normal": [0, 1]}),
        put("settings", {"rate": 10**400}),
        put("settings", {"rate": -0.1}),
        put("settings", {"k": 10**400}),
        put("settings", {"k": 2**63}),
        put("settings", {"seed": -1}),
        tensor("own_counts", torch.full((240, 1), float("inf"))),
        put("learned", {}),
        put("rate", "x"),
        tensor("learned", torch.zeros(3)),
        tensor("own_scores", torch.full((240,), float("nan"))),
        put("supervised", [1.0, 2.0]),  # says that there is one, and the weights are not there
        lambda facts, tensors: tensors.pop("radii"),
        tensor("radii", torch.zeros(3)),
        lambda facts, tensors: tensors["radii"].fill_(-1.0),
        tensor("own_normal", torch.ones(7, dtype=torch.bool)),
        tensor("own_normal", torch.ones(240)),
        tensor("own_features", torch.full((240, 48), float("nan"))),
    ],
)
def test_files_with_a_part_changed_are_refused(detector, tmp_path, damage):
    path = tmp_path / "d.safetensors"
    save_detector(path, detector)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    facts = json.loads(metadata["genmend.detector"])
    damage(facts, tensors)
    save_file(tensors, path, metadata | {"genmend.detector": json.dumps(facts)})
    with pytest.raises(DetectorFileError, match=r"d\.safetensors cannot be loaded as a detector"):
        load_detector(path)


def test_absurd_numbers_of_a_supervised_detector(supervised, tmp_path):
    test_files_with_a_part_changed_are_refused(supervised, tmp_path, put("supervised", [10**400, 0.1]))
    test_files_with_a_part_changed_are_refused(supervised, tmp_path, put("supervised", [0.1, float("inf")]))
    weights = torch.full((48,), float("nan"), dtype=torch.float64)
    test_files_with_a_part_changed_are_refused(supervised, tmp_path, tensor("supervised", weights))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000])
def test_files_whose_json_is_something_else_are_refused(detector, tmp_path, text):
    path = tmp_path / "d.safetensors"
    for metadata in ({"genmend.detector": text}, {"schema": "genmend.detector/1", "detector": text}):  # today's, before
        save_file({"a": torch.zeros(1)}, path, metadata)
        with pytest.raises(DetectorFileError, match=r"d\.safetensors cannot be loaded as a detector"):
            load_detector(path)


def test_a_write_that_fails_leaves_the_old_file(detector, tmp_path, monkeypatch):
    path = tmp_path / "d.safetensors"
    path.write_bytes(b"old")

    def full_disk(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_detector(path, detector)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
