"""The correction file: back bit for bit, and nothing else is let in."""

import io
import json
import pickle
import struct
import zipfile
from dataclasses import dataclass

import pytest
import torch
from activation_toys import ablate_neurons, generator, latents, mask, pull_to_mean, scale_units
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from genmend.activations import (
    AblateNeurons,
    CapNeurons,
    Correction,
    Edit,
    Gate,
    PullToMean,
    ScaleUnits,
    attach,
    contract,
    edit_type,
    load_correction,
    save_correction,
)
from genmend.activations.contract import edit_class
from genmend.activations.correction_file import CorrectionFileError

KEY = "genmend.correction"
examples = settings(max_examples=80, deadline=None, derandomize=True)


def full():
    shared = mask()
    ladder = [
        [scale_units(strength=1 / 3)],
        [scale_units(), ablate_neurons(), AblateNeurons("main.2", shared, False, 0.1), AblateNeurons("main.1", shared)],
        [pull_to_mean(), PullToMean("main.3", torch.randn(5, dtype=torch.float64), mask=mask((5, 8, 8)))],
        [ScaleUnits("main.2", [], 0.7), PullToMean("main.5", torch.tensor([-0.0, 1e-45, 1.0]))],
        [],
    ]
    return Correction.of(
        generator(),
        ladder,
        gate=Gate("vgg16", torch.randn(7), 0.1, -1e-300),
        tensors={
            "normal.rows": torch.randn(4, 3),
            "half": torch.randn(2).half(),
            "none": torch.empty(0, 3),
            "one": shared[0],
        },
        info={"seed": 7, "versions": {"torch": "2.12"}, "figures": [0.1, None, True, "π"], "pair": (1, 2)},
    )


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "fix.safetensors"
    save_correction(path, full_once)
    return path


full_once = full()


def test_back_bit_for_bit(saved):
    loaded = load_correction(saved)
    assert loaded == full_once
    assert loaded.info["pair"] == [1, 2]
    mean = loaded.ladder[3][1].mean
    assert mean.signbit().tolist() == [True, False, False]
    again = saved.with_name("again.safetensors")
    save_correction(again, loaded)
    assert again.read_bytes() == saved.read_bytes()


def test_a_loaded_correction_attaches(saved):
    net, z = generator(), latents()
    with attach(net, full_once, rung=1):
        expected = net(z)
    with attach(net, load_correction(str(saved)), rung=1):
        assert torch.equal(net(z), expected)


def test_what_was_loaded_does_not_follow_the_file(saved):
    loaded = load_correction(saved)
    with saved.open("rb+") as file:
        file.seek(-64, 2)
        file.write(bytes(range(64)))
    assert loaded == full_once


def test_equal_arrays_are_in_the_file_once_and_in_memory_once(tmp_path):
    ceiling, other = torch.randn(6, 40, 40), torch.randn(6, 40, 40)
    ladder = [[CapNeurons("main.2", ceiling.clone(), torch.rand(6, 40, 40) < share)] for share in (0.1, 0.5, 0.9)]
    ladder.append([CapNeurons("main.2", other, torch.ones(6, 40, 40, dtype=torch.bool))])
    # Equal bytes of another shape or dtype are others.
    ladder.append([PullToMean("main.2", torch.zeros(6)), PullToMean("main.2", torch.zeros(3, 2)[:, 0].double())])
    fix = Correction.of(generator(), ladder, tensors={"flat": torch.zeros(2, 3)})
    path = tmp_path / "fix.safetensors"
    save_correction(path, fix)
    loaded = load_correction(path)
    assert loaded == fix
    places = [rung[0].ceiling.data_ptr() for rung in loaded.ladder[:4]]
    assert [place == places[0] for place in places] == [True, True, True, False]
    n = 6 * 40 * 40
    assert 2 * 4 * n + 4 * n <= path.stat().st_size <= 2 * 4 * n + 4 * n + 10_000


def test_a_preset_without_gate_and_tensors(tmp_path):
    fix = Correction.of(generator(), [[scale_units()]], preset=True)
    save_correction(tmp_path / "a", fix)
    loaded = load_correction(tmp_path / "a")
    assert loaded == fix
    assert (loaded.gate, loaded.tensors, loaded.weights_digests) == (None, {}, None)


def test_an_edit_without_a_name_is_refused_before_writing(tmp_path):
    @dataclass(frozen=True, eq=False)
    class Unnamed(Edit):
        layer: str
        strength: float = 1.0

        def apply(self, output, strength=None):
            return output

    with pytest.raises(ValueError, match="Unnamed has no name in correction files"):
        save_correction(tmp_path / "a", Correction.of(generator(), [[Unnamed("main.0")]]))
    assert not list(tmp_path.iterdir())


