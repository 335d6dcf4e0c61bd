"""What normal data looks like: k-NN balls round reference samples, and the metrics that follow from them.

`evaluate` compares two sets by every metric at once, with per-sample arrays and intervals; `prdc`, `precision`,
`recall`, `density`, `coverage`, `kid`, `frechet_distance` and `vendi_score` are single ones. Per-sample answers come
from `Manifold` (a scikit-learn estimator), `NormalRegion` (one for each group of vectors) and `ShardedManifold` (a
reference larger than memory, or than a machine). All equal a float64 brute-force check. `manifold.features` turns
images and recordings into features, `manifold.figures` draws.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from manifold.calibration import expected_coverage
from manifold.metrics import coverage, density, prdc, precision, recall
from manifold.prdc_result import PRDC, PRDCAtK
from manifold.radii import knn_radii
from manifold.scores import ManifoldScores

if TYPE_CHECKING:
    from manifold.estimator import Manifold
    from manifold.evaluation import evaluate
    from manifold.evaluation_result import Evaluation, EvaluationAtK
    from manifold.feature_files import open_features
    from manifold.frechet import frechet_distance
    from manifold.kernel_distance import kid
    from manifold.nearest import nearest_neighbors
    from manifold.normal_region import NormalRegion, RegionState
    from manifold.normal_region_file import load_normal_region, save_normal_region
    from manifold.sharded import ShardedManifold
    from manifold.vendi import vendi_score

# Imported when asked for: scikit-learn's base class alone takes half a second.
_LATER = {
    "Evaluation": "evaluation_result",
    "EvaluationAtK": "evaluation_result",
    "Manifold": "estimator",
    "NormalRegion": "normal_region",
    "RegionState": "normal_region",
    "ShardedManifold": "sharded",
    "evaluate": "evaluation",
    "frechet_distance": "frechet",
    "kid": "kernel_distance",
    "load_normal_region": "normal_region_file",
    "nearest_neighbors": "nearest",
    "open_features": "feature_files",
    "save_normal_region": "normal_region_file",
    "vendi_score": "vendi",
}

__all__ = [
    "PRDC",
    "Evaluation",
    "EvaluationAtK",
    "Manifold",
    "ManifoldScores",
    "NormalRegion",
    "PRDCAtK",
    "RegionState",
    "ShardedManifold",
    "coverage",
    "density",
    "evaluate",
    "expected_coverage",
    "frechet_distance",
    "kid",
    "knn_radii",
    "load_normal_region",
    "nearest_neighbors",
    "open_features",
    "prdc",
    "precision",
    "recall",
    "save_normal_region",
    "vendi_score",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'manifold' has no attribute {name!r}")
    found = getattr(import_module(f"manifold.{_LATER[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
