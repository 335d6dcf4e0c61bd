"""pyproject.toml: bounds that resolve to packages that work together, and every package listed."""

import tomllib

import pytest
from house_sources import NOT_INSTALLED, ROOT, name_of, rooms
from packaging.requirements import Requirement

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]

# Which torch a release works beside. torchaudio: measured by importing the pair; torchvision: its own requirement.
# A release that is not here yet fits nothing: measure it, then add it.
BESIDE_TORCHAUDIO = {"2.11": {"2.11", "2.12"}}
BESIDE_TORCHVISION = {"0.26": {"2.11"}, "0.27": {"2.12"}}
# Below it torch.load corrupts memory even with weights_only=True (CVE-2026-24747).
SAFE_TORCH = "2.10"


def admitted(requirement, major):
    """Minor releases ``major.0`` to ``major.60`` that a requirement admits."""
    specifier = Requirement(requirement).specifier
    return {f"{major}.{minor}" for minor in range(61) if specifier.contains(f"{major}.{minor}.0")}


def pair_problems(torch, other, major, beside):
    """Why a resolver could choose releases of the two that do not work together."""
    torches, others = admitted(torch, 2), admitted(other, major)
    problems = [f"{other} admits {release}, which was not tried" for release in sorted(others - set(beside))]
    for release in sorted(torches):
        if not any(release in beside.get(candidate, set()) for candidate in others):
            problems.append(f"torch {release} finds no partner in {other}")
    if major == 2:  # torchaudio does not say which torch it needs, so every combination has to work
        problems += [
            f"torch {release} beside torchaudio {candidate}"
            for candidate in sorted(others & set(beside))
            for release in sorted(torches - beside[candidate])
        ]
    return problems


def requirement_of(name, requirements):
    """The one line of `requirements` about `name`."""
    (line,) = [line for line in requirements if Requirement(line).name == name]
    return line


# Python, and the compiled engine: its sources stay behind, its module is made at the place of installation.
BUILT_OR_SOURCE = {".py", ".pyc", ".cpp", ".h", ".so", ".pyd"}


def unlisted(listed, folders):
    """Folders with Python files that the distribution would leave out."""
    return sorted(set(folders) - set(listed))


def python_packages():
    """Dotted names of every folder of the rooms that holds Python files."""
    folders = {file.parent.relative_to(ROOT) for room in rooms() for file in (ROOT / room).rglob("*.py")}
    return {".".join(folder.parts) for folder in folders}


def test_torch_and_its_companions_fit_together():
    torch = requirement_of("torch", PROJECT["project"]["dependencies"])
    assert pair_problems(torch, requirement_of("torchaudio", EXTRAS["tts"]), 2, BESIDE_TORCHAUDIO) == []
    assert pair_problems(torch, requirement_of("torchvision", EXTRAS["vision"]), 0, BESIDE_TORCHVISION) == []
    assert not Requirement(torch).specifier.contains(f"{SAFE_TORCH}.0")


@pytest.mark.parametrize(
    ("torch", "other", "major", "beside"),
    [
        ("torch>=2.11", "torchaudio>=2.11,<2.12", 2, BESIDE_TORCHAUDIO),
        ("torch>=2.11,<2.14", "torchaudio>=2.11,<2.12", 2, BESIDE_TORCHAUDIO),
        ("torch>=2.10,<2.13", "torchaudio>=2.11,<2.12", 2, BESIDE_TORCHAUDIO),
        ("torch>=2.11,<2.13", "torchaudio>=2.11", 2, BESIDE_TORCHAUDIO),
        ("torch>=2.11,<2.13", "torchvision>=0.26,<0.27", 0, BESIDE_TORCHVISION),
        ("torch>=2.11,<2.13", "torchvision", 0, BESIDE_TORCHVISION),
    ],
)
def test_bounds_that_do_not_fit_are_caught(torch, other, major, beside):
    assert pair_problems(torch, other, major, beside)


def test_every_package_is_listed_and_every_listed_one_exists():
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert unlisted(listed, python_packages()) == []
    assert [name for name in listed if not (ROOT / name.replace(".", "/") / "__init__.py").is_file()] == []
    assert not {name.split(".")[0] for name in listed} & NOT_INSTALLED


def test_a_package_left_out_is_caught():
    assert unlisted(["gans"], {"gans", "gans.models", "tts"}) == ["gans.models", "tts"]


def reached_from(extra, extras):
    """Extras that `extra` names, and those that they name in their turn."""
    own = [Requirement(line) for line in extras[extra]]
    named = {inner for requirement in own if requirement.name == "genmend" for inner in requirement.extras}
    return named | {deeper for inner in named for deeper in reached_from(inner, extras)}


def test_the_all_extra_leaves_out_only_the_developers():
    assert reached_from("all", EXTRAS) == set(EXTRAS) - {"all", "dev"}
    assert reached_from("a", {"a": ["genmend[b]", "numpy"], "b": ["genmend[c]"], "c": [], "d": []}) == {"b", "c"}


def test_what_make_installs_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {extra for part in makefile.split("'.[")[1:] for extra in part.split("]'")[0].split(",")}
    assert {"demo", "dev"} <= named <= set(EXTRAS)


def test_every_file_that_the_rooms_read_is_package_data():
    data = PROJECT["tool"]["setuptools"]["package-data"]
    for room in rooms():
        found = [file for file in (ROOT / room).rglob("*") if file.is_file() and file.suffix not in BUILT_OR_SOURCE]
        left_out = [
            file for file in found if not any(file.match(f"{room}/{pattern}") for pattern in data.get(room, []))
        ]
        assert [name_of(file) for file in left_out] == []


def test_every_marker_of_the_tiers_is_registered():
    markers = {line.split(":")[0] for line in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    assert markers == {"real", "slow", "clip"}
