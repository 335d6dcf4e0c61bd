"""The Amplify tab as a person uses it: the example, a slider, one pair, a search that is stopped, a saved file."""

import pytest

pytestmark = pytest.mark.all


def shown(page):
    """Wait until nothing is being worked on and a verdict stands there; return it."""
    page.wait_for_function(
        timeout=200_000,
        expression="() => !document.querySelector('#amplify-status').innerText.trim()"
        " && document.querySelector('#amplify-said .verdict')",
    )
    return page.locator("#amplify-said .verdict").inner_text()


def test_sliders_pairs_search_and_file(look, tmp_path):
    with look() as looked:
        page = looked.page
        looked.open_tab("Amplify")
        assert shown(page).startswith("Verdict: ")
        page.locator("#amplify-pairs button").nth(2).wait_for()

        # By keyboard: the middle block back to 1, fewer images, Enter in the prompt draws.
        gain = page.locator("#amplify-mid input[type=number]")
        gain.fill("1")
        gain.press("Tab")
        page.get_by_label("number input for Images").fill("2")
        page.locator("#amplify-prompt textarea").press("Enter")
        page.wait_for_function("() => document.querySelectorAll('#amplify-pairs .gallery-item').length == 2")
        assert shown(page) == "Nothing is amplified: every gain is 1, so the images are the same."

        gain.fill("2.5")
        gain.press("Tab")
        page.locator("#amplify-draw").click()
        page.get_by_text("Verdict: not told from 2 pairs").wait_for()
        page.locator("#amplify-pairs button").nth(1).click()
        page.get_by_text("Seed 1.").wait_for()
        assert page.locator("#amplify-slider img").count() == 2

        with page.expect_download() as download:
            page.locator("#amplify-save").click()
        path = tmp_path / "amplification.safetensors"
        download.value.save_as(path)
        page.get_by_role("button", name="Load an amplification file").click()
        page.locator("#amplify-load input[type=file]").set_input_files(path, timeout=20_000)
        page.get_by_text("Amplification of a StableDiffusionPipeline").wait_for()
        page.locator("#amplify-use").click()
        page.wait_for_function("() => document.querySelector('#amplify-mid input[type=number]').value == '2.5'")
        assert "2 pairs" in shown(page)

        page.get_by_role("button", name="Search the gains").click()
        page.locator("#amplify-search-start").click()
        page.locator("#amplify-status").get_by_text("race 1 of 3").wait_for()
        page.locator("#amplify-cancel").click()
        page.get_by_text("Cancelled").wait_for()
        looked.reload()
        looked.open_tab("Amplify")
        page.locator("#amplify-said .verdict").get_by_text("2 pairs").wait_for()


def test_errors_are_one_sentence_and_two_sessions_stay_apart(look):
    with look(width=390, height=844) as one, look(dark=True) as other:
        for looked in (one, other):
            looked.open_tab("Amplify")
            shown(looked.page)
        one.page.get_by_role("button", name="More settings").click()
        one.page.get_by_label("Guidance").fill("much")
        one.page.locator("#amplify-draw").click()
        one.page.get_by_text("Guidance is 'much'; give a number").wait_for()
        one.page.get_by_label("Guidance").fill("")
        one.page.locator("#amplify-prompt textarea").fill("a zebra")
        one.page.locator("#amplify-draw").click()
        one.page.locator("#amplify-status [role=alert]").get_by_text("'a zebra' names none of the garments").wait_for()
        assert one.page.evaluate("document.documentElement.scrollWidth") <= 390
        other.page.get_by_label("number input for Images").fill("3")
        other.page.locator("#amplify-draw").click()
        other.page.wait_for_function("() => document.querySelectorAll('#amplify-pairs .gallery-item').length == 3")
        assert one.page.locator("#amplify-pairs .gallery-item").count() == 4
