"""What holds for every tab: keyboard, contrast in light and in dark, a phone's width, and no error in the console."""

import pytest

from genmend.workbench.app.app import TABS

pytestmark = [pytest.mark.all, pytest.mark.real("faces", "efficientnet-lite0", "mobilenet-v2")]
LABELS = [label for label, _ in TABS]

# Text that is seen, whose colour stands out too little from the ground behind it (WCAG 2, AA).
TOO_FAINT = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]));
  const light = rgb => {
    const [r, g, b] = rgb.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    if (element.closest("svg, script, style, [disabled]")) continue;
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    const style = getComputedStyle(element), below = ground(element);
    const [a, b] = [light(over(rgba(style.color), below)), light(below)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (large ? 3 : 4.5)) found.push(`${text.slice(0, 40)}: ${ratio.toFixed(2)} ${style.color}`);
  }
  return [...new Set(found)];
}"""

# Controls that are seen; of a group of radio buttons the checked one, as browsers do. Each is marked for FOCUSED.
CONTROLS = """() => {
  const every = "button, input, select, textarea, a[href], summary, [tabindex='0']";
  const found = [...document.querySelectorAll(every)].filter(element => {
    if (element.disabled || element.tabIndex < 0 || element.closest("[inert]")) return false;
    if (!element.checkVisibility({visibilityProperty: true})) return false;
    if (element.type === "file" || element.type === "hidden") return false;
    if (element.type === "radio" && element.name) {
      const group = [...document.getElementsByName(element.name)];
      return element.checked || !group.some(other => other.checked);
    }
    const box = element.getBoundingClientRect();
    return box.width > 0 && box.height > 0;
  });
  found.forEach((element, number) => element.dataset.control = number);
  return found.map(element => (element.innerText || element.ariaLabel || element.outerHTML).trim().slice(0, 80));
}"""
FOCUSED = "() => document.activeElement?.dataset?.control ?? ''"


# What is there once a tab shows its example; those that take a minute to draw are looked at before.
READY = {"Samples": "#samples-sets table", "Generator": "#generator-samples img", "Explain": "#explain-maps figure"}


def settle(looked, label):
    """Open a tab and wait until it shows its example, if that takes seconds."""
    looked.open_tab(label)
    looked.page.locator(READY.get(label, f"#tab-{label.lower()} button")).first.wait_for()
    looked.page.wait_for_timeout(500)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(look, dark):
    with look(dark=dark) as looked:
        faint = {}
        for label in LABELS:
            settle(looked, label)
            faint[label] = looked.page.evaluate(TOO_FAINT)
        assert faint == {label: [] for label in LABELS}


def test_a_phone_scrolls_down_only(look):
    with look(width=390, height=844) as looked:
        for label in LABELS:
            if not looked.page.get_by_role("tab", name=label, exact=True).is_visible():
                looked.page.locator(".overflow-menu button").first.click()
            settle(looked, label)
            assert looked.page.evaluate("document.scrollingElement.scrollWidth") <= 390, label


def test_every_control_is_reached_by_tab_and_enter_acts(look):
    with look() as looked:
        page = looked.page
        for label in LABELS:
            settle(looked, label)
            names = page.evaluate(CONTROLS)
            page.evaluate("document.activeElement?.blur?.(); window.getSelection().removeAllRanges(); scrollTo(0, 0)")
            page.locator("h1").first.click()
            reached = set()
            for _ in range(2 * len(names) + 20):
                page.keyboard.press("Tab")
                reached.add(page.evaluate(FOCUSED))
            missed = [name for number, name in enumerate(names) if str(number) not in reached]
            assert missed == [], label
        page.get_by_role("tab", name="Samples", exact=True).focus()
        page.keyboard.press("Enter")
        page.locator("#tab-samples").wait_for(state="visible")
        page.locator("#samples-missed .grid-container button").nth(1).focus()
        page.keyboard.press("Enter")
        page.locator("#samples-place", has_text="None of the samples").wait_for()
