"""What a reader does on a page, in a real browser: sort, enlarge, compare, copy, print; in the dark, on a telephone."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure as Drawn
from PIL import Image

from genmend.manifold.figures.image_grid import png
from genmend.workbench.command_line import given_line, typed
from genmend.workbench.pages.page import (
    Answer,
    Comparison,
    Figure,
    Number,
    Paragraph,
    Picture,
    Section,
    Stages,
    Table,
    Thumbnails,
    write_report,
)

PAGE = Path(__file__).parents[2] / "workbench" / "pages" / "templates" / "report.html"


def picture(name, side=16, seed=0):
    return Picture(name, png(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)))


def chart():
    figure = Drawn(figsize=(3, 2))
    figure.subplots().plot([0, 1, 0])
    return figure


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    rows = [["ten", 10.0, None], ["two", 2.0, 0.5], ["nothing", None, 0.25], ["five", 5.0, float("nan")]]
    sections = [
        Section(
            "Rows", [Table("Scores", ["name", "score", "other"], rows, marked={(1, 0)}), Figure("A chart", chart())]
        ),
        Section("Closed", [Paragraph("Hidden words."), picture("Hidden")], closed=True),
        Section("Long", [Table("Many", ["n"], [[i] for i in range(300)])], closed=True),
    ]
    answer = Answer(
        "Two of four are broken.",
        Number("Share", "50 %", "chance: 10 %"),
        ["Only four were looked at."],
        [
            Thumbnails("Most broken.", [picture(f"{score:.2f}", 16, score) for score in (3, 2, 1)]),
            Comparison("The same", picture("before", 200, 5), picture("after", 200, 6)),
        ],
        more="More words.",
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    with typed(["detect", "my models/it's.pt", "--n", "4"]):
        return write_report(path, "A page", answer, sections)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser, written):
    contexts = []

    def open_page(**options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.complaints = []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or page.complaints.append(asked.url))
        page.goto(written.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


def column(page, number=1):
    return page.locator(f"table.sortable >> nth=0 >> tbody tr td:nth-child({number})").all_inner_texts()


@pytest.mark.all
def test_a_head_sorts_by_click_and_by_key(opened):
    page = opened()
    head = page.get_by_role("button", name="score")
    head.click()
    assert column(page) == ["ten", "five", "two", "nothing"]  # what is missing comes last either way
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    head.press("Enter")
    assert column(page) == ["two", "five", "ten", "nothing"]
    head.press("Space")
    assert column(page) == ["ten", "two", "nothing", "five"]
    page.get_by_role("button", name="name").click()
    assert column(page) == ["five", "nothing", "ten", "two"]
    assert page.complaints == []


@pytest.mark.all
def test_a_picture_is_enlarged_and_the_next_is_an_arrow_away(opened):
    page = opened()
    small = page.locator(".thumbs img").first
    assert small.bounding_box()["width"] >= 96
    small.click()
    dialog = page.locator("dialog.enlarged")
    shown = dialog.locator("img")
    assert shown.get_attribute("alt") == "3.00"
    assert shown.bounding_box()["width"] == 16 * 12  # whole multiples of its pixels
    assert shown.evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"
    page.keyboard.press("ArrowRight")
    assert shown.get_attribute("alt") == "2.00"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert shown.get_attribute("alt") == "A chart"  # the last that is to be seen: closed sections are passed over
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    small.focus()
    page.keyboard.press("Enter")
    assert dialog.is_visible()
    assert page.complaints == []


@pytest.mark.all
def test_before_and_after_lie_over_each_other(opened, tmp_path):
    page = opened()
    slider = page.get_by_role("slider")
    first, second = (box.bounding_box() for box in page.locator(".slide img").all())
    assert first == second
    image = tmp_path / "slide.png"

    def seen():
        page.locator(".slide .both").screenshot(path=image)
        return np.asarray(Image.open(image).convert("RGB")).astype(int)

    half = seen()
    slider.focus()
    page.keyboard.press("End")
    before = seen()
    page.keyboard.press("Home")
    after = seen()
    middle = half.shape[1] // 2
    assert (half[40:, : middle - 2] == before[40:, : middle - 2]).all()
    assert (half[40:, middle + 2 :] == after[40:, middle + 2 :]).all()
    assert (before[40:] != after[40:]).any(-1).mean() > 0.5


@pytest.mark.all
@pytest.mark.all
def test_a_slider_goes_through_stages(tmp_path, browser):
    stages = Stages("Strength", "How much", [(f"{n}", picture(f"{n}", seed=n)) for n in range(3)], 1)
    write_report(tmp_path / "report.html", "Stages", Answer("One of three.", pictures=[stages]), [])
    page = browser.new_page()
    try:
        page.goto((tmp_path / "report.html").as_uri())
        slider, seen = page.get_by_role("slider"), page.locator(".stage img")
        assert [image.is_visible() for image in seen.all()] == [False, True, False]
        slider.focus()
        slider.press("ArrowRight")
        assert [image.is_visible() for image in seen.all()] == [False, False, True]
        assert (slider.get_attribute("aria-valuetext"), page.locator("output").inner_text()) == ("2", "2")
        page.emulate_media(media="print")
        assert all(image.is_visible() for image in seen.all())
    finally:
        page.close()


def test_on_paper_everything_is_there_but_long_tables(opened):
    page = opened()
    assert not page.get_by_text("Hidden words.").is_visible()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.get_by_text("Hidden words.").is_visible()
    assert not page.locator("td", has_text="299").is_visible()
    boxes = [box.bounding_box() for box in page.locator(".slide img").all()]
    assert boxes[0]["x"] != boxes[1]["x"] or boxes[0]["y"] != boxes[1]["y"]  # beside each other
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert not page.get_by_text("Hidden words.").is_visible()


@pytest.mark.all
def test_dark_and_on_a_telephone(opened):
    page = opened(color_scheme="dark", viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", background)[:3])) < 50
    assert "invert" in page.locator("img.chart").evaluate("image => getComputedStyle(image).filter")
    assert page.locator(".thumbs img").first.evaluate("image => getComputedStyle(image).filter") == "none"
    assert page.complaints == []


@pytest.mark.all
def test_the_line_makes_the_page_again_when_it_is_pasted(tmp_path):
    folder = tmp_path / "it's here"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("some reals.npy", "$made.npy"):
        np.save(folder / name, rng.normal(size=(30, 4)))
    words = ["score", "some reals.npy", "$made.npy", "--out", "my scores", "--k", "2"]
    made = folder / "my scores" / "report.html"
    done = subprocess.run([sys.executable, "-m", "genmend", *words], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = re.findall(r"<code>(genmend .*?)</code>", made.read_text(encoding="utf-8"))
    first = made.read_bytes()
    made.unlink()
    pasted = line.replace("&#39;", "'").replace("&#34;", '"').replace("&lt;", "<").replace("&gt;", ">")
    pasted = pasted.replace("&amp;", "&").replace("genmend", f"{shlex.quote(sys.executable)} -m genmend", 1)
    done = subprocess.run(["sh", "-c", pasted], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert made.read_bytes() == first


def test_without_a_command_line_there_is_no_line(tmp_path):
    assert given_line() == ""
    assert "<code>" not in write_report(tmp_path / "r.html", "T", "Said.", []).read_text()
    with typed(["score", "a b", "--out", "it's"]):
        assert shlex.split(given_line()) == ["genmend", "score", "a b", "--out", "it's"]


def test_colours_of_words_stand_out_enough():
    """WCAG 2 AA: 4.5 to 1 of words on what lies under them, in both schemes and on paper."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    schemes = re.findall(r":root \{(.*?)\}", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(schemes) == 3
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", scheme))
        for under in ("page", "card", "mark"):
            for word in ("ink", "soft", "accent") if under != "mark" else ("ink",):
                light, dark = sorted((luminance(colours[word]), luminance(colours[under])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (word, under)
