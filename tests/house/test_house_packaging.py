"""pyproject.toml, setup.py and constraints.txt: what is resolved works together, and everything is packed."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module, metadata

import pytest
from house_sources import NOT_INSTALLED, PACKAGE, ROOT, name_of, python_files, rooms
from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")

# The torch that each release loads beside, measured by importing the pair: [from, below). torchaudio's own requirement
# (torch>=2.11) is wider than the truth. A release that is not here fits nothing: measure it, then add it.
BESIDE_TORCHAUDIO = {"2.11.0": ("2.11", "2.13"), "2.11.1": ("2.14", "2.16")}
# Below it torch.load corrupts memory even with weights_only=True (CVE-2026-24747).
SAFE_TORCH = "2.10"


def admitted(requirement):
    """Releases 2.0.0 to 2.60.1 that a requirement admits."""
    releases = [f"2.{minor}.{patch}" for minor in range(61) for patch in range(2)]
    return [release for release in releases if Requirement(requirement).specifier.contains(release)]


def pair_problems(torch, torchaudio, beside):
    """Why a resolver could choose releases of the two that do not work together."""
    problems = [] if admitted(torch) and admitted(torchaudio) else ["nothing is admitted"]
    for audio in admitted(torchaudio):
        if audio not in beside:
            problems.append(f"torchaudio {audio} was not tried")
            continue
        low, high = map(Version, beside[audio])
        problems += [f"{audio} beside torch {it}" for it in admitted(torch) if not low <= Version(it) < high]
    return problems


def requirement_of(name, requirements):
    """The one line of `requirements` about `name`."""
    (line,) = [line for line in requirements if Requirement(line).name == name]
    return line


def constrained(text):
    """Exact versions that a constraints file names, by normalised name."""
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", text, flags=re.MULTILINE))
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}


def test_torch_and_torchaudio_fit_together_whatever_is_resolved():
    torch, audio = (requirement_of(name, EXTRAS["tts"]) for name in ("torch", "torchaudio"))
    assert pair_problems(torch, audio, BESIDE_TORCHAUDIO) == []
    core = requirement_of("torch", PROJECT["project"]["dependencies"])
    assert not Requirement(core).specifier.contains(f"{SAFE_TORCH}.0")
    for wrong in [
        ("torch>=2.11,<2.13", "torchaudio>=2.11,<2.12"),  # resolves to 2.11.1, which does not load beside 2.12
        ("torch>=2.14", "torchaudio>=2.11.1,<2.12"),
        ("torch>=2.13,<2.16", "torchaudio>=2.11.1,<2.12"),
        ("torch>=2.14,<2.16", "torchaudio>=2.11.1"),
        ("torch>=2.14,<2.16", "torchaudio>=2.11,<2.12"),
    ]:
        assert pair_problems(*wrong, BESIDE_TORCHAUDIO), wrong


def test_what_was_resolved_imports():
    for name in ("torchaudio", "torchaudio.functional", "torchvision", "transformers", "diffusers"):
        import_module(name)
    subprocess.run([sys.executable, "-c", "import ray"], check=True)  # what it reads then is for its own tests
    torch, audio = (Version(metadata.version(name)) for name in ("torch", "torchaudio"))
    low, high = BESIDE_TORCHAUDIO[audio.public]
    assert Version(low) <= Version(torch.public) < Version(high)


def test_constraints_hold_what_pyproject_admits_and_every_direct_requirement():
    pins = constrained(CONSTRAINTS)
    lines = [*PROJECT["project"]["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
    for requirement in map(Requirement, lines):
        if requirement.name == PACKAGE:
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name == "setuptools":  # pip's own business
            continue
        assert name in pins, f"{requirement} has no pin in constraints.txt"
        assert requirement.specifier.contains(pins[name], prereleases=True), f"{requirement}: {pins[name]}"


@pytest.mark.skipif(".venv-latest" in sys.prefix, reason="this environment was resolved without constraints.txt")
def test_the_environment_is_the_one_that_constraints_name():
    pins = constrained(CONSTRAINTS)
    other = {}
    for name in ("torch", "torchaudio", "torchvision", "transformers", "diffusers", "ray", "numpy", "faiss-cpu"):
        found = metadata.version(name)
        if Version(found).public != pins[name]:
            other[name] = (found, pins[name])
    assert other == {}


def test_every_folder_of_the_rooms_is_a_package():
    folders = {file.parent for file in python_files(*rooms())}
    assert [name_of(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []
    listed = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "--name"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert listed.stdout.split()[-1:] == [PACKAGE], listed.stderr[-500:]
    source = (ROOT / "setup.py").read_text(encoding="utf-8")
    assert all(f'"{room}"' in source for room in rooms())
    assert not any(f'"{folder}"' in source for folder in NOT_INSTALLED)


def reached_from(extra, extras):
    """Extras that `extra` names, and those that they name in their turn."""
    own = [Requirement(line) for line in extras[extra]]
    named = {inner for requirement in own if requirement.name == PACKAGE for inner in requirement.extras}
    return named | {deeper for inner in named for deeper in reached_from(inner, extras)}


def test_the_all_extra_leaves_out_only_the_developers():
    assert reached_from("all", EXTRAS) == set(EXTRAS) - {"all", "dev"}
    assert reached_from("a", {"a": ["genmend[b]", "numpy"], "b": ["genmend[c]"], "c": [], "d": []}) == {"b", "c"}


def dry_run(*words):
    """What make would do."""
    command = ["make", "--dry-run", "--always-make", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_one_variable_of_make_leaves_cuda_out(tmp_path):
    stamp = f"{tmp_path}/.installed-demo"
    extra = "--extra-index" + "-url a-folder"
    assert extra in dry_run(stamp, f"VENV={tmp_path}", "TORCH=cpu", "TORCH_INDEX=a-folder").stdout
    assert "index" not in dry_run(stamp, f"VENV={tmp_path}").stdout
    wrong = dry_run(stamp, f"VENV={tmp_path}", "TORCH=gpu")
    assert wrong.returncode == 2
    assert "TORCH is 'gpu', and only cpu is accepted" in wrong.stderr


def test_what_make_installs_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {extra for part in makefile.split("'.[")[1:] for extra in part.split("]'")[0].split(",")}
    assert {"demo", "dev"} <= named <= set(EXTRAS)
    cleaned = re.search(r"^ROOMS := (.*)$", makefile, flags=re.MULTILINE)[1].split()
    assert sorted(cleaned) == rooms()


# Python, and the compiled engine: its sources stay behind, its module is made at the place of installation.
BUILT_OR_SOURCE = {".py", ".pyc", ".cpp", ".h", ".so", ".pyd"}


def test_every_file_that_the_rooms_read_is_package_data():
    data = PROJECT["tool"]["setuptools"]["package-data"]
    for room in rooms():
        found = [file for file in (ROOT / room).rglob("*") if file.is_file() and file.suffix not in BUILT_OR_SOURCE]
        patterns = data.get(f"{PACKAGE}.{room}", [])
        left_out = [file for file in found if not any(file.match(f"{room}/{pattern}") for pattern in patterns)]
        assert [name_of(file) for file in left_out] == []


def test_every_marker_of_the_tiers_is_registered():
    markers = {line.split(":")[0] for line in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    assert markers == {"all", "real", "slow", "clip"}


def test_ci_runs_what_a_person_runs():
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8").split()
    assert [steps[i + 1] for i, word in enumerate(steps) if word == "make"] == ["test", "lint", "test-all"]


@pytest.mark.all
@pytest.mark.parametrize("compiler", ["", "/nowhere/c++"])
def test_the_wheel_is_for_this_machine_only_where_the_engine_was_built(tmp_path, compiler):
    import os

    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "src", "manifold", "storage"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, tmp_path / name)
    for built in (tmp_path / "manifold/engine").glob("_native*.so"):
        built.unlink()
    environment = {**os.environ, **({"CC": compiler, "CXX": compiler} if compiler else {})}
    command = [sys.executable, "setup.py", "bdist_wheel"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (wheel,) = (tmp_path / "dist").iterdir()
    assert wheel.name.endswith("-py3-none-any.whl") == bool(compiler)
    assert ("-cp311-abi3-" in wheel.name) != bool(compiler)
    assert ("the compiled engine was not built" in done.stderr) == bool(compiler)
    if compiler:
        return
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", tmp_path / "site"]
    subprocess.run([*pip, wheel], check=True)
    tried = subprocess.run(
        [sys.executable, ROOT / "tests/house/try_wheel.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )  # fmt: skip
    assert tried.returncode == 0, tried.stderr[-2000:]
    assert str(tmp_path / "site") in tried.stdout


def test_the_engine_needs_neither_openmp_nor_a_long_of_64_bits():
    sources = list((ROOT / "manifold/engine/native").rglob("*.*"))
    assert len(sources) > 8
    for path in sources:
        code = "\n".join(line.partition("//")[0] for line in path.read_text(encoding="utf-8").splitlines())
        assert not re.search(r"(?<!long )\blong\b(?! long)", code), path.name  # 32 bits on Windows
        assert "<omp.h>" not in code or "#ifdef _OPENMP" in code, path.name
    assert '"-ffp-contract=off"' in (ROOT / "setup.py").read_text(encoding="utf-8")
