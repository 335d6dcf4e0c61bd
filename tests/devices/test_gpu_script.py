"""benchmarks/gpu.py, which waits for a GPU, runs: as a user tries it, and on the labelled device as on a GPU."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from labelled_device import labelled_device

pytestmark = pytest.mark.all  # half a minute of CPU

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("gpu", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu", module)
    spec.loader.exec_module(module)
    return module


def test_it_runs_where_there_is_no_gpu(script, tmp_path, capsys):
    script.main(
        ["--device", "cpu", "--small", "--repeats", "1", "--out", str(tmp_path / "found.json"), *others(script)]
    )
    found = json.loads((tmp_path / "found.json").read_text())
    everything_agrees(found)
    assert "say nothing of a GPU" in found["note"]
    with pytest.raises(SystemExit):
        script.main([])
    assert "no CUDA device" in capsys.readouterr().err


def test_a_users_hour_where_there_is_no_gpu(script, tmp_path):
    line = ["--device", "cpu", "--small", "--repeats", "1", "--parts", "hour"]
    script.main([*line, "--out", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["hour"]["images_kept"]
    assert found["hour"]["file_used_again_levels_apart"] <= 1
    assert found["hour"]["offload_none"]["seconds_an_image_batch_8"] > 0
    assert "on cpu in float32: the weights take" in found["hour"]["offload_none"]["said"]


def test_it_runs_as_on_a_gpu(script, tmp_path, monkeypatch):
    answers = {
        "is_available": True,
        "synchronize": None,
        "empty_cache": None,
        "reset_peak_memory_stats": None,
        "max_memory_allocated": 2_000_000,
        "get_device_name": "Labelled GPU 1",
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(script, "RESULTS", tmp_path)
    with labelled_device():
        script.main(["--small", "--repeats", "1", *others(script)])
    found = json.loads((tmp_path / "gpu-Labelled-GPU-1.json").read_text())
    everything_agrees(found)
    assert found["unet"]["peak_gb"] == 0.002
    assert set(found["unet"]) >= {"float32", "bfloat16", "float16"}


def others(script):
    """The parts that take seconds."""
    return ["--parts", *(part.__name__ for part in script.PARTS if part is not script.hour)]


def everything_agrees(found):
    assert set(found["generator_parity"]["relative"].values()) == {0.0}
    assert found["correction_parity"]["treated_alike"] == 1
    assert {found["correction_parity"][f"{name}_apart"] for name in ("images", "descended_latents", "last_rung")} == {0}
    assert found["engine"]["per_sample_equal"]
    assert found["extraction"]["relative"] == 0
    errors = found["amplification_parity"]["relative_error"]
    assert all(error["cpu"] == error["device"] < 1e-2 for error in errors.values())
