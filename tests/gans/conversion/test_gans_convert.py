"""Foreign checkpoints to folders of ours and back to the same images; nothing in a file is ever run."""

import json
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
import torch
from foreign_pickles import WritesFile, nvidia_pickle
from safetensors.torch import load_file, save_file
from stylegan2_toys import nvidia_state, rosinality_checkpoint, written_out_image, written_out_styles
from torch import nn

import genmend
from genmend.gans import DCGAN, convert, load_generator
from genmend.gans.conversion import child as child_module
from genmend.gans.conversion.archives import read_checkpoint
from genmend.gans.conversion.arrays import flat_arrays
from genmend.gans.conversion.child import read_arrays, read_or_explain
from genmend.gans.conversion.convert import ConversionError
from genmend.gans.conversion.folder import load_converted
from genmend.gans.families import LayoutError
from genmend.storage.leftovers import temporary_folder

TOLERANCE = {"rtol": 0, "atol": 2e-5}


@pytest.fixture
def child():
    """Asked for by the tests that start the reading process; the others read in this one, which is much quicker."""


@pytest.fixture(autouse=True)
def reads_here(request, monkeypatch):
    def read_here(source):
        contents = read_or_explain(source) | {"isolation": {"process": "none"}}
        if "arrays" in contents:  # a safetensors file has them in this order
            contents["arrays"] = dict(sorted(contents["arrays"].items()))
        return contents

    if "child" not in request.fixturenames:
        monkeypatch.setattr(sys.modules["genmend.gans.conversion.convert"], "read_in_child", read_here)


@pytest.fixture(scope="module")
def state():
    return nvidia_state()


@pytest.fixture(scope="module")
def dcgan():
    torch.manual_seed(0)
    module = DCGAN(7, (12, 8), channels=3)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) - 0.3 if tensor.ndim > 1 else torch.rand_like(tensor) + 0.5)
    return module.eval()


def test_a_state_dict_makes_the_round_trip_bit_for_bit(dcgan, tmp_path):
    torch.save({"netG_state_dict": dcgan.state_dict(), "epoch": 3}, tmp_path / "own.pth")
    done = convert(tmp_path / "own.pth", tmp_path / "out", trusted=True)
    assert (done.family, done.group, done.reader) == ("dcgan", "netG_state_dict", "torch.load(weights_only=True)")
    assert done.refused == ()
    assert done.n_parameters == sum(parameter.numel() for parameter in dcgan.parameters())
    generator = load_generator(str(tmp_path / "out"))
    z = generator.latents(3, 0)
    with torch.no_grad():
        assert torch.equal(generator.run(z), dcgan(z))
    assert (generator.name, generator.layers) == ("own", ("main.2", "main.5"))
    by_file = load_generator(str(tmp_path / "out" / "generator.safetensors"), layers=("main.5",))
    assert torch.equal(by_file.run(z), generator.run(z))
    assert by_file.layers == ("main.5",)
    content = json.loads((tmp_path / "out" / "generator.json").read_text())
    assert content["conversion"]["source_sha256"] == done.source_sha256
    assert set(content["versions"]) == {"torch", "safetensors"}


def test_a_pickle_of_nvidias_is_read_without_its_classes(state, tmp_path):
    kwargs = {"z_dim": 6, "synthesis_kwargs": {"conv_clamp": 0.8, "num_fp16_res": 4}, "mapping_kwargs": {}}
    nvidia_pickle(tmp_path / "toy.pkl", state, kwargs)
    done = convert(tmp_path / "toy.pkl", tmp_path / "out", trusted=True)
    assert (done.family, done.group) == ("stylegan2-nvidia", "G_ema")
    assert done.reader == "as data, without running anything"
    assert "torch_utils.persistence._reconstruct_persistent_obj" in done.refused
    assert done.config["clamp"] == 0.8
    generator = load_converted(tmp_path / "out")
    z = generator.latents(3, 0)
    ws = written_out_styles(state, z)[:, None].expand(-1, 6, -1)
    torch.testing.assert_close(generator.run(z).double(), written_out_image(state, ws, clamp=0.8)[0], **TOLERANCE)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_rosinality_checkpoint_gives_the_same_images_with_options(state, tmp_path, zipped):
    checkpoint = rosinality_checkpoint(state)
    checkpoint |= {"g": dict(checkpoint["g_ema"]), "g_optim": {"state": {0: {"step": 1}}}}
    torch.save(checkpoint, tmp_path / "toy.pt", _use_new_zipfile_serialization=zipped)
    done = convert(tmp_path / "toy.pt", tmp_path / "out", "stylegan2-rosinality", trusted=True)
    assert done.group == "g_ema"
    generator = load_generator(str(tmp_path / "out"), psi=0.5, space="w")
    assert generator.settings["psi"] == 0.5
    z = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    mean = state["mapping.w_avg"].double()
    ws = (mean + 0.5 * (written_out_styles(state, z) - mean))[:, None].expand(-1, 6, -1)
    given = load_converted(tmp_path / "out", psi=0.5).run(z)
    torch.testing.assert_close(given.double(), written_out_image(state, ws)[0], **TOLERANCE)
    other = convert(tmp_path / "toy.pt", tmp_path / "other", trusted=True, group="g")
    assert other.group == "g"


