"""How long a job will take: what one batch says, by hand."""

import pytest
from gans_toys import EXTRACTOR, toy_generator

from genmend.gans.duration import (
    Pace,
    correct_seconds,
    detect_seconds,
    dissect_seconds,
    measure_pace,
    rare_seconds,
)
from genmend.gans.settings import DetectorSettings, DissectSettings, RareSearch, RareSettings
from genmend.workbench.cli.duration import say_duration

SMALL, LARGE = Pace(0.1, 1.0, 0.5, False), Pace(0.1, 1.0, 0.5, True)
SETTINGS = DetectorSettings(EXTRACTOR, n_statistics=1000, n_reference=100)


def test_seconds_are_those_of_the_passes():
    assert detect_seconds(SMALL, SETTINGS, 10) == pytest.approx(2000 * 0.1 + 110 * 1.6 + 100 * 0.1 + 100)
    assert detect_seconds(LARGE, SETTINGS, 10) == pytest.approx(
        1100 * 0.1 + 110 * 1.6 + 100 * 0.1 + 100
    )  # a tenth counts
    assert detect_seconds(SMALL, SETTINGS, 10, fitted=True) == pytest.approx(16)
    correcting = correct_seconds(SMALL, SETTINGS, 10, fitted=True)
    assert correcting >= 15
    # A gradient takes three times as long as features do.
    assert correct_seconds(SMALL, SETTINGS, 10, fitted=True, explained=31) - correcting == pytest.approx(4650)
    search = RareSettings(SETTINGS, search=RareSearch(n_versions=2, n_steps=9))
    own = detect_seconds(SMALL, SETTINGS, 0)
    assert rare_seconds(SMALL, search, 4) == pytest.approx(own + 4 * 2 * 10 * 3 * 1.5)
    settings = DissectSettings(n_statistics=100, thresholds="fixed")
    assert dissect_seconds(SMALL, settings) == pytest.approx(10 + 100 * (1 + 2 * 0.1))


def test_the_pace_is_measured_and_told_in_words(capsys):
    pace = measure_pace(toy_generator(), EXTRACTOR)
    assert 0 < pace.layers < 10
    assert 0 < pace.image < 10
    assert 0 < pace.features < 10
    assert not pace.large
    say_duration(toy_generator(), EXTRACTOR, lambda pace: 59.0)
    assert capsys.readouterr().err == ""
    say_duration(toy_generator(), EXTRACTOR, lambda pace: 7200.0)
    assert capsys.readouterr().err.startswith("About 2.0 h to go, by one timed batch (")
