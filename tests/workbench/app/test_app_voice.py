"""The Voice tab as a person uses it, with a reference of few sentences: say, look, mend, compare, lengthen a word."""

import pytest

pytestmark = pytest.mark.all


def said(page):
    """Wait until nothing is being worked on; what was heard."""
    page.wait_for_function(
        "() => !document.querySelector('#voice-status').innerText.trim() && document.querySelector('.phonemes .chip')",
        timeout=200_000,
    )
    return page.locator("#voice-said").inner_text()


@pytest.mark.real("joe")
def test_say_mend_and_lengthen_a_word(look):
    with look() as looked:
        page = looked.page
        looked.open_tab("Voice")
        assert said(page).startswith(("Whisper tiny heard: Please ask", "Nobody listened: "))
        assert page.locator(".phonemes .label").all_inner_texts() == [
            "Please",
            "ask",
            "Krzysztof",
            "about",
            "the",
            "kayak",
        ]
        assert page.locator(".phonemes .chip.outside").count() > 0

        page.locator("#voice-mend-start").click()  # the cures
        page.locator("#voice-mended .verdict").wait_for(timeout=120_000)
        assert "repair" not in page.locator("#voice-mended .verdict").inner_text()

        page.get_by_label("Move the flagged sounds back").check()
        page.get_by_label("number input for Share that stays").wait_for()
        page.locator("#voice-mend-start").click()
        page.locator("#voice-mended .verdict", has_text="epair").wait_for(timeout=120_000)
        assert "epair" in page.locator("#voice-mended .verdict").inner_text()
        assert page.locator("#voice-moved td").count() > 0
        assert page.locator("#voice-after audio, #voice-after [data-testid*=waveform]").count() > 0

        # By keyboard: the last word, half as long again.
        page.get_by_label("kayak").check()
        length = page.get_by_label("number input for Duration")
        length.fill("1.5")
        length.press("Tab")  # as letting go of the slider does
        page.get_by_text("kayak: duration ×1.50, reached").wait_for()

        looked.reload()
        looked.open_tab("Voice")
        page.get_by_text("kayak: duration ×1.50, reached").wait_for()
        with page.expect_download() as download:
            page.locator("#voice-report").click()
        assert "genmend speak" in download.value.path().read_text(encoding="utf-8")


def test_a_voice_that_attends_on_a_phone_and_errors_of_one_sentence(look):
    with look(width=390, height=844, dark=True) as looked:
        page = looked.page
        looked.open_tab("Voice")
        said(page)
        page.locator("#voice-voice input").click()
        page.get_by_role("option", name="tacotron").click()
        page.get_by_role("button", name="Phonemes of your own").click()
        page.locator("#voice-ipa textarea").fill("ðə kˈɑːɹ lˈɛft.")
        page.locator("#voice-text textarea").fill("The car left.")
        page.locator("#voice-say").click()
        page.locator(".phonemes .label").get_by_text("car").wait_for()
        said(page)
        assert page.locator("#voice-path img").get_attribute("alt").endswith("and the attention")
        page.get_by_label("Hold the attention").check()
        page.locator("#voice-mend-start").click()
        page.get_by_text("The attention was held in a window").wait_for()
        page.get_by_label("number input for Duration").fill("1.5")
        page.locator("#voice-edit-start").click()
        alert = page.locator("#voice-edit-status [role=alert]")
        alert.wait_for()
        assert alert.inner_text().startswith("Edits change Piper, VITS and ONNX voices")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