def test_saving_over_an_old_file_is_atomic(saved, monkeypatch):
    before = saved.read_bytes()

    def fail(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(OSError, match="No space"):
        save_correction(saved, full_once)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


# ---- names of edit types -------------------------------------------------------------------------------------------


def test_only_names_of_the_table_are_known():
    with pytest.raises(ValueError, match=r"'os\.system' is unknown"):
        edit_class("os.system")
    with pytest.raises(ValueError, match="not in the table"):
        edit_type("plugins.mine")
    with pytest.raises(ValueError, match="already ScaleUnits"):
        edit_type("activations.scale_units")(PullToMean)


def test_a_room_that_is_not_there_is_named(monkeypatch):
    # Whatever is installed and was imported before: now importing it fails.
    monkeypatch.setitem(__import__("sys").modules, "genmend.tts.voices.replace_vectors", None)
    monkeypatch.delitem(contract._classes, "tts.replace_vectors", raising=False)
    with pytest.raises(ValueError, match=r"'tts\.replace_vectors' needs 'genmend\.tts\.voices\.replace_vectors'"):
        edit_class("tts.replace_vectors")


# ---- files of other kinds ------------------------------------------------------------------------------------------


class Bomb:
    def __reduce__(self):
        return (exec, ("import builtins; builtins.genmend_bomb = True",))


def torch_archive():
    archive = io.BytesIO()
    torch.save({"state": Bomb()}, archive)
    return archive.getvalue()


def zip_of_a_pickle():
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("data.pkl", pickle.dumps(Bomb()))
    return archive.getvalue()


@pytest.mark.parametrize("content", [pickle.dumps(Bomb()), pickle.dumps(Bomb(), 2), torch_archive(), zip_of_a_pickle()])
def test_a_pickle_is_named_as_such_and_never_opened(tmp_path, content):
    path = tmp_path / "fix.safetensors"
    path.write_bytes(content)
    with pytest.raises(CorrectionFileError, match="pickle") as caught:
        load_correction(path)
    assert str(path) in str(caught.value)
    assert not hasattr(__import__("builtins"), "genmend_bomb")


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"PNG", struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 50) + b"{", struct.pack("<Q", 2) + b"{}"],
)
def test_damaged_and_foreign_files_are_refused_by_path(tmp_path, content):
    path = tmp_path / "fix.safetensors"
    path.write_bytes(content)
    with pytest.raises(CorrectionFileError) as caught:
        load_correction(path)
    assert str(path) in str(caught.value)


def test_other_safetensors_files_are_refused(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "weights.safetensors", {"format": "pt"})
    with pytest.raises(CorrectionFileError, match="holds something else"):
        load_correction(tmp_path / "weights.safetensors")


