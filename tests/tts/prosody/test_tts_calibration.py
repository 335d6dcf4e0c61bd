"""Strengths found on outputs that answer linearly, late, jumpily, or not at all."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genmend.tts.prosody.calibration import calibrate


@given(slope=st.floats(0.2, 4), bend=st.floats(0.5, 2), target=st.floats(-3, 3).filter(lambda x: abs(x) > 0.2))
def test_a_smooth_answer_is_met(slope, bend, target):
    def measure(gain):
        return math.copysign(slope * gain**bend, target)

    reachable = abs(target) <= slope * 8**bend
    found = calibrate(measure, target, tolerance=0.05, n_trials=40)
    assert found.reached == reachable or abs(abs(target) - slope * 8**bend) < 0.06
    assert measure(found.gain) == found.achieved
    assert 0 < found.gain <= 8


def test_a_linear_answer_takes_two_trials():
    found = calibrate(lambda gain: 0.4 * gain, 1.0, tolerance=0.01)
    assert [gain for gain, _ in found.trials] == [1.0, pytest.approx(2.5)]
    assert found.reached


def test_steps_are_closed_in_on():
    found = calibrate(lambda gain: np.floor(10 * gain) / 10, 0.5, tolerance=0.01, n_trials=10)
    assert found.achieved == pytest.approx(0.5)


def test_what_cannot_be_reached_comes_as_near_as_it_gets():
    found = calibrate(lambda gain: min(gain, 2.0), 5.0, tolerance=0.1, largest=6.0)
    assert found.achieved == 2.0
    assert not found.reached
    assert all(gain <= 6 for gain, _ in found.trials)


def test_failed_measurements_mean_too_much():
    found = calibrate(lambda gain: gain if gain < 1.7 else math.nan, 1.5, start=2.0, tolerance=0.05, n_trials=8)
    assert found.reached
    lost = calibrate(lambda _: math.nan, 1.0, tolerance=0.1)
    assert math.isnan(lost.achieved)
    assert not lost.reached


def test_an_answer_the_wrong_way_is_not_followed_forever():
    found = calibrate(lambda gain: -gain, 1.0, tolerance=0.1, n_trials=5)
    assert len(found.trials) <= 5
    assert found.gain == 1.0


@pytest.mark.parametrize("wrong", [{"start": 0}, {"tolerance": 0}, {"n_trials": 0}, {"target": math.nan}, {"start": 9}])
def test_wrong_numbers_are_refused(wrong):
    options = {"target": 1.0, "tolerance": 0.1} | wrong
    with pytest.raises(ValueError, match="0 < start <= largest"):
        calibrate(lambda gain: gain, **options)
