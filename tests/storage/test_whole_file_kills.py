"""Files written whole or not at all: errors, interrupts and kills leave the old content."""

import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from genmend.storage.atomic import whole_file

SLOW = """
import sys, time
from genmend.storage.atomic import whole_file

with whole_file(sys.argv[1]) as temporary, temporary.open("wb") as file:
    for _ in range(1000):
        file.write(b"new" * 1000)
        file.flush()
        time.sleep(0.01)
"""


def write(path, content):
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def test_the_new_content_takes_the_place_of_the_old(tmp_path):
    for content in (b"one", b"", b"another" * 100_000):
        write(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    write(str(tmp_path / "file"), b"by text")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"by text"


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [b"old", None])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error, old):
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)

    def half(error):
        with whole_file(path) as temporary:
            temporary.write_bytes(b"half of it")
            raise error

    with pytest.raises(error):
        half(error)
    assert [there.read_bytes() for there in tmp_path.iterdir()] == ([] if old is None else [old])


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk(tmp_path, monkeypatch, step):
    def full(*_):
        raise OSError("no space left")

    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="no space left"):
        write(tmp_path / "file", b"new")
    assert [there.read_bytes() for there in tmp_path.iterdir()] == [b"old"]


def test_nothing_is_seen_before_the_end(tmp_path):
    path = tmp_path / "file"
    with whole_file(path) as one, whole_file(path) as other:  # two at once do not meet
        one.write_bytes(b"one")
        other.write_bytes(b"other")
        assert not path.exists()
    assert path.read_bytes() == b"one"  # the last to end
    assert len(list(tmp_path.iterdir())) == 1


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "nowhere" / "file", b"")


@pytest.mark.skipif(os.name != "posix", reason="modes and signals are POSIX's")
def test_the_mode_is_that_of_an_ordinary_file(tmp_path):
    (tmp_path / "ordinary").write_bytes(b"")
    write(tmp_path / "file", b"")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == stat.S_IMODE((tmp_path / "ordinary").stat().st_mode)


@pytest.mark.skipif(os.name != "posix", reason="modes and signals are POSIX's")
def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    child = subprocess.Popen([sys.executable, "-c", SLOW, str(path)])
    deadline = time.monotonic() + 60
    while not any(there.stat().st_size > 5000 for there in tmp_path.iterdir()):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    write(path, b"new")
    assert path.read_bytes() == b"new"
