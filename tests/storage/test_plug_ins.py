"""Packages add names: none takes ours over, none is imported before it is used, none that is broken harms others."""

import sys
import warnings

import pytest

from genmend.storage.plug_ins import PlugInError, PlugInWarning, find_plug_in, plug_ins


def install(folder, package, entries, code="", version="1.0"):
    """As pip leaves a package: a module of the package's name, and its metadata."""
    module = package.replace("-", "_")
    (folder / f"{module}.py").write_text(f"print('imported {module}')\n{code}")
    about = folder / f"{module}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (about / "entry_points.txt").write_text(entries)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_a_name_is_found_and_nothing_imported_before_it_is_used(folder, capsys):
    install(
        folder, "toy-a", "[genmend.generators]\ncats = toy_a:make\n[console_scripts]\nx = y:z\n", "make = lambda n=1: n"
    )
    install(folder, "toy-b", "[genmend.voices]\nhum = toy_b:make\n[other.genmend.generators]\ndogs = toy_b:make\n")
    (found,) = plug_ins("generator")["cats"]
    assert (found.source, found.value) == ("toy-a 1.0", "toy_a:make")
    assert list(plug_ins("generator")) == ["cats"]
    assert list(plug_ins("voice")) == ["hum"]
    assert find_plug_in("generator", "dogs") is None
    assert find_plug_in("voice", "cats") is None
    assert "toy_a" not in sys.modules
    assert capsys.readouterr().out == ""
    assert find_plug_in("generator", "cats").made(n=3) == 3
    assert "toy_b" not in sys.modules


def test_a_broken_one_names_its_package_and_the_others_work(folder):
    install(folder, "toy-broken", "[genmend.extractors]\nbad = toy_broken:make\n", "raise OSError('no such disk')")
    install(folder, "toy-lacks", "[genmend.extractors]\nlacks = toy_lacks:make\nneeds = toy_lacks:other\n", "import os")
    install(folder, "toy-fails", "[genmend.extractors]\nfails = toy_fails:make\n", "def make(): raise SystemExit(3)")
    install(folder, "toy-good", "[genmend.extractors]\ngood = toy_good:make\n", "make = lambda: 'good'")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(plug_ins("extractor")) == 5
    for name, words in {
        "bad": r"toy-broken 1\.0 cannot be imported \(OSError: no such disk",
        "lacks": r"toy-lacks 1\.0 cannot be imported \(AttributeError",
        "fails": r"toy-fails 1\.0 cannot be called \(SystemExit: 3",
    }.items():
        with pytest.raises(PlugInError, match=words) as told:
            find_plug_in("extractor", name).made()
        assert str(told.value).count("\n") == 0
    assert find_plug_in("extractor", "good").made() == "good"


def test_entry_points_that_are_none_are_left_out_with_a_warning(folder):
    install(folder, "toy-good", "[genmend.generators]\ngood = toy_good:make\n")
    install(folder, "toy-odd", "[genmend.generators]\n../up = toy_odd:make\nno-callable = toy_odd\n")
    install(folder, "toy-torn", "[genmend.generators\ngood = =\n")
    with pytest.warns(PlugInWarning) as told:
        assert list(plug_ins("generator")) == ["good"]
    said = " ".join(str(one.message) for one in told)
    assert "toy-odd 1.0 names a generator '../up'" in said
    assert "'no-callable'" in said


def test_a_name_of_ours_is_not_taken_over(folder):
    install(
        folder, "toy-thief", "[genmend.generators]\nfaces = toy_thief:make\nmine = toy_thief:make\n", "raise OSError"
    )
    with pytest.warns(PlugInWarning, match=r"toy-thief 1\.0 names a generator 'faces', which is genmend's own name"):
        assert list(plug_ins("generator", ("faces",))) == ["mine"]
    assert find_plug_in("generator", "faces", ("faces",)) is None


def test_two_packages_with_one_name_are_both_named(folder):
    install(folder, "toy-a", "[genmend.generators]\ncats = toy_a:make\n")
    install(folder, "toy-b", "[genmend.generators]\ncats = toy_b:make\ndogs = toy_b:make\n")
    with pytest.raises(PlugInError, match=r"'cats' is added 2 times, by toy-[ab] 1\.0 and toy-[ab] 1\.0"):
        find_plug_in("generator", "cats")
    assert find_plug_in("generator", "dogs") is not None


def test_a_package_that_is_twice_on_the_path_counts_once(folder, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    install(other, "toy-a", "[genmend.generators]\ncats = toy_a:make\n", version="0.9")
    monkeypatch.syspath_prepend(other)
    monkeypatch.syspath_prepend(folder)
    install(folder, "toy-a", "[genmend.generators]\ncats = toy_a:make\n")
    assert find_plug_in("generator", "cats").version == "1.0"
