"""Fréchet distance, by torch-fidelity or torchmetrics: the one comparison that the literature asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from genmend.manifold.engine.inputs import as_features


def frechet_distance(reference: Any, query: Any) -> float:
    """Fréchet distance between the normal distributions of the same mean and covariance; 0 if equal, LOWER is better.

    FID where the features are Inception's last pooling, FD-DINOv2 where they are DINOv2's. In squared feature units,
    biased upwards for few samples: the literature takes 50,000, and with no more samples than features the covariance
    is singular.

    Parameters
    ----------
    reference, query
        (n, d) and (m, d) features, n and m at least 2; numpy or torch. Computed in float64, memory 8 d^2 bytes a few
        times over.

    Raises
    ------
    ModuleNotFoundError
        If neither torch-fidelity nor torchmetrics is installed.
    ValueError, TypeError
        For a set of one sample, different widths, or features that are not finite real numbers.

    Notes
    -----
    Source: Heusel et al., arXiv 1706.08500. torch-fidelity's own function where it is installed, else
    torchmetrics' class.
    """
    of_features = frechet_function()
    x = as_features(reference, "reference")
    y = as_features(query, "query", x.shape[1])
    for name, features in (("reference", x), ("query", y)):
        if len(features) < 2:
            raise ValueError(f"{name} has 1 sample; the Fréchet distance needs at least 2 in each set; give more")
    # An offset that both share changes nothing but the rounding. A column of zeros, since one feature alone has no
    # covariance matrix in torch-fidelity.
    center = x.mean(axis=0, dtype=np.float64)
    x, y = (np.pad(z - center, ((0, 0), (0, int(z.shape[1] == 1)))) for z in (x, y))
    distance = of_features(x, y)
    return 0.0 if distance < 0 else distance  # below 0 by rounding alone: it is a square


def frechet_function() -> Callable[[np.ndarray, np.ndarray], float]:
    """The installed package's Fréchet distance of two float64 arrays, or an error that says what to install."""
    for module, function in (("torch_fidelity", _by_torch_fidelity), ("torchmetrics", _by_torchmetrics)):
        if _is_installed(module):
            return function
    raise ModuleNotFoundError("frechet needs torch-fidelity or torchmetrics and neither is installed: "
                              "pip install 'genmend[metrics]', or leave frechet out of metrics")  # fmt: skip


def _is_installed(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def _by_torch_fidelity(x: np.ndarray, y: np.ndarray) -> float:
    import torch
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    statistics = [fid_features_to_statistics(torch.from_numpy(z)) for z in (x, y)]
    return float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])


def _by_torchmetrics(x: np.ndarray, y: np.ndarray) -> float:
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    as_they_are = torch.nn.Identity()
    as_they_are.num_features = x.shape[1]
    metric = FrechetInceptionDistance(feature=as_they_are)
    metric.update(torch.from_numpy(x), real=True)
    metric.update(torch.from_numpy(y), real=False)
    return float(metric.compute())
