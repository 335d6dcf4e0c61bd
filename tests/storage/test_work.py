"""Pieces on disk: a run that was stopped anywhere, even killed, goes on and ends with the same bits."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from genmend.manifold import open_features
from genmend.storage import Work, digest
from genmend.storage.digests import settings_key

ROWS, PIECE = 23, 5
# Run by a killed child and by the parent alike: the value of a row depends on the row and on the data.
SCRIPT = """
import sys, time
from pathlib import Path
import numpy as np
from genmend.storage import Work

folder, pause = Path(sys.argv[1]), float(sys.argv[2])
data = np.random.default_rng(0).standard_normal((23, 4))

def rows(start, stop):
    (folder / f"began-{start}").touch()
    if start == 10:
        time.sleep(pause)
    return {"norm": np.linalg.norm(data[start:stop], axis=1), "row": np.arange(start, stop)}

found = Work(folder / "pieces").pieces(rows, 23, 5, inputs=(data, "norms"))
np.savez(folder / "found.npz", **found)
"""


def counted(calls, data):
    def rows(start, stop):
        calls.append((start, stop))
        return {"double": 2 * data[start:stop], "row": np.arange(start, stop)}

    return rows


@pytest.mark.parametrize("piece_size", [1, 5, 23, 100])
def test_pieces_join_to_the_whole(tmp_path, piece_size):
    data, calls = np.random.default_rng(0).standard_normal((ROWS, 3)), []
    for folder in (None, tmp_path / "new" / "folder", tmp_path / "new" / "folder"):
        found = Work(folder).pieces(counted(calls, data), ROWS, piece_size, inputs=(data,))
        np.testing.assert_array_equal(found["double"], 2 * data)
        np.testing.assert_array_equal(found["row"], np.arange(ROWS))
    n_pieces = -(-ROWS // piece_size)
    assert len(calls) == 2 * n_pieces  # without a folder, then with one; the third run only reads
    assert len(list((tmp_path / "new" / "folder").iterdir())) == n_pieces


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("stop_at", [0, 10, 20])
def test_an_error_in_the_middle(tmp_path, error, stop_at):
    data, calls = np.arange(ROWS, dtype=np.float64), []

    def failing(start, stop):
        if start == stop_at:
            raise error
        return counted(calls, data)(start, stop)

    with pytest.raises(error):
        Work(tmp_path).pieces(failing, ROWS, PIECE, inputs=(data,))
    found = Work(tmp_path).pieces(counted(calls, data), ROWS, PIECE, inputs=(data,))
    np.testing.assert_array_equal(found["double"], 2 * data)
    assert sorted(calls) == [(0, 5), (5, 10), (10, 15), (15, 20), (20, 23)]  # each once


def test_an_error_while_writing_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        Work(tmp_path).pieces(counted([], np.zeros(ROWS)), ROWS, PIECE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_killed_in_the_middle(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for folder in (killed, whole):
        folder.mkdir()
    child = subprocess.Popen([sys.executable, "-c", SCRIPT, str(killed), "60"])
    deadline = time.monotonic() + 60
    while not (killed / "began-10").exists():
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert len(list((killed / "pieces").glob("*.npz"))) == 2
    for name in killed.glob("began-*"):
        name.unlink()
    for folder in (killed, whole):
        subprocess.run([sys.executable, "-c", SCRIPT, str(folder), "0"], check=True)
    assert {name.name for name in killed.glob("began-*")} == {"began-10", "began-15", "began-20"}
    with np.load(killed / "found.npz") as one, np.load(whole / "found.npz") as other:
        assert sorted(one) == sorted(other) == ["norm", "row"]
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_damaged_pieces_are_computed_again(tmp_path):
    data, calls, rng = np.arange(ROWS, dtype=np.float64), [], np.random.default_rng(0)
    Work(tmp_path).pieces(counted([], data), ROWS, PIECE, inputs=(data,))
    path = sorted(tmp_path.iterdir())[0]
    good = path.read_bytes()
    damaged = [b"", good[:10], good[:-5], b"\x93NUMPY" + good[6:]]
    for position in rng.integers(0, len(good), 100):
        damaged.append(good[:position] + bytes([good[position] ^ 1 << rng.integers(8)]) + good[position + 1 :])
    for content in damaged:
        path.write_bytes(content)
        found = Work(tmp_path).pieces(counted(calls, data), ROWS, PIECE, inputs=(data,))
        np.testing.assert_array_equal(found["double"], 2 * data)
        np.testing.assert_array_equal(found["row"], np.arange(ROWS))
    assert len(calls) > 50  # bits of dates and the like change nothing


def test_other_inputs_use_other_files(tmp_path):
    data = np.arange(ROWS, dtype=np.float64)
    for inputs in [(data, 3), (data, 5), (data + 1, 3), (data.astype(np.float32), 3)]:
        calls = []
        Work(tmp_path).pieces(counted(calls, data), ROWS, PIECE, inputs=inputs)
        assert len(calls) == 5


def test_digest_tells_apart_what_differs(tmp_path, monkeypatch):
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    arrays = [x, x.view(np.int32), x.T, x.reshape(3, 4), x.astype(np.float64), x + 1, x[:3], -x]
    different = [*arrays, "x", 1, 1.0, True, None, "1", (1, 2)]
    names = [digest(part) for part in different] + [digest("a", "b"), digest("ab"), digest("b", "a")]
    assert len(set(names)) == len(names)
    np.save(tmp_path / "a.npy", x[:1])
    np.save(tmp_path / "b.npy", x[1:])
    monkeypatch.setattr("genmend.storage.digests._HASHED_BYTES", 24)
    for equal in (x.copy(), np.asfortranarray(x), open_features([tmp_path / "a.npy", tmp_path / "b.npy"])):
        assert digest(equal) == digest(x)


def test_a_bar_on_a_terminal_only(tmp_path, capfd):
    Work(tmp_path, progress=True).pieces(counted([], np.zeros(ROWS)), ROWS, PIECE, description="radii")
    assert capfd.readouterr() == ("", "")


def test_what_was_kept_is_not_computed_again(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"squares": np.arange(4)[::2] ** 2, "few": np.eye(2) > 0}

    work = Work(tmp_path / "new" / "folder")
    for _ in range(3):
        found = work.kept("squares", {"n": 4, "of": [1, "é", None]}, compute)
        assert {name: values.tolist() for name, values in found.items()} == {
            "squares": [0, 4],
            "few": [[True, False], [False, True]],
        }
    assert len(calls) == 1
    (path,) = work.folder.iterdir()
    assert path.name == f"squares-{settings_key({'of': [1, 'é', None], 'n': 4})}.safetensors"
    work.kept("squares", {"n": 5}, compute)
    work.kept("others", {"n": 4, "of": [1, "é", None]}, compute)
    work.kept("plain", None, compute)
    assert len(calls) == 4
    assert len(list(work.folder.iterdir())) == 4
    assert (work.folder / "plain.safetensors").is_file()


def test_damaged_files_are_replaced_and_without_resume_all(tmp_path):
    work = Work(tmp_path)
    for damage in (bytes, lambda content: content[:-1], lambda content: content[:20]):
        work.kept("a", None, lambda: {"x": np.arange(3)})
        path = tmp_path / "a.safetensors"
        path.write_bytes(damage(path.read_bytes()) if damage is not bytes else b"")
        assert work.kept("a", None, lambda: {"x": np.arange(5)})["x"].tolist() == [0, 1, 2, 3, 4]
        path.unlink()
    again = Work(tmp_path, resume=False)
    for n in (2, 3):
        assert len(again.kept("a", None, lambda n=n: {"x": np.arange(n)})["x"]) == n
    assert len(work.kept("a", None, pytest.fail)["x"]) == 3
    calls = []
    for rows in (again, again, work):
        rows.pieces(counted(calls, np.zeros(ROWS)), ROWS, ROWS)
    assert len(calls) == 2


def test_whatever_saves_itself_is_kept(tmp_path):
    work = Work(tmp_path)
    options = {"save": lambda path, text: path.write_text(text), "load": lambda path: path.read_text()}
    assert [work.kept("text", {}, lambda: "said", **options) for _ in range(2)] == ["said", "said"]
    assert work.kept("text", {}, pytest.fail, **options) == "said"

    def refuses(path):
        raise ValueError("damaged")

    assert work.kept("text", {}, lambda: "anew", save=options["save"], load=refuses) == "anew"
    assert work.kept("text", {}, pytest.fail, **options) == "anew"


def test_an_error_while_computing_or_saving_keeps_nothing(tmp_path):
    def fails(*arguments):
        raise RuntimeError("stopped")

    for options in ({"compute": fails}, {"compute": lambda: {"x": np.zeros(1)}, "save": fails}):
        with pytest.raises(RuntimeError, match="stopped"):
            Work(tmp_path / "w").kept("a", {}, **options)
    assert not list((tmp_path / "w").glob("*"))


def test_entries_are_added_to_those_of_earlier_runs(tmp_path):
    asked = []

    def compute(keys):
        asked.append(keys)
        return [{"half": int(key) / 2} for key in keys]

    work, facts = Work(tmp_path / "scores"), [{"weights": "a"}, ["é"]]
    assert work.entries(facts, ["2", "1", "2"], compute) == {"2": {"half": 1.0}, "1": {"half": 0.5}}
    assert work.entries(facts, ["1", "3"], compute)["3"] == {"half": 1.5}
    assert work.entries(facts, ["3", "2"], compute) == {"3": {"half": 1.5}, "2": {"half": 1.0}}
    assert asked == [["2", "1"], ["3"]]
    work.entries([{"weights": "b"}], ["1"], compute)
    assert len(list(work.folder.iterdir())) == 2
    for path in work.folder.iterdir():
        path.write_text('{"1": ')  # damaged
    assert work.entries(facts, ["1"], compute) == {"1": {"half": 0.5}}
    assert Work().entries(facts, ["1"], compute) == Work().entries(facts, ["1"], compute)
    assert asked[3:] == [["1"], ["1"], ["1"]]
    Work(work.folder, resume=False).entries(facts, ["4"], compute)
    assert work.entries(facts, ["1", "4"], lambda keys: pytest.fail("known")).keys() == {"1", "4"}


def test_a_full_disk_is_an_error_of_the_file_system_and_leaves_nothing(tmp_path):
    script = (
        "import resource, signal, sys; import numpy as np; from genmend.storage import Work;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "try: Work(sys.argv[1]).kept('large', None, lambda: {'values': np.zeros(10_000)})\n"
        "except OSError as error: sys.exit(7 if 'make room' in str(error) else 8)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)]).returncode == 7
    assert list(tmp_path.iterdir()) == []
