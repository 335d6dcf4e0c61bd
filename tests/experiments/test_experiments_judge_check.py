"""The check of the judges: which sentences it takes, and that its kept results are its own."""

import json

from experiments.voices import judge_check
from genmend.tts.text.corpus import read_sentences


def test_the_sentences_are_those_of_the_seed_and_none_that_the_phoneme_table_was_made_by():
    found = judge_check.chosen(20, 0)
    assert found == judge_check.chosen(20, 0) != judge_check.chosen(20, 1)
    assert len(set(found)) == 20
    assert not set(found) & set(read_sentences()[7::20])
    assert all(5 <= len(text.split()) == len(ipa.split()) <= 12 for text, ipa in found)


def test_the_kept_table_is_made_of_the_kept_results():
    found = json.loads((judge_check.RESULTS / "results.json").read_text(encoding="utf-8"))
    assert (judge_check.RESULTS / "tables.txt").read_text(encoding="utf-8").splitlines() == judge_check.table(found)
    assert [one["text"] for one in found["heard"]] == [text for text, _ in judge_check.chosen(20, 0)]
