"""A reference is fitted once and kept: what a killed run left is no hindrance, and another k or corpus is told."""

import json

import numpy as np
import pytest
from spoken_toys import random_sentences
from voice_toys import toy_voice

from genmend.tts.mending import reference_file
from genmend.tts.mending.cached_reference import reference_for
from genmend.tts.mending.reference_file import ReferenceFileError


@pytest.fixture
def corpus(tmp_path):
    return written(tmp_path / "corpus.tsv", 3)


def written(path, seed):
    path.write_text("\n".join(f"{s.phonemes}\t{s.phonemes}" for s in random_sentences(30, seed=seed)), encoding="utf-8")
    return path


class KilledError(BaseException):
    """Nothing after it is done."""


def test_a_folder_that_a_killed_run_left_is_filled(tmp_path, corpus, monkeypatch):
    whole = reference_for(toy_voice(), corpus, folder=tmp_path / "whole")
    saved, write = [], reference_file.save_normal_region

    def killed(path, region):
        if saved:
            raise KilledError
        saved.append(path)
        write(path, region)

    monkeypatch.setattr(reference_file, "save_normal_region", killed)
    with pytest.raises(KilledError):
        reference_for(toy_voice(), corpus, folder=tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 1
    monkeypatch.undo()
    resumed = reference_for(toy_voice(), corpus, folder=tmp_path / "kept")
    assert resumed.base_rates == whole.base_rates
    for file in (tmp_path / "whole").iterdir():
        assert (tmp_path / "kept" / file.name).read_bytes() == file.read_bytes()


def test_a_folder_of_something_else_is_not_written_to(tmp_path, corpus):
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "letter.txt").write_text("dear")
    with pytest.raises(ReferenceFileError, match="cannot be loaded as the reference"):
        reference_for(toy_voice(), corpus, folder=folder)
    assert len(list(folder.iterdir())) == 1


def test_another_k_or_corpus_than_the_kept_one_is_told_and_without_them_it_is_used(tmp_path, corpus):
    voice, folder = toy_voice(), tmp_path / "kept"
    kept = reference_for(voice, corpus, folder=folder)
    with pytest.raises(ValueError, match=r"holds a reference of k = 5, and k = 8 is asked for; give that k \(--k 5\)"):
        reference_for(voice, corpus, k=8, folder=folder)
    other = written(tmp_path / "other.tsv", 4)
    with pytest.raises(ValueError, match="made of another file of sentences"):
        reference_for(voice, other, folder=folder)
    assert reference_for(voice, folder=folder).base_rates == kept.base_rates
    described = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    del described["corpus"]  # as older versions wrote it
    (folder / "reference.json").write_text(json.dumps(described), encoding="utf-8")
    assert reference_for(voice, other, folder=folder).corpus == ""


def test_a_reference_from_before_durations_were_measured_gets_them(tmp_path, corpus, monkeypatch):
    voice, folder = toy_voice(), tmp_path / "kept"
    assert reference_for(voice, corpus, folder=folder).lengths == {}  # it attends
    lasting = [np.arange(1, 1 + len(tokens)) for tokens in random_sentences(30, seed=3)]
    monkeypatch.setattr(voice, "durations", lambda batch, seed=0: lasting[: len(batch)])
    found = reference_for(voice, corpus, folder=folder)
    assert sum(n for n, *_ in found.lengths.values()) == sum(len(t.sounds) for t in random_sentences(30, seed=3))
    monkeypatch.setattr(voice, "durations", lambda batch, seed=0: [] if not batch else pytest.fail("measured again"))
    assert reference_for(voice, corpus, folder=folder).lengths == found.lengths
