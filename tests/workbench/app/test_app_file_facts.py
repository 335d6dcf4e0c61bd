"""Facts of an uploaded file are told before it is used; a file of another kind is refused in one sentence."""

import pytest
from torch import nn

from genmend.activations import Correction, ScaleUnits, save_correction
from genmend.workbench.app.file_facts import facts_html


def test_what_a_file_says_of_itself_is_shown_with_every_text_escaped(tmp_path):
    path = tmp_path / "correction.safetensors"
    info = {"generator": "<b>toy</b>", "measured": {"mended": 0.5, "by layer": {"main": 0.25}}}
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    save_correction(path, Correction.of(model, [[ScaleUnits("0", (1,), 0.0)]], info=info))
    shown = facts_html(path, "correction")
    assert "&lt;b&gt;toy&lt;/b&gt;" in shown
    assert "<b>" not in shown
    assert "<td>main 0.25</td>" in shown
    with pytest.raises(ValueError, match="holds a correction, and amplification is needed here; upload another"):
        facts_html(path, "amplification")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"^The file "):
        facts_html(path, "correction")
