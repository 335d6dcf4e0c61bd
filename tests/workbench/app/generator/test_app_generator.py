"""The Generator tab used as a person would, in a real browser: with the faces, and with somebody's own generator."""

import os
import re

import pytest
from gans_toys import toy_generator
from served_page import looking, server

from genmend.activations import ScaleUnits, attach, load_correction, save_correction
from genmend.gans import load_generator
from genmend.gans.editing.unit_correction import unit_correction

pytestmark = [pytest.mark.all]

OTHERS_EDITS = (ScaleUnits("stem.act", [1], 0.0),)
OWN = '''
import torch
from torch import nn


class Mine(nn.Module):
    """(n, 16) -> (n, 1, 32, 32): somebody's own generator."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(16, 8 * 64), nn.ReLU())
        self.second = nn.Sequential(nn.ConvTranspose2d(8, 6, 4, 2, 1), nn.ReLU())
        self.third = nn.Sequential(nn.ConvTranspose2d(6, 6, 4, 2, 1), nn.ReLU())
        self.paint = nn.Conv2d(6, 1, 3, padding=1)

    def forward(self, latents):
        maps = self.first(latents).view(-1, 8, 8, 8)
        drawn = self.paint(self.third(self.second(maps)))
        return torch.tanh(30 * (drawn - drawn.mean((1, 2, 3), keepdim=True)))


def build():
    torch.manual_seed(0)
    return Mine().eval()
'''


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The page with somebody's own generator, named on the command line."""
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_models.py").write_text(OWN)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    arguments = ("my_models:build", "--latent-shape", "16")
    with server(folder / "out", environment={"PYTHONPATH": path}, arguments=arguments) as running:
        yield running


def opened(looked):
    looked.open_tab("Generator")
    looked.page.locator("#generator-samples button").first.wait_for()
    looked.page.locator("#generator-paint canvas").first.wait_for()
    return looked.page


def pictures(page, where="samples"):
    return page.locator(f"#generator-{where} img").evaluate_all("all => all.map(one => one.src)")


def until(page, condition):
    for _ in range(300):
        if condition():
            return
        page.wait_for_timeout(200)
    raise AssertionError("it never came to that")


def said(page, part):
    """Its text; nothing where it is hidden."""
    return page.locator(f"#generator-{part}").evaluate("one => one.checkVisibility() ? one.innerText : ''")


