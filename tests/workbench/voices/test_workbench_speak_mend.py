"""``genmend speak --mend``: files, page and summary of a voice that attends, and what does not go together."""

import json
import sys

import numpy as np
import pytest
import soundfile
from spoken_toys import toy_reference

from genmend.tts.mending.settings import SpeakSettings
from genmend.workbench.app.voice import shown
from genmend.workbench.commands.speak import run_speak

IPA = "nəbˈita sˈudə tˈa nimˈo."


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    voice, reference, _ = toy_reference()
    out = tmp_path_factory.mktemp("mended")
    settings = SpeakSettings(mend=True, try_all=True, phonemes=IPA, judge="none", copies=4)
    return run_speak(voice, "one two three four", out, settings, reference=reference, progress=False), out


def test_both_readings_faults_path_and_attempts_are_written(run):
    spoken, out = run
    (sentence,) = spoken
    assert sentence.faults
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))["sentences"][0]
    assert {fault["fault"] for fault in summary["reading_faults"]} == {fault.fault for fault in sentence.faults}
    assert len(summary["attention_path"]["tokens"]) == len(sentence.speech.attention)
    told = summary["mending"]
    assert told["readings"] == len(told["attempts"]) == len(sentence.mending.attempts) > 4
    assert {attempt["cure"] for attempt in told["attempts"]} >= {"attention window", "other seed", "local repair"}
    assert all(attempt["outcome"] and attempt["seconds"] >= 0 for attempt in told["attempts"])
    assert sentence.mending.after.n_misread <= sentence.mending.before.n_misread
    mended, rate = soundfile.read(out / "mended.wav")
    assert len(mended) == len(sentence.final.audio)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<audio") == 1 + sentence.mending.changed
    assert "What was tried" in page
    assert page.index("What is wrong") < page.index("Where the voice has not been")
    columns = spoken.token_columns()
    assert "".join(columns["symbol"]) == sentence.diagnosis.tokens.phonemes
    assert np.isfinite(rate)


def test_every_fault_is_told_on_the_page_of_the_voice(run):
    (sentence,) = run[0]
    assert shown._faults(sentence)


def test_mended_files_of_an_earlier_run_do_not_stay(run):
    voice, reference, _ = toy_reference()
    settings = SpeakSettings(phonemes=IPA, judge="none")
    run_speak(voice, "one two three four", run[1], settings, reference=reference, progress=False)
    assert not (run[1] / "mended.wav").exists()


def test_cures_need_their_judge_before_anything_is_said(monkeypatch, tmp_path):
    voice, reference, _ = toy_reference()
    monkeypatch.setattr(voice, "speak", pytest.fail)
    monkeypatch.setitem(sys.modules, "jiwer", None)
    with pytest.raises(ModuleNotFoundError, match="jiwer"):
        run_speak(voice, "x", tmp_path, SpeakSettings(mend=True, phonemes=IPA), reference=reference)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mend": True, "repair": True}, "mend and repair are two ways to mend"),
        ({"try_all": True}, "try_all needs mend"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SpeakSettings(**options)
