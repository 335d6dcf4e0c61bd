"""The doctor: what is here, what is missing, and what to do about it."""

import json
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

from genmend.manifold.engine.native_screen import native_kernels
from genmend.storage.weights import PACKAGES
from genmend.workbench.commands import doctor, extras, imports
from genmend.workbench.commands.doctor import diagnose, format_diagnosis
from genmend.workbench.commands.imports import Imports, mending_command, modules_of, try_imports

REQUIREMENTS = [
    "numpy>=2.1",
    "packaging>=1000",
    'genmend-no-such-package>=3; extra == "report"',
    'genmend[report]; extra == "demo"',
    'pillow>=12; extra == "demo"',
    'genmend[demo,all]; extra == "all"',
    'winreg-shim; python_version < "3" and extra == "demo"',
]
TORCH = {"version": "2.12.1", "cuda": None, "devices": ["cpu"], "threads": 2}


packages_distributions = cache(metadata.packages_distributions)  # half a second, and always the same


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """An empty cache, no process that imports anything, and a genmend that came as a wheel."""
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.setattr(doctor, "try_imports", lambda modules: Imports(torch=dict(TORCH), blas=("openblas",)))
    monkeypatch.setattr(imports.metadata, "packages_distributions", packages_distributions)
    as_wheel(monkeypatch)
    return tmp_path / "cache"


def as_wheel(monkeypatch):
    """The lines to type of an installation from a wheel, whose pip is on the PATH."""
    monkeypatch.setattr(extras, "_origin", lambda: (None, False))
    monkeypatch.setattr(extras, "pip", lambda: "pip")
    monkeypatch.setattr(imports, "pip", lambda: "pip")


def names(extra):
    return [package.name for package in extra.packages]


def test_extras_are_resolved_through_each_other_and_by_marker():
    core, report, demo, everything = extras.installed_extras(REQUIREMENTS)
    assert [core.name, report.name, demo.name, everything.name] == ["", "report", "demo", "all"]
    assert names(core) == ["numpy", "packaging"]
    assert names(report) == ["genmend-no-such-package"]
    assert names(demo) == ["genmend-no-such-package", "pillow"]
    assert sorted(names(everything)) == sorted(names(demo))


def test_missing_and_too_old_packages_are_told_apart(monkeypatch):
    as_wheel(monkeypatch)
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


def test_the_installed_torch_answers_and_every_core_package_imports():
    found = try_imports(modules_of(["numpy", "torch", "scipy", "faiss-cpu", "scikit-learn", "pillow"]))
    assert found.problems == {}
    assert found.torch["version"]
    assert all("threads: " in kernel for kernel in found.blas)
    assert found.blas
    assert found.torch["devices"][-1] == "cpu"


def test_modules_are_found_by_the_distribution():
    found = modules_of(["torch", "scikit-learn", "faiss-cpu", "pillow", "no-such-distribution"])
    assert found["torch"] == ["torch"]  # and not torchgen, functorch
    assert found["scikit-learn"] == ["sklearn"]
    assert found["faiss-cpu"] == ["faiss"]
    assert found["pillow"] == ["PIL"]
    assert found["no-such-distribution"] == []


