"""Models that the page is started with: refused in one sentence before anything heavy is loaded."""

import pytest
from scratch_commands import genmend


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--pipeline", "nowhere", "give reference, or a folder that save_pretrained wrote"),
        ("--pipeline", "owner/name", "give reference, or a folder that save_pretrained wrote"),
        ("--voice", "nowhere", "There is no voice 'nowhere'"),
        ("--voice", "nowhere.onnx", "There is no file nowhere.onnx"),
    ],
)
def test_models_that_are_not_there_are_refused_at_once(tmp_path, option, value, words):
    done = genmend(tmp_path, "serve", option, value)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_fresh_installation_serves_without_any_weights(tmp_path, monkeypatch):
    served, empty = {}, str(tmp_path / "empty")
    for name in ("XDG_CACHE_HOME", "HOME", "GENMEND_CACHE"):
        monkeypatch.setenv(name, empty)
    monkeypatch.setattr("genmend.workbench.app.server.serve", lambda out, port, **given: served.update(given))
    done = genmend(tmp_path, "serve")
    assert done.returncode == 0, done.stderr
    assert served["models"].generator is None, "faces are fetched when their tab is opened"
    assert "not on this machine" in genmend(tmp_path, "serve", "faces").stderr
