"""``genmend dissect``: what each unit of a generator stands for, and what it causes; tables, galleries and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from genmend.gans import Generator
from genmend.gans.dissection import Agreement, Concepts, load_concepts
from genmend.gans.dissection.artifact_study import artifact_units
from genmend.gans.dissection.causal_study import causal_study
from genmend.gans.dissection.dissection import DissectRun, DissectSettings, _check_names, _store_of, labelled_units
from genmend.gans.dissection.mask_store import MaskStore
from genmend.gans.dissection.stages import Stages
from genmend.manifold.features import load_extractor
from genmend.storage.atomic import whole_file
from genmend.storage.tables import write_csv, write_json
from genmend.workbench.pages.page import need_packages

__all__ = ["run_dissect"]


def run_dissect(
    generator: Generator,
    out: Path,
    *,
    layers: Sequence[str] = (),
    settings: DissectSettings | None = None,
    concepts: Mapping[str, Concepts] | None = None,
    resume: bool = True,
    progress: bool = True,
) -> DissectRun:
    """Label the units of some layers (of the generator's own list where empty), and write everything to `out`.

    `concepts` are segmenters by the names that the settings give, for those that `load_concepts` would not find.

    Files: ``units.csv``, ``iou.safetensors``, ``summary.json``, ``concepts.png``, ``report.html`` and
    ``pages/LAYER.html``; ``work/`` holds what an interrupted run goes on from.

    Raises
    ------
    ValueError
        If two segmenters have a concept of the same name, or a causal concept is none of theirs.
    """
    from genmend.workbench.pages.dissect import write_dissect_report, write_pages

    need_packages()
    settings = settings or DissectSettings()
    extractor = load_extractor(settings.artifact_units) if settings.artifact_units else None  # missing: said at once
    chosen = tuple(layers) or generator.layers
    stores = [
        MaskStore(generator, name, (concepts or {}).get(name) or load_concepts(name), out / "work", resume)
        for name in settings.segmenters
    ]
    names = tuple(name for store in stores for name in store.names)
    _check_names(names, stores, settings)
    stages = Stages(generator, chosen, settings.seed, out / "work", resume, progress)
    units, joined, agreements, n_judged = labelled_units(stages, stores, settings)
    causal = tuple(
        causal_study(
            stages,
            asked,
            store := _store_of(asked, stores),
            agreements[store.segmenter],
            n_judged[store.segmenter],
            settings.causal_settings,
        )
        for asked in settings.causal
    )
    broken = artifact_units(stages, settings.artifact_units, settings.n_images, settings.n_top) if extractor else None
    used = asdict(settings) | {"layers": list(chosen)}
    run = DissectRun(generator.name, names, units, n_judged, causal, broken, used)
    _write_tables(out, run, joined)
    write_pages(out / "pages", run, generator, progress=progress)
    write_dissect_report(out / "report.html", run, generator)
    return run


def _write_tables(out: Path, run: DissectRun, joined: Mapping[str, Agreement]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    layers = run.layers.items()
    columns: dict[str, list[Any]] = {
        "layer": [layer for layer, units in layers for _ in units.iou],
        "unit": [unit for _, units in layers for unit in range(len(units.iou))],
        "concept": [run.label(layer, unit) for layer, units in layers for unit in range(len(units.iou))],
    }
    for name in ("iou", "accuracy", "threshold", "quality", "detector"):
        values = [getattr(units, name) for _, units in layers]
        if values[0] is not None:
            columns[name] = np.concatenate(values).tolist()
    if run.artifact_units is not None:
        columns["unit_kid"] = np.concatenate([run.artifact_units.kid[layer] for layer in run.layers]).tolist()
    columns["iou_low"], columns["iou_high"] = np.concatenate([units.interval for _, units in layers]).T.tolist()
    write_csv(out / "units.csv", {name: np.array(values) for name, values in columns.items()})
    tensors = {
        f"{layer}.{name}": value.contiguous()
        for layer, table in joined.items()
        for name, value in vars(table).items()
        if value is not None
    }
    with whole_file(out / "iou.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"concepts": "\n".join(run.concepts)})
    write_json(out / "summary.json", run.to_dict())
    with whole_file(out / "concepts.png") as temporary:
        run.plot().savefig(temporary, dpi=110)
