"""What normal data looks like: k-NN balls round reference samples, and the metrics that follow from them.

Per-sample answers come from `Manifold` (a scikit-learn estimator); `precision`, `recall`, `density`, `coverage` and
`prdc` (all at once) compare two sets; `knn_radii` are the radii underneath. All equal a float64 brute-force check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifold.calibration import expected_coverage
from manifold.metrics import coverage, density, prdc, precision, recall
from manifold.prdc_result import PRDC, PRDCAtK
from manifold.radii import knn_radii
from manifold.scores import ManifoldScores

if TYPE_CHECKING:
    from manifold.estimator import Manifold

__all__ = [
    "PRDC",
    "Manifold",
    "ManifoldScores",
    "PRDCAtK",
    "coverage",
    "density",
    "expected_coverage",
    "knn_radii",
    "prdc",
    "precision",
    "recall",
]


def __getattr__(name: str) -> Any:
    # scikit-learn's base class takes half a second to import, which only the estimator needs.
    if name == "Manifold":
        from manifold.estimator import Manifold

        globals()[name] = Manifold
        return Manifold
    raise AttributeError(f"module 'manifold' has no attribute {name!r}")
