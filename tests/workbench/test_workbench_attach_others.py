"""genmend attach for a pipeline and a voice: the facts of the file first, then the same prompt or text with it."""

import html
import json
import re
from dataclasses import replace

import diffusion_toys
import numpy as np
import pytest
from scratch_commands import genmend

from genmend.activations import Correction
from genmend.diffusion import AmplifyLowFrequencies
from genmend.diffusion.amplification.plug_in import write_amplification
from genmend.diffusion.loading import TextToImage
from genmend.storage.hub.repository import find_shared
from genmend.tts import VoiceRepairs
from genmend.tts.mending.combination import CombinationRepair
from genmend.tts.mending.settings import SpeakSettings
from genmend.tts.text.corpus import ENGLISH
from genmend.tts.voices.piper import PiperVoice
from genmend.workbench.commands.attach import run_attach_amplification, run_attach_repairs

SMALL = {"num_inference_steps": 1, "guidance_scale": 0.0, "height": 16, "width": 16}


def test_an_amplification_on_a_pipeline(tmp_path):
    pipe = diffusion_toys.sd15(tmp_path)
    write_amplification(tmp_path / "a.safetensors", pipe, [AmplifyLowFrequencies("mid_block", 3.0, 2)])
    shared = find_shared(tmp_path / "a.safetensors")
    tried = {"n": 2, "call": SMALL, "progress": False}
    found = run_attach_amplification("toy", TextToImage(pipe), shared, ("a chair",), tmp_path / "seen", **tried)
    assert found["fit"] == "the weights it was made for"
    assert found["pixel_change"] > 0
    page = (tmp_path / "seen" / "report.html").read_text()
    assert "genmend attach: Amplification of" in page
    assert page.index("What the file says") < page.index("Same seeds, without and with")
    assert "--real" not in page.split("</header>")[0]
    for words in (
        "whether the images are better was not measured", "the same gains in the band", "mid_block 3.0",
        "are looked at, not measured", "the weights it was made for",
    ):  # fmt: skip
        assert words in page, words
    other = replace(Correction.from_pretrained(tmp_path / "a.safetensors"), weights_digests={"as_stored": "0" * 64})
    other.save_pretrained(tmp_path / "other", licence="mit")
    found = run_attach_amplification(
        "toy", TextToImage(pipe), find_shared(tmp_path / "other"), ("a chair",), tmp_path / "none", **tried
    )
    assert found["fit"] == "other weights than those it was made for"
    assert "Nothing was tried" in (tmp_path / "none" / "report.html").read_text()
    assert not (tmp_path / "none" / "amplified").exists()
    done = genmend(tmp_path, "attach", "reference", "a.safetensors", "--out", "x")
    assert (done.returncode, "give --prompt" in done.stderr) == (2, True)


@pytest.mark.real("joe")
def test_repairs_of_a_voice(tmp_path):
    voice = PiperVoice.joe()
    (tmp_path / "corpus.tsv").write_text(
        "\n".join(ENGLISH.read_text(encoding="utf-8").splitlines()[:60]), encoding="utf-8"
    )
    tokens = voice.tokenize(phonemes="nˈuːjɛn lˈɛft.")
    layer, part = voice.layers[3], slice(4, 9)
    width = voice.encode([tokens], [layer])[0][layer].shape[1]
    found = tokens.ids[part], tokens.symbols[part], tokens.kinds[part]
    repair = CombinationRepair(layer, *found, 2, np.full(width, 0.3, np.float32))
    VoiceRepairs.of(voice, [repair]).save_pretrained(tmp_path / "shared", licence="cc0-1.0")
    settings = SpeakSettings(
        phonemes="nˈuːjɛn lˈɛft.", corpus=tmp_path / "corpus.tsv", reference=tmp_path / "kept", judge="none"
    )
    shared = find_shared(tmp_path / "shared")
    told = run_attach_repairs(voice, shared, "", tmp_path / "seen", settings=settings, progress=False)
    assert told["fit"] == "the weights it was made for"
    page = (tmp_path / "seen" / "report.html").read_text(encoding="utf-8")
    first, _, _ = page.partition("<section")
    assert first.count("<audio") == 2
    assert "The file's repairs move 1 of" in html.unescape(first)
    assert re.search("Of these outside.*of 1.*before: ", first, re.DOTALL)
    assert "no judge was asked. Listen to both" in page
    replace(VoiceRepairs.from_pretrained(tmp_path / "shared"), voice="0" * 64).save_pretrained(
        tmp_path / "other", licence="mit"
    )
    told = run_attach_repairs(voice, find_shared(tmp_path / "other"), "x", tmp_path / "none", progress=False)
    assert told["fit"] == "other weights than those it was made for"
    assert json.loads((tmp_path / "none" / "summary.json").read_text())["fit"] == told["fit"]
    done = genmend(tmp_path, "attach", "joe", "shared", "--out", "x")
    assert (done.returncode, "give --text" in done.stderr) == (2, True)
