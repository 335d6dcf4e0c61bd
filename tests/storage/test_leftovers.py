"""Temporary files of dead writers go at the next writer's first file in a folder; those of the living stay."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from genmend.storage import container
from genmend.storage.atomic import _tidy_once, whole_file
from genmend.storage.leftovers import _machine, remove_leftovers, remove_others, temporary_folder, temporary_name

WRITER = """
import sys
from genmend.storage.atomic import whole_file

with whole_file(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print("begun", flush=True)
    sys.stdin.read()
    temporary.write_text("whole")
"""


def begun(path):
    """A process in the middle of writing `path`; it ends well when its input closes."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout.readline() == "begun\n"
    return writer


def names(folder):
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="whether a process lives is asked on POSIX alone")
def test_the_next_writer_removes_what_a_killed_one_left_and_not_what_a_living_one_writes(tmp_path):
    killed, living = begun(tmp_path / "killed.txt"), begun(tmp_path / "living.txt")
    killed.kill()
    killed.wait()
    assert len(names(tmp_path)) == 2
    with whole_file(tmp_path / "another.csv") as temporary:
        temporary.write_text("")
    there = names(tmp_path)
    assert len(there) == 2
    assert there[0].startswith(".living.")
    living.communicate()
    assert names(tmp_path) == ["another.csv", "living.txt"]
    assert (tmp_path / "living.txt").read_text() == "whole"


def test_our_own_file_stays_whatever_its_age(tmp_path):
    with whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("ours")
        os.utime(temporary, (0, 0))
        remove_leftovers(tmp_path)
        assert temporary.read_text() == "ours"


@pytest.mark.parametrize(
    "name", [".a.00000000-1-00000000.tmp.png", ".a.0123456789abcdef.tmp", ".a\n.0123456789abcdef.tmp.x"]
)
def test_files_of_other_machines_and_older_versions_go_after_a_day(tmp_path, name):
    file = tmp_path / name
    file.write_text("")
    remove_leftovers(tmp_path)
    assert file.exists()
    os.utime(file, (time.time() - 2 * 24 * 3600,) * 2)
    remove_leftovers(tmp_path)
    assert not file.exists()


@pytest.mark.parametrize(
    "name", ["a.tmp", ".hidden.tmp", ".a.0123456789abcdef.tmp.png.bak", "a.00000000-1-00000000.tmp", ".swp"]
)
def test_files_of_others_stay(tmp_path, name):
    (tmp_path / name).write_text("")
    os.utime(tmp_path / name, (0, 0))
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [name]


def test_a_folder_goes_with_what_is_in_it_and_a_link_without_what_it_leads_to(tmp_path):
    dead, kept = f".a.{_machine()}-999999999-00000000.tmp", tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("kept")
    (tmp_path / dead).mkdir()
    (tmp_path / dead / "file").write_text("")
    (tmp_path / f"{dead}.x").symlink_to(kept)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["kept"]
    assert names(kept) == ["file"]


def test_temporary_folders_of_the_dead_go_and_not_our_own(tmp_path):
    with temporary_folder(tmp_path) as ours:
        (tmp_path / Path(ours).name.replace(f"-{os.getpid()}-", "-999999999-")).mkdir()
        remove_leftovers(tmp_path)
        assert names(tmp_path) == [Path(ours).name]
    assert names(tmp_path) == []


def test_what_safetensors_writes_on_its_way_lies_in_a_folder_that_is_ours(tmp_path, monkeypatch):
    def killed(arrays, path, metadata):
        Path(path).with_name(".tmpXyZ123").write_bytes(b"half")
        (folder,) = tmp_path.glob(".folder.*.tmp")
        folder.rename(tmp_path / folder.name.replace(f"-{os.getpid()}-", "-999999999-"))
        raise OSError

    monkeypatch.setattr("safetensors.numpy.save_file", killed)
    with pytest.raises(OSError):  # noqa: PT011
        container.save(tmp_path / "a.safetensors", "genmend.test", {"a": np.zeros(3)}, {})
    assert len(names(tmp_path)) == 1
    remove_leftovers(tmp_path)
    assert names(tmp_path) == []


def test_a_folder_is_listed_at_its_first_file_only(tmp_path, monkeypatch):
    listed = []
    monkeypatch.setattr("genmend.storage.atomic.remove_leftovers", listed.append)
    _tidy_once.cache_clear()
    for name in ("a", "b", "c"):
        with whole_file(tmp_path / name) as temporary:
            temporary.write_text("")
    assert listed == [str(tmp_path)]


def test_a_missing_folder_is_no_error(tmp_path):
    remove_leftovers(tmp_path / "nowhere")


def test_a_long_name_is_written(tmp_path):
    with whole_file(tmp_path / ("ä" * 120 + ".json")) as temporary:
        temporary.write_text("{}")
    assert names(tmp_path) == ["ä" * 120 + ".json"]


def test_names_differ_and_keep_the_suffix(tmp_path):
    one, other = (temporary_name(tmp_path / "array.tar.npy") for _ in range(2))
    assert one != other
    assert re.fullmatch(rf"\.array\.tar\.{_machine()}-{os.getpid()}-[0-9a-f]{{8}}\.tmp\.npy", one)


def test_results_of_other_settings_go_and_all_else_stays(tmp_path):
    for name in ("image_0.png", "image_1.png", "image_2.png", "mine.png"):
        (tmp_path / name).write_text("")
    remove_others(tmp_path, "image_*.png", {"image_1.png"})
    assert names(tmp_path) == ["image_1.png", "mine.png"]
    (tmp_path / "mine.png").unlink()
    remove_others(tmp_path, "image_*.png", ())
    assert not tmp_path.exists()
    remove_others(tmp_path, "image_*.png", ())
