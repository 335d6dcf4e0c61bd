"""The doctor: what is here, what is missing, and what to do about it."""

import json
import tomllib
from pathlib import Path

import pytest

from genmend.manifold.engine.native_screen import native_kernels
from genmend.storage.weights import PACKAGES
from genmend.workbench.commands import doctor, extras
from genmend.workbench.commands.doctor import diagnose, format_diagnosis

REQUIREMENTS = [
    "numpy>=2.1",
    "packaging>=1000",
    'genmend-no-such-package>=3; extra == "report"',
    'genmend[report]; extra == "demo"',
    'pillow>=12; extra == "demo"',
    'genmend[demo,all]; extra == "all"',
    'winreg-shim; python_version < "3" and extra == "demo"',
]
TORCH = {"torch": "2.12.1", "torchaudio": None, "devices": ["cpu"], "threads": 2, "problem": None}


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """An empty cache, and no process that imports torch."""
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.setattr(doctor, "_torch", lambda: dict(TORCH))
    return tmp_path / "cache"


def names(extra):
    return [package.name for package in extra.packages]


def test_extras_are_resolved_through_each_other_and_by_marker():
    core, report, demo, everything = extras.installed_extras(REQUIREMENTS)
    assert [core.name, report.name, demo.name, everything.name] == ["", "report", "demo", "all"]
    assert names(core) == ["numpy", "packaging"]
    assert names(report) == ["genmend-no-such-package"]
    assert names(demo) == ["genmend-no-such-package", "pillow"]
    assert sorted(names(everything)) == sorted(names(demo))


def test_missing_and_too_old_packages_are_told_apart():
    core, report, *_ = extras.installed_extras(REQUIREMENTS)
    numpy, packaging = core.packages
    assert numpy.accepted
    assert packaging.installed
    assert not packaging.accepted
    assert report.packages[0].installed is None
    assert not report.complete
    assert report.command == "pip install 'genmend[report]'"


def test_every_extra_of_the_project_says_what_it_enables():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert set(extras.ENABLES) - {""} == set(project["optional-dependencies"])
    # Rooms that import these packages are here: what they bring is not for later.
    for name in ("metrics", "ray", "tts", "audio", "vision"):
        assert not extras.ENABLES[name].startswith("later:")


def test_an_empty_cache_lists_every_weights_package_with_its_command(quick):
    diagnosis = diagnose(REQUIREMENTS)
    assert [weights.path for weights in diagnosis.weights] == [None] * len(PACKAGES)
    text = format_diagnosis(diagnosis)
    for name in PACKAGES:
        assert f"genmend fetch {name} (" in text
    assert str(quick) in text
    assert not quick.exists()  # looking makes nothing


def test_fetched_weights_are_found(quick):
    entry = PACKAGES["faces"]
    file = quick / "weights" / f"faces-{entry.sha256[:8]}" / "weights.tar"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    diagnosis = diagnose(REQUIREMENTS)
    assert diagnosis.weights[0].path == str(file)
    assert "genmend fetch faces (" not in format_diagnosis(diagnosis)


def test_a_broken_core_and_a_preset_kernel_are_findings(quick, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    findings = "\n".join(diagnose(REQUIREMENTS).findings)
    assert "The core lacks packaging>=1000" in findings
    assert "OPENBLAS_CORETYPE is preset to 'Prescott'" in findings
    assert "genmend-no-such-package" not in findings  # an extra is a choice


def test_a_cache_folder_that_cannot_be_made_is_a_finding(quick, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "file" / "cache"))
    assert any("is a file: set GENMEND_CACHE" in finding for finding in diagnose(REQUIREMENTS).findings)


def test_without_an_installed_distribution_the_rest_is_still_told(quick, monkeypatch):
    def not_found(name):
        raise extras.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extras.metadata, "version", not_found)
    diagnosis = diagnose()
    assert diagnosis.genmend is None
    assert diagnosis.extras == ()
    assert "pip install -e ." in format_diagnosis(diagnosis)


def test_the_dictionary_is_plain_json_and_says_the_same(quick):
    diagnosis = diagnose(REQUIREMENTS)
    result = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
    assert result["extras"][1]["packages"][0]["name"] == "genmend-no-such-package"
    assert result["extras"][1]["complete"] is False
    assert result["weights"][0]["command"] == "genmend fetch faces"
    assert result["native_kernels"] == list(native_kernels())
    assert result["native_kernel"] == (result["native_kernels"] or [None])[0]
    assert f"native kernels {', '.join(native_kernels()) or 'none'}" in format_diagnosis(diagnosis)
    assert result["blas"]
    assert result["cores"] >= 1


def test_the_text_names_what_is_missing_and_how_to_get_it(quick):
    text = format_diagnosis(diagnose(REQUIREMENTS))
    assert "lacks genmend-no-such-package>=3 (missing)" in text
    assert "get it: pip install 'genmend[report]'" in text
    assert text.splitlines()[-1].startswith("  - ")


def test_the_installed_torch_answers():
    found = doctor._torch()
    assert found["torch"]
    assert found["problem"] is None
    assert found["devices"][-1] == "cpu"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("import os; os.write(2, b'Segmentation fault'); os._exit(139)", "ended with status 139: Segmentation fault"),
        ("import time; time.sleep(60)", "took more than"),
    ],
)
def test_a_torch_that_crashes_or_hangs_does_not_take_the_doctor_along(monkeypatch, script, problem):
    monkeypatch.setattr(doctor, "_ASK_TORCH", script)
    assert problem in doctor._torch(timeout=1 if "sleep" in script else 60)["problem"]


def test_a_torchaudio_for_another_torch_is_reported(monkeypatch, tmp_path):
    (tmp_path / "torchaudio.py").write_text("raise OSError('undefined symbol')")
    (tmp_path / "torch.py").write_text(
        "from types import SimpleNamespace as N\n__version__ = '2.15'\nget_num_threads = lambda: 1\n"
        "cuda = N(device_count=lambda: 0)\nbackends = N(mps=N(is_available=lambda: False))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = doctor._torch()
    assert found["problem"] == "torchaudio does not import beside torch 2.15: undefined symbol"
    assert found["devices"] == ["cpu"]


def test_torch_in_the_current_folder_is_not_imported(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit('planted')")
    monkeypatch.chdir(tmp_path)
    assert "planted" not in str(doctor._torch())


@pytest.mark.parametrize("built", [False, True])
def test_a_missing_kernel_is_said(monkeypatch, built):
    monkeypatch.setattr(doctor, "native_kernels", tuple)
    monkeypatch.setattr(doctor, "find_spec", lambda name: object() if built else None)
    diagnosis = diagnose()
    assert diagnosis.native_kernel is None
    assert any("C++ compiler" in finding for finding in diagnosis.findings) is not built
    assert "native kernels none works here" in format_diagnosis(diagnosis)