@pytest.fixture
def planted(monkeypatch, tmp_path):
    """Modules that import, and that fail in every way."""
    for name, text in {
        "fine_one": "print('an import may print')",
        "raises": "raise OSError('undefined\\n symbol')",
        "wraps": "try:\n    import lacks\nexcept ImportError as error:\n    raise OSError('no library') from error",
        "lacks": "import genmend_no_such_module",
        "crashes": "import os; os.write(2, b'Segmentation fault'); os._exit(139)",
        "leaves": "raise SystemExit('planted')",
        "fine_two": "",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_what_cannot_be_imported_takes_nothing_else_along(planted):
    found = try_imports(
        {name: [name] for name in ["fine_one", "raises", "wraps", "lacks", "crashes", "leaves", "fine_two"]}
    )
    assert found.problems == {
        "raises": "OSError: undefined symbol",
        "wraps": "OSError: no library (No module named 'genmend_no_such_module')",
        "lacks": "ModuleNotFoundError: No module named 'genmend_no_such_module'",
        "crashes": "the import ended with status 139: Segmentation fault",
        "leaves": "SystemExit: planted",
    }
    assert found.missing == {"wraps": "genmend_no_such_module", "lacks": "genmend_no_such_module"}


@pytest.mark.all
def test_an_import_that_hangs_is_left_and_the_rest_goes_on(planted):
    (planted / "hangs.py").write_text("import time; time.sleep(60)")
    found = try_imports({"fine_one": ["fine_one"], "hangs": ["hangs"], "raises": ["raises"]}, timeout=5)
    assert found.problems == {"hangs": "the import took more than 5 s", "raises": "OSError: undefined symbol"}


def test_a_module_in_the_current_folder_is_not_imported(monkeypatch, tmp_path):
    (tmp_path / "numpy.py").write_text("raise SystemExit('planted')")
    monkeypatch.chdir(tmp_path)
    assert try_imports({"numpy": ["numpy"]}).problems == {}


@pytest.mark.parametrize(
    ("name", "version", "torch", "cuda", "line"),
    [
        ("torchaudio", "2.11.1", "2.12.1+cu130", "13.0", "pip install torchaudio==2.11.0"),
        ("torchaudio", "2.11.0", "2.14.1+cu130", "13.0", "pip install torchaudio==2.11.1"),
        (
            "torchaudio",
            "2.11.1",
            "2.13.0+cpu",
            None,
            "pip install torch==2.12.1 torchvision==0.27.1 torchaudio==2.11.0",
        ),
        (
            "torchaudio",
            "2.11.1",
            "2.14.1+cpu",
            None,
            "pip install torch==2.12.1 torchvision==0.27.1 torchaudio==2.11.0",
        ),
        ("torchaudio", "2.11.0", "2.12.1+cpu", None, "pip install --force-reinstall --no-deps torchaudio==2.11.0"),
        ("torchvision", "0.27.1", "2.14.1+cu130", "13.0", "pip install torchvision==0.29.1"),
        ("timm", "1.0", "2.14.1+cu130", "13.0", "pip install --force-reinstall --no-deps timm==1.0"),
    ],
)
def test_the_line_that_mends_a_package_is_measured(monkeypatch, name, version, torch, cuda, line):
    as_wheel(monkeypatch)
    found = Imports({"version": torch, "cuda": cuda}, {name: "OSError: undefined symbol"})
    assert mending_command(name, version, found, ["torch", "torchvision", "torchaudio", "timm"]) == line


def test_what_lacks_a_module_gets_it(monkeypatch):
    as_wheel(monkeypatch)
    found = Imports({}, {"speechmos": "No module named 'sklearn'"}, {"speechmos": "sklearn.svm"})
    assert mending_command("speechmos", "1.0", found) == "pip install scikit-learn"


def test_a_broken_package_is_said_with_its_line(quick, monkeypatch):
    broken = Imports(dict(TORCH), {"pillow": "OSError: undefined symbol"})
    monkeypatch.setattr(doctor, "try_imports", lambda modules: broken)
    diagnosis = diagnose(REQUIREMENTS)
    text = format_diagnosis(diagnosis)
    demo = next(extra for extra in diagnosis.extras if extra.name == "demo")
    version = next(package.installed for package in demo.packages if package.name == "pillow")
    line = f"pip install --force-reinstall --no-deps pillow=={version}"
    assert demo.state == "broken"
    assert not demo.complete
    assert "  broken   demo: " in text
    assert f"cannot import pillow {version}: OSError: undefined symbol\n           mend it: {line}\n" in text
    assert f"pillow {version} cannot be imported (OSError: undefined symbol): run `{line}`." in diagnosis.findings
    result = diagnosis.to_dict()
    package = next(p for e in result["extras"] if e["name"] == "demo" for p in e["packages"] if p["name"] == "pillow")
    assert (package["problem"], package["remedy"]) == ("OSError: undefined symbol", line)
    assert next(e["state"] for e in result["extras"] if e["name"] == "demo") == "broken"


def test_what_fails_with_what_it_requires_is_not_mended_for_itself(quick, monkeypatch):
    problem = "OSError: undefined symbol"
    broken = Imports(dict(TORCH), {"scikit-learn": problem, "prdc": problem, "pillow": "OSError: another"})
    monkeypatch.setattr(doctor, "try_imports", lambda modules: broken)
    findings = diagnose(["scikit-learn", "pillow", 'prdc; extra == "dev"']).findings
    assert [finding.split()[0] for finding in findings if "cannot be imported" in finding] == ["pillow", "scikit-learn"]


def test_a_torchaudio_for_another_torch_is_said_with_the_one_that_loads(quick, monkeypatch):
    broken = Imports(dict(TORCH), {"torchaudio": "OSError: undefined symbol"})
    monkeypatch.setattr(doctor, "try_imports", lambda modules: broken)
    monkeypatch.setattr(extras.metadata, "version", lambda name: {"torchaudio": "2.11.1"}.get(name, "9999"))
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["torch>=2.11"])
    diagnosis = diagnose(['torchaudio>=2.11,<2.12; extra == "tts"'])
    assert diagnosis.findings[0] == (
        "torchaudio 2.11.1 cannot be imported beside torch 2.12.1 (OSError: undefined symbol): "
        "run `pip install torchaudio==2.11.0`."
    )
    assert diagnosis.torchaudio is None


@pytest.mark.parametrize("built", [False, True])
def test_a_missing_kernel_is_said(quick, monkeypatch, built):
    monkeypatch.setattr(doctor, "native_kernels", tuple)
    monkeypatch.setattr(doctor, "find_spec", lambda name: object() if built else None)
    diagnosis = diagnose()
    assert diagnosis.native_kernel is None
    assert any("C++ compiler" in finding for finding in diagnosis.findings) is not built
    assert "native kernels none works here" in format_diagnosis(diagnosis)
