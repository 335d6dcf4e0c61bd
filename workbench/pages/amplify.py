"""The page of ``genmend amplify``: same-seed pairs first, then what changed, then the settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np

from genmend.diffusion.search.trials import Comparison
from genmend.diffusion.search.verdict import KEPT, NOT_MEASURED, verdict
from genmend.workbench.pages.amplify_pictures import first_picture, keeper_blocks
from genmend.workbench.pages.facts import Preface
from genmend.workbench.pages.page import (
    Answer,
    Facts,
    Figure,
    Number,
    Paragraph,
    Picture,
    Section,
    Table,
    write_report,
)

if TYPE_CHECKING:
    from genmend.diffusion.search.comparison import AmplifyRun
    from genmend.diffusion.search.settings import AmplifySettings

__all__ = [
    "BOUNDS",
    "CHANGE_HEADER",
    "RULE",
    "amplify_answer",
    "change_rows",
    "next_steps",
    "scorer_in_words",
    "write_amplify_report",
]

CHANGE_HEADER = ("amplified / original", "ratio", "lower", "upper")
BOUNDS = "Bounds of usability and of the share: one-sided 95 %; of novelty: 95 %; bootstrap over pairs."
_NAMES = {"original": "unamplified", "amplified": "amplified", "control": "of the control"}


def write_amplify_report(
    path: Path, run: AmplifyRun, settings: AmplifySettings, pairs: Sequence[bytes], preface: Preface | None = None
) -> None:
    """Write the page; `pairs` are pictures of each prompt, `preface` what stands first."""
    summary = run.to_dict()
    rows = "from above: original, amplified" + (f", {_control_in_words(settings.control)}" if run.control else "")
    pictures = [
        Picture(f"{prompt!r}, seeds from {settings.seed} on; {rows}.", picture)
        for prompt, picture in zip(settings.prompts, pairs, strict=True)
    ]
    sections = [*(preface.sections if preface else ())]
    if np.isfinite(run.comparison.novelty) and run.edits:
        sections.append(Section("Keepers", keeper_blocks(run)))
    if run.edits:
        sections.append(Section("What next", [Facts("With this choice of gains", next_steps(run, path.parent))]))
    sections += [
        Section("Same seeds, without and with", pictures, True),
        Section("What changed", _figures(run, settings), True),
    ]
    if run.search is not None:
        caption_of_search = (
            f"{len(run.search.trials)} measurements of the search. Its own seeds flatter the choice; the figures above "
            "are of other seeds."
        )
        sections.append(Section("The search", [Figure(caption_of_search, run.search.plot())], True))
    because = [Paragraph(run.because)] if run.because else []
    sections.append(
        Section(
            "Settings",
            [*because, Facts("What this run used", summary["settings"]), Facts("Gains", summary["gains"])],
            True,
        )
    )
    answer = replace(amplify_answer(run), pictures=[first_picture(run)])
    write_report(path, preface.title if preface else f"genmend amplify: {run.model}", answer, sections)


def next_steps(run: AmplifyRun, out: Path) -> dict[str, str]:
    """What can be done with the file of the gains: more images, other programs, other people."""
    file = out / "amplification.safetensors"
    more = (
        f"genmend amplify {quote(run.model)}{_drawn_with(run)} --correction {quote(str(file))} --prompt ... --out more"
    )
    return {
        "in Python": "from genmend.diffusion import disable_amplification, enable_amplification",
        "on a pipeline": f'enable_amplification(pipe, "{file}")',
        "weaker": f'enable_amplification(pipe, "{file}").set(strength=0.5)',
        "off again": "disable_amplification(pipe)",
        "other prompts": more,
        "to share it": f"genmend push {quote(str(file))} you/name --licence mit",
    }


def _drawn_with(run: AmplifyRun) -> str:
    """Options of the command that the images depend on and a file of gains does not hold."""
    call = run.settings.get("call", {})
    given = {option: call.get(name) for name, option in _CALL_OPTIONS.items()} | {"--lora": run.lora or None}
    return "".join(f" {option} {quote(str(value))}" for option, value in given.items() if value is not None)


_CALL_OPTIONS = {
    "num_inference_steps": "--steps",
    "guidance_scale": "--guidance",
    "height": "--height",
    "width": "--width",
}


def _control_in_words(control: str) -> str:
    return "CADS, noise on the prompt and no gains" if control == "cads" else f"the same gains in the band {control!r}"


def change_rows(found: Comparison, *, inside_measured: bool) -> list[list[Any]]:
    """A row for each measure: its name, amplified / original, and the bounds of that ratio, as in `CHANGE_HEADER`."""
    rows: list[list[Any]] = []
    for name, ratio in found.usability.items():
        rows.append([f"usability: {name}", ratio, found.usability_lower[name], found.usability_upper[name]])
    if np.isfinite(found.novelty):
        rows.append(["novelty", found.novelty, *found.novelty_interval])
    if inside_measured:
        rows.append(["share among real images", found.inside, found.inside_lower, found.inside_upper])
    return rows


def _figures(run: AmplifyRun, settings: AmplifySettings) -> list[Any]:
    rows = change_rows(run.comparison, inside_measured=run.inside_measured)
    if run.control is not None:
        of_control = change_rows(run.control, inside_measured=run.inside_measured)
        rows += [[f"{name} (control)", *values] for name, *values in of_control]
    blocks: list[Any] = [Paragraph(f"Verdict: {run.verdict}. {RULE}")]
    if run.control is not None:
        said = verdict(run.control, inside_measured=run.inside_measured)
        blocks.append(Paragraph(f"Of the control, {_control_in_words(settings.control)}: {said}."))
    if rows:
        caption = f"Means over {run.comparison.n} pairs of the same prompt and seed. {BOUNDS}"
        blocks.append(Table(caption, CHANGE_HEADER, rows))
    else:
        blocks.append(
            Paragraph("Neither usability nor novelty was measured; genmend amplify --usability and --n-cloud do.")
        )
    chart = run.plot()
    if chart is not None:
        blocks.append(Figure("Novelty of every image.", chart))
    blocks.append(Paragraph(f"Mean change of a pixel: {run.pixel_change:.4f} of 0..1. Per image: samples.csv."))
    return blocks


def amplify_answer(run: AmplifyRun) -> Answer:
    """The verdict first, then what was amplified by how much; the number is the novelty, beside that of the control."""
    if not run.edits and run.search is None:
        return Answer("Nothing is amplified: every gain is 1, so the images are the same.")
    if not run.edits:
        return Answer(
            "Nothing is amplified: no choice of gains was newer and kept what has to be, so the images are the same."
        )
    found = run.comparison
    gains = ", ".join(f"{edit.layer} x {getattr(edit, 'gain', 1):g}" for edit in run.edits)
    if run.pixel_change == 0:
        return Answer(f"Verdict: no difference. Every image is the same; amplified were {gains}.")
    if run.verdict == NOT_MEASURED:
        change, other = f"{100 * run.pixel_change:.1f} %", run.control_pixel_change
        images = "1 image" if found.n == 1 else f"{found.n} images"
        return Answer(
            f"Low frequencies amplified ({gains}) change the pixels of {images} by {change} of their range; "
            "whether the images are better was not measured.",
            Number(
                "Mean change of a pixel",
                change,
                "" if other is None else f"{_control_in_words(run.settings['control'])}: {100 * other:.1f} %",
            ),
            more=RULE,
        )
    few = f" that {found.n} pairs would show" if run.verdict == "no difference" else ""
    kept = f"{_counted_keepers(run)} " if np.isfinite(found.novelty) else ""
    blind = "Without real images (genmend amplify --real FOLDER) nothing here sees whether an image is torn."
    ratios = [
        f"usability ({name}) {ratio:.3f} [{found.usability_lower[name]:.3f}, {found.usability_upper[name]:.3f}]"
        for name, ratio in found.usability.items()
    ]
    what = [f"Usability by {scorer_in_words(name)}." for name in found.usability]
    if run.inside_measured:
        bounds = f"[{found.inside_lower:.3f}, {found.inside_upper:.3f}]"
        ratios.append(f"share among real images {found.inside:.3f} {bounds}")
        what.append(f"Among real images lie {found.counted:.3f} of all amplified samples; novelty counts there alone.")
    told = [f"Of the original's: {', '.join(ratios)}."] if ratios else []
    return Answer(
        " ".join([f"Verdict: {run.verdict}{few}.", f"{kept}Low frequencies amplified: {gains}.", *told]),
        _novelty(run),
        [] if run.inside_measured else [blind],
        more="\n\n".join([*what, RULE]),
    )


def _counted_keepers(run: AmplifyRun) -> str:
    counts = [f"{found.sum()} of {len(found)} {_NAMES[kind]}" for kind, found in run.keepers.items()]
    return f"Keepers: {', '.join(reversed(counts[:2]))}{''.join(f', {one}' for one in counts[2:])}."


def _novelty(run: AmplifyRun) -> Number | None:
    if not np.isfinite(run.comparison.novelty):
        return None
    low, high = run.comparison.novelty_interval
    control = "1 is no newer"
    if run.control is not None and np.isfinite(run.control.novelty):
        control = f"{_control_in_words(run.settings['control'])}: {run.control.novelty:.3f}"
    return Number("Novelty, of the original's", f"{run.comparison.novelty:.3f} [{low:.3f}, {high:.3f}]", control)


_OWN_SCORERS = {
    "guide": "the probability that a small network gives to the garment of the prompt",
    "intact": "the probability that another one gives to the garment being whole",
}


def scorer_in_words(name: str) -> str:
    """What a scorer of the usability asks."""
    if name in _OWN_SCORERS:
        return f"{name}: {_OWN_SCORERS[name]}"
    if name.startswith("clip:"):
        return f"cosine of image and prompt by {name.removeprefix('clip:')}"
    return name


RULE = (
    "The verdict follows a rule. Newer: the interval of the novelty lies above 1; less new: below 1. Broken: usability "
    f"or the share among real images is below {KEPT:g} of the original's, also at the upper bound. Not broken: none is "
    "below that, also at the lower bound; perhaps broken: neither. Novelty is a distance in the extractor's space, "
    "which sees brightness, contrast, size and place too: 'newer' means farther from the unamplified samples there."
)
