"""The report: self-contained, escaped, whole."""

import io
import re
import shutil
import struct
import subprocess
import sys
import zlib
from base64 import b64decode, b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from genmend.workbench.pages.page import (
    Card,
    Drawing,
    Facts,
    Figure,
    Gallery,
    Paragraph,
    Picture,
    Section,
    Table,
    write_report,
)

pytest.importorskip("jinja2")
HOSTILE = "<script>alert('1')</script> & \"quoted\" {{ 7 * 7 }}"
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Every tag with its attributes, the text, and a check that what was opened is closed in order."""

    def __init__(self, source):
        super().__init__()
        self.source, self.tags, self.open, self.words = source, [], [], []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def external(page):
    """Attributes and styles that would make a browser ask for something that is not in the file."""
    # The one script that the page's own policy admits is ours.
    policy = next((tag["content"] for tag in page.all("meta") if tag.get("http-equiv")), "")
    scripts = re.findall(r"<script>(.*?)</script>", page.source, re.DOTALL)
    admitted = [one for one in scripts if f"'sha256-{b64encode(sha256(one.encode()).digest()).decode()}'" in policy]
    assert len(admitted) <= 1
    assert not any(word in script for script in admitted for word in ("http", "fetch", "import(", "XMLHttp", "eval"))
    source = page.source
    for script in admitted:
        source = source.replace(f"<script>{script}</script>", "")
    links = [a[key] for _, a in page.tags for key in ("src", "href", "srcset", "action", "data") if a.get(key)]
    found = [link for link in links if not link.startswith(("data:image/png;base64,", "#"))]
    return found + [word for word in ("http:", "https:", "url(", "@import", "<script") if word in source]


def png(width=3, height=2):
    buffer = io.BytesIO()
    Image.fromarray(np.arange(width * height * 3, dtype=np.uint8).reshape(height, width, 3)).save(buffer, "PNG")
    return buffer.getvalue()


def matplotlib_figure():
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [1, 0])
    return figure


@pytest.fixture
def page(tmp_path):
    blocks = [
        Paragraph("First.\n\nSecond."),
        Table("Scores", ["name", "AUROC"], [["rare", 0.941234], ["none", None], ["broken", np.float32("nan")]]),
        Facts("Settings", {"rate": 0.1 + 0.2, "layers": ["main.2", "main.5"], "gate": True}),
        Picture("Before", png(), alt="A face"),
        Figure("Histogram", matplotlib_figure()),
    ]
    path = write_report(tmp_path / "report.html", "Faces", "In short.", [Section("One", blocks), Section("Two", [])])
    return Page(path.read_text(encoding="utf-8"))


def test_a_page_holds_what_was_given_and_asks_for_nothing_else(page):
    assert external(page) == []
    for words in ("Faces", "In short.", "First.", "Second.", "0.9412", "0.30000000000000004", '["main.2", "main.5"]'):
        assert words in page.text
    assert "yes" in page.text
    assert "nan" in page.text
    assert len(page.all("p")) == 4  # the sentence, two paragraphs, the footer
    assert [link["href"] for link in page.all("a")] == ["#section-1", "#section-2"]
    assert [part["id"] for part in page.all("section")] == ["section-1", "section-2"]


@pytest.mark.parametrize("harm", ['<img src="https://x.example/a.png">', "<script>1</script>", '<a href="file:b"></a>'])
def test_the_check_for_external_resources_can_fail(harm):
    assert external(Page(f"<p>{harm}</p>"))


def test_images_decode_with_their_size_and_an_alternative_text(page):
    first, second = page.all("img")
    for attributes, density in ((first, 1), (second, 1.5)):  # a figure has 144 dots to the inch, a page 96
        image = Image.open(io.BytesIO(b64decode(attributes["src"].removeprefix("data:image/png;base64,"))))
        image.load()
        shown = int(attributes["width"]), int(attributes["height"])
        assert shown == tuple(round(length / density) for length in image.size)
    assert first["alt"] == "A face"
    assert second["alt"] == "Histogram"
    # Decoded beside the rest, they are missing from a page that is printed or photographed at once.
    assert {attributes["decoding"] for attributes in (first, second)} == {"sync"}


def test_a_closed_section_is_opened_by_its_heading_or_by_a_link(tmp_path):
    sections = [Section("Open", [Picture("a", png())]), Section("Closed", [Picture("b", png())], closed=True)]
    page = Page(write_report(tmp_path / "r.html", "T", "", sections).read_text(encoding="utf-8"))
    tags = [tag for tag, _ in page.tags if tag in ("section", "details", "summary", "img")]
    assert tags == ["section", "img", "section", "details", "summary", "img"]
    assert "open" not in page.all("details")[0]
    assert [link["href"] for link in page.all("a")] == ["#section-1", "#within-2"]
    assert page.all("div")[-1]["id"] == "within-2"
    # Lazily loaded pictures stay white on paper and in a screenshot; sections that are closed are not drawn anyway.
    assert not any("loading" in image for image in page.all("img"))


@pytest.mark.all
def test_a_browser_opens_the_closed_section_a_contents_link_leads_to(tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium")
    sections = [Section("Open", []), Section("Closed", [Paragraph("Hidden words.")], closed=True)]
    path = write_report(tmp_path / "r.html", "T", "", sections)
    link = Page(path.read_text(encoding="utf-8")).all("a")[1]["href"]

    def opened(address):
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        done = subprocess.run([browser, *options, "--dump-dom", address], capture_output=True, text=True, timeout=120)
        return "open" in Page(done.stdout).all("details")[0]

    assert not opened(path.as_uri())
    assert opened(path.as_uri() + link)


def searchable(tmp_path):
    rows = [["a hat", 0.25, None], ["glasses", 0.5, 1.0], ["<b>hair</b>", 0.125, float("nan")]]
    cards = [Card(f"unit {name}", Picture(name, png()), {"concept": name, "IoU": iou}) for name, iou, _ in rows]
    blocks = [Table("Units", ["concept", "IoU", "other"], rows, searchable=True), Gallery("Best", cards)]
    return write_report(tmp_path / "r.html", "T", "", [Section("S", blocks)])


def test_a_page_that_can_be_searched_has_one_script_which_its_policy_admits_by_digest(tmp_path):
    page = Page(searchable(tmp_path).read_text(encoding="utf-8"))
    (script,) = re.findall(r"<script>(.*?)</script>", page.source, re.DOTALL)
    policy = next(tag["content"] for tag in page.all("meta") if tag.get("http-equiv"))
    assert f"script-src 'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in policy
    assert "<b>hair" not in page.source
    assert [cell.get("data-value") for cell in page.all("dd")] == [None, "0.25", None, "0.5", None, "0.125"]
    plain = write_report(tmp_path / "p.html", "T", "", [Section("S", [Table("Units", ["n"], [[1]])])])
    assert "<script" not in plain.read_text()
    assert "script-src" not in plain.read_text()
    with pytest.raises(ValueError, match="values of different names"):
        Gallery("Best", [Card("a", Picture("a", png()), {"x": 1}), Card("b", Picture("b", png()), {"y": 1})])


@pytest.fixture
def dom_after(tmp_path):
    """What a browser makes of a page once a script of the test's own has run at its end."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium")

    def dumped(source, action):
        body = f"<script>{action}</script></body>"
        path = tmp_path / "acted.html"
        path.write_text(re.sub(r"<meta http-equiv[^>]*>", "", source).replace("</body>", body), encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        command = [browser, *options, "--dump-dom", path.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout

    return dumped


@pytest.mark.all
def test_a_browser_zooms_a_drawing_and_moves_it(tmp_path, dom_after):
    def page(size, closed=False):
        section = Section("S", [Drawing("A circuit", ElementTree.Element("svg", viewBox=f"0 0 {size}"))], closed=closed)
        return write_report(tmp_path / "r.html", "T", "", [section]).read_text(encoding="utf-8")

    click = "document.querySelectorAll('.zoom button')[{}].click();"
    pointer = (
        "document.querySelector('.zoom svg').dispatchEvent(new PointerEvent('pointer{}',"
        " {{clientX: {}, clientY: 50, pointerId: 1, bubbles: true}}));"
    )

    def view(*actions, source=None):
        found = dom_after(
            source or page("400 200"), "SVGElement.prototype.setPointerCapture = () => {};" + "".join(actions)
        )
        return [float(value) for value in re.search(r'viewBox="([^"]*)"', found)[1].split()]

    assert view(click.format(0)) == pytest.approx([60, 30, 280, 140])
    assert view(click.format(0), click.format(1)) == pytest.approx([0, 0, 400, 200])
    assert view(click.format(0), click.format(2)) == [0, 0, 400, 200]
    left, top, width, height = view(pointer.format("down", 50), pointer.format("move", 90), pointer.format("up", 90))
    assert left < 0
    assert (top, width, height) == pytest.approx((0, 400, 200))
    # Of one that would be too small to be read as a whole the end comes first.
    for closed, action in ((False, ""), (True, "document.querySelector('details').open = true;")):
        wide = page("4000 200", closed)
        left, top, width, height = view(action, source=wide)
        assert 300 < width < 1000
        assert (left + width, top, height) == pytest.approx((4000, 0, 200))
    assert view(click.format(2), source=page("4000 200")) == [0, 0, 4000, 200]


@pytest.mark.all
def test_a_browser_searches_and_sorts(tmp_path, dom_after):
    source = searchable(tmp_path).read_text(encoding="utf-8")

    def dumped(action):
        return dom_after(source, action)

    table, cards = "document.querySelectorAll('.find')[0]", "document.querySelectorAll('.find')[1]"
    sort = f"{table}.querySelectorAll('th')[1].click(); {cards}.querySelector('select').value = 1;"
    sort += f"{cards}.querySelector('select').dispatchEvent(new Event('change'));"
    found = dumped(sort)
    rows = found.partition("<tbody>")[2].partition("</tbody>")[0]
    assert rows.index("glasses") < rows.index("a hat") < rows.index("hair")
    shown = found.partition('class="cards"')[2]
    assert shown.index("unit glasses") < shown.index("unit a hat")
    search = f"const s = {table}.querySelector('input'); s.value = 'HAT'; s.dispatchEvent(new Event('input'));"
    found = dumped(search)
    assert "1 of 3" in found
    assert found.partition("<tbody>")[2].partition("</tbody>")[0].count('<tr hidden="">') == 2


def test_sentences_in_a_table_keep_a_width_to_be_read_in(tmp_path):
    sentence = "A sentence that would become a column of single words on a telephone."
    table = Table("Meanings", ["name", "what it says", "value"], [["a", sentence, 1.0], ["b", "short", 2.0]])
    page = Page(write_report(tmp_path / "r.html", "T", "", [Section("S", [table])]).read_text(encoding="utf-8"))
    assert [cell.get("class") for cell in page.all("td")] == [None, "long", "number", None, None, "number"]


def test_hostile_text_is_shown_and_never_acted_on(tmp_path):
    blocks = [
        Paragraph(HOSTILE),
        Table(HOSTILE, [HOSTILE], [[HOSTILE]]),
        Facts(HOSTILE, {HOSTILE: {HOSTILE: HOSTILE}}),
        Picture(HOSTILE, png(), alt=HOSTILE),
    ]
    path = write_report(tmp_path / "r.html", HOSTILE, HOSTILE, [Section(HOSTILE, blocks), Section(HOSTILE, [])])
    page = Page(path.read_text(encoding="utf-8"))
    assert external(page) == []
    assert len(page.all("script")) == 1
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "object", "embed", "base", "form"}
    assert len(page.all("img")) == 1
    assert page.text.count(HOSTILE) >= 9
    assert page.all("img")[0]["alt"] == HOSTILE


def test_text_that_is_no_unicode_is_spelled_out(tmp_path):
    path = write_report(tmp_path / "r.html", "t", "file \udcff.png", [])
    assert "file \\udcff.png" in path.read_text(encoding="utf-8")


def test_numbers_stand_to_the_right_and_only_they(page):
    classes = [cell.get("class") for cell in page.all("td")][:6]
    assert classes == [None, "number", None, "number", None, "number"]  # the gap among the numbers too
    assert [cell.get("class") for cell in page.all("th")][:2] == [None, "number"]


def test_an_error_leaves_the_older_report_and_no_other_file(tmp_path):
    path = write_report(tmp_path / "report.html", "old", "", [])
    with pytest.raises(TypeError, match="holds a str; its blocks are Paragraph"):
        write_report(path, "new", "", [Section("One", ["text"])])
    assert "old" in path.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [path]


def test_wrong_blocks_are_refused_where_they_are_made():
    with pytest.raises(ValueError, match="Row 1 of the table 'Scores' has 1 cells and its header 2"):
        Table("Scores", ["a", "b"], [[1, 2], [3]])
    with pytest.raises(ValueError, match="is not a PNG: encode it"):
        Picture("Before", b"\xff\xd8\xff\xe0 a JPEG")


def test_a_header_is_enough_for_the_size():
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">II", 640, 480)
    assert Picture("p", header + zlib.compress(b"")).size == (640, 480)


def test_drawing_leaves_pyplot_and_the_figure_alone():
    figure = matplotlib_figure()
    canvas, dpi = type(figure.canvas), figure.dpi
    assert Figure("f", figure).picture().png == Figure("f", figure).picture().png
    assert (type(figure.canvas), figure.dpi) == (canvas, dpi)
    script = (
        "import sys; from matplotlib.figure import Figure as Drawn; from genmend.workbench.pages.blocks import Figure;"
        "drawn = Drawn(figsize=(1, 1)); drawn.subplots(); Figure('f', drawn).picture();"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", script], cwd=root, check=False).returncode == 0


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_package_is_named_with_its_remedy(package, tmp_path, monkeypatch):
    class Drawing:
        def savefig(self, *args, **kwargs):
            raise ModuleNotFoundError("No module named 'matplotlib.backends'")

    if package == "jinja2":
        monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ModuleNotFoundError, match=rf"need {package}.*pip install 'genmend\[report\]'"):
        write_report(tmp_path / "r.html", "t", "", [Section("One", [Figure("f", Drawing())])])
    assert list(tmp_path.iterdir()) == []
