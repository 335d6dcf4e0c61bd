"""Files written whole or not at all: errors, interrupts, kills and full disks leave the old content."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time

import numpy as np
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
OLD, NEW = "old " * 1000, "new " * 100_000


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text(OLD)
    return path


def write_and_fail(target, error):
    with whole_file(target) as temporary:
        temporary.write_text(NEW[:100])
        raise error


def test_the_new_file_replaces_the_old_one_at_the_end_only(target):
    with whole_file(target) as temporary:
        temporary.write_text(NEW)
        assert temporary.parent == target.parent
        assert target.read_text() == OLD
    assert target.read_text() == NEW
    assert list(target.parent.iterdir()) == [target]


def test_a_new_file_is_made_with_the_usual_rights(tmp_path):
    (tmp_path / "usual").write_text("")
    with whole_file(tmp_path / "ours") as temporary:
        temporary.write_text("")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "ours")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_any_error_leaves_the_old_file_and_nothing_else(target, error):
    with pytest.raises(error):
        write_and_fail(target, error())
    assert target.read_text() == OLD
    assert list(target.parent.iterdir()) == [target]


def test_a_full_disk_while_writing(target):
    with pytest.raises(OSError, match="No space") as caught:
        write_and_fail(target, OSError(errno.ENOSPC, "No space left on device"))
    assert caught.value.errno == errno.ENOSPC
    assert target.read_text() == OLD
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_while_finishing(target, step, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space"), whole_file(target) as temporary:
        temporary.write_text(NEW)
    assert target.read_text() == OLD
    assert list(target.parent.iterdir()) == [target]


def test_a_full_file_system(target):
    """The writer runs out of room for real: a limit on the size of files it may write."""
    script = (
        "import resource, signal, sys; from genmend.storage.atomic import whole_file;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000));\n"
        "try:\n"
        "    with whole_file(sys.argv[1]) as t: t.write_text('new ' * 100_000)\n"
        "except OSError: sys.exit(7)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(target)]).returncode == 7
    assert target.read_text() == OLD
    assert list(target.parent.iterdir()) == [target]


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(target):
    script = (
        "import sys; from genmend.storage.atomic import whole_file\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    for text in ('old ' * 1000, 'new ' * 100_000):\n"
        "        with whole_file(sys.argv[1]) as t: t.write_text(text)"
    )
    for wait in (0.0, 0.004, 0.011, 0.023):
        with subprocess.Popen([sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout.readline() == "ready\n"
            time.sleep(wait)
            writer.send_signal(signal.SIGKILL)
        assert writer.returncode == -signal.SIGKILL
        assert target.read_text() in (OLD, NEW)


def test_writers_that_choose_the_format_by_suffix_find_it(tmp_path):
    with whole_file(tmp_path / "array.npy") as temporary:
        np.save(temporary, np.arange(3))
    assert np.load(tmp_path / "array.npy").tolist() == [0, 1, 2]


def test_two_writers_at_once_do_not_share_a_temporary_file(target):
    with whole_file(target) as one, whole_file(target) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert target.read_text() == "one"
    assert list(target.parent.iterdir()) == [target]


def test_a_missing_folder_is_the_ordinary_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "nowhere" / "file"):
        pytest.fail("the block must not be entered")


def test_nothing_is_seen_before_the_end(tmp_path):
    path = tmp_path / "file"
    with whole_file(path) as one, whole_file(path) as other:  # two at once do not meet
        one.write_bytes(b"one")
        other.write_bytes(b"other")
        assert not path.exists()
    assert path.read_bytes() == b"one"  # the last to end
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"one", b"another" * 100_000])
def test_any_content_and_a_path_as_text(target, content):
    with whole_file(str(target)) as temporary:
        temporary.write_bytes(content)
    assert target.read_bytes() == content
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_no_new_file(tmp_path, error):
    with pytest.raises(error):
        write_and_fail(tmp_path / "new", error())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="modes and signals are POSIX's")
def test_a_writer_killed_in_the_middle_leaves_the_old_file(tmp_path):
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
    with whole_file(path) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"
