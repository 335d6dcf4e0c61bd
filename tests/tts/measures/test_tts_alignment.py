"""Alignment measures on attention matrices and durations made by hand, whose errors are known."""

import json

import numpy as np
import pytest

from genmend.tts.measures.alignment import add_blank_frames, alignment_of, duration_alignment, duration_limits
from genmend.tts.measures.attention_path import attention_alignment
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech


def attention(path, n, peak=1.0):
    """Weights that follow `path`: `peak` on its token, the rest spread evenly over the others."""
    weights = np.full((len(path), n), (1 - peak) / (n - 1))
    weights[np.arange(len(path)), path] = peak
    return weights


def read(path, n, **options):
    return attention_alignment(attention(path, n), frame_seconds=0.1, **options)


PERFECT = [token for token in range(6) for _ in range(4)]


def test_a_perfect_reading_has_no_errors():
    found = read(PERFECT, 6)
    assert (found.skipped, found.stalled, found.repeats, found.jumps) == ((), (), 0, 0)
    assert found.error_rate == found.skip_rate == found.repeat_rate == found.stall_rate == 0
    assert found.focus_rate == found.coverage == found.diagonal_ratio == 1
    assert found.align_error == 0
    assert found.finished


def test_tokens_never_reached_are_skipped():
    found = read([0, 0, 1, 1, 4, 4], 6)
    assert found.skipped == (2, 3, 5)
    assert found.jumps == 0
    assert found.skip_rate == found.error_rate == 3 / 6
    assert found.coverage == 0


def test_only_tokens_to_be_heard_are_skipped_and_counted():
    found = read([0, 0, 1, 1, 4, 4], 6, heard=[True, True, False, True, True, False])
    assert found.skipped == (3,)
    assert found.n == 4
    assert found.error_rate == 1 / 4


def test_a_step_of_more_than_three_tokens_is_a_jump():
    assert read([0, 4], 5).jumps == 1
    assert read([0, 3], 5).jumps == 0


@pytest.mark.parametrize(
    ("path", "repeats"),
    [
        ([0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 0, 0, 1, 1, 1, 2, 2, 2], 1),
        ([0, 0, 0, 2, 2, 2, 0, 0, 0, 2, 2, 2, 0, 0, 0], 2),
        ([0, 0, 0, 2, 2, 2, 1, 1, 1, 2, 2, 2], 0),  # one token back
        ([0, 0, 0, 3, 3, 3, 0, 0, 3, 3, 3], 0),  # back for two frames
        ([0, 0, 0, 5, 5, 0, 0, 0, 1, 1, 1, 2], 0),  # forward for two frames
        ([0, 0, 0, 3, 3, 3, 0, 0, 0, 3, 3], 1),
        ([5, 5, 5, 3, 3, 3, 1, 1, 1], 2),
        ([0, 5], 0),
    ],
)
def test_repeats_are_counted(path, repeats):
    found = read(path, 6)
    assert found.repeats == repeats
    assert found.repeat_rate == repeats / 6


def test_a_stall_is_more_than_a_second_on_one_token():
    found = read([0] * 11 + [1] * 10 + [2] * 2 + [0] * 12, 3)
    assert found.stalled == (0, 0)
    assert found.stall_rate == 2 / 3
    assert read([0] * 11 + [1] * 10, 2, stall_seconds=0.95).stalled == (0, 1)


def test_the_error_rate_adds_skips_repeats_and_stalls():
    found = read([0] * 11 + [1, 1, 1, 3, 3, 3, 0, 0, 0, 3], 5)
    assert (found.skipped, found.stalled, found.repeats) == ((2, 4), (0,), 1)
    assert found.error_rate == 4 / 5


