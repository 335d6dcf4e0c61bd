"""``genmend attach`` for a generator: try a correction on fresh samples, beside its control."""

from __future__ import annotations

from pathlib import Path

from genmend.activations import load_correction
from genmend.gans import Generator
from genmend.gans.preview.correction_preview import CorrectionPreview, preview_correction
from genmend.gans.preview.settings import PreviewSettings
from genmend.storage.hub.kinds import describe
from genmend.storage.hub.repository import Shared
from genmend.storage.tables import write_json
from genmend.workbench.pages.gans.attach import write_attach_report
from genmend.workbench.pages.page import need_packages

__all__ = ["run_attach"]


def run_attach(
    generator: Generator, shared: Shared, out: Path, settings: PreviewSettings, *, progress: bool = True
) -> CorrectionPreview:
    """Try a correction and write ``summary.json`` and ``report.html`` to `out`; the file is not copied there."""
    need_packages()
    _, described = describe(shared.path)
    preview = preview_correction(generator, load_correction(shared.path), settings=settings, progress=progress)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "summary.json", preview.to_dict() | {"source": shared.source, "commit": shared.commit})
    write_attach_report(out / "report.html", shared, described, preview)
    return preview
