"""``genmend speak`` on the real Piper voice, phonemes given, with a small reference: files, page, batch, edits."""

import csv
import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from genmend.tts.mending.combination_file import load_repairs
from genmend.tts.mending.settings import SpeakSettings
from genmend.tts.text.corpus import ENGLISH
from genmend.tts.voices.piper import PiperVoice
from genmend.tts.voices.tacotron import TacotronVoice
from genmend.workbench.commands.rank_sentences import run_speak_batch
from genmend.workbench.commands.speak import run_speak
from genmend.workbench.commands.speak_edit import run_speak_edit
from genmend.workbench.pages.speak_edit import write_edit_report

pytestmark = pytest.mark.real("joe")
TEXT, IPA = "Nguyen left.", "nˈuːjɛn lˈɛft."


@pytest.fixture(scope="module")
def voice():
    return PiperVoice.joe()


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    lines = ENGLISH.read_text(encoding="utf-8").splitlines()[:120]
    (folder / "corpus.tsv").write_text("\n".join(lines), encoding="utf-8")
    return {"corpus": folder / "corpus.tsv", "reference": folder / "kept", "judge": "none"}


def test_diagnosis_and_repair_leave_audio_table_and_page(voice, settings, tmp_path):
    run = run_speak(
        voice, TEXT, tmp_path, SpeakSettings(phonemes=IPA, repair=True, psi=0.0, copies=6, **settings), progress=False
    )
    (sentence,) = run.sentences
    assert sentence.diagnosis.layer == "encoder.3"  # the middle of encoder.1 to encoder.6
    assert sentence.repair.changed
    assert sentence.accepted is None
    original, rate = soundfile.read(tmp_path / "original.wav")
    repaired, _ = soundfile.read(tmp_path / "repaired.wav")
    assert rate == 22050
    assert len(original) == len(sentence.speech.audio)
    assert len(original) != len(repaired) or not np.array_equal(original, repaired)
    with (tmp_path / "tokens.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert "".join(row["symbol"] for row in rows) == sentence.diagnosis.tokens.phonemes
    assert [row["state"] for row in rows] == [state for state in sentence.diagnosis.states if state]
    assert all(float(a["end_s"]) <= float(b["begin_s"]) + 1e-9 for a, b in pairwise(rows))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary == json.loads(json.dumps(run.to_dict()))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<audio") == 2
    assert "Nguyen" in page
    assert "No judge was asked" in page


@pytest.mark.all
def test_repairs_that_hold_are_kept_and_serve_again(voice, settings, tmp_path):
    kept, mended = tmp_path / "kept.safetensors", tmp_path / "mended.onnx"
    run = run_speak(
        voice, TEXT, tmp_path / "one", SpeakSettings(phonemes=IPA, repair=True, psi=0.0, copies=6,
                                                     save_repairs=kept, write_voice=mended, **settings), progress=False
    )  # fmt: skip
    (sentence,) = run.sentences
    assert len(run.kept) == sum(move.distance > 0 for move in sentence.repair.moved)
    holding = [one.generalisation.repair for one in run.kept if one.written]
    assert all(one.written == one.generalisation.holds for one in run.kept)  # nobody judges here
    assert holding
    assert [found.shown for found in load_repairs(kept, voice)] == [found.shown for found in holding]
    assert "accepted moves were written" in (tmp_path / "one" / "report.html").read_text(encoding="utf-8")
    again = run_speak(
        voice, TEXT, tmp_path / "two", SpeakSettings(phonemes=IPA, use_repairs=kept, **settings), progress=False
    )
    assert {move.center for move in again.sentences[0].repair.moved} == {"kept repair"}
    written = PiperVoice(mended).speak(sentence.diagnosis.tokens)
    np.testing.assert_allclose(written.audio, again.sentences[0].repaired.audio, atol=1e-3)


def test_a_voice_that_cannot_be_written_is_refused_before_it_speaks(voice, settings, tmp_path):
    wanted = {"phonemes": IPA, "repair": True, **settings}
    with pytest.raises(ValueError, match="is the voice itself"):
        run_speak(voice, TEXT, tmp_path, SpeakSettings(write_voice=voice.path, **wanted), progress=False)
    with pytest.raises(ValueError, match="write_voice writes Piper voices"):
        run_speak(TacotronVoice.reference(), TEXT, tmp_path, SpeakSettings(write_voice=tmp_path / "a.onnx", **wanted))
    assert list(tmp_path.iterdir()) == []


def test_the_reference_is_kept_and_used_again(voice, settings, tmp_path, monkeypatch):
    wanted = SpeakSettings(phonemes=IPA, **settings)
    first = run_speak(voice, TEXT, tmp_path / "one", wanted, progress=False)
    monkeypatch.setattr("genmend.tts.mending.cached_reference.fit_reference", pytest.fail)
    again = run_speak(voice, TEXT, tmp_path / "two", wanted, progress=False)
    assert first.to_dict() == again.to_dict()


def test_a_file_is_ranked_by_what_lies_outside(voice, settings, tmp_path):
    lines = ["The car.\tðə kˈɑːɹ.", f"{TEXT}\t{IPA}", "Zgrbtl.\tzɡɹbtlzd.", "nothing\t漢字"]
    (tmp_path / "lines.tsv").write_text("\n".join(lines), encoding="utf-8")
    batch = run_speak_batch(voice, tmp_path / "lines.tsv", tmp_path, SpeakSettings(**settings), progress=False)
    outside = [diagnosis.outside for diagnosis in batch.diagnoses]
    assert outside == sorted(outside, reverse=True)
    assert batch.diagnoses[0].tokens.text == "Zgrbtl."
    assert len(batch.unreadable) == 1
    with (tmp_path / "sentences.csv").open(encoding="utf-8") as file:
        assert [row["text"] for row in csv.DictReader(file)] == [d.tokens.text for d in batch.diagnoses]
    with (tmp_path / "pairs.csv").open(encoding="utf-8") as file:
        pairs = {row["pair"]: row for row in csv.DictReader(file)}
    assert pairs["ɡɹ"]["count"] == "1"
    assert float(pairs["ɡɹ"]["outside"]) >= 0
    assert "Zgrbtl." in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_settings_that_do_not_go_together_are_refused(voice, tmp_path):
    with pytest.raises(ValueError, match="judge is 'me'; accepted are whisper, hama, none"):
        SpeakSettings(judge="me")
    with pytest.raises(ValueError, match="write_voice needs repair"):
        SpeakSettings(write_voice=tmp_path / "new.onnx")
    with pytest.raises(ValueError, match="two ways to repair"):
        SpeakSettings(repair=True, use_repairs=tmp_path / "kept.safetensors")
    with pytest.raises(ValueError, match="best_of needs a judge"):
        SpeakSettings(best_of=3, judge="none")
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(ValueError, match="holds no sentence"):
        run_speak_batch(voice, tmp_path / "empty.txt", tmp_path, SpeakSettings())


@pytest.mark.all
def test_a_word_is_said_longer_as_asked(voice, settings, tmp_path):
    run = run_speak_edit(
        voice, "The car left.", tmp_path, SpeakSettings(phonemes="ðə kˈɑːɹ lˈɛft.", **settings), ["car:duration=1.5"],
        progress=False,
    )  # fmt: skip
    (edit,) = run.edits
    assert edit.achieved["duration"] == pytest.approx(1.5, rel=0.05)
    assert edit.elsewhere["duration"] == pytest.approx(1, abs=0.2)
    original, _ = soundfile.read(tmp_path / "original.wav")
    edited, _ = soundfile.read(tmp_path / "edited.wav")
    assert len(edited) > len(original)
    with (tmp_path / "edits.csv").open(encoding="utf-8") as file:
        rows = {row["attribute"]: row for row in csv.DictReader(file)}
    assert float(rows["duration"]["requested"]) == 1.5
    assert float(rows["duration"]["achieved"]) == edit.achieved["duration"]
    assert rows["pitch"]["requested"] == ""
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count("<audio") == 2
    assert json.loads((tmp_path / "summary.json").read_text())["edits"][0]["requested"] == {"duration": 1.5}
    higher = replace(edit.request, changes={"pitch": 1.0})
    silent = replace(edit, request=higher, achieved=edit.achieved | {"pitch": np.nan}, calibrations={})
    write_edit_report(tmp_path / "silent.html", replace(run, edits=(silent,)))
    page = (tmp_path / "silent.html").read_text(encoding="utf-8")
    assert "nothing to measure it on, before or after: pitch" in page


def test_edits_that_cannot_be_done_are_refused(voice, settings, tmp_path):
    wanted = SpeakSettings(phonemes="ðə kˈɑːɹ.", **settings)
    with pytest.raises(LookupError, match="has no word 'bus'"):
        run_speak_edit(voice, "The car.", tmp_path, wanted, ["bus:duration=1.5"], progress=False)
    with pytest.raises(ValueError, match="names no word"):
        run_speak_edit(voice, "The car.", tmp_path, wanted, ["duration=1.5"], progress=False)
    assert list(tmp_path.iterdir()) == []
