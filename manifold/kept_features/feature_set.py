"""Features of one source with everything that made them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from genmend.manifold.kept_features.feature_file import MOST_K, load_features, save_features
from genmend.storage.hub.shareable import Shareable

__all__ = ["FeatureSet", "load_feature_set", "save_features"]


@dataclass(frozen=True, repr=False)
class FeatureSet(Shareable):
    """Features of one source, and everything that made them.

    Shared by `save_pretrained` and `push_to_hub` as a reference for others, and read again by `from_pretrained`.

    Attributes
    ----------
    values : ndarray (n, d)
        float32; for kind "array" the file's own dtype, memory-mapped where the format allows.
    names : list of n str
        File names relative to the folder, as given in a list, or indices.
    kind : "images", "audio" or "array"
    pipeline : dict
        Everything that makes the feature space: extractor, weights digest, layer, resizing, normalisation, dtype,
        versions. Two sets may be compared where these are equal. Of an array only ``{"extractor": None}`` is known.
    skipped : list of (name, reason)
        Samples that could not be used, in order.
    source : str
    drawn : dict or None
        With a limit: n_given, how many there were, the seed of the choice, and folders_left_out, the subfolders that
        none was drawn of.
    sample : callable or None
        Takes a row and returns the sample itself: an image (3, h, w) in [0, 1], or a wave and its sample rate. None of
        features that were given, and of kept ones whose source is not there any more.
    radii : mapping of int to ndarray (n,)
        Distance of each sample to its k-th nearest other one, by k, where features were kept with them.
    labels : list of n str, or None
        The class of each sample, where the source says it: "(no label)" of one without.
    """

    _kinds: ClassVar[tuple[str, ...]] = ("reference",)

    values: np.ndarray
    names: list[str]
    kind: str
    pipeline: dict[str, Any]
    skipped: list[tuple[str, str]] = field(default_factory=list)
    source: str = ""
    drawn: dict[str, Any] | None = None
    sample: Callable[[int], Any] | None = field(default=None, compare=False)
    radii: Mapping[int, np.ndarray] = field(default_factory=dict, compare=False)
    labels: list[str] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        n, d = self.values.shape
        skipped = f", {len(self.skipped)} left out" if self.skipped else ""
        made_by = self.pipeline.get("extractor")
        return f"FeatureSet({n} of kind {self.kind!r}, {d} features by {made_by}{skipped}: {self.source})"

    def to_dict(self) -> dict[str, Any]:
        """All but the values and names, ready for JSON."""
        return {
            "source": self.source,
            "kind": self.kind,
            "n": len(self.values),
            "d": self.values.shape[1],
            "n_skipped": len(self.skipped),
            "skipped": [list(entry) for entry in self.skipped],
            "drawn": self.drawn,
            "pipeline": self.pipeline,
        }

    def drawn_at_random(self, n: int, seed: int) -> Self:
        """The set with n of its samples, drawn without replacement, in their order; itself where it has no more."""
        if n >= len(self):
            return self
        rows = np.sort(np.random.default_rng(seed).choice(len(self), n, replace=False))
        names, load = [self.names[row] for row in rows], self.sample
        folders, seen = ({name.rpartition("/")[0] for name in some} for some in (self.names, names))
        drawn = {"n_given": len(self), "seed": seed, "folders_left_out": sorted(folders - seen)}
        sample = None if load is None else lambda row: load(int(rows[row]))
        labels = None if self.labels is None else [self.labels[row] for row in rows]
        return replace(self, values=self.values[rows], names=names, drawn=drawn, sample=sample, radii={}, labels=labels)

    def save(self, path: str | os.PathLike[str], *, most_k: int = MOST_K) -> None:
        """Keep the features in one ``.safetensors`` file, whole or not at all, to be a reference again and again.

        With them go their names, their pipeline with its digest, and the radii of every k up to `most_k`, which then
        need no computing. `features_of(path)`, `evaluate` and the commands take such a file for a set.

        Raises
        ------
        ValueError
            For another ending, one sample alone, or a pipeline that is no JSON.
        OSError
            If the file cannot be written; an old one is left as it was.
        """
        save_features(path, self, most_k=most_k)


def load_feature_set(path: str | os.PathLike[str]) -> FeatureSet:
    """The set of a file that `FeatureSet.save` wrote, without a way to its samples; errors as of `load_features`."""
    kept = load_features(path)
    return FeatureSet(
        kept.values, kept.names, kept.kind, kept.pipeline, kept.skipped, kept.source, kept.drawn, radii=kept.radii
    )