def paint(page):
    canvas = page.locator("#generator-paint canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 20, y)
    page.mouse.down()
    for step in range(10):
        page.mouse.move(x - 20 + 4 * step, y + 3 * (step % 3))
    page.mouse.up()


def test_ones_own_generator_edited_painted_on_saved_and_loaded(chromium, own, tmp_path, monkeypatch):
    with looking(chromium, own) as looked:
        page = opened(looked)
        start = pictures(page)
        assert "Which of them are broken is not learnt yet" in said(page, "verdict")
        # A unit is switched off, and the samples are others; the focus stays on it.
        page.locator("#generator-units button").nth(1).click()
        until(page, lambda: pictures(page) != start and " off" in said(page, "edited"))
        page.wait_for_function("document.activeElement.dataset.index === '1'")
        off = pictures(page)
        # By keyboard another, and both are taken back one by one.
        page.locator("#generator-units button").nth(2).focus()
        page.keyboard.press("Enter")
        until(page, lambda: said(page, "edited").count(" off") == 2)
        page.locator("#generator-undo").click()
        until(page, lambda: pictures(page) == off)
        # Scaled by the slider.
        page.locator("#generator-strength input[type=number]").fill("2.5")
        page.locator("#generator-strength input[type=number]").press("Enter")
        page.locator("#generator-strength input[type=range]").focus()
        page.keyboard.press("ArrowRight")
        until(page, lambda: "×" in said(page, "edited"))
        page.locator("#generator-reset").click()
        until(page, lambda: pictures(page) == start)
        # Nothing painted is said in a sentence; then the units behind the paint are found, beside random regions.
        page.locator("#generator-find").click()
        until(page, lambda: "Nothing is painted" in said(page, "problem"))
        paint(page)
        page.wait_for_timeout(300)
        page.locator("#generator-find").click()
        until(page, lambda: "by chance" in said(page, "painted"))
        assert "elsewhere" in said(page, "units")
        assert "random units" in said(page, "painted")
        page.locator("#generator-all-off").click()
        until(page, lambda: " off" in said(page, "edited"))
        edited = pictures(page)
        # Kept as a file, which does on a fresh copy what the page showed.
        page.locator("#generator-licence textarea, #generator-licence input").first.fill("CC0-1.0")
        page.locator("#generator-save").click()
        with page.expect_download() as download:
            page.locator("#generator-saved a").first.click()
        download.value.save_as(tmp_path / "mine.safetensors")
        page.locator("#generator-reset").click()
        until(page, lambda: pictures(page) == start)
        page.locator("#generator-upload input[type=file]").set_input_files(str(tmp_path / "mine.safetensors"))
        page.locator("#generator-facts table").wait_for()
        for fact in ("build", "units scaled by hand", "rungs, from weak to strong", "CC0-1.0", "genmend serve"):
            assert fact in said(page, "facts")
        assert pictures(page) == start  # not before it is attached
        page.locator("#generator-attach").click()
        until(page, lambda: pictures(page) == edited)
        # Files of another model, and what is none, are refused in the library's words.
        save_correction(tmp_path / "other.safetensors", unit_correction(toy_generator(), OTHERS_EDITS))
        (tmp_path / "none.safetensors").write_bytes(b"\x80\x04K\x01." * 20)
        for name, words in [("other", "made for a model of another layout"), ("none", "cannot be loaded as")]:
            page.locator("#generator-upload button[aria-label='Clear']").click()
            until(page, lambda: not said(page, "refusal"))
            page.locator("#generator-upload input[type=file]").set_input_files(str(tmp_path / f"{name}.safetensors"))
            until(page, lambda words=words: words in said(page, "refusal"))
            assert not page.locator("#generator-attach").is_visible()
        assert looked.errors == []
    monkeypatch.syspath_prepend(str(own.out.parent))
    fresh = load_generator("my_models:build", (16,))
    before = fresh.sample(4, 0)
    with attach(fresh.module, load_correction(tmp_path / "mine.safetensors"), rung=3):
        assert not fresh.sample(4, 0).equal(before)


def test_two_sessions_do_not_see_each_others_edits(chromium, own):
    with looking(chromium, own) as one, looking(chromium, own) as two:
        first, second = opened(one), opened(two)
        start = pictures(first)
        assert pictures(second) == start
        for number in range(3):  # at once
            first.locator("#generator-units button").nth(number).click()
            second.locator("#generator-units button").nth(number + 3).click()
        until(first, lambda: said(first, "edited").count(" off") == 3)
        until(second, lambda: said(second, "edited").count(" off") == 3)
        assert not set(re.findall(r"\d+ off", said(first, "edited"))) & set(
            re.findall(r"\d+ off", said(second, "edited"))
        )
        assert pictures(first) != pictures(second)
        first.locator("#generator-reset").click()
        until(first, lambda: pictures(first) == start)
        assert said(second, "edited").count(" off") == 3
        assert one.errors == two.errors == []


def test_units_are_labelled_in_the_queue_for_all_sessions(chromium, own):
    with looking(chromium, own) as looked:
        page = opened(looked)
        page.locator("#generator-learn button").first.click()
        page.locator("#generator-label-units").click()
        until(page, lambda: "Done." in said(page, "learn"))
        until(page, lambda: re.search(r"IoU \d\.\d\d, by chance", said(page, "units")))
        labelled = said(page, "units")
        page.locator("#generator-units button").first.click()
        until(page, lambda: " off" in said(page, "edited"))
        assert looked.errors == []
    with looking(chromium, own) as other:
        assert said(opened(other), "units") == labelled


@pytest.mark.real("efficientnet-lite0")
def test_what_is_normal_is_learnt_in_the_queue_and_samples_are_scored_from_then_on(chromium, own):
    with looking(chromium, own) as looked:
        page = opened(looked)
        page.locator("#generator-worst").click()
        until(page, lambda: "press Learn what is normal" in said(page, "problem"))
        page.locator("#generator-learn button").first.click()
        page.locator("#generator-normal").click()
        until(page, lambda: re.search(r"\d+ of 24 samples look broken", said(page, "verdict")))
        page.locator("#generator-units button").first.click()
        until(page, lambda: "as many random units" in said(page, "verdict"))
        page.locator("#generator-reset").click()
        until(page, lambda: "No unit is edited" in said(page, "edited"))
        start = pictures(page)
        page.locator("#generator-worst").click()
        until(page, lambda: pictures(page) != start)
        scores = [float(text.replace("−", "-")) for text in re.findall("[+−]\\d+\\.\\d", said(page, "samples"))]
        assert scores == sorted(scores, reverse=True)
        assert looked.errors == []


@pytest.mark.real("faces", "efficientnet-lite0")
def test_the_faces_open_with_scores_and_labelled_units(look):
    with look() as looked:
        page = opened(looked)
        assert re.search(r"\d+ of 24 samples look broken", said(page, "verdict"))
        assert "by chance" in said(page, "units")
        start = pictures(page)
        page.locator("#generator-units button").first.click()
        until(page, lambda: pictures(page) != start)
        until(page, lambda: "as many random units" in said(page, "verdict"))
        page.locator("#generator-samples button").nth(5).click()
        until(page, lambda: page.get_by_role("slider", name="Share of sample 5").count() == 1)
        page.set_viewport_size({"width": 390, "height": 844})
        until(page, lambda: page.evaluate("document.documentElement.scrollWidth") <= 390)
