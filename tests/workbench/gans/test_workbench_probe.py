"""What commands do with generators that are odd in one way: warned of on stderr, in summary.json and on the page."""

import json

import numpy as np
import pytest
from PIL import Image
from scratch_commands import SCRATCH, genmend

ODD = """
import sys
import torch
from torch import nn
from torch.nn import functional
from genmend.gans import Generator


class Shared(nn.Module):
    def __init__(self, height=4, width=4):
        super().__init__()
        torch.manual_seed(1)
        self.act, self.size = nn.ReLU(), (height, width)
        self.start = nn.Linear(8, 24 * height * width)
        self.widen = nn.ConvTranspose2d(24, 12, 4, 2, 1)
        self.paint = nn.ConvTranspose2d(12, 3, 4, 2, 1)

    def forward(self, z):
        x = self.act(self.start(z).view(-1, 24, *self.size))
        return torch.tanh(2 * self.paint(self.act(self.widen(x))))


class Form(Shared):
    form = staticmethod(lambda x, z: x)

    def forward(self, z):
        return self.form(super().forward(z), z)


def form(function):
    made = Form()
    made.form = function
    return made


class Functional(Shared):
    def forward(self, z):
        x = functional.relu(self.start(z).view(-1, 24, *self.size))
        return torch.tanh(2 * self.paint(functional.relu(self.widen(x))))


class Conditional(Shared):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(4, 8)

    def forward(self, z, y):
        return super().forward(z + self.embed(y))


class Named:
    names = ("bright",)

    def __call__(self, images):
        return images.mean(1, keepdim=True) > 0.5


shared, functional_net, conditional = Shared, Functional, Conditional
wide = lambda: Shared(3, 5)
half = lambda: Shared().half()
noisy = lambda: form(lambda x, z: x + 0.1 * torch.randn_like(x))
positive = lambda: form(lambda x, z: x / 2 + 0.5)
pair = lambda: form(lambda x, z: (z, x))
broken = lambda: form(lambda x, z: x / 0)
clear = lambda: form(lambda x, z: torch.cat([x, x[:, :1]], 1))
flat = lambda: form(lambda x, z: x.flatten(1))
instance = Shared()
own = lambda: Generator(Shared().eval(), (8,), name="mine")


def asserts():
    assert torch.tensor(1) == 2, "weights are not there"


def ends():
    sys.exit(3)


# Fails behind the probe, which runs two latents.
later = lambda: form(lambda x, z: x if len(z) < 3 else x.missing)
"""