def test_without_the_flag_nothing_is_opened(tmp_path):
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(WritesFile(tmp_path / "written")))
    with pytest.raises(ConversionError, match="--i-trust-this-file"):
        convert(tmp_path / "evil.pt", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.pt"]


def test_code_in_a_file_does_not_run_in_the_reading_process(dcgan, tmp_path, monkeypatch, child):
    """And arrays that a killed conversion left go with this one."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with temporary_folder(temporary) as folder:
        dead = Path(folder).name.replace(f"-{os.getpid()}-", "-999999999-")
    (temporary / dead).mkdir()
    (temporary / dead / "arrays.safetensors").write_bytes(b"large")
    check_that_code_does_not_run("pickle", dcgan, tmp_path)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("how", ["pickle", "zip", "old", "protocol 0"])
def test_code_in_a_file_does_not_run(how, dcgan, tmp_path):
    check_that_code_does_not_run(how, dcgan, tmp_path)


def check_that_code_does_not_run(how, dcgan, tmp_path):
    content = {"netG": dict(dcgan.state_dict()), "args": WritesFile(tmp_path / "written")}
    file = tmp_path / "evil.pt"
    if how in ("zip", "old"):
        torch.save(content, file, _use_new_zipfile_serialization=how == "zip")
    else:
        file.write_bytes(pickle.dumps(content, protocol=0 if how == "protocol 0" else 4))
    done = convert(file, tmp_path / "out", trusted=True)
    assert done.refused == (f"{os.system.__module__}.system",)
    assert not (tmp_path / "written").exists()
    z = torch.zeros(1, 7)
    with torch.no_grad():
        assert torch.equal(load_converted(tmp_path / "out").run(z), dcgan(z))
    pickle.loads(pickle.dumps(WritesFile(tmp_path / "written")))  # the same bytes, unpickled, do write
    assert (tmp_path / "written").exists()


def test_a_file_of_code_alone_holds_no_arrays(tmp_path):
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(WritesFile(tmp_path / "written")))
    with pytest.raises(ConversionError, match=r"holds no arrays; .*\.system"):
        convert(tmp_path / "evil.pt", tmp_path / "out", trusted=True)
    assert not (tmp_path / "written").exists()


def test_names_that_do_not_fit_are_all_listed(dcgan, tmp_path):
    broken = dict(dcgan.state_dict())
    del broken["main.1.bias"], broken["main.4.running_var"]
    broken["main.1.weight"] = torch.zeros(5)
    broken["extra.weight"] = torch.zeros(2, 2)
    torch.save(broken, tmp_path / "broken.pt")
    with pytest.raises(LayoutError) as error:
        convert(tmp_path / "broken.pt", tmp_path / "out", "dcgan", trusted=True)
    for line in ("in 4 arrays", "missing: main.1.bias (12,)", "missing: main.4.running_var (8,)",
                 "wrong shape: main.1.weight is (5,), should be (12,)", "unexpected: extra.weight (2, 2)"):  # fmt: skip
        assert line in str(error.value)
    assert not (tmp_path / "out").exists()


def test_an_unknown_model_lists_what_is_in_the_file(tmp_path):
    torch.save({"net": nn.Linear(2, 3).state_dict()}, tmp_path / "x.pt")
    with pytest.raises(
        LayoutError, match=r"No group .*looks like dcgan, progan.*\n.*'net': bias \(3,\), weight \(3, 2\)"
    ):
        convert(tmp_path / "x.pt", tmp_path / "out", trusted=True)
    with pytest.raises(LayoutError, match="no group 'G'; it has 'net'"):
        convert(tmp_path / "x.pt", tmp_path / "out", trusted=True, group="G")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04.", b"PK\x03\x04 no zip", pickle.dumps([1, 2])[:-1]])
def test_damaged_files_say_so(content, tmp_path):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(ConversionError, match=r"x\.pt can't be read"):
        convert(tmp_path / "x.pt", tmp_path / "out", trusted=True)


def test_the_reading_process_says_so_too(tmp_path, child):
    (tmp_path / "x.pt").write_bytes(b"hello")
    with pytest.raises(ConversionError, match=r"x\.pt can't be read"):
        convert(tmp_path / "x.pt", tmp_path / "out", trusted=True)


def test_the_reading_process_imports_only_what_reading_needs(dcgan, tmp_path):
    """Beside torch and safetensors three modules of ours and their packages: no scikit-learn, no generators."""
    torch.save(dcgan.state_dict(), tmp_path / "x.pt")
    program = (
        "import sys; sys.path.insert(0, sys.argv[4])\n"
        "import torch, safetensors.torch\n"
        "before = set(sys.modules)\n"
        "import runpy; from pathlib import Path\n"
        "child = runpy.run_path(sys.argv[1])\n"
        "child['main'](Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))\n"
        "print(len(sys.modules), *sorted(set(sys.modules) - before))"
    )
    packages = Path(genmend.__file__).parents[1]
    command = [sys.executable, "-I", "-c", program, child_module.__file__, tmp_path / "x.pt", tmp_path, packages]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    count, *more = done.stdout.split()
    assert int(count) < 1500
    ours = [name for name in more if name.startswith("genmend")]
    reading = {f"genmend.gans.conversion.{name}" for name in ("archives", "arrays", "unpickling")}
    assert set(ours) == reading | {"genmend", "genmend.gans", "genmend.gans.conversion"}
    assert not {"sklearn", "faiss", "scipy", "matplotlib"} & set(more)
    assert len(more) < 60
    assert (tmp_path / "arrays.safetensors").is_file()


def test_arrays_are_read_without_a_process(dcgan, tmp_path):
    torch.save({"g": dcgan.state_dict()}, tmp_path / "x.pt")
    found = read_arrays(tmp_path / "x.pt")
    assert set(found) == {"arrays", "settings", "reader", "refused"}
    for name, value in dcgan.state_dict().items():
        assert torch.equal(found["arrays"][f"g/{name}"], value)
    assert "error" in read_or_explain(Path(__file__))


def test_wrong_arguments_say_what_is_accepted(tmp_path):
    with pytest.raises(ConversionError, match="No family is called 'gan'; there are auto, dcgan"):
        convert(tmp_path / "x.pt", tmp_path, "gan", trusted=True)
    with pytest.raises(ConversionError, match="is no file"):
        convert(tmp_path / "x.pt", tmp_path, trusted=True)


FORMS = ["zip", "old", *range(6)]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_file_gives_the_arrays_bit_for_bit(form, tmp_path):
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm2d(3)).half()
    base = torch.randn(2, 3)
    content = {"a": base, "view": base.t(), "p": nn.Parameter(torch.randn(2)), "i": torch.tensor([2**40])}
    content |= {"e": torch.empty(0, 4), "n": base.numpy() * 2, "net": net}
    content["deep"] = {"er": OrderedState(net.state_dict())}
    file = tmp_path / "x.pt"
    if form in ("zip", "old"):
        torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
    else:
        with file.open("wb") as opened:
            pickle.dump(content, opened, protocol=form)
    root, _, storage = read_checkpoint(file)
    arrays, _ = flat_arrays(root, storage)
    expected = {name: torch.as_tensor(content[name]) for name in ("a", "view", "p", "i", "e", "n")}
    expected |= {f"{at}/{name}": value for at in ("deep/er", "net") for name, value in net.state_dict().items()}
    assert set(arrays) == set(expected)
    for name, value in expected.items():
        assert arrays[name].dtype == value.dtype
        assert torch.equal(arrays[name], value), name


class OrderedState(dict):
    """A dict of somebody's own class, as many checkpoints have."""


def test_a_tensor_that_reaches_outside_its_numbers_is_refused(tmp_path):
    torch.save({"a": torch.randn(4)}, tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.pt") as archive, zipfile.ZipFile(tmp_path / "y.pt", "w") as other:
        for name in archive.namelist():
            data = archive.read(name)
            other.writestr(name, data[:8] if name.endswith("data/0") else data)
    with pytest.raises(ConversionError, match="can't be read"):
        convert(tmp_path / "y.pt", tmp_path / "out", trusted=True)


def test_a_whole_module_is_a_group_of_its_own(dcgan, tmp_path):
    torch.save({"snapshot": {"G": dcgan}}, tmp_path / "x.pt")
    done = convert(tmp_path / "x.pt", tmp_path / "out", trusted=True)
    assert done.group == "snapshot/G"
    assert "genmend.gans.families.dcgan.DCGAN" in done.refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema 1; update genmend"),
        ({"kind": "other"}, "not of the kind"),
        ({"family": "x"}, "family 'x'"),
        ({"more": 1}, "has the keys"),
        ({"options": {"psi": 1}}, r"dcgan has no options \['psi'\]"),
        ({"config": {"width": 3}}, "can't be built from"),
    ],
)
def test_a_changed_folder_is_refused(change, message, dcgan, tmp_path):
    torch.save(dcgan.state_dict(), tmp_path / "x.pt")
    convert(tmp_path / "x.pt", tmp_path / "out", trusted=True)
    file = tmp_path / "out" / "generator.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        load_generator(str(tmp_path / "out"))


def test_damaged_arrays_are_refused(dcgan, tmp_path):
    torch.save(dcgan.state_dict(), tmp_path / "x.pt")
    convert(tmp_path / "x.pt", tmp_path / "out", trusted=True)
    arrays = tmp_path / "out" / "generator.safetensors"
    state = load_file(arrays)
    state.pop("main.0.weight")
    save_file(state, arrays)
    with pytest.raises(LayoutError, match=r"missing: main\.0\.weight"):
        load_generator(str(tmp_path / "out"))
    arrays.write_bytes(b"no")
    with pytest.raises(ValueError, match="missing or damaged"):
        load_generator(str(tmp_path / "out"))
    with pytest.raises(ValueError, match="is no converted generator"):
        load_generator(str(tmp_path))