def test_missing_files_and_folders_are_the_ordinary_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_correction(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        load_correction(tmp_path)


def test_every_cut_is_refused(saved):
    content = saved.read_bytes()
    for length in range(0, len(content), max(1, len(content) // 60)):
        saved.write_bytes(content[:length])
        with pytest.raises(CorrectionFileError):
            load_correction(saved)


# ---- our own file, tampered with -----------------------------------------------------------------------------------


def rewrite(path, change=None, raw=None, tensors=None):
    """Save the file again with its JSON changed, or replaced by raw text, or with other arrays."""
    with safe_open(path, "pt") as opened:
        content = json.loads(opened.metadata()[KEY])
        kept = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    if change:
        change(content)
    save_file(kept | (tensors or {}), path, {KEY: raw if raw is not None else json.dumps(content)})


def setting(*keys_and_value):
    *keys, last, value = keys_and_value

    def change(content):
        for key in keys:
            content = content[key]
        content[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (setting("schema", 2), "schema is 2"),
        (setting("surprise", 1), r"unknown \['surprise'\]"),
        (lambda content: content.pop("gate"), r"lacks \['gate'\]"),
        (setting("ladder", []), "sequences of edits"),
        (setting("ladder", 3), "not iterable"),
        (setting("ladder", 0, 0, "type", "os.system"), "'os.system' is unknown"),
        (setting("ladder", 0, 0, "type", ["activations.scale_units"]), "unknown"),
        (setting("ladder", 0, 0, "code", "x"), r"unknown \['code'\]"),
        (setting("ladder", 0, 0, "_index", [1]), r"unknown \['_index'\]"),
        (setting("ladder", 0, 0, "strength", 7), "strength is 7"),
        (setting("ladder", 0, 0, "strength", None), "strength is None"),
        (setting("ladder", 0, 0, "strength", float("nan")), "holds NaN"),
        (setting("gate", "bias", float("inf")), "holds Infinity"),
        (setting("info", "a", [float("nan")]), "holds NaN"),
        (setting("ladder", 0, 0, "layer", 7), "layer is 7"),
        (setting("ladder", 0, 0, "units", [-1, 2]), "count from 0"),
        (setting("ladder", 0, 0, "units", [1, 10**40]), "tensor"),
        (setting("ladder", 0, 0, "units", None), "tensor"),
        (setting("ladder", 0, 0, "scale", {"$tensor": "nowhere"}), "'nowhere' is missing"),
        (setting("tensors", "half", {"$tensor": "tensors.normal.rows"}), r"nothing refers to: \['tensors.half'\]"),
        (setting("ladder", 0, 0, "scale", {"$tensor": []}), "fix.safetensors cannot be loaded"),
        (setting("ladder", 0, 0, "scale", {"$module": "os"}), r"unknown \['\$module'\]"),
        (setting("ladder", 2, 1, "mask", None), r"nothing refers to: \['ladder.2.1.mask'\]"),
        (setting("ladder", 0, 0, "ScaleUnits"), "needed"),
        (setting("gate", []), "the gate is a list"),
        (setting("gate", "threshold", "high"), "could not convert"),
        (setting("gate", "extractor", 3), "extractor 3"),
        (setting("tensors", []), "tensors is a list"),
        (setting("tensors", "half", 1), "tensors must map"),
        (setting("info", []), "info"),
        (setting("layout", "main.0.weight", [1.5]), "list of sizes"),
        (setting("layout", "main.0.weight", [-1]), "list of sizes"),
        (setting("layout", "main.0.weight", [1]), "digest that stands beside"),
        (setting("layout", []), "layout is a list"),
        (setting("weights_digests", {"float32": 1}), "hexadecimal"),
        (setting("weights_digests", "abc"), "JSON object"),
    ],
)
def test_a_file_with_other_contents_is_refused(saved, change, words):
    rewrite(saved, change)
    with pytest.raises(CorrectionFileError, match=words) as caught:
        load_correction(saved)
    assert str(saved) in str(caught.value)


@pytest.mark.parametrize(
    "raw", ["", "[]", "null", "{", '{"schema": NaN}', "[" * 100_000, '{"schema": ' + "9" * 5000 + "}"]
)
def test_metadata_that_is_no_correction_is_refused(saved, raw):
    rewrite(saved, raw=raw)
    with pytest.raises(CorrectionFileError):
        load_correction(saved)


def test_arrays_that_nothing_refers_to_are_refused(saved):
    rewrite(saved, tensors={"hidden": torch.ones(1)})
    with pytest.raises(CorrectionFileError, match=r"nothing refers to: \['hidden'\]"):
        load_correction(saved)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["$tensor", "type", "layer", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
PLACES = [
    ["ladder"], ["ladder", 0], ["ladder", 0, 0], ["ladder", 0, 0, "type"], ["ladder", 0, 0, "layer"],
    ["ladder", 0, 0, "units"], ["ladder", 0, 0, "scale"], ["ladder", 0, 0, "strength"], ["ladder", 1, 1, "mask"],
    ["ladder", 1, 1, "only_positive"], ["ladder", 2, 0, "mean"], ["ladder", 2, 0, "units"],
    ["gate"], ["gate", "weights"], ["gate", "bias"],
    ["tensors"], ["info"], ["layout"], ["layout_digest"], ["weights_digests"], ["schema"],
]  # fmt: skip


def assert_loads_or_is_our_error(path):
    try:
        outcome = load_correction(path)
    except CorrectionFileError as error:
        outcome = str(error)
    assert isinstance(outcome, Correction) or str(path) in outcome


@examples
@given(place=st.sampled_from(PLACES), value=json_values)
def test_any_value_anywhere_loads_or_is_our_error(tmp_path_factory, place, value):
    path = tmp_path_factory.getbasetemp() / "fuzzed.safetensors"
    save_correction(path, full_once)
    rewrite(path, setting(*place, value))
    assert_loads_or_is_our_error(path)


@examples
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6))
def test_any_changed_bytes_load_or_are_our_error(tmp_path_factory, changes):
    path = tmp_path_factory.getbasetemp() / "bytes.safetensors"
    save_correction(path, full_once)
    content = bytearray(path.read_bytes())
    for where, byte in changes:
        content[int(where * len(content))] = byte
    path.write_bytes(content)
    assert_loads_or_is_our_error(path)


@examples
@given(content=st.binary(max_size=200))
def test_any_bytes_at_all_are_our_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "noise.safetensors"
    path.write_bytes(content)
    with pytest.raises(CorrectionFileError, match=r"noise\.safetensors"):
        load_correction(path)
