"""A sentence edited by requests in words: what the voice needs is found, each request stands alone."""

import math
from dataclasses import replace

import pytest
from prosody_toys import Hum

from genmend.tts.prosody.edit_requests import EditRequest
from genmend.tts.prosody.prosody import ProsodyEdit
from genmend.tts.prosody.sentence_edits import SentenceEdits, edit_sentence
from genmend.workbench.pages.speak_edit import edit_answer

pytest.importorskip("librosa")


@pytest.fixture
def vits(tmp_path):
    pytest.importorskip("transformers")
    from transformers_toys import vits_voice

    return vits_voice(tmp_path)


def test_each_request_is_made_of_the_sentence_as_it_was(vits, monkeypatch):
    monkeypatch.setattr("genmend.tts.prosody.sentence_edits.load_or_fit_moves", pytest.fail)  # durations need none
    run = edit_sentence(vits, "a dab bad", ["dab:duration=1.5", "bad:duration=0.7"])
    assert [edit.request.word for edit in run.edits] == ["dab", "bad"]
    assert all((edit.before.audio == run.edits[0].before.audio).all() for edit in run.edits)
    assert [edit.achieved["duration"] > 1 for edit in run.edits] == [True, False]
    assert run.settings == {"text": "a dab bad", "edits": ["dab:duration=1.5", "bad:duration=0.7"], "seed": 0}
    columns = run.columns()
    asked = dict(zip(zip(columns["word"], columns["attribute"], strict=True), columns["requested"], strict=True))
    assert asked["dab", "duration"] == 1.5
    assert math.isnan(asked["dab", "pitch"])
    assert run.to_dict()["edits"][1]["requested"] == {"duration": 0.7}


def test_what_cannot_be_edited_is_refused(vits):
    with pytest.raises(ValueError, match="Edits change Piper, VITS and ONNX voices, and hum is none"):
        edit_sentence(Hum(), "hum drum", ["hum:duration=1.5"])
    with pytest.raises(ValueError, match="takes one sentence, and the text has 2"):
        edit_sentence(vits, "a dab.\nbad cage.", ["dab:duration=1.5"])


def test_the_headline_says_what_moved_most_without_being_asked_for():
    nan = float("nan")
    edit = ProsodyEdit(
        "The ship left.",
        EditRequest("ship", {"duration": 1.5}),
        achieved={"duration": 1.49, "pitch": -0.4, "energy": 14.7, "tilt": nan},
        elsewhere={"duration": 1.02, "pitch": 0.1, "energy": -0.5, "tilt": 1.0},
        calibrations={},
        vectors={},
        before=None,
        after=None,
    )
    assert edit.largest_unasked == ("word", "energy", 14.7)
    answer = edit_answer(SentenceEdits("joe", (edit,), {}))
    assert "energy of the word: +14.7 dB" in answer.sentence
    assert (answer.number.value, answer.number.control) == ("×1.49", "asked for: ×1.50")
    asked = replace(edit, achieved=edit.achieved | {"energy": 0.2}, elsewhere=edit.elsewhere | {"duration": 1.3})
    assert asked.largest_unasked == ("elsewhere", "duration", 1.3)
