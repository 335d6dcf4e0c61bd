"""Uploads of the Samples tab: what is taken, what is refused, and that nothing outside the page's folder is opened."""

import gc
import os
import stat
import zipfile

import numpy as np
import pytest
from PIL import Image

from genmend.workbench.app.guard import suffix_of
from genmend.workbench.app.uploads import OwnFolder, take_samples


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


def picture(path):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    return str(path)


def zipped(path, **entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return str(path)


def names_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_pictures_an_array_and_a_zip_are_taken(files, tmp_path):
    (files / "b").mkdir()
    several = [picture(files / "a.png"), picture(files / "b" / "a.png")]
    assert names_below(take_samples(several, tmp_path / "1", files)) == ["1-a.png", "a.png"]
    np.save(files / "x.npy", np.zeros((3, 2)))
    assert np.load(take_samples([str(files / "x.npy")], tmp_path / "2", files)).shape == (3, 2)
    archive = zipped(files / "s.zip", **{"in/a.png": b"x", "in/.hidden.png": b"x", "readme.txt": b"x", "b.WAV": b"x"})
    assert names_below(take_samples([archive], tmp_path / "3", files)) == ["b.WAV", "in/a.png"]


def test_a_zip_writes_nothing_outside_its_folder(files, tmp_path):
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = files / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../up.png", "/abs.png", "a/../../up.png", "C:\\x.png", "..\\up.png", "good/a.png"):
            archive.writestr(name, b"x")
        archive.writestr(link, str(tmp_path))
    assert names_below(take_samples([str(path)], tmp_path / "out", files)) == ["good/a.png"]
    assert names_below(tmp_path) == ["files/evil.zip", "out/good/a.png"]


def test_what_is_no_upload_is_refused(files, tmp_path):
    outside = picture(tmp_path / "secret.png")
    os.symlink(outside, files / "link.png")
    for path in (outside, str(files / ".." / "secret.png"), str(files / "link.png"), str(files / "missing.png")):
        with pytest.raises(ValueError, match="upload it"):
            take_samples([path], tmp_path / "out", files)


def test_kinds_that_do_not_go_together_are_named(files, tmp_path):
    np.save(files / "x.npy", np.zeros((3, 2)))
    for number, (given, said) in enumerate(
        [
            ([], "No file was given"),
            ([picture(files / "a.png"), str(files / "x.npy")], ".npy, .png"),
            ([zipped(files / "t.zip", **{"a.txt": b"x"})], "neither images nor recordings"),
            ([str(files / "x.npy"), str(files / "x.npy")], ".npy"),
        ]
    ):
        with pytest.raises(ValueError, match=said):
            take_samples(given, tmp_path / str(number), files)
    (files / "broken.zip").write_bytes(b"PK no zip")
    with pytest.raises(ValueError, match="no zip that can be unpacked"):
        take_samples([str(files / "broken.zip")], tmp_path / "broken", files)


def test_a_bomb_is_refused_before_it_is_unpacked(files, tmp_path, monkeypatch):
    archive = zipped(files / "bomb.zip", **{"a.png": bytes(5000)})
    monkeypatch.setattr("genmend.workbench.app.uploads.MOST_UNPACKED", 4000)
    with pytest.raises(ValueError, match="are the most"):
        take_samples([archive], tmp_path / "out", files)
    assert names_below(tmp_path / "out") == []


def test_the_ending_of_a_name():
    assert suffix_of("a/b.PNG") == ".png"
    for name in ("", "a", ".png", "a.png/..", "a\0.png", "..\\.png"):
        assert suffix_of(name) == "", name
    assert suffix_of("x.png.html") == ".html"


def test_a_folder_of_ones_own_goes_with_its_owner(tmp_path):
    own = OwnFolder(tmp_path)
    (own.path / "x").write_text("x")
    path = own.path
    del own
    gc.collect()
    assert not path.exists()
