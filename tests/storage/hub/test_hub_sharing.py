# ruff: noqa: F811 (a fixture is imported, and an argument)
"""What is pushed comes back the same, from a folder and from a hub; what cannot be had is told in one sentence."""

import json
import sys
import types

import numpy as np
import pytest
import torch
from stub_hub import hub, meet  # noqa: F401 (hub is a fixture)
from torch import nn

from genmend.activations import Correction, ScaleUnits, save_correction
from genmend.concepts import Region
from genmend.concepts.regions.region import JoinedRegion
from genmend.gans import ArtifactDetector, ImageDetector
from genmend.gans.detection.artifact_detector import LabelledFeatures
from genmend.gans.detection.soft_logistic import LinearScore
from genmend.manifold import Manifold, NormalRegion
from genmend.manifold.features import FeatureSet, features_of, load_extractor
from genmend.storage.container import ContainerError
from genmend.storage.hub.kinds import KINDS, describe
from genmend.storage.hub.repository import HubError, find_shared
from genmend.storage.hub.shareable import push
from genmend.tts import VoiceRepairs
from genmend.tts.mending.combination import CombinationRepair
from genmend.workbench.commands.pull import run_pull

NET = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
rng = np.random.default_rng(0)


def a_correction(**info):
    return Correction.of(NET, [[ScaleUnits("0", (1, 2), 0.5)]], info={"generator": "faces", **info})


def an_image_detector(monkeypatch):
    toys = types.ModuleType("hub_toys")
    toys.extractor = lambda: lambda images: images.flatten(1)
    monkeypatch.setitem(sys.modules, "hub_toys", toys)
    load_extractor("hub_toys:extractor")
    features, shares = rng.normal(size=(20, 3)), np.repeat([0.0, 1.0], 10)
    score = LinearScore(np.arange(3.0), 0.5, 0.1)
    normal = Manifold(3).fit(features[:10])
    return ImageDetector(
        "hub_toys:extractor", score, 0.2, normal, LabelledFeatures(features, shares), None, {"auroc": 0.9}
    )


def things(monkeypatch):
    """One of each kind but the amplification, which is a correction, and the detector of a generator."""
    rule = Region("1", (0, 2), (True, False), 1, (0.0, 0.25))
    repair = CombinationRepair("lstm", (4, 5), ("a", "b"), ("phoneme",) * 2, 1, np.ones(3, np.float32))
    return {
        "correction": a_correction(),
        "detector": an_image_detector(monkeypatch),
        "normal-region": NormalRegion(k=1).fit(rng.normal(size=(8, 2)), groups=["a"] * 4 + ["b"] * 4),
        "region": rule & ~rule,
        "voice-repairs": VoiceRepairs((repair,), "0" * 64, {"voice": "joe"}),
        "reference": features_of(rng.normal(size=(12, 3))),
    }


def alike(one, other):
    """Whether two things save the same bytes."""
    return one._kinds == other._kinds and saved(one) == saved(other)


def saved(thing, folder=None):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as scratch:
        return thing._saved_in(Path(scratch)).read_bytes()


def test_every_kind_comes_back_from_a_hub_and_from_a_folder(hub, tmp_path, monkeypatch):
    for name, thing in things(monkeypatch).items():
        address = thing.push_to_hub(f"me/{name}", licence="mit")
        assert address.startswith(f"{hub.endpoint}/me/{name}/commit/")
        assert alike(type(thing).from_pretrained(f"me/{name}"), thing), name
        file = thing.save_pretrained(tmp_path / name, licence="mit")
        assert file.name == KINDS[name].file
        assert sorted(path.name for path in file.parent.iterdir()) == sorted(["README.md", "genmend.json", file.name])
        for source in (file, file.parent, str(file.parent)):
            assert alike(type(thing).from_pretrained(source), thing), name
        assert all(hub.files(f"me/{name}")[1][part] for part in ("README.md", "genmend.json", file.name))