def test_focus_rate_and_align_error_look_along_different_axes():
    weights = np.array([[0.7, 0.3, 0.0], [0.6, 0.4, 0.0], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
    found = attention_alignment(weights, frame_seconds=0.1)
    assert found.focus_rate == pytest.approx((0.7 + 0.6 + 0.5 + 0.6) / 4)
    assert found.align_error == pytest.approx(1 - (0.7 + 0.4 + 0.6) / 3)
    assert found.coverage == pytest.approx(0.4)


def test_coverage_is_the_least_over_words_where_words_are_known():
    weights = np.array([[0.7, 0.3, 0.0], [0.6, 0.4, 0.0], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
    found = attention_alignment(weights, frame_seconds=0.1, word_of=[0, 0, 1])
    assert found.coverage == pytest.approx(0.6)


def test_the_diagonal_ratio_falls_away_from_the_diagonal():
    upright = read(PERFECT, 6, band=1)
    turned = read(PERFECT[::-1], 6, band=1)
    assert upright.diagonal_ratio == 1
    assert turned.diagonal_ratio == pytest.approx(4 / 24)  # two frames of each token in the middle
    flat = attention_alignment(np.full((12, 12), 1 / 12), frame_seconds=0.1, band=1)
    assert flat.diagonal_ratio == pytest.approx((12 + 2 * 11) / 144)


def test_a_voice_that_found_no_end_says_so():
    assert not read(PERFECT, 6, finished=False).finished


def test_the_result_is_ready_for_json():
    found = read([0] * 11 + [1, 1, 1, 3, 3, 3, 0, 0, 0, 3], 5)
    said = json.loads(json.dumps(found.to_dict()))
    assert (said["skips"], said["repeats"], said["stalls"], said["error_rate"]) == (2, 1, 1, 0.8)


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        (np.ones(3), {}, "shape"),
        (np.ones((0, 3)), {}, "shape"),
        (np.array([[0.5, np.nan]]), {}, "no weights"),
        (np.array([[1.5, -0.5]]), {}, "no weights"),
        (np.array([[0.5, 0.2]]), {}, "add up to 1"),
        (np.eye(2), {"heard": [True]}, "heard has shape"),
        (np.eye(2), {"heard": [False, False]}, "No token is to be heard"),
        (np.eye(2), {"word_of": [0]}, "word_of has shape"),
        (np.eye(2), {"frame_seconds": 0}, "frame_seconds is 0"),
    ],
)
def test_bad_attention_is_refused(weights, options, message):
    with pytest.raises(ValueError, match=message):
        attention_alignment(weights, **{"frame_seconds": 0.1, **options})


def test_durations_say_skips_and_stalls():
    found = duration_alignment(
        np.array([5, 1, 0, 30, 9]), ["a", "b", "c", "a", "new"], {"a": 20.0, "b": 20.0, "c": 20.0}
    )
    assert (found.skipped, found.stalled) == ((1, 2), (3,))
    assert found.error_rate == 3 / 5
    assert found.focus_rate is None


def test_a_duration_at_its_limits_is_no_error():
    found = duration_alignment(np.array([2, 20]), ["a", "a"], {"a": 20.0})
    assert found.error_rate == 0


def test_durations_of_tokens_without_sound_are_no_errors():
    found = duration_alignment(np.array([0, 99]), ["ˈ", "a"], {"a": 20.0}, heard=[False, True])
    assert (found.skipped, found.stalled, found.n) == ((), (1,), 1)


def test_the_longest_usual_duration_is_a_quantile_of_each_symbol():
    found = duration_limits([np.arange(1001), np.array([7.0])], [["a"] * 1001, ["b"]])
    assert found == {"a": 999.0, "b": 7.0}


def test_blanks_count_for_the_token_before_them():
    kinds = ["special", "blank", "phoneme", "blank", "mark", "phoneme", "blank"]
    found = add_blank_frames(np.array([3, 1, 2, 4, 1, 5, 2]), kinds)
    np.testing.assert_array_equal(found, [4, 0, 6, 0, 1, 7, 0])


@pytest.mark.parametrize(
    ("frames", "symbols", "message"),
    [([1, 2], ["a"], "frames has shape"), ([-1.0], ["a"], "negative"), ([np.nan], ["a"], "no finite")],
)
def test_bad_durations_are_refused(frames, symbols, message):
    with pytest.raises(ValueError, match=message):
        duration_alignment(np.array(frames), symbols, {})


TOKENS = Tokens(
    text="at no",
    ids=(1, 4, 5, 6, 3, 7, 8, 2),
    symbols=("^", "ˈ", "æ", "t", " ", "n", "o", "$"),
    kinds=("special", "mark", "phoneme", "phoneme", "punctuation", "phoneme", "phoneme", "special"),
    word_of=(-1, 0, 0, 0, -1, 1, 1, -1),
    words=("at", "no"),
)


def test_speech_with_attention_is_read_by_it():
    speech = Speech(np.zeros(80), 16_000, 1600, attention=attention([0, 2, 2, 5, 5, 7], 8, 0.9), finished=False)
    found = alignment_of(TOKENS, speech)
    assert (found.n, found.skipped, found.finished) == (4, (3, 6), False)
    assert found.coverage == pytest.approx(0.9)  # both words have a token that was attended to
    stalled = Speech(np.zeros(80), 16_000, 1600, attention=attention([0, 2, 3, 5, 6] + [7] * 11, 8))
    assert alignment_of(TOKENS, stalled).stalled == (7,)


def test_speech_without_attention_is_read_by_its_durations():
    speech = Speech(np.zeros(80), 16_000, 256, frames=np.array([1, 1, 5, 1, 0, 9, 4, 1]))
    assert alignment_of(TOKENS, speech).skipped == (3,)
    assert alignment_of(TOKENS, speech, {"n": 8.0}).stalled == (5,)


def test_speech_without_either_is_refused():
    with pytest.raises(ValueError, match="neither attention nor frames"):
        alignment_of(TOKENS, Speech(np.zeros(80), 16_000, 256))


@pytest.mark.real("joe")
def test_the_real_voice_skips_nothing_in_a_plain_sentence_and_what_it_is_made_to_skip_is_found(joe):
    tokens = joe.tokenize("A bald porcine old man.", phonemes="ɐ bˈɔːld pˈoːɹsiːn ˈoʊld mˈæn.")
    frames = add_blank_frames(joe.speak(tokens).frames, tokens.kinds)
    heard = [kind == "phoneme" for kind in tokens.kinds]
    longest = duration_limits([frames], [tokens.symbols])
    found = duration_alignment(frames, tokens.symbols, longest, heard=heard)
    assert (found.skipped, found.stalled, found.n) == ((), (), 18)
    frames[heard.index(True)] = 1
    assert duration_alignment(frames, tokens.symbols, longest, heard=heard).skipped == (heard.index(True),)
