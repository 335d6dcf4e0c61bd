"""From a click on a unit to changed samples: what the page's Generator tab computes, and what a browser then waits for.

    python benchmarks/page_edits.py                 # seconds: CPU time of what one click computes
    python benchmarks/page_edits.py --browser       # also from click to changed pictures in Chromium
    python benchmarks/page_edits.py --save          # also as benchmarks/results/page-edits-<CPU>.txt

The face generator, 24 samples, another unit of main.5 at each click. The page shows the samples first, then their
scores, then the same of random units. "Everything again" is what a page that keeps nothing does at each click: samples
before and after, both scored, the random units, and the pictures of the units. The page keeps the scores of random
units, which are often the same ones at another click: "when they are new" is without what was kept. Rounds are
interleaved.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import conditions, result_file

from genmend.gans.families.pretrained import load_faces
from genmend.workbench.app.generator import views
from genmend.workbench.app.generator.inspected import Inspected
from genmend.workbench.app.generator.pictures import mosaics
from genmend.workbench.app.generator.session import begun, control, scored, with_rows, with_units

TARGET = 1.0  # seconds on two cores
lines: list[str] = []


def main() -> None:
    """Measure, print, and save where asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--browser", action="store_true", help="start the page and click in Chromium")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    say(f"{conditions('torch', 'numpy')}; threads: {options.threads}")
    with tempfile.TemporaryDirectory() as folder:
        in_process(Inspected(load_faces(), Path(folder)), options.rounds)
        if options.browser:
            in_browser(Path(folder), options.rounds)
    if options.save:
        held_back = os.environ.get("ATEN_CPU_CAPABILITY", "")
        result_file(f"page-edits {held_back}".strip()).write_text("\n".join(lines) + "\n")


def in_process(inspected: Inspected, rounds: int) -> None:
    """CPU seconds of the steps of a click, and of everything again."""
    session = begun(inspected)
    views.units(inspected, session)  # pictures of units are drawn once for all sessions
    steps: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        steps.setdefault(name, []).append(time.process_time() - began)
        return result

    def everything(unit: int) -> None:
        found = scored(inspected, with_units(inspected, with_rows(inspected, session, 0, session.rows), [unit], 0.0))
        control(inspected, found)
        views.samples(inspected, found)
        with inspected.shared.edited() as generator:
            list(mosaics(generator, inspected.labels, found.layer, found.units))

    for number in range(rounds + 1):
        unit = session.units[number % len(session.units)]

        def shown(unit: int = unit) -> Any:
            edited = with_units(inspected, session, [unit], 0.0)
            return edited, views.samples(inspected, edited), views.compared(edited), views.units(inspected, edited)

        edited = timed("samples changed", shown)[0]
        judged = timed("their scores", lambda edited=edited: scored(inspected, edited))
        timed("random units beside them", lambda judged=judged: control(inspected, judged))
        kept, inspected._found = inspected._found, (None, {})
        timed("the same when they are new", lambda judged=judged: control(inspected, judged))
        inspected._found = None, {}
        timed("everything again", lambda unit=unit: everything(unit))
        inspected._found = kept
    typical = {name: statistics.median(values[1:]) for name, values in steps.items()}  # the first warms up
    whole = typical["everything again"]
    say(f"{len(session.rows)} samples of {inspected.name}, median of {rounds} clicks; CPU seconds of one thread")
    for name, seconds in typical.items():
        say(f"{name:<28}{seconds:8.3f}   everything again takes {whole / seconds:.1f} times as long")


def in_browser(folder: Path, rounds: int) -> None:
    """Wall seconds from a click to other pictures, in Chromium on this machine."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "workbench" / "app"))
    from served_page import browser, looking, server

    with server(folder / "out") as running, browser() as chromium, looking(chromium, running) as looked:
        page = looked.page
        looked.open_tab("Generator")
        page.locator("#generator-units button").first.wait_for()
        page.evaluate(_WATCH)
        waited = []
        for number in range(rounds):
            waited.append(page.evaluate("number => window.clicked(number)", number % 24))
            page.wait_for_function("!document.querySelector('#generator-verdict').innerText.includes('Scoring')")
            page.wait_for_timeout(1000)  # for the random units
    waited.sort()
    say(
        f"in Chromium, from click to changed samples, {rounds} clicks, wall seconds: least {waited[0]:.2f}, median "
        f"{statistics.median(waited):.2f}, most {waited[-1]:.2f}; target {TARGET:g}"
    )


# Clicks a unit and waits until some sample is another picture.
_WATCH = """() => {
  const pictures = () => [...document.querySelectorAll('#generator-samples img')].map(one => one.src).join();
  window.clicked = number => new Promise(done => {
    const before = pictures(), began = performance.now();
    document.querySelectorAll('#generator-units button')[number].click();
    const look = () => pictures() !== before ? done((performance.now() - began) / 1000) : setTimeout(look, 5);
    look();
  });
}"""


def say(text: str) -> None:
    """Print a line and keep it for the file."""
    print(text, flush=True)
    lines.append(text)


if __name__ == "__main__":
    main()
