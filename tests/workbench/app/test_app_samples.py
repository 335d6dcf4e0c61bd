"""The Samples tab as a person uses it."""

import re
import zipfile

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.all, pytest.mark.real("faces", "efficientnet-lite0", "mobilenet-v2")]


def pictures(path, n, seed, name="p"):
    """A zip of small pictures."""
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(n):
            with archive.open(f"in/{name if number == 0 else number}.png", "w") as file:
                Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(file, format="PNG")
    return path


def arrays(folder):
    """A reference and two sets of features."""
    rng = np.random.default_rng(0)
    paths = {}
    for name, shift in (("reference", 0.0), ("near", 0.0), ("far", 9.0)):
        paths[name] = folder / f"{name}.npy"
        np.save(paths[name], rng.standard_normal((40, 4)) + shift)
    return paths


def rows(page):
    """Cells of the table of sets, by the first."""
    cells = page.locator("#samples-sets tbody tr").all()
    return {row.locator("td").first.inner_text(): row.locator("td").all_inner_texts() for row in cells}


def give(page, where, path):
    """Upload a file and wait until the page has it."""
    page.locator(f"#samples-{where} input[type=file]").first.set_input_files(path)
    page.locator(f"#samples-{where} .file-preview").wait_for()


def score(page, reference, query, name):
    """Fill in the form and press Score."""
    if not page.get_by_label("Name of the set").is_visible():
        page.get_by_role("button", name="Score your own samples").click()
    give(page, "reference", reference)
    give(page, "query", query)
    page.get_by_label("Name of the set").fill(name)
    page.get_by_role("button", name="Score", exact=True).click()


def test_the_example_answers_at_once_and_a_picture_has_neighbours_and_a_place(look):
    with look() as looked:
        page = looked.page
        page.locator("#samples-sets table").wait_for()
        assert list(rows(page)) == ["two sets alike", "same generator, other seeds", "latents at half their length",
                                    "latents at twice their length"]  # fmt: skip
        said = page.locator("#samples-said .verdict").inner_text()
        assert re.search(r"latents at twice their length beside faces: \d+% .* \(two sets alike: \d+%\)", said)
        assert page.locator("#samples-planes img").count() == 2
        page.get_by_label("latents at half their length").check()
        page.locator("#samples-said .verdict", has_text="latents at half their length").wait_for()
        for kind in ("rare", "off", "missed"):
            page.locator(f"#samples-{kind} .grid-container button").first.click()
            wanted = {"rare": "with rarity", "off": "off the manifold", "missed": "None of the samples"}[kind]
            page.locator("#samples-place", has_text=wanted).wait_for()
            assert page.locator("#samples-place figure").count() == 6
            assert "this picture's place" in page.locator("#samples-place img.figure").get_attribute("alt")
        page.get_by_role("button", name="Make its report").click()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download its report").or_(
                page.get_by_role("button", name="Download its report")
            ).click()
        assert "genmend score" in download.value.path().read_text(encoding="utf-8")


def test_samples_of_ones_own_stand_beside_each_other_in_one_table(look, tmp_path):
    paths = arrays(tmp_path)
    with look() as looked:
        page = looked.page
        page.locator("#samples-sets table").wait_for()
        score(page, paths["reference"], paths["near"], "<b>near</b>")
        page.locator("#samples-sets", has_text="<b>near</b>").wait_for()
        assert list(rows(page)) == ["two sets alike", "<b>near</b>"]
        page.locator('#samples-query button[aria-label="Clear"]').click()
        give(page, "query", paths["far"])
        page.get_by_label("Name of the set").fill("far")
        page.get_by_role("button", name=re.compile("Add the samples")).click()
        page.locator("#samples-sets", has_text="far").wait_for()
        found = rows(page)
        assert list(found) == ["two sets alike", "<b>near</b>", "far"]
        assert float(found["far"][2]) == 0.0  # precision
        assert float(found["<b>near</b>"][2]) > 0.5
        assert page.locator("#tab-samples", has_text="Farthest off the manifold").count() == 1


def test_what_is_wrong_is_said_in_one_sentence(look, tmp_path):
    paths = arrays(tmp_path)
    with look() as looked:
        page = looked.page
        page.locator("#samples-sets table").wait_for()
        page.get_by_role("button", name="Score your own samples").click()
        page.get_by_role("button", name="Score", exact=True).click()
        page.get_by_role("alert").filter(has_text="The reference: No file was given").wait_for()
        score(page, paths["reference"], pictures(tmp_path / "p.zip", 6, 0), "odd")
        page.get_by_role("alert").filter(has_text="1280").wait_for()
        assert "Traceback" not in page.content()
        assert "same generator, other seeds" in rows(page)  # what was there stays, and can still be used
        page.get_by_label("latents at half their length").check()
        page.locator("#samples-said .verdict", has_text="latents at half their length").wait_for()


def test_a_job_goes_on_over_a_reload_and_is_cancelled_in_its_own_session_alone(look, served, tmp_path):
    slow = pictures(tmp_path / "r.zip", 8, 0), pictures(tmp_path / "q.zip", 8, 1, name="slow")
    with look() as one, look() as other:
        for looked, name in ((one, "first"), (other, "second")):
            looked.page.locator("#samples-sets table").wait_for()
            score(looked.page, *slow, name)
            looked.page.locator("#samples-status", has_text=re.compile(r"Waiting on purpose, step \d+ of")).wait_for()
        one.reload()
        one.page.locator("#samples-status", has_text="Waiting on purpose").wait_for()
        other.page.locator("#samples-cancel").click()
        other.page.locator("#samples-status", has_text="Cancelled").wait_for()
        assert "same generator, other seeds" in rows(other.page)
        (served.out / "go-on").touch()
        one.page.locator("#samples-sets", has_text="first").wait_for()
        assert list(rows(one.page)) == ["two sets alike", "first"]
        one.reload()  # also the result is there again
        one.page.locator("#samples-sets", has_text="first").wait_for()
        assert "second" not in rows(one.page)