SMALL = ["--extractor", "scratch:network", "--n-statistics", "60", "--n-reference", "40"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    (folder / "scratch.py").write_text(SCRATCH)
    (folder / "odd.py").write_text(ODD)
    (folder / "syntax.py").write_text("import torch\n\ndef build(:\n    pass\n")
    latents = np.random.default_rng(0).standard_normal((30, 8)).astype(np.float32)
    latents[:4] *= 4
    np.save(folder / "z.npy", latents)
    return folder


def detected(folder, model, out, *more, shape="8"):
    return genmend(
        folder, "detect", f"odd:{model}", "--latents", "z.npy", "--out", out, "--latent-shape", shape, *SMALL, *more
    )


def summary(folder, out):
    return json.loads((folder / out / "summary.json").read_text())


def test_a_shared_activation_is_detected_corrected_and_loaded_again_by_run(folder):
    done = detected(folder, "shared", "shared")
    assert done.returncode == 0, done.stderr
    said = "Layer 'act' runs 2 times in a pass; each run is inspected as a layer of its own: act#1, act#2."
    assert f"Warning: {said}\n" in done.stderr
    found = summary(folder, "shared")["probe"]
    assert found["layers"] == ["act#1", "act#2"]
    assert found["warnings"] == [said]
    page = (folder / "shared" / "report.html").read_text()
    assert "Warnings" in page
    assert "act#1, act#2" in page
    options = ["--latents", "z.npy", "--latent-shape", "8", *SMALL]
    for method in ("ladder", "rare-neurons", "locally-active-units"):
        out = f"mended-{method}"
        more = ["--set", "n_samples=40"] if method != "ladder" else []
        done = genmend(folder, "correct", "odd:shared", "--out", out, "--method", method, *more, "--no-gate", *options)
        assert done.returncode == 0, done.stderr
        assert summary(folder, out)["n_changed"] > 0
    done = genmend(
        folder, "correct", "odd:shared", "--out", "again", "--no-gate", "--correction",
        "mended-rare-neurons/correction.safetensors", *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert summary(folder, "again")["n_by_rung"] == summary(folder, "mended-rare-neurons")["n_by_rung"]


def test_layers_that_are_named_are_ordered_and_unknown_runs_refused(folder):
    done = detected(folder, "shared", "named", "--layers", "widen,act")
    assert done.returncode == 0, done.stderr
    assert summary(folder, "named")["probe"]["layers"] == ["act#1", "widen", "act#2"]
    done = detected(folder, "shared", "bad", "--layers", "act#3")
    assert done.returncode == 2
    assert "'act#3' was named, but it runs 2 times" in done.stderr


@pytest.mark.parametrize("command", ["dissect", "rare", "explore"])
def test_the_other_commands_take_a_shared_activation_too(folder, command):
    options = {
        "dissect": ["--n-images", "20", "--n-statistics", "20", "--layers", "act#2"],
        "rare": ["--n-references", "2", "--search-steps", "2", "--n-versions", "2", "--k-reference", "5", *SMALL,
                 "--n-reference", "90"],
        "explore": ["--n-queries", "1", "--n", "4", "--n-moves", "4", "--extractor", "", "--granularity", "unit",
                    "--tolerance", "0.01"],
    }[command]  # fmt: skip
    out = f"by-{command}"
    done = genmend(folder, command, "odd:shared", "--latent-shape", "8", "--out", out, *options)
    assert done.returncode == 0, done.stderr
    assert "act#2" in done.stderr
    assert summary(folder, out)["probe"]["shared"] == {"act": 2}


def test_images_that_are_no_squares_are_corrected(folder):
    done = genmend(
        folder, "correct", "odd:wide", "--latents", "z.npy", "--latent-shape", "8", "--out", "wide", "--no-gate",
        "--method", "rare-neurons", "--set", "n_samples=40", *SMALL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with Image.open(next((folder / "wide" / "after").glob("*.png"))) as image:
        assert image.size == (20, 12)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("noisy", "noise of its own: the same latents gave other images the second time"),
        ("positive", "give --value-range 0,1 (value_range= of gans.Generator)"),
        ("pair", "of which the tensor of shape (n, 3, 16, 16) is taken for the images"),
        ("clear", "the fourth is taken for opacity, on white"),
        ("functional_net", "is inspected at widen, which are no activation modules"),
    ],
)
def test_each_oddity_is_warned_of_in_all_three_places(folder, model, sentence):
    done = detected(folder, model, model)
    assert done.returncode == 0, done.stderr
    assert sum(sentence in line for line in done.stderr.splitlines() if line.startswith("Warning: ")) == 1
    assert any(sentence in one for one in summary(folder, model)["probe"]["warnings"])
    assert sentence in (folder / model / "report.html").read_text().replace("&#39;", "'")


@pytest.mark.parametrize("text", ["0,1", "0..1", "(0, 1)"])
def test_the_value_range_is_given_and_the_warning_goes(folder, text):
    done = detected(folder, "positive", "ranged", "--value-range", text)
    assert done.returncode == 0, done.stderr
    assert "value-range" not in done.stderr
    assert summary(folder, "ranged")["probe"]["value_range"] == [0, 1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["odd:shared", "--value-range", "0"], "--value-range is '0'; give black and white, e.g. 0,1"),
        (["odd:shared", "--value-range", "1,0"], "give (black, white) with black < white"),
        (["faces", "--value-range", "0,1"], "The value range of 'faces' is known"),
        (["odd:conditional"], "its forward needs y. Where that is a class, give --label N"),
        (
            ["odd:conditional", "--label", "4"],
            "--label 4 could not be given to Conditional as 'y': as index it raised IndexE",
        ),
        (["odd:shared", "--label", "1"], "Shared takes no class beside latents; leave it out"),
        (["odd:own", "--label", "1"], "fixes its label itself: do so in its call="),
        (["odd:broken"], "The generator returned NaN or infinite values"),
        (["odd:flat"], "returned shape (2, 768); images have shape"),
        (["odd:shared", "--latent-shape", "9"], "layer 'start', Linear that takes 8"),
        (["odd:shared", "--latent-shape", "99999999999999"], "product is at most 16777216"),
        (["odd:asserts"], "Your callable odd:asserts raised AssertionError: weights are not there (odd.py, line"),
        (["odd:ends"], "Your callable odd:ends raised SystemExit: 3 (odd.py, line"),
        (["syntax:build"], "Your module 'syntax' raised SyntaxError: invalid syntax (syntax.py, line 3: def build(:)"),
        (["odd:later"], "Your code raised AttributeError: 'Tensor' object has no attribute 'missing' (odd.py, line"),
        (["odd:shared", "--extractor", "odd:asserts"], "Your callable odd:asserts raised AssertionError"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(folder, given, said):
    model, *more = given
    done = genmend(folder, "detect", model, "--latents", "z.npy", "--out", "bad", "--latent-shape", "8", *SMALL, *more)
    assert done.returncode == 2, done.stderr
    (told,) = [line for line in done.stderr.splitlines() if line.startswith("genmend: ")]
    assert said in told
    assert "Traceback" not in done.stderr


def test_the_whole_traceback_is_shown_where_it_is_asked_for(folder):
    done = genmend(
        folder, "detect", "odd:asserts", "--latents", "z.npy", "--out", "bad", "--latent-shape", "8", "--traceback"
    )
    assert done.returncode == 2
    assert 'assert torch.tensor(1) == 2, "weights are not there"' in done.stderr
    assert "Traceback (most recent call last)" in done.stderr
    assert "\ngenmend: Your callable odd:asserts raised AssertionError" in done.stderr


@pytest.mark.parametrize(
    ("model", "more", "shape"),
    [("half", [], "8"), ("conditional", ["--label", "3"], "8"), ("instance", [], "8"), ("shared", [], "8,1,1")],
)
def test_these_work(folder, model, more, shape):
    if shape == "8,1,1":
        (folder / "square.py").write_text(
            "import odd\nfrom torch import nn\nbuild = lambda: nn.Sequential(nn.Flatten(), odd.Shared())\n"
        )
        done = genmend(
            folder, "detect", "square:build", "--latents", "z.npy", "--out", "shaped", "--latent-shape", shape, *SMALL
        )
    else:
        done = detected(folder, model, f"works-{model}", *more, shape=shape)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("value", [2**63, 2**64, 10**30])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("detect", "--seed"),
        ("detect", "--n-statistics"),
        ("dissect", "--seed"),
        ("rare", "--n-references"),
        ("demo", "--seed"),
    ],
)
def test_whole_numbers_that_nothing_can_hold_are_refused_with_their_range(folder, command, option, value):
    model = ["odd:shared", "--latent-shape", "8"] if command != "demo" else []
    more = ["--latents", "z.npy"] if command == "detect" else []
    done = genmend(folder, command, *model, "--out", "bad", *more, option, value)
    assert done.returncode == 2
    assert f"'{option}': {value} is out of range; give a whole number below 2**63, 9223372036854775808." in done.stderr


def test_counts_beyond_the_memory_are_one_sentence(folder):
    done = detected(folder, "shared", "bad", "--n-reference", str(10**17))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "genmend: Unable to allocate" in done.stderr
