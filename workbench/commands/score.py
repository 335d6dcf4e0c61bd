"""``genmend score``: every manifold metric of a query set against a reference set, with figures, as files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genmend.manifold.comparison.by_class import ByClass, evaluate_by_class
from genmend.manifold.copying.memorisation import Memorisation, memorisation
from genmend.manifold.engine.screens import choose_engine
from genmend.manifold.features import FeatureSet
from genmend.manifold.features.extractors.published_tables import published_tables
from genmend.manifold.features.feature_arrays import shard_paths
from genmend.manifold.features.feature_set import kind_of
from genmend.manifold.kept_features.feature_file import is_kept
from genmend.manifold.kept_features.opened import extractor_beside
from genmend.manifold.kept_features.same_space import check_same_space
from genmend.manifold.metrics.evaluation import evaluate
from genmend.manifold.metrics.evaluation_result import Evaluation
from genmend.manifold.sharded.mapped_features import open_features
from genmend.storage.tables import write_json, write_npz
from genmend.workbench.commands.features import read_set
from genmend.workbench.commands.score_settings import ScoreSettings
from genmend.workbench.pages.page import need_packages
from genmend.workbench.pages.score import write_score_report

__all__ = [
    "ScoreRun",
    "class_by_class",
    "compute_score",
    "copies_of",
    "evaluate_options",
    "in_shards",
    "ray_cluster",
    "read_sets",
    "run_score",
    "training_paths",
    "write_score",
]


@dataclass(frozen=True)
class ScoreRun:
    """Result of ``genmend score``: the two sets of features, and what `manifold.evaluate` says of them.

    With the training set of the generator what `manifold.memorisation` says of it; the reference is its control.
    """

    reference: FeatureSet
    query: FeatureSet
    evaluation: Evaluation
    settings: ScoreSettings
    by_class: ByClass | None = None
    train: FeatureSet | None = None
    memorisation: Memorisation | None = None

    @property
    def sources(self) -> dict[str, FeatureSet]:
        """The sets by their role."""
        found = {"reference": self.reference, "query": self.query}
        return found if self.train is None else found | {"train": self.train}

    @property
    def published_tables(self) -> str:
        """Which of them the values can stand beside; empty where that is not known."""
        extractors = [features.pipeline.get("extractor") for features in (self.reference, self.query)]
        return next((tables for tables in map(published_tables, extractors) if tables), "")

    @property
    def warnings(self) -> list[str]:
        """What to keep in mind: those of the evaluation, and what the two sources themselves call for."""
        found = [] if self.memorisation is None else _of_training(self.memorisation)
        found += self.evaluation.to_dict().get("warnings", [])
        for role, features in self.sources.items():
            if features.skipped:
                given = len(features) + len(features.skipped)
                found.append(f"{len(features.skipped)} of the {given} files of the {role} were left out: unusable")
            found += _drawn(features, role)
        if self.train is not None and self.train.drawn is not None:
            found.append("copies of training samples that were not drawn are not found")
        if self.by_class is not None and self.by_class.left_out:
            named = ", ".join(list(self.by_class.left_out)[:8])
            more = f" and {len(self.by_class.left_out) - 8} more" if len(self.by_class.left_out) > 8 else ""
            found.append(f"{len(self.by_class.left_out)} classes have too few samples to be told alone: {named}{more}")
        if None in (self.reference.pipeline.get("extractor"), self.query.pipeline.get("extractor")):
            found.append("nothing says how the features of an array were made: both sets need the same extractor")
        if self.published_tables.startswith("none: "):
            found.append(f"{self.published_tables.removeprefix('none: ')}: these compare with each other, not with "
                         f"published tables")  # fmt: skip
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``: that of the evaluation, the two sources, the settings, the engine."""
        settings = dict(vars(self.settings))
        return {
            **self.evaluation.to_dict(),
            "warnings": self.warnings,
            "sources": {role: features.to_dict() for role, features in self.sources.items()},
            "settings": settings | {name: list(settings[name]) for name in ("k", "metrics") if settings[name]},
            "published_tables": self.published_tables,
            "engine": choose_engine()._asdict(),
            **({} if self.by_class is None else self.by_class.to_dict()),
            **({} if self.memorisation is None else {"memorisation": self.memorisation.to_dict()}),
        }

    def per_sample(self) -> dict[str, Any]:
        """Per-sample arrays with the samples' names, as in ``per_sample.npz``."""
        found = {f"{role}_names": features.names for role, features in self.sources.items()}
        if self.memorisation is not None:
            columns = self.memorisation.columns()
            found |= {f"train_{name}": columns[name] for name in ("distance", "ratio", "authentic")}
            found["train_nearest"] = columns["nearest_train"]
        return found | dict(self.evaluation.per_sample())


