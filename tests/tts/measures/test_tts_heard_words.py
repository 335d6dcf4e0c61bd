"""What was heard beside what was meant, word by word."""

import pytest

from genmend.tts.measures.heard_words import in_words, pair_words


@pytest.mark.parametrize(
    ("text", "heard", "wrong", "said"),
    [
        ("He visited Tbilisi.", "He visited T by LSE.", [("Tbilisi.", "T by LSE.")],
         '"Tbilisi" was heard as "T by LSE".'),
        ("It cost $21, sir.", "It cost twenty-one dollars, sir.", [], "Every word was heard as it was meant."),
        ("It cost $21, sir.", "It cost 22 dollars sir.", [("$21,", "22 dollars")], '"$21" was heard as "22 dollars".'),
        ("One two three.", "two three four", [("One", ""), ("", "four")],
         '"One" was not heard; "four" was heard, which is not in the text.'),
        ("All of it.", "", [("All of it.", "")], '"All of it" was not heard.'),
        ("Dr. Grey's here", "doctor Grey's here", [], "Every word was heard as it was meant."),
    ],
)  # fmt: skip
def test_words_that_differ_stand_beside_each_other(text, heard, wrong, said):
    pairs = pair_words(text, heard)
    assert [(pair.meant, pair.heard) for pair in pairs if not pair.same] == wrong
    assert in_words(pairs) == said
    assert " ".join(" ".join(pair.meant for pair in pairs if pair.meant).split()) == text


def test_without_spaces_between_words_single_characters_are_laid_side_by_side():
    pairs = pair_words("你好吗？", "你号吗", "zh")
    assert [(pair.meant, pair.heard, pair.same) for pair in pairs] == [
        ("你", "你", True),
        ("好", "号", False),
        ("吗", "吗", True),
    ]