def test_a_reference_is_pulled_checked_and_scored_against(hub, tmp_path):
    """As a colleague would: the file that `genmend features` wrote is pushed, pulled, and gives the same numbers."""
    from genmend.manifold import evaluate

    pipeline = {"extractor": "efficientnet-lite0", "weights": "1" * 64, "versions": {"torch": "2"}}
    real, query = rng.normal(size=(30, 4)), rng.normal(size=(20, 4))
    names = [f"{i}.png" for i in range(30)]
    found = FeatureSet(real, names, "images", pipeline, [("b.png", "cut off")], "/data/secret/faces")
    found.save(tmp_path / "ref.safetensors", most_k=5)
    push(tmp_path / "ref.safetensors", "me/ref", licence="mit")
    body = hub.files("me/ref")[1]["README.md"].decode()
    rows = {"source set": "faces", "samples": 30, "radii of k": "1 to 5", "left out as unusable": 1,
            "extractor": "efficientnet-lite0"}  # fmt: skip
    for said in (*(f"| {name} | {value} |" for name, value in rows.items()), "no paper", 'from_pretrained("me/ref")'):
        assert said in body, said
    assert "secret" not in body
    pulled = run_pull("me/ref", tmp_path / "got")
    assert pulled.file.name == "reference.safetensors"
    assert evaluate(pulled.file, query).to_dict() == evaluate(real, query).to_dict()
    again = FeatureSet.from_pretrained("me/ref")
    assert (again.names, again.pipeline, sorted(again.radii)) == (names, pipeline, [1, 2, 3, 4, 5])
    file = bytearray(pulled.file.read_bytes())
    file[-1] ^= 1
    pulled.file.write_bytes(file)
    with pytest.raises(ValueError, match="digest"):
        evaluate(pulled.file, query)


def test_a_correction_from_a_hub_does_the_same_bit_for_bit(hub):
    from genmend.activations import edited

    correction, x = a_correction(), torch.randn(5, 4)
    correction.push_to_hub("me/fix", licence="apache-2.0")
    with edited(NET, *correction.ladder[0]):
        wanted = NET(x)
    fetched = Correction.from_pretrained("me/fix")
    assert fetched == correction
    with edited(NET, *fetched.ladder[0]):
        assert torch.equal(NET(x), wanted)


def test_a_commit_stays_what_it_was_and_a_branch_moves(hub):
    a_correction(seed=1).push_to_hub("me/fix", licence="mit")
    first = hub.files("me/fix")[0]
    a_correction(seed=2).push_to_hub("me/fix", licence="mit")
    assert Correction.from_pretrained("me/fix").info["seed"] == 2
    assert Correction.from_pretrained("me/fix", revision=first).info["seed"] == 1
    assert find_shared("me/fix").commit == hub.files("me/fix")[0]


def test_what_was_fetched_is_found_again_without_a_network(hub, monkeypatch):
    from huggingface_hub import constants

    a_correction().push_to_hub("me/fix", licence="mit")
    fetched = Correction.from_pretrained("me/fix")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.asked.clear()
    assert Correction.from_pretrained("me/fix") == fetched
    assert hub.asked == []
    with pytest.raises(HubError, match=r"me/other cannot be fetched from here: .* HF_HUB_OFFLINE is set"):
        Correction.from_pretrained("me/other")


def test_a_hub_that_does_not_answer_is_told_in_a_sentence(hub, monkeypatch):
    a_correction().push_to_hub("me/known", licence="mit")
    known = Correction.from_pretrained("me/known")
    meet(monkeypatch, "http://127.0.0.1:9")
    assert Correction.from_pretrained("me/known") == known  # from the cache
    for act in (
        lambda: Correction.from_pretrained("me/fix"),
        lambda: a_correction().push_to_hub("me/fix", licence="mit"),
    ):
        with pytest.raises(HubError, match="is not reached") as told:
            act()
        assert str(told.value).count("\n") == 0


def test_what_is_not_there_or_not_allowed_is_told_in_a_sentence(hub):
    a_correction().push_to_hub("me/fix", licence="mit")
    hub.commit("me/other-model", {"config.json": b"{}"})
    hub.gated.add("me/gated")
    cases = {
        ("me/none", None): "has no repository me/none, or it is private",
        ("me/fix", "nowhere"): "no such revision",
        ("me/other-model", None): r"holds no genmend\.json",
        ("me/gated", None): "accept its terms",
    }
    for (source, revision), words in cases.items():
        with pytest.raises(HubError, match=words) as told:
            Correction.from_pretrained(source, revision=revision)
        assert str(told.value).count("\n") == 0
    with pytest.raises(FileNotFoundError, match="OWNER/NAME"):
        Correction.from_pretrained("nothing here")
    hub.token = "another"
    with pytest.raises(HubError, match="check your login"):
        a_correction().push_to_hub("me/fix", licence="mit")


def test_a_private_repository_is_private(hub):
    a_correction().push_to_hub("me/secret", licence="mit", private=True)
    assert hub.private == {"me/secret"}
    assert Correction.from_pretrained("me/secret") == a_correction()


def test_a_folder_needs_no_huggingface_hub_and_a_repository_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    a_correction().save_pretrained(tmp_path / "mine", licence="mit")
    assert Correction.from_pretrained(tmp_path / "mine") == a_correction()
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'genmend\[hub\]'"):
        Correction.from_pretrained("me/fix")


