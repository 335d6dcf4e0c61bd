"""The page of the cures says what its results hold: shares, mended and spoiled readings, where local repair wins."""

import numpy as np
import pytest

from experiments.voices.page_texts.cures import cures
from experiments.voices.train_failing_tacotron import FAILING
from genmend.tts.cures.case import Case, read
from genmend.tts.cures.mending import mend_sentence
from genmend.tts.cures.table import CURES
from genmend.tts.cures.way import Way
from genmend.tts.mending.settings import SpeakSettings
from genmend.tts.voices.tacotron import TacotronVoice


def row(bad, seconds=0.5):
    bad = np.array(bad)
    rates = np.linspace(0.1, 0.3, len(bad)).tolist()
    return {"bad": bad.tolist(), "word_errors": rates, "phoneme_errors": rates, "cpu_seconds": seconds}


@pytest.fixture
def results():
    as_it_is = np.ones((10, 3), dtype=int)
    as_it_is[:2, 0] = 0
    window = np.zeros((10, 3), dtype=int)
    window[0, 0] = 1
    rows = {"as it is": as_it_is, "attention window 1, 3": window, "local, lstm": as_it_is, "global, lstm": as_it_is}
    others = {"random vector, lstm": as_it_is, "random direction, lstm": as_it_is, "mend": window * 0}
    ordinary = {
        "bad": [[0, 0]] * 8 + [[1, 0], [0, 1]],
        "words": [[0.1, 0.1]] * 10,
        "sounds": [[0.2, 0.2]] * 9 + [[0.2, 0.1]],
        "changed": [0] * 8 + [1, 1],
        "cures": [[]] * 8 + [["attention window"]] * 2,
        "readings": [0] * 8 + [1, 4],
        "cpu_seconds": 1.5,
    }
    about = {"voice": "a voice", "seeds": [1, 2, 3], "k": 5, "psi": 0.0, "tried_for_failing": 40}
    return {**about, "rows": {name: row(bad) for name, bad in (rows | others).items()}, "ordinary mended": ordinary}


def test_counts_and_shares_are_those_of_the_results(results):
    text = cures(results)
    (line,) = [line for line in text.splitlines() if line.startswith("| attention window 1, 3")]
    assert "| 28 / 1 |" in line
    assert "0.033" in line
    assert "**Spoiled by their attention: 1** (0.3 % to 44.5 %)" in text
    assert "after `mend` 0 % (0 of 30)" in text
    assert "The best single row is attention window 1, 3 with 3 %" in text
    assert "in no layer" in text


def test_rows_of_the_embedding_are_counted_where_they_are(results):
    assert "embedding" not in cures(results)
    results["rows"]["local, embedding"] = results["rows"]["as it is"]
    results["rows"]["random direction, embedding"] = row(np.ones((10, 3), dtype=int))
    assert "of 2 rows 2 readings differ" in cures(results)


def test_local_repair_wins_where_it_beats_every_control(results):
    results["rows"]["local, lstm"] = row(np.zeros((10, 3), dtype=int))
    assert "intervals apart from 0, in lstm." in cures(results)


@pytest.mark.all
def test_the_failing_voice_reads_a_short_sentence_in_the_parts_of_its_comma():
    voice = TacotronVoice.from_files(FAILING)
    tokens = voice.tokenize("Officially, he is in charge.", phonemes="əfˈɪʃəli, hiː ɪz ɪn tʃˈɑːɹdʒ.")
    way = Way(voice, (tokens,), seed=201)
    case = Case(way, read(*way.say()), None, SpeakSettings())
    assert case.reading.n_misread
    done = mend_sentence(case, cures=[cure for cure in CURES if cure.name == "split at marks"])
    assert done.after.n_misread == 0
    assert [attempt.how for attempt in done.kept] == ['before "he"']
