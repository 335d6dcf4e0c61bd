"""The pages of docs/results, each written from an experiment's results.json: no figure is typed by hand.

    python -m experiments.pages                    writes all of them, their index, and docs/speed.md
    python -m experiments.pages faces/artifacts    writes one

An experiment calls `write_page` at the end of its run; what a page says stands in the pages*.py of its room.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.concepts.pages.artifact_units import artifact_units
from experiments.concepts.pages.attributions import attributions
from experiments.concepts.pages.circuits import circuits
from experiments.concepts.pages.default_passes import default_passes
from experiments.concepts.pages.interactions import interactions
from experiments.concepts.pages.masks import masks
from experiments.concepts.pages.other_circuits import other_circuits
from experiments.concepts.pages.other_networks import other_networks
from experiments.concepts.pages.pnpxai_measures import pnpxai_measures
from experiments.concepts.pages.regions import regions
from experiments.concepts.pages.superpixel_interactions import superpixel_interactions
from experiments.concepts.pages.tuning import tuning
from experiments.faces.pages import correction, defaults, units
from experiments.faces.pages.painted import painted
from experiments.faces.pages.plausible import plausible
from experiments.garments import pages as garments
from experiments.images import pages as images
from experiments.objects import pages as objects
from experiments.speed_page import speed_text
from experiments.voices import pages as voices

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "results"
SPEED = ROOT / "docs" / "speed.md"  # from the result files of benchmarks/
ROOMS = {
    "faces": "Faces",
    "creativity": "Creativity",
    "garments": "Garments",
    "objects": "Vessels",
    "images": "Sets of images",
    "voices": "Voices",
    "concepts": "What networks see",
}
PAGES: dict[str, Callable[[Any], str]] = {
    **{
        f"faces/{page.__name__}": page
        for page in (*correction.PAGES, *defaults.PAGES, plausible, *units.PAGES, painted)
    },
    **{f"garments/{page.__name__}": page for page in garments.PAGES},
    **{f"objects/{page.__name__}": page for page in objects.PAGES},
    **{f"images/{page.__name__}": page for page in images.PAGES},
    **{f"voices/{page.__name__}": page for page in voices.PAGES},
    **{
        f"concepts/{page.__name__}": page
        for page in (
            artifact_units,
            attributions,
            circuits,
            default_passes,
            interactions,
            masks,
            other_circuits,
            other_networks,
            pnpxai_measures,
            regions,
            superpixel_interactions,
            tuning,
        )
    },
}

# Pages of several experiments: their name, what they say, and of which experiments.
SUMMARIES: dict[str, tuple[Callable[[Any], str], tuple[str, ...]]] = {
    "creativity": (objects.summary, ("objects/creativity", "garments/creativity")),
    "voices": (voices.summary, ("voices/cures", "voices/onnx_voices", "voices/tacotron_check")),
}


def results_folder(name: str) -> Path:
    """Where the experiment "room/script" keeps its results.json, tables.txt and pictures."""
    room, script = name.split("/")
    return ROOT / "experiments" / room / "results" / script


def page_text(name: str) -> str:
    """The page of the experiment "room/script", from its results.json, or of several."""
    if name in SUMMARIES:
        say, parts = SUMMARIES[name]
        sources = ", ".join(f"`experiments/{part.replace('/', '/results/', 1)}/results.json`" for part in parts)
        made = f"*Written by `python -m experiments.pages {name}` from {sources}.*"
        return f"{say({part: read_results(part) for part in parts})}\n{made}\n"
    text = PAGES[name](read_results(name)).replace("{pictures}", file_stem(name))
    source = f"experiments/{name.replace('/', '/results/', 1)}"
    made = f"*Written by `python -m experiments.{name.replace('/', '.')}` from `{source}/results.json`.*"
    return f"{text}\n{made}\n"


def read_results(name: str) -> Any:
    """What the experiment "room/script" left."""
    return json.loads((results_folder(name) / "results.json").read_text(encoding="utf-8"))


def file_stem(name: str) -> str:
    return name.replace("/", "-")


def shown_pictures(text: str) -> list[str]:
    """The pictures that a page shows, relative to the page."""
    return re.findall(r"^!\[[^\]]*\]\(([^)]+)\)", text, flags=re.MULTILINE)


def write_page(name: str, docs: Path = DOCS) -> Path:
    """Write the page of the experiment "room/script", copy the pictures that it shows beside it, and the summaries."""
    text = page_text(name)
    shutil.rmtree(docs / file_stem(name), ignore_errors=True)
    for path in shown_pictures(text):
        (docs / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(results_folder(name) / Path(path).name, docs / path)
    page = docs / f"{file_stem(name)}.md"
    page.write_text(text, encoding="utf-8")
    for summary, (_, parts) in SUMMARIES.items():
        if name in parts:
            write_page(summary, docs)
    return page


def index_text() -> str:
    """The list of all pages, by room, under the questions that they answer; their titles are read from the pages."""
    parts = [
        "# Results\n\nOne page an experiment, each written from the results.json that the experiment left, and some "
        "that gather several.\n"
    ]
    for room, about in ROOMS.items():
        parts.append(f"\n## {about}\n\n")
        for name in (*SUMMARIES, *PAGES):
            if name == room or name.startswith(f"{room}/"):
                title = (DOCS / f"{file_stem(name)}.md").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
                parts.append(f"* [{title}]({file_stem(name)}.md)\n")
    return "".join(parts)


def main() -> None:
    for name in sys.argv[1:] or (*PAGES, *SUMMARIES):
        if name not in PAGES and name not in SUMMARIES:
            raise SystemExit(f"There is no experiment {name!r} with a page; name one of {', '.join(PAGES)}.")
        print(write_page(name).relative_to(ROOT))
    (DOCS / "index.md").write_text(index_text(), encoding="utf-8")
    SPEED.write_text(speed_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
