"""What a search for rare samples returns: versions of references, those given up marked and empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from genmend.gans.image_features import image_features

if TYPE_CHECKING:
    from torch import Tensor

    from genmend.gans.generator import Generator
    from genmend.gans.rare.space import Measured, RareSpace

__all__ = ["RareSamples"]

_MEASURES = ("log_prob", "rarity", "rarity_percentile", "inside", "artifact_score")


@dataclass(frozen=True)
class RareSamples:
    """Rows ``reference * n_versions + version`` of r references' versions; numbers of a version given up are NaN.

    Attributes
    ----------
    n_versions : int
    found : ndarray (r * n,) bool
        False: given up, no iterate kept every constraint.
    latents : ndarray (r * n, *latent_shape) float32
    step : ndarray (r * n,) int
        At which step the kept iterate came up; 0 is the noisy start, -1 none.
    distance : ndarray (r * n,)
        Feature distance to the reference.
    log_prob, rarity, rarity_percentile, inside, artifact_score : ndarray (r * n,)
        As `genmend.gans.rare.Measured` has them; log_prob in nats per dimension.
    reference_latents : ndarray (r, *latent_shape)
    distance_limit : ndarray (r,)
        d* of each reference.
    reference_log_prob, reference_rarity, ... : ndarray (r,)
        The same measures of the references.
    """

    n_versions: int
    found: NDArray[np.bool_]
    latents: NDArray[np.float32]
    step: NDArray[np.int64]
    distance: NDArray[np.float64]
    log_prob: NDArray[np.float64]
    rarity: NDArray[np.float64]
    rarity_percentile: NDArray[np.float64]
    inside: NDArray[np.bool_]
    artifact_score: NDArray[np.float64]
    reference_latents: NDArray[np.float32]
    distance_limit: NDArray[np.float64]
    reference_log_prob: NDArray[np.float64]
    reference_rarity: NDArray[np.float64]
    reference_rarity_percentile: NDArray[np.float64]
    reference_inside: NDArray[np.bool_]
    reference_artifact_score: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        generator: Generator,
        space: RareSpace,
        n_versions: int,
        references: Tensor,
        measured: Measured,
        limits: NDArray[np.float64],
        latents: Tensor,
        step: NDArray[np.int64],
        *,
        anchored: bool = True,
    ) -> Self:
        """Generate what was found once more, as any user of the latents will, and keep what is still feasible."""
        found, n = step >= 0, len(step)
        values = {name: np.full(n, np.nan) for name in (*_MEASURES, "distance")}
        rows = np.flatnonzero(found)
        if len(rows):
            again = space.measure_features(image_features(generator, latents[rows], space.network))
            anchors = measured.features[rows // n_versions]
            again_distance = np.linalg.norm(again.features.astype(np.float64) - anchors, axis=1)
            of_reference = measured.rarity[rows // n_versions], measured.log_prob[rows // n_versions]
            kept = again.inside & again.rarer_than(*of_reference) & (again.artifact_score <= space.max_artifact_score)
            if anchored:  # with the anchor "own_start" d* is not about this distance
                kept &= again_distance <= limits[rows // n_versions]
            for name in _MEASURES:
                values[name][rows[kept]] = getattr(again, name)[kept]
            values["distance"][rows[kept]] = again_distance[kept]
            found[rows[~kept]] = False
        kept_latents = latents.numpy().copy()
        kept_latents[~found] = np.nan
        inside = np.nan_to_num(values.pop("inside")).astype(bool)
        return cls(
            n_versions=n_versions,
            found=found,
            latents=kept_latents,
            step=np.where(found, step, -1),
            inside=inside,
            **values,
            reference_latents=references.numpy(),
            distance_limit=limits,
            **{f"reference_{name}": getattr(measured, name) for name in _MEASURES},
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The results of several calls, one after the other."""
        if not parts or len({part.n_versions for part in parts}) > 1:
            raise ValueError("Give at least one result, all with the same number of versions a reference.")
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in cls.array_names()}
        return cls(n_versions=parts[0].n_versions, **arrays)

    @classmethod
    def array_names(cls) -> tuple[str, ...]:
        """Names of all arrays, in order."""
        return tuple(field.name for field in fields(cls) if field.name != "n_versions")

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name."""
        return {name: getattr(self, name) for name in self.array_names()}

    @property
    def n_references(self) -> int:
        """Number of references."""
        return len(self.reference_latents)

    @property
    def reference(self) -> NDArray[np.int64]:
        """Which reference each row is a version of, (r * n,)."""
        return np.repeat(np.arange(self.n_references), self.n_versions)

    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns of ``rare.csv``."""
        names = ("log_prob", "rarity", "rarity_percentile", "inside", "distance", "artifact_score", "step")
        return {
            "reference": self.reference,
            "version": np.tile(np.arange(self.n_versions), self.n_references),
            "found": self.found,
            **{name: getattr(self, name) for name in names},
            "distance_limit": self.distance_limit[self.reference],
            "reference_rarity_percentile": self.reference_rarity_percentile[self.reference],
        }

    def to_dict(self) -> dict[str, Any]:
        """Totals for JSON; None where there is nothing to average."""
        percentile, before = self.rarity_percentile[self.found], self.reference_rarity_percentile
        return {
            "n_references": self.n_references,
            "n_versions": self.n_versions,
            "n_found": int(self.found.sum()),
            "n_given_up": int((~self.found).sum()),
            "rarity_percentile_mean": float(percentile.mean()) if len(percentile) else None,
            "reference_rarity_percentile_mean": _mean_of_known(before),
            "reference_inside": float(self.reference_inside.mean()),
            "log_prob_mean": _mean_of_known(self.log_prob),
            "reference_log_prob_mean": _mean_of_known(self.reference_log_prob),
            "distance_mean": _mean_of_known(self.distance),
            "distance_limit_mean": float(self.distance_limit.mean()),
        }


def _mean_of_known(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
