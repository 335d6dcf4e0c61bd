"""What fuzzing brought up once is refused as promised for ever after; and each parser still reads a whole file."""

import random

import pytest
from fuzz_parsers import CORPUS, complaint, damage, parsers

PARSERS = parsers()
KEPT = sorted(CORPUS.glob("*/*"))


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: f"{kept.parent.name}-{kept.name}")
def test_what_was_found_once_is_refused_in_words(kept):
    name = next(name for name in PARSERS if name.replace(" ", "_") == kept.parent.name)
    parser, _, called = PARSERS[name]
    assert complaint(parser, kept.read_bytes(), called) == ""


@pytest.mark.parametrize("name", PARSERS)
def test_whole_files_are_read_and_twenty_damaged_ones_are_taken_as_promised(name, tmp_path):
    parser, files, called = PARSERS[name]
    (tmp_path / called).write_bytes(files[0].read_bytes())
    parser(tmp_path / called)  # raises where the whole file is not read
    rng, content = random.Random(name), files[0].read_bytes()
    for _ in range(20):
        assert complaint(parser, damage(content, content, rng), called) == ""
