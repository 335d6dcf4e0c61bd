"""The manifold metrics as torchmetrics classes: the same functions, fed batch by batch and from several processes.

Needs torchmetrics (extra `metrics`); `import genmend.manifold` does not import this file. Metrics of one
`MetricCollection` share one store of features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor

try:
    from torchmetrics import Metric
    from torchmetrics.utilities import dim_zero_cat
except ImportError as error:
    raise ImportError(
        "the torchmetrics classes need torchmetrics, which is not installed: pip install 'genmend[metrics]'"
    ) from error

from genmend.manifold.engine.inputs import as_closed, as_count, as_features
from genmend.manifold.engine.radii import BLOCK_SIZE
from genmend.manifold.kept_features.given import Given, given_features
from genmend.manifold.metrics.single import coverage, density, precision, recall
from genmend.manifold.regions.manifold import Manifold

__all__ = ["ManifoldCoverage", "ManifoldDensity", "ManifoldPrecision", "ManifoldRarity", "ManifoldRecall"]


class MetricOptions(TypedDict, total=False):
    """Keyword arguments of `torchmetrics.Metric`, which says what they mean and refuses any other."""

    compute_on_cpu: bool
    compute_with_cache: bool
    dist_sync_fn: Callable[..., Any] | None
    dist_sync_on_step: bool
    distributed_available_fn: Callable[[], bool] | None
    process_group: Any
    sync_on_compute: bool


class _FeatureSets(Metric):
    """Keeps all features of both sets: the value depends on the whole sets, and cannot be added up over batches.

    They are kept as `dtype` (float32, so 4 (n + m) d bytes; after `set_dtype(torch.float64)` float64), flat, because
    torchmetrics gathers flat arrays also from a process that has none; their width is kept beside.
    """

    is_differentiable: bool = False
    full_state_update: bool = False
    plot_lower_bound: float = 0.0
    reference: list[Tensor]
    query: list[Tensor]
    columns: Tensor

    default_k: ClassVar[int]

    def __init__(
        self,
        k: int | None = None,
        closed: bool = True,
        *,
        block_size: int = BLOCK_SIZE,
        real_features: Any = None,
        reset_real_features: bool = True,
        **options: Unpack[MetricOptions],
    ) -> None:
        super().__init__(**options)
        self.k = as_count(self.default_k if k is None else k, "k")
        self.closed = as_closed(closed)
        self.block_size = as_count(block_size, "block_size")
        if not isinstance(reset_real_features, bool):
            raise ValueError(f"reset_real_features is {reset_real_features!r}; True or False is accepted")
        self.reset_real_features = reset_real_features
        self._given: Given | None = None
        if real_features is not None:  # no state: every process has all of them, and none is to be gathered
            given = given_features(real_features, closed=self.closed)
            self._given = given._replace(values=as_features(given.values, "real_features"))
        self.add_state("reference", [], dist_reduce_fx="cat")
        self.add_state("query", [], dist_reduce_fx="cat")
        self.add_state("columns", torch.tensor(0), dist_reduce_fx=None)

    def set_dtype(self, dst_type: str | torch.dtype) -> Metric:
        """Change the dtype of the features, as torchmetrics does; their width stays an integer."""
        columns = self.columns
        super().set_dtype(dst_type)
        self.columns = columns.to(self.device)
        self._defaults["columns"] = torch.zeros((), dtype=columns.dtype, device=self.device)
        return self

    def update(self, features: Tensor, real: bool) -> None:
        """Add a batch of features (b, d): of real samples (the reference) or of generated ones (the query).

        Raises
        ------
        TypeError, ValueError
            For anything but finite floating-point features in two dimensions, all of one width, that `dtype` holds.
        """
        if not isinstance(features, Tensor) or not features.is_floating_point():
            raise TypeError(f"features is a {getattr(features, 'dtype', type(features).__name__)}; a floating-point "
                            f"tensor (samples, features) is accepted")  # fmt: skip
        if real and self._given is not None:
            raise ValueError("this metric was given its real features; update(features, real=False) is accepted, or "
                             "a metric made without real_features")  # fmt: skip
        width = int(self.columns) or (0 if self._given is None else self._given.values.shape[1])
        if features.ndim != 2 or not features.shape[1] or features.shape[1] != (width or features.shape[1]):
            raise ValueError(
                f"features has shape {tuple(features.shape)}; (samples, {width or 'features'}) is accepted"
            )
        if torch.promote_types(features.dtype, self.dtype) != self.dtype:
            raise ValueError(f"features is {features.dtype}, more than the {self.dtype} of this metric holds; call "
                             f".set_dtype({features.dtype}) on the metric, or .float() on the features")  # fmt: skip
        if not torch.isfinite(features).all():
            raise ValueError("features contains NaN or inf; finite features are accepted; drop or mend the rows")
        self.columns = torch.full_like(self.columns, features.shape[1])
        kept = features.detach().to(self.dtype, copy=True).reshape(-1)
        (self.reference if real else self.query).append(kept)

    def reset(self) -> None:
        """Forget all features, of real samples only with `reset_real_features`."""
        kept, columns = list(self.reference), self.columns
        super().reset()
        if not self.reset_real_features and kept:
            self.reference, self.columns = kept, columns

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: a batch of one of the two sets has no value of its own."""
        raise NotImplementedError(
            f"{type(self).__name__} has no value for one batch; call update(features, real=...) for each, then compute"
        )

    def compute(self) -> Tensor:
        """The value for all features so far, of all processes: float64, a scalar.

        Raises
        ------
        ValueError
            For no samples of either set, fewer than k + 1 where balls are made (real ones; for recall generated ones),
            or widths that differ between processes.
        """
        widths = set(self.columns.reshape(-1).tolist()) - {0}
        if len(widths) > 1:
            raise ValueError(f"features are {sorted(widths)} wide on different processes; one width is accepted")
        sets: list[Any] = [] if self._given is None else [self._given]
        for name, flat in (("real", self.reference), ("generated", self.query))[len(sets) :]:
            if not sum(part.numel() for part in flat):
                raise ValueError(f"there are no {name} features; call update(features, real={name == 'real'}) before "
                                 f"compute")  # fmt: skip
            sets.append(dim_zero_cat(flat).reshape(-1, *widths))
        # float64 is not to be had on every device.
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        return torch.tensor(self._value(*sets), dtype=dtype, device=self.device)

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """Figure and axes with the value, or with `val`, one or several results of `compute` (needs matplotlib)."""
        return self._plot(val, ax)

    def _value(self, reference: Tensor | Given, query: Tensor) -> float:
        raise NotImplementedError


