"""``genmend score`` of several sets: each against the reference, and against each other, on one page."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genmend.manifold.comparison.compare import N_SUBSAMPLES, Comparison, compare
from genmend.manifold.comparison.differences import Difference
from genmend.manifold.engine.screens import choose_engine
from genmend.manifold.features import FeatureSet
from genmend.storage.tables import write_csv, write_json
from genmend.workbench.commands.score import (
    ScoreRun,
    class_by_class,
    copies_of,
    evaluate_options,
    in_shards,
    ray_cluster,
    read_sets,
    training_paths,
    write_score,
)
from genmend.workbench.commands.score_settings import ScoreSettings
from genmend.workbench.pages.compare import write_compare_report
from genmend.workbench.pages.page import need_packages

__all__ = ["CompareRun", "run_compare", "set_names"]


@dataclass(frozen=True)
class CompareRun:
    """Result of ``genmend score`` of several sets: the run of each by name, and what stands between them."""

    reference: FeatureSet
    runs: dict[str, ScoreRun]
    comparison: Comparison
    settings: ScoreSettings

    @property
    def warnings(self) -> list[str]:
        """What to keep in mind: of the comparison, of all sets, and of single ones, after their name."""
        each = {name: run.warnings for name, run in self.runs.items()}
        shared = [said for said in next(iter(each.values())) if all(said in others for others in each.values())]
        own = [f"{name}: {said}" for name, found in each.items() for said in found if said not in shared]
        return [*self.comparison.notes, *shared, *own]

    @property
    def worse(self) -> list[Difference]:
        """Where a set is worse than the first by more than chance."""
        return self.comparison.worse_than(next(iter(self.runs)))

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``: "models" has by name what the summary of one set has."""
        settings = dict(vars(self.settings))
        told = self.comparison.to_dict()
        models = {name: run.to_dict() for name, run in self.runs.items()}
        for model in models.values():
            for name in ("settings", "engine"):
                model.pop(name)
            model["source"] = model.pop("sources")["query"]
        return {
            "n_models": len(models),
            "reference": self.reference.to_dict(),
            **told,
            "models": models,
            "worse_than_first": [one.to_dict() for one in self.worse],
            "warnings": self.warnings,
            "settings": settings | {name: list(settings[name]) for name in ("k", "metrics") if settings[name]},
            "engine": choose_engine()._asdict(),
        }


def run_compare(
    reference: Path,
    queries: Sequence[Path],
    out: Path,
    *,
    settings: ScoreSettings | None = None,
    resume: bool = True,
    progress: bool = True,
) -> CompareRun:
    """Score each set and compare them; write everything to `out`.

    Files: ``summary.json``, ``differences.csv``, ``report.html``; and for each set a folder of its name with the three
    files of `run_score`.

    Raises
    ------
    ValueError, TypeError, OSError
        As `run_score` does; also if a set is given twice, or is the reference.
    """
    need_packages()
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"--out is {out}, which is a file; give a folder, which is made where there is none.")
    named = set_names(queries, reference)
    settings = settings or ScoreSettings()
    settings = replace(settings, bootstrap=N_SUBSAMPLES if settings.bootstrap is None else settings.bootstrap)
    with ray_cluster(settings, progress) as cluster:  # first: what is wrong with it is to be told before the work
        x, sets = read_sets(reference, [*queries, *training_paths(settings)], settings, resume, progress)
        sets, train = sets[: len(queries)], sets[len(queries) :]
        if settings.equal_sizes:
            smallest = min(map(len, sets))
            sets = [one.drawn_at_random(smallest, settings.seed) for one in sets]
        options = evaluate_options(x, sets[0], settings)
        ours, *theirs = [x, *sets] if cluster is None else [in_shards(one) for one in (x, *sets)]
        by_name = dict(zip(named, theirs, strict=True))
        found = compare(ours, by_name, settings.k, settings.metrics, **options, cluster=cluster)
    runs = {}
    for name, y in zip(named, sets, strict=True):
        of_one = options | {"bootstrap": 0}  # of each class values alone: their intervals would take as long again
        classes = class_by_class(x, y, settings, of_one) if settings.by_class else None
        runs[name] = ScoreRun(x, y, found.evaluations[name], settings, classes, *copies_of(train, x, y, settings))
    run = CompareRun(x, runs, found, settings)
    out.mkdir(parents=True, exist_ok=True)
    for name, one in runs.items():
        write_score(out / name, one)
    write_csv(out / "differences.csv", found.columns())
    write_json(out / "summary.json", run.to_dict())
    write_compare_report(out / "report.html", run)
    return run


def set_names(paths: Sequence[Path], reference: Path | None = None) -> list[str]:
    """A short name for each path, by which their results go: what is not the same in all of them.

    ``step-1/images`` and ``step-2/images`` are step-1 and step-2.

    Raises
    ------
    ValueError
        If a path is given twice, or is the reference's.
    """
    seen: dict[str, Path] = {}
    for path in paths:
        real = os.path.realpath(path)
        if reference is not None and real == os.path.realpath(reference):
            raise ValueError(
                f"{path} is the reference and stands among the sets, too: leave it out; expected_precision and "
                f"expected_coverage say what a set like it reaches."
            )
        if real in seen:
            raise ValueError(f"{path} is given twice: give each set once.")
        seen[real] = path
    parts = [[part for part in Path(os.path.normpath(path)).parts if part not in ("/", "..")] for path in paths]
    short = [list(one) for one in parts]
    for end in (0, -1):
        while all(len(one) > 1 for one in short) and len({one[end] for one in short}) == 1:
            for one in short:
                one.pop(end)
    names = ["-".join(one) for one in short]
    stems = [name.rpartition(".")[0] if Path(path).is_file() else name for name, path in zip(names, paths, strict=True)]
    for found in (stems, names, ["-".join(one) for one in parts], [f"{i + 1}" for i in range(len(parts))]):
        if len(set(found)) == len(paths) and all(found):
            break
    return [
        re.sub(r'-*[:/\\*?"<>|{}\[\]]+-*', "-", name).strip("-") for name in found
    ]  # a pattern's stars are no folder's
