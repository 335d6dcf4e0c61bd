"""A detector knows the generator that it was fitted on, and is refused on another one."""

import copy
import json
import re

import pytest
import torch
from gans_toys import EXTRACTOR, toy_generator
from safetensors import safe_open
from safetensors.torch import save_file

from genmend.gans import ArtifactDetector, detect, fit_correction, load_detector, save_detector
from genmend.gans.detection.detector_file import DetectorFileError
from genmend.storage.hub.kinds import describe


@pytest.fixture(scope="module")
def generator():
    return toy_generator()


@pytest.fixture(scope="module")
def other(generator):
    """The same layers with one weight moved, by another name."""
    moved = copy.deepcopy(generator)
    with torch.no_grad():
        next(moved.module.parameters()).add_(0.01)
    object.__setattr__(moved, "name", "its sister")
    return moved


@pytest.fixture(scope="module")
def file(generator, tmp_path_factory):
    path = tmp_path_factory.mktemp("detector") / "detector.safetensors"
    save_detector(path, ArtifactDetector(EXTRACTOR, n_statistics=60, n_reference=60, seed=5).fit(generator))
    return path


def rewritten(file, target, change):
    """A copy of the file whose facts are changed."""
    with safe_open(file, "pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        metadata = dict(opened.metadata())
    ((key, text),) = [(key, text) for key, text in metadata.items() if "fitted_on" in text]
    facts = json.loads(text)
    change(facts)
    save_file(tensors, target, metadata | {key: json.dumps(facts)})
    return target


@pytest.mark.parametrize("use", [detect, fit_correction])
def test_another_generator_is_refused_by_one_sentence_that_names_both(generator, other, file, use):
    detector = load_detector(file)
    given = {"detector": detector} if use is fit_correction else {"latents": other.latents(8, 0), "detector": detector}
    with pytest.raises(ValueError, match=r"was fitted on .* not on its sister") as refused:
        use(other, **given)
    assert generator.name in str(refused.value)
    assert len(set(re.findall("weights ([0-9a-f]{12})", str(refused.value)))) == 2
    assert "\n" not in str(refused.value)


def test_its_own_generator_is_taken_in_another_dtype_and_by_another_name(generator, file):
    renamed = copy.deepcopy(generator)
    object.__setattr__(renamed, "name", "renamed")
    renamed.module.double()
    load_detector(file).fitted_on_.check(renamed)


def test_a_file_without_a_digest_takes_a_generator_with_the_same_layers(other, file, tmp_path):
    old = load_detector(rewritten(file, tmp_path / "old.safetensors", lambda facts: facts.pop("fitted_on")))
    assert old.fitted_on_ is None
    assert len(detect(other, other.latents(8, 0), detector=old).detection.combined) == 8


@pytest.mark.parametrize("damage", [None, {"name": 3, "weights": {}}, {"name": "x", "weights": {"as_stored": 7}}])
def test_a_damaged_digest_is_refused(file, tmp_path, damage):
    with pytest.raises(DetectorFileError):
        load_detector(rewritten(file, tmp_path / "bad.safetensors", lambda facts: facts.update(fitted_on=damage)))


def test_what_a_file_says_of_itself_names_the_generator(generator, file):
    _, described = describe(file)
    assert described.model["model"] == generator.name
    assert re.fullmatch("SHA-256 [0-9a-f]{64}", described.model["weights"])
    assert not described.not_told