class ManifoldPrecision(_FeatureSets):
    """`manifold.precision`: fraction of the generated samples in the balls of the real ones, in [0, 1].

    Higher is better (fidelity). Source: Kynkäänniemi et al., eq. 2, arXiv 1904.06991.

    Parameters
    ----------
    k, closed, block_size
        As for `manifold.precision`.
    real_features
        The real samples, once and for all, in place of ``update(features, real=True)``: an array, a fitted `Manifold`,
        or the path of a file of ``genmend features``. Every process takes them as they are.
    reset_real_features
        Whether `reset` forgets the real samples too, as in torchmetrics' FID; `real_features` it never forgets.
    **options
        As for `torchmetrics.Metric`: those of `MetricOptions`.

    Examples
    --------
    >>> metric = ManifoldPrecision(k=1)
    >>> metric.update(torch.tensor([[0.0], [1.0], [3.0], [7.0]]), real=True)
    >>> metric.update(torch.tensor([[0.5], [2.0]]), real=False)
    >>> metric.update(torch.tensor([[5.5], [12.0]]), real=False)
    >>> metric.compute()
    tensor(0.7500, dtype=torch.float64)
    """

    higher_is_better: bool = True
    plot_upper_bound: float = 1.0
    default_k = 3

    def _value(self, reference: Tensor | Given, query: Tensor) -> float:
        return precision(reference, query, self.k, self.closed, block_size=self.block_size)


class ManifoldRecall(_FeatureSets):
    """`manifold.recall`: fraction of the real samples in the balls of the generated ones, in [0, 1].

    Higher is better (diversity). Source and arguments as for `ManifoldPrecision`.
    """

    higher_is_better: bool = True
    plot_upper_bound: float = 1.0
    default_k = 3

    def _value(self, reference: Tensor | Given, query: Tensor) -> float:
        return recall(reference, query, self.k, self.closed, block_size=self.block_size)


class ManifoldDensity(_FeatureSets):
    """`manifold.density`: mean number of real balls that contain a generated sample, over k; from 0, about 1 if equal.

    Higher is denser; above 1 usually means a crowd inside the balls of outliers. Arguments as for `ManifoldPrecision`,
    k = 5. Source: Naeem et al., eq. 3, arXiv 2002.09797.
    """

    higher_is_better: bool = True
    default_k = 5

    def _value(self, reference: Tensor | Given, query: Tensor) -> float:
        return density(reference, query, self.k, self.closed, block_size=self.block_size)


class ManifoldCoverage(_FeatureSets):
    """`manifold.coverage`: fraction of the real balls that contain a generated sample, in [0, 1].

    Higher is better (diversity). Arguments as for `ManifoldPrecision`, k = 5. Source: Naeem et al., eq. 4, arXiv
    2002.09797.
    """

    higher_is_better: bool = True
    plot_upper_bound: float = 1.0
    default_k = 5

    def _value(self, reference: Tensor | Given, query: Tensor) -> float:
        return coverage(reference, query, self.k, self.closed, block_size=self.block_size)


class ManifoldRarity(_FeatureSets):
    """Mean of `Manifold.rarity` over the generated samples inside the manifold, in feature units; NaN if none is.

    Higher is rarer, which is no measure of quality; read it beside `ManifoldPrecision`, the fraction it is defined on.
    Arguments as for `ManifoldPrecision`. Source: Han et al., arXiv 2206.08549.
    """

    higher_is_better: bool | None = None
    default_k = 3

    def _value(self, reference: Tensor | Given, query: Tensor) -> float:
        given = given_features(reference)
        manifold = Manifold(self.k, closed=self.closed, block_size=self.block_size).fit(given.values)
        rarity = np.asarray(manifold.rarity(query.cpu().numpy()))
        inside = np.sort(rarity[~np.isnan(rarity)])  # sorted, so that no order of the batches shows in the last bit
        return float(inside.mean()) if len(inside) else float("nan")
