"""``genmend amplify``: the same seeds with and without amplified low frequencies, and what that does to the images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from genmend.diffusion.amplification.plug_in import write_amplification
from genmend.diffusion.loading import TextToImage
from genmend.diffusion.search.comparison import AmplifyRun, compare_amplification
from genmend.diffusion.search.settings import AmplifySettings
from genmend.manifold.figures.image_grid import image_grid, png, to_pixels
from genmend.storage.atomic import write_bytes
from genmend.storage.leftovers import remove_others
from genmend.storage.pieces import Work
from genmend.storage.tables import write_csv, write_json
from genmend.workbench.pages.amplify import write_amplify_report
from genmend.workbench.pages.facts import Preface
from genmend.workbench.pages.page import need_packages

__all__ = ["run_amplify"]

SHOWN = 8  # images of a prompt in the picture


def run_amplify(
    name: str,
    model: TextToImage,
    out: Path,
    settings: AmplifySettings,
    *,
    batch_size: int | None = None,
    resume: bool = True,
    progress: bool = True,
    work: Path | None = None,
    preface: Preface | None = None,
    say: Callable[[str], None] | None = None,
) -> AmplifyRun:
    """Draw, measure, and write everything to `out`.

    Files: ``original/`` and ``amplified/`` with a PNG for each prompt and seed, ``pairs.png``, ``samples.csv``,
    ``summary.json``, ``report.html``, ``amplification.safetensors``; ``work/``, or the folder `work`, holds what an
    interrupted run goes on from. `preface` stands first on the page; `say` is told what is going to be done.
    """
    need_packages()
    kept = Work(out / "work" if work is None else work, resume, progress)
    run = compare_amplification(model, settings, name=name, batch_size=batch_size, work=kept, say=say)
    out.mkdir(parents=True, exist_ok=True)
    pairs = _write_images(out, run)
    write_csv(out / "samples.csv", run.columns())
    if run.edits:
        info = {"figures": run.figures(), "prompts": list(settings.prompts)}
        write_amplification(out / "amplification.safetensors", model.pipe, run.edits, run.window, info=info)
    else:  # of an earlier run with other gains
        (out / "amplification.safetensors").unlink(missing_ok=True)
    write_json(out / "summary.json", run.to_dict())
    write_amplify_report(out / "report.html", run, settings, pairs, preface)
    return run


def _write_images(out: Path, run: AmplifyRun) -> list[bytes]:
    """The images one by one, and a picture for each prompt: original, amplified, and the control under each other."""
    sets = {"original": run.images_before, "amplified": run.images}
    if run.control_images is not None:
        sets["control"] = run.control_images
    for name in ("original", "amplified", "control"):
        pixels = {
            f"prompt{number:02d}_{row:03d}.png": shown
            for number, found in enumerate(sets.get(name, ()))
            for row, shown in enumerate(to_pixels(found))
        }
        remove_others(out / name, "prompt*.png", pixels)
        for file, shown in pixels.items():
            (out / name).mkdir(exist_ok=True)
            write_bytes(out / name / file, png(shown))
    scale = max(1, 96 // run.images[0].shape[-1])
    pairs = [image_grid([images[i][:SHOWN] for images in sets.values()], scale) for i in range(len(run.images))]
    stacked = [images[i][:SHOWN] for i in range(len(run.images)) for images in sets.values()]
    write_bytes(out / "pairs.png", image_grid(stacked, scale))
    return pairs
