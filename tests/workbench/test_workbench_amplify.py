"""``genmend amplify`` on a saved pipeline of random weights: files, figures, resumption, errors."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import diffusion_toys
import numpy as np
import pytest
import torch
from PIL import Image

from genmend.activations import load_correction
from genmend.diffusion import AmplifyLowFrequencies, SigmaWindow, cads
from genmend.diffusion.amplification.plug_in import read_amplification, write_amplification
from genmend.diffusion.search import comparison, kept_images
from genmend.diffusion.search.real_images import read_real_images
from genmend.workbench.cli.diffusion import gains_of
from genmend.workbench.cli.main import _run, app
from genmend.workbench.pages.amplify import next_steps

FAST = ["--steps", "1", "--height", "16", "--width", "16", "--guidance", "0", "--n", "3", "--n-cloud", "8"]
FEATURES = ["--extractor", "test_workbench_amplify:pixel_features"]


def pixel_features():
    return lambda images: images.flatten(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("toy")
    diffusion_toys.sd15(place).save_pretrained(place / "pipe")
    return place / "pipe"


def genmend(*arguments, capsys=None, monkeypatch=None):
    sys.argv = ["genmend", *map(str, arguments)]
    return _run(app)


@pytest.fixture(autouse=True)
def arguments_restored(monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def test_pairs_figures_and_files(folder, tmp_path, capsys):
    gains = ["--gains", "down0=1.5,mid=3,up3=4", "--cutoff", "2", "--control", "high"]
    words = ["--prompt", "a chair", "--prompt", "a lamp"]
    out = tmp_path / "out"
    assert genmend("amplify", folder, "--out", out, *words, *gains, *FAST, *FEATURES, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads((out / "summary.json").read_text())
    assert list(result["gains"].values()) == [1.5, 3, 4]
    assert result["n"] == 6
    assert result["novelty"] > 0
    assert result["pixel_change"] > 1e-4
    assert result["control"]["n"] == 6
    assert result["usability"] == {}
    names = sorted(path.name for path in (out / "original").iterdir())
    assert names == sorted(path.name for path in (out / "amplified").iterdir())
    assert len(names) == 6
    before, after = (np.asarray(Image.open(out / kind / names[0])).astype(int) for kind in ("original", "amplified"))
    assert before.shape == (16, 16, 3)
    assert np.abs(before - after).max() > 0
    assert len(load_correction(out / "amplification.safetensors").ladder[0]) == 3
    page = (out / "report.html").read_text()
    assert "a lamp" in page
    assert page.count("data:image/png") >= 3
    rows = (out / "samples.csv").read_text().splitlines()
    assert len(rows) == 7

    # Again: nothing is drawn anew, and the file gives the same images.
    stamps = {path: path.stat().st_mtime_ns for path in (out / "work").rglob("*.safetensors")}
    assert genmend("amplify", folder, "--out", out, *words, *gains, *FAST, *FEATURES, "--json") == 0
    assert json.loads(capsys.readouterr().out) == result
    assert {path: path.stat().st_mtime_ns for path in (out / "work").rglob("*.safetensors")} == stamps
    filed = ["--correction", out / "amplification.safetensors"]
    assert genmend("amplify", folder, "--out", out, *words[:2], *filed, *FAST, *FEATURES) == 0
    again = np.asarray(Image.open(out / "amplified" / names[0])).astype(int)
    np.testing.assert_array_equal(again, after)
    # What the earlier runs drew besides is gone.
    assert not (out / "control").exists()
    assert sorted(path.name for path in (out / "amplified").iterdir()) == names[:3]


def test_cads_as_the_control_is_on_for_its_images_alone_and_its_noise_is_of_the_seed(folder, tmp_path, monkeypatch):
    begun = []

    def watched(pipe, scale, *, tau2, seed):
        begun.append((scale, tau2, seed))
        return cads(pipe, scale, tau2=tau2, seed=seed)

    monkeypatch.setattr(kept_images, "cads", watched)
    arguments = ["--prompt", "a chair", "--gains", "mid=1.5", "--control", "cads", *FAST, *FEATURES, "--steps", "2"]
    assert genmend("amplify", folder, "--out", tmp_path / "out", *arguments, "--batch-size", "2") == 0
    assert begun == [(0.3, 1.0, 10_000), (0.3, 1.0, 10_002)]
    assert len(list((tmp_path / "out" / "control").glob("*.png"))) == 3
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["control"]["n"] == 3
    assert "CADS, noise on the prompt and no gains" in (tmp_path / "out" / "report.html").read_text()


def test_the_line_for_other_prompts_draws_as_this_run_did():
    """A file of gains holds neither steps and guidance nor the LoRA."""
    call = {"num_inference_steps": 4, "guidance_scale": 0.0, "eta": 0.5}
    run = SimpleNamespace(model="a/b", lora="my style.safetensors", settings={"call": call})
    said = next_steps(run, Path("out"))["other prompts"]
    assert said == (
        "genmend amplify a/b --steps 4 --guidance 0.0 --lora 'my style.safetensors' --correction "
        "out/amplification.safetensors --prompt ... --out more"
    )
    plain = SimpleNamespace(model="a/b", lora="", settings={"call": {}})
    assert next_steps(plain, Path("out"))["other prompts"].startswith("genmend amplify a/b --correction")


def test_a_search(folder, tmp_path, capsys, monkeypatch):
    brightness = lambda images, prompt: images.mean((1, 2, 3)).numpy() + 1  # noqa: E731
    monkeypatch.setattr(comparison, "clip_score", lambda name: brightness)
    chosen = ["--search", "--n-search", "4", "--n-trials", "2", "--usability", "clip:mean", "--cutoff", "2"]
    options = ["--prompt", "a", *chosen, *FAST, *FEATURES, "--json"]
    assert genmend("amplify", folder, "--out", tmp_path, *options) == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["search"]["trials"]) >= 3
    assert "The search" in (tmp_path / "report.html").read_text()
    assert set(result["usability"]) == {"clip:mean"}


def test_novelty_counts_among_real_images_only(folder, tmp_path, capsys):
    options = ["--prompt", "a", "--gains", "down0=1.5,mid=3,up3=4", "--cutoff", "2", *FAST, *FEATURES, "--json"]
    assert genmend("amplify", folder, "--out", tmp_path / "plain", *options) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["counted"] == 1
    real = tmp_path / "real"
    real.mkdir()
    for i in range(12):  # grey, wider than what is drawn: nothing like it
        Image.new("RGB", (40, 20), (i, i, i)).save(real / f"{i}.png")
    assert genmend("amplify", folder, "--out", tmp_path / "out", *options, "--real", real) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["counted"] == 0
    assert result["novelty"] is None
    assert result["settings"]["real"] == "real"
    assert "share among real images" in (tmp_path / "out" / "report.html").read_text()


def test_real_images_cover_the_frame(tmp_path):
    picture = np.zeros((20, 40, 3), dtype=np.uint8)
    picture[:, 10:30] = 255  # what the middle square holds
    Image.fromarray(picture).save(tmp_path / "a.png")
    images = read_real_images(tmp_path, 10, 10)
    assert images.shape == (1, 3, 10, 10)
    assert images[..., 1:-1].min() > 0.99
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no images"):
        read_real_images(tmp_path / "empty", 10, 10)


def test_the_window_of_a_correction_file_is_kept(folder, tmp_path, capsys):
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(folder)
    edit = AmplifyLowFrequencies("mid_block", 3.0, 2)
    never = SigmaWindow(1e6, 1e7)  # no step has so much noise
    write_amplification(tmp_path / "a.safetensors", pipe, [edit], never)
    options = ["--prompt", "a", "--correction", tmp_path / "a.safetensors", *FAST, *FEATURES, "--json"]
    assert genmend("amplify", folder, "--out", tmp_path / "out", *options) == 0
    assert json.loads(capsys.readouterr().out)["pixel_change"] == 0
    assert read_amplification(pipe.unet, tmp_path / "out" / "amplification.safetensors") == ((edit,), never)


def test_gain_1_changes_nothing(folder, tmp_path, capsys):
    options = ["--prompt", "a", "--gains", "1,1", *FAST, *FEATURES, "--json"]
    assert genmend("amplify", folder, "--out", tmp_path, *options) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["pixel_change"] == 0
    assert result["novelty"] == 1
    assert not (tmp_path / "amplification.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--gains", "1.5", "--preset", "sdxl"], "--gains and --preset both say what is amplified; give one"),
        (["--gains", "1.5", "--strengths", "strong"], "give numbers with a comma between them, or none"),
        (["--gains", "1.5", "--strengths", "-1"], "give numbers above 0, to 10"),
        (["--gains", "1.5", "--lora", "none.safetensors"], "no such file; give a .safetensors file or owner/name"),
        (["--gains", "a=b"], "give down0=1.1"),
        (["--gains", "left=1.5"], "left"),
        (["--gains", "mid=-1"], "gain is -1.0"),
        (["--preset", "sdxl-9"], "accepted are sdxl-turbo"),
        (["--search"], "needs a usability scorer"),
        (["--search", "--keep-inside", "0.9"], "give both"),
        (["--gains", "1.5", "--real", ".", "--n-cloud", "0"], "leave one of them out"),
        (["--gains", "1.5", "--usability", "taste"], "clip:MODEL"),
        (["--gains", "1.5", "--dtype", "int8"], "bfloat16"),
        (["--gains", "1.5", "--n-cloud", "3"], "at least 6"),
        (["--blocks", "1=1.5"], "for transformers"),
        (["--blocks", "x=1.5"], "numbers of blocks"),
        (["--gains", "1.5", "--cutoff", "-1"], "cutoff is -1.0"),
    ],
)
def test_errors_end_with_2_and_say_why(folder, tmp_path, capsys, options, words):
    given = [*FAST, *FEATURES] if "--n-cloud" not in options else [*FAST[:-2], *FEATURES]
    assert genmend("amplify", folder, "--out", tmp_path / "out", "--prompt", "a", *given, *options) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in message
    assert not (tmp_path / "out" / "summary.json").exists()


def test_models_that_are_none(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for model, words in (
        (tmp_path / "missing", "no such folder"),
        (tmp_path / "empty", "model_index.json"),
    ):
        assert genmend("amplify", model, "--out", tmp_path / "out", "--prompt", "a", "--gains", "1.5") == 2
        assert words in capsys.readouterr().err


def test_gains_by_name_and_in_order():
    assert gains_of("1.1, 1.3,1.8") == {"down0": 1.1, "down1": 1.3, "mid": 1.8}
    assert gains_of("up1=1.5,mid=2") == {"up1": 1.5, "mid": 2.0}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    place = tmp_path_factory.mktemp("toys")
    for name in ("sd15", "sdxl"):
        (place / name).mkdir()
        getattr(diffusion_toys, name)(place / name).save_pretrained(place / name / "pipe")
    return {name: place / name / "pipe" for name in ("sd15", "sdxl")}


@pytest.fixture
def nothing_drawn(monkeypatch):
    def drawn(*arguments, **settings):
        raise AssertionError("an image was drawn")

    monkeypatch.setattr("genmend.diffusion.search.kept_images.draw", drawn)
    monkeypatch.setattr("genmend.diffusion.search.trials.draw", drawn)


@pytest.mark.usefixtures("nothing_drawn")
@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("reference", ["--prompt", "a creative chair", "--gains", "1.1,1.1,1.1"], "names none of the garments"),
        ("reference", ["--prompt", "a dress", "--prompt", "a chair", "--search"], "names none of the garments"),
        ("reference", ["--prompt", "a dress", "--search", "--usability", "none"], "needs a usability scorer"),
        ("reference", ["--prompt", "a dress", "--preset", "sdxl"], "has 2, with it in 1; give gains"),
        ("reference", ["--prompt", "a dress", "--gains", "1.1,1.1,1.1", "--extractor", "nothing:here"], "nothing"),
        ("reference", ["--prompt", "a dress", "--gains", "1.1,1.1,1.1", "--control", "low"], "full, high"),
        ("sd15", ["--prompt", "a", "--search"], "needs a usability scorer"),
        ("sd15", ["--prompt", "a", "--preset", "sdxl-turbo"], "presets of its layout are sd-1.5, sd-2.1"),
        ("sdxl", ["--prompt", "a", "--gains", "1.1,1.3"], "2 gains were given for the 4 blocks"),
        ("sdxl", ["--prompt", "a", "--gains", "1.3"], "--gains down0=1.3"),
        ("sd15", ["--prompt", "a", "--gains", "mid=1.1", "--real", "EMPTY"], "holds no images"),
        ("sd15", ["--prompt", "a", "--gains", "mid=1.1", "--real", "FEW"], "holds 2 images; give at least 6"),
        ("sd15", ["--prompt", "a", "--gains", "mid=1.1", "--offload", "model"], "give --device cuda"),
        ("sd15", ["--prompt", "a", "--gains", "mid=1.1", "--offload", "disk"], "none, model, sequential"),
    ],
)  # fmt: skip
def test_refused_before_anything_is_drawn(places, tmp_path, capsys, model, options, words):
    for name, n in (("EMPTY", 0), ("FEW", 2)):
        (tmp_path / name).mkdir()
        for i in range(n):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{i}.png")
    options = [tmp_path / option if option in ("EMPTY", "FEW") else option for option in options]
    assert genmend("amplify", places.get(model, model), "--out", tmp_path / "out", *options) == 2
    assert words in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "out" / "summary.json").exists()


def test_gains_in_order_are_told_by_name(places, tmp_path, capsys):
    options = ["--gains", "1.1,1.2,1.3,1.4", "--n", "1", "--n-cloud", "0", "--steps", "1", "--height", "16"]
    options += ["--width", "16", "--prompt", "a", "--out", tmp_path]
    assert genmend("amplify", places["sdxl"], *options) == 0
    said = capsys.readouterr().err
    assert "down_blocks.0 x 1.1, down_blocks.1 x 1.2, down_blocks.2 x 1.3, mid_block x 1.4" in said
    assert "change the pixels of 1 image by" in said
    assert "whether the images are better was not measured" in said
    assert "Verdict: not measured" in (tmp_path / "report.html").read_text()


def test_the_help_names_what_a_large_model_needs(capsys):
    assert genmend("amplify", "--help") == 0
    said = capsys.readouterr().out
    for option in ("--variant", "--offload", "--device", "--dtype", "--lora", "sdxl-turbo"):
        assert option in said


def test_what_needs_no_pipeline_is_refused_before_one_is_downloaded(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("genmend.diffusion.loading.fetch_pipeline", lambda *_, **__: pytest.fail("it was downloaded"))
    line = ["amplify", "stabilityai/sdxl-turbo", "--prompt", "a chair", "--out", tmp_path / "out"]
    for options, words in (
        (["--extractor", "nothing"], "No extractor is called 'nothing'"),
        (["--search"], "needs a usability scorer"),
        (["--n-cloud", "0", "--preset", "sdxl", "--correction", __file__], "give one of them"),
        ([*FEATURES, "--real", tmp_path], "holds no images"),
    ):
        assert genmend(*line, *options) == 2
        assert words in capsys.readouterr().err


def test_as_typed_for_a_model_of_the_hub(places, tmp_path, capsys, monkeypatch):
    """Nothing is said but the model and the prompt: the family's preset, a slider, keepers, what to do next."""
    commit = "0123456789" * 4
    repository = tmp_path / "hub" / "models--stabilityai--sdxl-turbo"
    shutil.copytree(places["sdxl"], repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    out, size = tmp_path / "out", ["--height", "16", "--width", "16"]
    words = ["--prompt", "a creative chair", "--n", "12", "--n-cloud", "20", *size, *FEATURES]
    assert genmend("amplify", "stabilityai/sdxl-turbo", "--out", out, *words, "--batch-size", "4") == 0
    said = capsys.readouterr().err
    assert "on cpu in float32: the weights take 15.0 MB" in said
    assert "are those of sdxl-turbo, as the name stabilityai/sdxl-turbo says" in said
    assert "68 images are to be drawn, 1 step each, 16 x 16 pixels" in said
    assert "Keepers: " in said
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary["gains"].values()) == [1.075, 1.15, 2.6, 2.8]
    assert 0 <= summary["n_keepers"]["original"] <= 12
    page = (out / "report.html").read_text()
    assert page.count('class="stage') == 5
    for text in ("Strength of the amplification", "of 12 amplified images are keepers"):
        assert text in page
    pipe_line = f"enable_amplification(pipe, &#34;{out / 'amplification.safetensors'}&#34;)"
    assert pipe_line in page
    kept = {path.name for path in (out / "work").iterdir()}
    assert len(kept) == (20 + 12 + 12) // 4 + 3 * 2  # one file a batch: what an interrupted run loses is at most that
    stopped = sorted(out.glob("work/images-*"))[3]
    stopped.unlink()
    drawn = []
    monkeypatch.setattr("genmend.diffusion.search.kept_images.draw", lambda *args, **_: drawn.append(args[2]) or DRAWN)
    assert genmend("amplify", "stabilityai/sdxl-turbo", "--out", out, *words, "--batch-size", "4") == 0
    assert [len(seeds) for seeds in drawn] == [4]


DRAWN = torch.zeros(4, 3, 16, 16)