def test_a_folder_of_results_is_read_without_its_json(tmp_path):
    save_correction(tmp_path / "correction.safetensors", a_correction())
    assert Correction.from_pretrained(tmp_path) == a_correction()
    with pytest.raises(ValueError, match="has no revision"):
        Correction.from_pretrained(tmp_path, revision="main")
    (tmp_path / "detector.safetensors").write_bytes((tmp_path / "correction.safetensors").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"several files \(correction.safetensors, detector.safetensors\)"):
        Correction.from_pretrained(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no file of those that are shared"):
        Correction.from_pretrained(tmp_path / "empty")


def test_another_kind_is_refused_with_who_reads_it(tmp_path, monkeypatch):
    found = things(monkeypatch)
    found["detector"].save_pretrained(tmp_path / "d", licence="mit")
    with pytest.raises(ValueError, match=r"holds a detector, but a correction or an amplification is wanted"):
        Correction.from_pretrained(tmp_path / "d")
    with pytest.raises(ValueError, match="holds ImageDetector"):
        ArtifactDetector.from_pretrained(tmp_path / "d")
    found["region"].save_pretrained(tmp_path / "r", licence="mit")
    assert isinstance(JoinedRegion.from_pretrained(tmp_path / "r"), JoinedRegion)


def write_index(folder, **changes):
    found = json.loads((folder / "genmend.json").read_text())
    (folder / "genmend.json").write_text(json.dumps(found | changes))


def test_an_index_that_lies_is_refused(tmp_path):
    for number, (changes, words) in enumerate(
        [
            ({"file": "../correction.safetensors"}, "a plain name"),
            ({"file": "/etc/passwd"}, "a plain name"),
            ({"file": "C:\\correction.safetensors"}, "a plain name"),
            ({"file": "a/correction.safetensors"}, "a plain name"),
            ({"file": ".correction.safetensors"}, "a plain name"),
            ({"file": "correction.pkl"}, "a plain name"),
            ({"file": 3}, "a plain name"),
            ({"file": "other.safetensors"}, "is not there"),
            ({"kind": "density"}, "holds the kind 'density'"),
            ({"kind": "detector"}, "holds a correction, not a detector"),
            ({"bytes": 1 << 50}, "more than"),
            ({"bytes": -1}, "size in bytes"),
            ({"bytes": 5}, "bytes, not 5"),
            ({"sha256": "0" * 64}, "another SHA-256"),
            ({"sha256": "short"}, "the SHA-256 is"),
            ({"schema": 2}, "update genmend"),
        ]
    ):
        folder = tmp_path / str(number)
        a_correction().save_pretrained(folder, licence="mit")
        write_index(folder, **changes)
        with pytest.raises(ContainerError, match=words):
            Correction.from_pretrained(folder)
    for text in ("[]", "{", "NaN", "[" * 100_000):
        (folder / "genmend.json").write_text(text)
        with pytest.raises(ContainerError, match=r"genmend\.json of .* is refused"):
            Correction.from_pretrained(folder)


def test_more_than_an_index_says_is_not_fetched(hub):
    a_correction().push_to_hub("me/fix", licence="mit")
    oid, files = hub.repositories["me/fix"][0]
    hub.repositories["me/fix"] = [(oid, files | {"correction.safetensors": b"x" * 100_000})]
    hub.asked.clear()
    with pytest.raises(HubError, match="has 100000 bytes, more than"):
        Correction.from_pretrained("me/fix")
    assert ("GET", f"/me/fix/resolve/{oid}/correction.safetensors") not in hub.asked
    hub.repositories["me/fix"] = [(oid, files | {"genmend.json": b" " * (2 << 20)})]
    with pytest.raises(HubError, match="not fetched"):
        Correction.from_pretrained("me/fix")


def test_a_pickle_is_never_opened(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "correction.safetensors")
    with pytest.raises(ContainerError, match="a pickle or an archive"):
        Correction.from_pretrained(tmp_path)
    with pytest.raises(ContainerError, match="a pickle or an archive"):
        push(tmp_path / "correction.safetensors", "me/fix", licence="mit")


def test_files_of_other_kinds_are_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.ones(2)}, tmp_path / "plain.safetensors")
    with pytest.raises(ContainerError, match="nothing of genmend in its metadata"):
        describe(tmp_path / "plain.safetensors")
    save_file({"a": np.ones(2)}, tmp_path / "density.safetensors", {"genmend.density": '{"schema": 1}'})
    with pytest.raises(ContainerError, match=r"'genmend.density', which cannot be shared; shared are a correction"):
        describe(tmp_path / "density.safetensors")
    save_file({"a": np.ones(2)}, tmp_path / "bare.safetensors", {"genmend.correction": '{"schema": 1}'})
    with pytest.raises(ContainerError, match="does not say what a correction says of itself"):
        describe(tmp_path / "bare.safetensors")
