"""The Explain tab as a person uses it, with a real classifier."""

import pytest

pytestmark = [pytest.mark.all, pytest.mark.real("faces", "efficientnet-lite0", "mobilenet-v2")]


def test_a_photograph_is_explained_and_its_circuit_drawn(look):
    with look() as looked:
        page = looked.page
        looked.open_tab("Explain")
        page.locator("#explain-maps .verdict", has_text="Egyptian cat").wait_for()
        captions = page.locator("#explain-maps figcaption").all_inner_texts()
        assert captions[-1].startswith("random, the control: AbPC")
        assert {"grad-cam", "saliency"} == {caption.partition(":")[0] for caption in captions[1:-1]}
        heads = page.locator("#explain-scores").get_by_role("columnheader").all_inner_texts()
        assert {"MoRF", "LeRF", "AbPC"} <= set(heads)
        page.get_by_label("coffee").check()
        box = page.get_by_label("Class (its best one if empty)")
        box.click()
        box.press_sequentially("espresso")
        page.get_by_role("option", name="espresso", exact=True).click()
        page.get_by_label("grad-cam").uncheck()
        page.get_by_role("button", name="Explain", exact=True).click()
        page.locator("#explain-maps .verdict", has_text="espresso").wait_for()
        page.get_by_label("saliency").uncheck()
        page.get_by_role("button", name="Explain", exact=True).click()
        page.get_by_role("alert").filter(has_text="No method is chosen").wait_for()
        page.get_by_role("button", name="Show the circuit").click()
        page.locator("#explain-circuit svg").wait_for()
        assert "random units of the same blocks" in page.locator("#explain-circuit .verdict").inner_text()
        assert "56 crops" in page.locator("#explain-circuit").inner_text()
