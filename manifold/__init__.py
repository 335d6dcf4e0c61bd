"""What normal data looks like: k-NN balls round reference samples, and the metrics that follow from them.

`evaluate` compares two sets by every metric at once, with per-sample arrays and intervals; `prdc`, `precision`,
`recall`, `density`, `coverage`, `kid`, `frechet_distance` and `vendi_score` are single ones; `compute_prdc` takes the
place of the prdc package's; `memorisation` says whether a generator repeats its training set. Per-sample answers come
from `Manifold` (a scikit-learn estimator), `NormalRegion` (one for each group of vectors) and `ShardedManifold` (a
reference larger than memory, or than a machine). All equal a float64 brute-force check. `manifold.features` turns
images and recordings into features, `manifold.figures` draws.
"""

import lazy_loader

# Names and their modules stand in __init__.pyi; each is imported when it is first asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
