"""Sentences encoded together, and randomness that stays inside."""

import numpy as np
import pytest
import torch

from genmend.tts.text.tokens import AT_ONCE, Tokens, group_by_length
from genmend.tts.voices.seeding import use_seed


def sentences(lengths):
    return [Tokens("x", *[("a",) * n] * 4, ("x",)) for n in lengths]


def test_every_sentence_comes_once_with_others_of_like_length():
    lengths = np.random.default_rng(0).integers(1, 60, 3 * AT_ONCE + 5).tolist()
    groups = list(group_by_length(sentences(lengths)))
    assert sorted(row for rows in groups for row in rows) == list(range(len(lengths)))
    assert [len(rows) for rows in groups] == [AT_ONCE] * 3 + [5]
    assert [lengths[row] for rows in groups for row in rows] == sorted(lengths)
    assert list(group_by_length([])) == []


def test_without_padding_only_equal_lengths_come_together():
    lengths = [3, 5, 3, 4, 5, 3]
    assert list(group_by_length(sentences(lengths), padded=False)) == [[0, 2, 5], [3], [1, 4]]
    many = list(group_by_length(sentences([7] * (AT_ONCE + 1)), padded=False))
    assert [len(rows) for rows in many] == [AT_ONCE, 1]


def test_the_seed_rules_inside_and_the_generators_stand_where_they_stood_after_an_error():
    torch.manual_seed(1)
    np.random.seed(1)
    with use_seed(7):
        first = torch.rand(3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    drawn = []

    def draw_and_fail():
        with use_seed(7):
            drawn.append(torch.rand(3))
            np.random.uniform()
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        draw_and_fail()
    assert torch.equal(drawn[0], first)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
