"""Where sentences end."""

from pathlib import Path

import pytest

from genmend.tts.text.sentences import drop_inner_stops, split_long, split_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["Did he come?", "No.", "He left early."],
        ["See No. 7.", "No. 8 is up.", "In Jan. it snowed.", "Jan. 5 was cold."],
        ["J. R. R. Tolkien wrote it.", "See Fig. 3 on p. 7."],
        ["The U.S. Army left.", "He lives in the U.S.", "She does not."],
        ["He lives on Main St.", "She does.", "St. Mary is near.", "It was Davis Jr.", "That is all."],
        ["Mr. Smith and Dr. No. met.", "Prof. Ng et al. wrote it."],
        ["So did I.", "Peter left.", "It was plan B.", "We went."],
        ["Wait... what?", '"Stop!" he said.', "(At 5 p.m. today.)", "Well!"],
        ["It is 3.5 at example.com now.", "e.g. This one."],
        ["all in small letters.", ["how are you", "fine."][0] + "?", "fine."],
        ["यह ठीक है।", "वह गया।"],
    ],
)
def test_a_text_is_split_into_its_sentences_and_nothing_of_it_changes(sentences):
    assert split_sentences(" ".join(sentences)) == sentences


def test_phonemes_within_a_text_are_never_split():
    sentences = ["Call [[ ɡaɪs. nˈaʊ! ]] now.", "Then [[ ɡoʊ ]]."]
    assert split_sentences(" ".join(sentences)) == sentences


def test_ideographic_marks_and_line_ends_end_sentences():
    assert split_sentences("你好。你好吗？「我很好！」他说。") == ["你好。", "你好吗？", "「我很好！」", "他说。"]
    assert split_sentences("one\n\n two ") == ["one", "two"]
    assert split_sentences(" \n") == []


def cases():
    for name in ("sentence_cases.tsv", "sentence_cases_later.tsv"):
        for line in Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines():
            _, language, text = line.split("\t")
            yield language, text.replace("⏎", "\n")


def test_all_but_one_of_the_committed_cases_are_right():
    wrong = [
        marked
        for language, marked in cases()
        if split_sentences(marked.replace("¦", ""), language) != [part.strip() for part in marked.split("¦")]
    ]
    assert wrong == ["Il est 5 h. ¦M. Petit et Mme Roy dorment."]


def test_stops_of_abbreviations_make_no_pause():
    assert drop_inner_stops("Mr. A. Smith of the U.S. Army saw No. 7.") == "Mr A Smith of the U.S Army saw No 7."
    assert drop_inner_stops("Am 3. Mai kam er. Nie.", "de") == "Am 3 Mai kam er. Nie."
    assert drop_inner_stops("1. Wash the rice.") == "1. Wash the rice."  # an item's number is read apart
    assert drop_inner_stops("No. He left.") == "No. He left."


def test_a_long_sentence_is_split_at_clauses_or_else_at_spaces():
    parts = split_long("a clause of words, " * 60, 100)
    assert all(50 < len(part) <= 100 and part.endswith(",") for part in parts)
    assert " ".join(parts) == ("a clause of words, " * 60).strip()
    assert split_long("word " * 50, 100) == ["word " * 19 + "word", "word " * 19 + "word", "word " * 9 + "word"]
    assert [len(part) for part in split_long("x" * 250, 100)] == [100, 100, 50]
    assert split_long("short", 100) == ["short"]