def run_score(
    reference: Path,
    query: Path,
    out: Path,
    *,
    settings: ScoreSettings | None = None,
    resume: bool = True,
    progress: bool = True,
) -> ScoreRun:
    """Read both sets, evaluate, and write everything to `out`.

    Files: ``summary.json``, ``per_sample.npz``, ``report.html``. Features of files are kept in the user's cache, from
    which an interrupted run goes on.

    Parameters
    ----------
    reference, query : Path
        Folders of images or of audio files, or .npy, .npz, .safetensors or .csv files of features or of images; a file
        of ``genmend features`` is read with all that it says of itself.
    out : Path
        Made only when all is computed.
    resume : bool
        Use, and fill, the cache of features.

    Raises
    ------
    ValueError, TypeError, OSError
        For what cannot be read, sets of different kinds or widths, and fewer than k + 1 samples.
    ModuleNotFoundError
        If a package of the report is missing: before anything is computed.
    """
    need_packages()
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"--out is {out}, which is a file; give a folder, which is made where there is none.")
    run = compute_score(reference, query, settings=settings, resume=resume, progress=progress)
    write_score(out, run)
    return run


def compute_score(
    reference: Path,
    query: Path,
    *,
    settings: ScoreSettings | None = None,
    resume: bool = True,
    progress: bool = True,
) -> ScoreRun:
    """Read both sets and evaluate; as `run_score`, without files of its own."""
    settings = settings or ScoreSettings()
    settings = replace(settings, bootstrap=settings.bootstrap or 0)
    with ray_cluster(settings, progress) as cluster:  # first: what is wrong with it is to be told before the work
        x, (y, *train) = read_sets(reference, [query, *training_paths(settings)], settings, resume, progress)
        options = evaluate_options(x, y, settings)
        sets = (x, y) if cluster is None else (in_shards(x), in_shards(y))
        evaluation = evaluate(*sets, settings.k, settings.metrics, **options, cluster=cluster)
    classes = class_by_class(x, y, settings, options) if settings.by_class else None
    return ScoreRun(x, y, evaluation, settings, classes, *copies_of(train, x, y, settings))


def ray_cluster(settings: ScoreSettings, progress: bool) -> AbstractContextManager[Any]:
    """The cluster whose machines measure distances, as a context; None where it is to be done here.

    Raises
    ------
    ValueError
        For shards to be sent where there is no cluster.
    ConnectionError, ModuleNotFoundError
        As `RayCluster` does.
    """
    if not settings.ray:
        if settings.ray_send:
            raise ValueError("--ray-send sends shards to the machines of a cluster: give its address with --ray.")
        return nullcontext()
    from genmend.manifold.sharded.cluster import RayCluster

    return RayCluster(settings.ray, send=settings.ray_send, progress=progress)


def in_shards(features: FeatureSet) -> FeatureSet:
    """The same set, memory-mapped where its source is shards that a worker may open itself."""
    shards = shard_paths(features.source) if features.kind == "array" and features.drawn is None else []
    try:
        mapped: Any = open_features(shards, check=False) if shards else features.values
    except ValueError:  # of a type that is not mapped: they are read here and sent
        return features
    return replace(features, values=mapped)


def training_paths(settings: ScoreSettings) -> list[Path]:
    """The training set, if one is given.

    Raises
    ------
    ValueError
        For a gap without one.
    """
    if settings.gap and not settings.train:
        raise ValueError("--gap compares held-out samples with training samples: give those with --train.")
    return [Path(settings.train)] if settings.train else []


