"""``genmend features``: the features of a set in one file, to be a reference night after night."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genmend.manifold.features import FeatureSet, features_of
from genmend.manifold.kept_features.feature_file import SUFFIX
from genmend.manifold.kept_features.same_space import pipeline_digest
from genmend.workbench.commands.read_settings import FeaturesSettings, ReadSettings

__all__ = ["features_in_words", "features_summary", "read_set", "run_features"]


def run_features(
    source: Path, out: Path, *, settings: FeaturesSettings | None = None, resume: bool = True, progress: bool = True
) -> FeatureSet:
    """Take the features of a source and keep them in the file `out`, with the radii of their balls.

    Parameters
    ----------
    source
        As `features_of` takes it.
    out
        A file that ends in ``.safetensors``; its folder is made.
    resume
        Use, and fill, the cache of features.

    Raises
    ------
    ValueError, TypeError, OSError
        As those of `features_of` and `FeatureSet.save`; of the name of `out` before anything is computed.
    """
    settings = settings or FeaturesSettings()
    if out.suffix.lower() != SUFFIX or out.is_dir():
        raise ValueError(f"--out is {out}; give a file that ends in {SUFFIX}, e.g. --out {out.stem or 'ref'}{SUFFIX}.")
    found = read_set(source, settings, resume, progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    found.save(out, most_k=settings.most_k)
    return found


def read_set(source: Path, settings: ReadSettings, resume: bool, progress: bool) -> FeatureSet:
    """Features of one set, taken as the settings of either command say."""
    return features_of(
        source,
        settings.features,
        on_error=settings.on_error,
        cache=resume,
        batch_size=settings.batch_size,
        progress=progress,
        limit=settings.limit,
        seed=settings.seed,
        device=settings.device,
    )


def features_summary(features: FeatureSet, out: Path, most_k: int) -> dict[str, Any]:
    """What was kept, for JSON: that of the set, with the digest of its pipeline and the k whose radii are there."""
    return {
        "out": str(out),
        "bytes": out.stat().st_size,
        **features.to_dict(),
        "pipeline_digest": pipeline_digest(features.pipeline),
        "k": list(range(1, min(most_k, len(features) - 1) + 1)),
    }


def features_in_words(summary: dict[str, Any]) -> str:
    """The same for a terminal."""
    made_by = summary["pipeline"].get("extractor") or "an extractor that is not known"
    lines = [
        f"{summary['n']} samples, {summary['d']} features by {made_by}, radii of k = 1 to {summary['k'][-1]}: "
        f"{summary['out']}, {summary['bytes'] / 1e6:.1f} MB."
    ]
    if summary["n_skipped"]:
        lines.append(f"Mind: {summary['n_skipped']} files were left out: unusable.")
    if summary["drawn"]:
        lines.append(f"Mind: {summary['n']} of {summary['drawn']['n_given']} samples were drawn at random.")
    return "\n".join(lines)
