"""The line to type where something is missing: computed from what is missing and how genmend was installed."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from genmend.manifold.features.extractors.loading import _EXTRAS
from genmend.workbench.cli import main as cli
from genmend.workbench.commands import extras

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = PROJECT["dependencies"] + [
    f'{line}; extra == "{name}"' for name, lines in PROJECT["optional-dependencies"].items() for line in lines
]
# What the messages of the library say, file by file: (extra, the module that it is about).
SAID = {
    "storage/hub/repository.py": [("hub", "huggingface_hub")],
    "manifold/metrics/frechet.py": [("metrics", "torch_fidelity"), ("metrics", "torchmetrics")],
    "manifold/metrics/evaluation.py": [("metrics", "torch_fidelity")],
    "manifold/metrics/torchmetrics_adapters.py": [("metrics", "torchmetrics")],
    "manifold/metrics/lightning_callback.py": [("lightning", "lightning")],
    "manifold/features/audio_files.py": [("audio", "soundfile")],
    "manifold/features/image_extractor.py": [("vision", "onnxruntime")],
    "manifold/features/extractors/loading.py": [(extra, module) for module, extra in _EXTRAS.items()],
    "manifold/features/sources/parquet_images.py": [("parquet", "pyarrow")],
    "manifold/sharded/workers.py": [("ray", "ray")],
    "manifold/sharded/cluster.py": [("ray", "ray")],
    "gans/rare/flow.py": [("flows", "zuko")],
    "gans/detection/defect_masks.py": [("explain", "captum")],
    "gans/dissection/transformers_segmenters.py": [("vision", "transformers")],
    "workbench/pages/page.py": [("report", "jinja2"), ("report", "matplotlib")],
    "tts/measures/audio_input.py": [
        ("audio-eval", module) for module in ("jiwer", "librosa", "speechmos", "faster_whisper", "pocketsphinx", "hama")
    ],
}


@pytest.fixture
def installed(monkeypatch):
    """A function that says how genmend was installed, and which packages are here."""

    def install(url=None, here=(), editable=True):
        origin = None if url is None else json.dumps({"url": url, "dir_info": {"editable": editable}})
        monkeypatch.setattr(
            extras.metadata, "distribution", lambda name: SimpleNamespace(read_text=lambda file: origin)
        )

        def version(name):
            if extras.normalised(name) not in map(extras.normalised, here):
                raise extras.metadata.PackageNotFoundError(name)
            return "9999" if name not in ("torch", "torchaudio", "torchvision") else "2.14"

        monkeypatch.setattr(extras.metadata, "version", version)
        monkeypatch.setattr(extras.metadata, "requires", lambda name: REQUIREMENTS)
        monkeypatch.setattr(extras, "pip", lambda: "pip")
        monkeypatch.setattr(extras, "find_spec", lambda name: True)

    return install


def test_after_make_demo_speaking_advises_what_is_not_there(installed):
    demo = ["jinja2", "matplotlib", "torchvision", "timm", "transformers", "onnx", "captum"]
    installed(here=demo)
    assert extras.remedy("torchaudio", "speak") == "pip install 'genmend[tts]'"
    assert extras.remedy("onnxruntime", "speak") == "pip install 'genmend[tts]'"
    assert extras.remedy("faster_whisper", "speak") == "pip install 'genmend[audio-eval]'"
    assert extras.remedy("faster_whisper", "score") == "pip install 'genmend[audio]'"
    assert extras.remedy("diffusers.pipelines", "amplify") == "pip install 'genmend[diffusion]'"
    assert extras.remedy("zuko", "rare") == "pip install 'genmend[flows]'"
    assert extras.remedy("torch_fidelity") == "pip install 'genmend[metrics]'"
    assert extras.remedy("ctranslate2", "score") == "pip install 'genmend[audio]'"
    assert extras.remedy("PIL") == "pip install genmend"
    # What an extra brings that is complete, and what none brings, is not mended by one.
    assert extras.remedy("transformers", "speak") is None
    assert extras.remedy("my_models") is None


def test_a_checkout_is_installed_from_where_it_lies(installed, monkeypatch, tmp_path):
    checkout = tmp_path / "a checkout"
    checkout.mkdir()
    installed(checkout.as_uri())
    strict = "pip install --config-settings editable_mode=strict -e"
    monkeypatch.chdir(tmp_path)
    assert extras.install_command("tts") == f"{strict} '{checkout}[tts]'"
    monkeypatch.chdir(checkout)
    assert extras.install_command("tts") == f"{strict} '.[tts]'"
    assert extras.install_command() == f"{strict} ."
    installed(checkout.as_uri(), editable=False)
    assert extras.install_command("tts") == "pip install '.[tts]'"
    installed("https://somewhere/genmend.git")
    assert extras.install_command("tts") == "pip install 'genmend[tts]'"


def test_a_wheel_is_installed_anew_by_what_made_the_environment(installed, monkeypatch, tmp_path):
    """Environments of pipx and uv have no pip, and what they run is not changed from within."""
    wheel = tmp_path / "genmend-0.1.0-py3-none-any.whl"
    wheel.touch()
    installed()
    origin = json.dumps({"url": wheel.as_uri(), "archive_info": {}})
    monkeypatch.setattr(extras.metadata, "distribution", lambda name: SimpleNamespace(read_text=lambda file: origin))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert extras.install_command("ui") == f"pip install '{wheel}[ui]'"
    for sign, line in (("uv-receipt.toml", "uv tool"), ("pipx_metadata.json", "pipx")):
        (tmp_path / sign).touch()
        assert extras.install_command("ui") == f"{line} install --force '{wheel}[ui]'"
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "archive-v0" / "xyz"))
    assert extras.install_command() == f"uv tool install --force {wheel}"
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "made-by-uv"))
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    monkeypatch.setattr(extras.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "made-by-uv" / "bin" / "python"))
    assert extras.install_command("ui") == f"uv pip install --python {sys.executable} '{wheel}[ui]'"
    wheel.unlink()
    assert extras.install_command("ui").endswith(" 'genmend[ui]'")


def test_without_a_distribution_nothing_is_advised(monkeypatch):
    def none(name):
        raise extras.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extras.metadata, "requires", none)
    assert extras.remedy("torchaudio") is None


def test_pip_is_that_of_this_python(monkeypatch, tmp_path):
    (tmp_path / "pip").write_text("")
    (tmp_path / "pip").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(extras.sys, "executable", str(tmp_path / "python"))
    assert extras.pip() == "pip"
    monkeypatch.setattr(extras.sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    monkeypatch.chdir(tmp_path)
    assert extras.pip() == ".venv/bin/python -m pip"


def test_the_command_line_adds_the_line(installed, monkeypatch, capsys):
    installed(here=["numpy"])
    monkeypatch.setattr(cli.sys, "argv", ["genmend", "speak", "joe", "Hello."])

    def said(error):
        assert cli._run(Mock(side_effect=error)) == 2  # raised in no code of the user's
        return capsys.readouterr().err

    assert said(ModuleNotFoundError("No module named 'torchaudio'", name="torchaudio")) == (
        "genmend: No module named 'torchaudio'; run `pip install 'genmend[tts]'`.\n"
    )
    named = ModuleNotFoundError("zuko is not installed: pip install 'genmend[flows]'.", name="zuko")
    assert said(named) == "genmend: zuko is not installed: pip install 'genmend[flows]'.\n"
    other = ModuleNotFoundError("install sentencepiece (pip install sentencepiece).")
    assert said(other) == "genmend: install sentencepiece (pip install sentencepiece).\n"
    assert "genmend doctor" in said(ImportError("cannot import name 'a' from 'b'"))
    assert "genmend doctor" in said(OSError("libtorchaudio.so: undefined symbol: torch_exception"))
    assert "genmend doctor" not in said(OSError("No space left on device"))


def test_every_extra_that_a_message_names_brings_what_it_is_about():
    said = {
        file.relative_to(ROOT).as_posix(): set(re.findall(r"genmend\[([^\]]+)\]", text))
        for room in ("storage", "activations", "manifold", "gans", "diffusion", "tts", "workbench/pages")
        for file in (ROOT / room).rglob("*.py")
        if "genmend[" in (text := file.read_text(encoding="utf-8"))
    }
    assert set(said) == set(SAID)
    brings = {e.name: {extras.normalised(p.name) for p in e.packages} for e in extras.installed_extras(REQUIREMENTS)}
    for file, pairs in SAID.items():
        written = {extra for extra in said[file] if "{" not in extra}
        assert written <= {extra for extra, _ in pairs}, file
        for extra, module in pairs:
            name = extras.distribution_of(module)
            assert extras.normalised(extras._REQUIRED_BY.get(name, name)) in brings[extra], (file, module)


OWN = {
    "torch.py": "raise SystemExit('the torch of the folder was imported')",
    **{
        f"{room}/__init__.py": "raise SystemExit('a room of the folder was imported')"
        for room in ("storage", "activations", "manifold", "gans", "diffusion", "tts", "workbench", "numpy")
    },
    "my_models.py": """
import torch
from genmend.gans import Generator
def make():
    return torch.nn.Sequential(torch.nn.Linear(4, 12), torch.nn.ReLU(), torch.nn.Unflatten(1, (3, 2, 2)))
""",
}


@pytest.mark.parametrize("how", [pytest.param("-m", marks=pytest.mark.all), "script"])
def test_a_folder_with_modules_of_the_same_names_shadows_nothing_and_the_users_own_are_found(how, tmp_path):
    for name, text in OWN.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    # What pip writes for the entry point.
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "genmend"
    script.write_text("import sys\nfrom genmend.workbench.cli.main import main\nsys.exit(main())\n")
    program = [sys.executable, "-m", "genmend"] if how == "-m" else [sys.executable, str(script)]
    command = ["explore", "my_models:make", "--latent-shape", "4", "--out", "out", "--layer", "no-such-layer"]
    done = subprocess.run([*program, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "no-such-layer" in done.stderr  # the model was built and asked for it
    assert "was imported" not in done.stderr


def test_the_version_is_told():
    import genmend

    done = subprocess.run([sys.executable, "-m", "genmend", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"genmend {genmend.__version__}\n")
    assert Path(genmend.__file__).with_name("py.typed").exists()