def copies_of(
    train: Sequence[FeatureSet], x: FeatureSet, y: FeatureSet, settings: ScoreSettings
) -> tuple[FeatureSet | None, Memorisation | None]:
    """The training set and what the query copies of it, with the reference as held-out samples; or nothing at all.

    Raises
    ------
    ValueError
        For features of another pipeline, and for a gap where the reference is the training set.
    """
    if not train:
        return None, None
    for other in (x, y):
        check_same_space(train[0].pipeline, other.pipeline)
    test = None if train[0] is x else x.values
    if test is None and settings.gap:
        raise ValueError("--gap needs held-out samples: give those as the reference, which is the training set here.")
    return train[0], memorisation(train[0].values, y.values, test, gap=settings.gap, seed=settings.seed)


def read_sets(
    reference: Path, queries: Sequence[Path], settings: ScoreSettings, resume: bool, progress: bool
) -> tuple[FeatureSet, list[FeatureSet]]:
    """The reference and each query; where the features of one were kept, the others are read with their extractor.

    Raises
    ------
    ValueError, TypeError, OSError
        For what cannot be read, and sets of different kinds.
    """
    sources = [reference, *queries]
    kinds = [kind_of(source) for source in sources]
    if {"images", "audio"} <= set(kinds):
        other = next(place for place, kind in enumerate(kinds) if {kind, kinds[0]} == {"images", "audio"})
        raise ValueError(
            f"{reference} holds {kinds[0]} and {sources[other]} holds {kinds[other]}; give two sets of one kind."
        )
    found: dict[Path, FeatureSet] = {}
    for source in sorted(sources, key=lambda one: not is_kept(one)):  # kept ones first: they say how to read the others
        kept = next((one for one in found.values() if one.pipeline.get("extractor")), None)
        if kept is not None and not settings.features and not is_kept(source):
            settings = replace(settings, features=extractor_beside(kept) if is_kept(kept.source) else "")
        if source not in found:
            found[source] = read_set(source, settings, resume, progress)
    return found[reference], [found[query] for query in queries]


def evaluate_options(x: FeatureSet, y: FeatureSet, settings: ScoreSettings) -> dict[str, Any]:
    """What `evaluate` is called with beside the sets, k and metrics."""
    extractor = next((s.pipeline.get("extractor") for s in (x, y) if s.pipeline.get("extractor")), None)
    return {
        "closed": settings.closed,
        "bootstrap": settings.bootstrap or 0,
        "seed": settings.seed,
        "features": extractor or "features",
    }


def class_by_class(x: FeatureSet, y: FeatureSet, settings: ScoreSettings, options: dict[str, Any]) -> ByClass:
    """Each class apart: by the labels of the samples, else by the first folder in a name.

    Raises
    ------
    ValueError
        If the samples of a set have neither, or no class has enough samples.
    """
    return evaluate_by_class(x, y, None, settings.k, settings.metrics, **options)


def write_score(out: Path, run: ScoreRun) -> None:
    """Write the files of `run_score`."""
    out.mkdir(parents=True, exist_ok=True)
    write_npz(out / "per_sample.npz", run.per_sample(), compressed=True)
    write_json(out / "summary.json", run.to_dict())
    write_score_report(out / "report.html", run)


def _of_training(copied: Memorisation) -> list[str]:
    found = list(copied.warnings)
    if not copied.n_test:
        found.append("the reference is the training set: how many copies are chance is told from its own samples, and "
                     "C_T needs held-out ones; give those as the reference")  # fmt: skip
    return found


def _drawn(features: FeatureSet, role: str) -> list[str]:
    """What a limit left of the samples, and the subfolders that it left out."""
    if features.drawn is None:
        return []
    given, seed, left_out = (features.drawn[name] for name in ("n_given", "seed", "folders_left_out"))
    n = len(features) + len(features.skipped)
    found = [f"{n} of the {given} samples of the {role} were used, drawn at random with seed {seed}"]
    if left_out:
        named = ", ".join(folder or "(the folder itself)" for folder in left_out[:8])
        more = f" and {len(left_out) - 8} more" if len(left_out) > 8 else ""
        found.append(f"none was drawn of these subfolders of the {role}: {named}{more}")
    return found
