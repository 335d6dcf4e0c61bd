"""Arrays in .npy and .npz files: what opens, mapped or not, and hostile ones, before anything is allocated."""

import struct
import zipfile

import numpy as np
import pytest

from genmend.storage.numpy_files import npz_names, open_npy, open_npz, read_numbers

VALUES = np.random.default_rng(0).standard_normal((6, 4))


def npy(header, content=b""):
    """A .npy file of this header text, well-formed around it."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


def described(shape, descr="<f8"):
    return f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}"


@pytest.mark.parametrize("dtype", ["f8", ">f4", "i2", "?", "U5", [("a", "f4"), ("b", "i1")]])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_type_are_mapped(tmp_path, dtype, order):
    values = np.asarray(np.arange(24).reshape(6, 4).astype(dtype), order=order)
    np.save(tmp_path / "a.npy", values)
    found = open_npy(tmp_path / "a.npy")
    assert isinstance(found, np.memmap)
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, values)
    assert found.dtype == values.dtype


@pytest.mark.parametrize("shape", [(), (0,), (0, 5), (3, 0), (2, 3, 4, 5)])
def test_arrays_of_every_shape(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.ones(shape))
    assert open_npy(tmp_path / "a.npy").shape == shape
    np.savez(tmp_path / "a.npz", np.ones(shape))
    np.testing.assert_array_equal(open_npz(tmp_path / "a.npz", "arr_0"), np.ones(shape))


HOSTILE = {
    "empty": b"",
    "text": b"not an array",
    "magic alone": b"\x93NUMPY",
    "another version": b"\x93NUMPY\x07\x00" + 60 * b" ",
    "brackets that never close": npy("(" * 3000),
    "deep brackets": npy("[" * 9000 + "]" * 9000),
    "a dictionary that never ends": npy("{'descr': "),
    "quotes that never end": npy("'''"),
    "a name": npy("__import__"),
    "a call": npy("print('code')"),
    "no dictionary": npy("[1, 2]"),
    "10^12 rows": npy(described("(1000000000000, 64)"), bytes(4096)),
    "rows beyond 64 bits": npy(described(f"({10**40}, 2)")),
    "a huge number": npy(described(f"({10**4000}, 2)")),
    "fewer than no rows": npy(described("(-1, 4)"), bytes(64)),
    "rows of text": npy(described("('6', 4)"), bytes(64)),
    "too many axes": npy(described("(" + "1, " * 70 + ")"), bytes(64)),
    "no bytes a value": npy(described("(6, 4)", "|V0")),
    "huge values": npy(described("(6,)", "|V999999999"), bytes(64)),
    "objects": npy(described("(6,)", "|O"), bytes(48)),
    "an unknown type": npy(described("(6,)", "<q9"), bytes(48)),
    "cut off": npy(described("(6, 4)"), bytes(191)),
    "a header longer than the file": b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_one_sentence_that_names_them(tmp_path, name, recwarn):
    (tmp_path / "bad.npy").write_bytes(HOSTILE[name])
    with pytest.raises(ValueError, match=r"bad\.npy") as error:
        open_npy(tmp_path / "bad.npy")
    assert "\n" not in str(error.value)
    if name in ("10^12 rows", "cut off", "huge values"):
        assert "is cut off: its header announces shape" in str(error.value)
    assert len(str(error.value)) < 5000


def test_an_archive_is_told_as_one(tmp_path):
    np.savez(tmp_path / "a.npz", VALUES)
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(ValueError, match=r"a\.npy is a zip archive, as \.npz files are"):
        open_npy(tmp_path / "a.npy")


def test_a_missing_file_and_a_folder(tmp_path):
    for function in (open_npy, npz_names, read_numbers):
        with pytest.raises(FileNotFoundError):
            function(tmp_path / "none.npy")
        with pytest.raises(IsADirectoryError):
            function(tmp_path)


@pytest.mark.parametrize("dtype", ["f2", ">f8", "f4", "g", "i4", ">u2", "?"])
def test_numbers_come_in_the_order_of_this_machine(tmp_path, dtype):
    values = np.asarray((10 * VALUES).astype(dtype), order="F")
    np.save(tmp_path / "a.npy", values)
    found = read_numbers(tmp_path / "a.npy")
    np.testing.assert_array_equal(found, values)
    assert found.flags.c_contiguous
    assert found.flags.writeable
    assert found.dtype.isnative
    assert found.dtype.itemsize <= 8


@pytest.mark.parametrize("dtype", ["U3", "c8", "M8[s]", [("a", "f4")]])
def test_what_is_no_number_is_refused(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.zeros(3, dtype=dtype))
    with pytest.raises(ValueError, match=r"a\.npy holds .* values; numbers are accepted"):
        read_numbers(tmp_path / "a.npy")


# --- archives -------------------------------------------------------------------------------------------------------


def archive(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "cut off"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_hostile_members_are_one_sentence(tmp_path, name, compression):
    archive(tmp_path / "bad.npz", {"a.npy": HOSTILE[name]}, compression)
    with pytest.raises(ValueError, match=r"bad\.npz"):
        open_npz(tmp_path / "bad.npz", "a")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    archive(tmp_path / "bomb.npz", {"a.npy": npy(described("(1000000000000,)"), bytes(1 << 20))})
    with pytest.raises(ValueError, match=r"bomb\.npz:a .*cut off: its header announces shape"):
        open_npz(tmp_path / "bomb.npz", "a")


def test_names_and_one_that_is_not_there(tmp_path):
    np.savez(tmp_path / "a.npz", VALUES, labels=np.arange(6))
    assert set(npz_names(tmp_path / "a.npz")) == {"labels", "arr_0"}
    with pytest.raises(ValueError, match=r"holds no array 'x'; it holds arr_0, labels"):
        open_npz(tmp_path / "a.npz", "x")


def test_a_stored_array_is_mapped_and_its_check_sum_compared(tmp_path):
    np.savez(tmp_path / "a.npz", VALUES)
    assert isinstance(open_npz(tmp_path / "a.npz", "arr_0"), np.memmap)
    np.savez_compressed(tmp_path / "b.npz", VALUES)
    assert not isinstance(open_npz(tmp_path / "b.npz", "arr_0"), np.memmap)
    for name in ("a.npz", "b.npz"):
        content = bytearray((tmp_path / name).read_bytes())
        content[200] ^= 255
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}:arr_0 is no intact array"):
            open_npz(tmp_path / name, "arr_0")
