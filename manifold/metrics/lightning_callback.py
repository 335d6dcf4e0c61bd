"""A Lightning callback that scores a generator's samples while it trains.

Needs lightning or pytorch_lightning (extra `lightning`); `import genmend.manifold` does not import this file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError:
    try:
        from pytorch_lightning import Callback, LightningModule, Trainer  # type: ignore[assignment]
    except ImportError as error:
        raise ImportError(
            "the callback needs lightning, which is not installed: pip install 'genmend[lightning]'"
        ) from error

from genmend.manifold.engine.inputs import as_count
from genmend.manifold.features import FeatureSet, features_of
from genmend.manifold.figures.galleries import off_manifold_gallery, rare_gallery
from genmend.manifold.kept_features.feature_file import is_kept
from genmend.manifold.kept_features.opened import extractor_beside
from genmend.manifold.metrics.evaluation import evaluate
from genmend.manifold.metrics.evaluation_result import Evaluation
from genmend.storage.loggers import Logger, logger_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ScoreSamples"]

_SHOWN = 10


class ScoreSamples(Callback):
    """Score samples of the module every few epochs, and log the totals with Lightning's own loggers.

    The totals reach every logger of the trainer and `trainer.callback_metrics`, so `ModelCheckpoint` and
    `EarlyStopping` can watch them: ``monitor="genmend/coverage"``. Pictures of the rarest samples and of those
    farthest off the manifold reach the loggers that take pictures: TensorBoard's and Weights & Biases'.

    Parameters
    ----------
    reference
        Real samples: a folder, a file or an array, as `genmend.manifold.features.features_of` takes it. Features are
        extracted once, when training starts, and cached; or a file of ``genmend features``, whose extractor samples are
        read with where none is given.
    sample : callable, optional
        Called as ``sample(module, n)``; returns n samples: images (n, 3, h, w) in [0, 1] or uint8, or features (n, d)
        if the reference is such. Left out, the module's own method ``sample(n)`` is called.
    every_n_epochs : int
        Score after every so many epochs of training, and after none in between.
    n_samples : int
        Samples drawn each time, in batches of `batch_size`. All metrics depend on it.
    k : int
        Number of neighbours.
    metrics : sequence of str
        Names of `genmend.manifold.metrics.evaluation.METRICS`.
    extractor : str or callable
        As `features_of` takes it.
    seed : int
        Of the draws: each time the same noise, so that what changes from epoch to epoch is the module. The training's
        own random numbers are not touched.
    prefix : str
        Put before each name.
    logger : optional
        Where the pictures go besides, or instead where the trainer has no loggers: as `storage.loggers.logger_for`
        takes it, such as a folder. It also gets the totals.

    Attributes
    ----------
    evaluation : Evaluation or None
        The last result, whole.

    Raises
    ------
    ValueError, TypeError
        At the start of training for a reference that can't be read; after an epoch for samples that can't be scored.
        A module in several processes is scored by the first alone; the others wait.
    """

    def __init__(
        self,
        reference: Any,
        sample: Callable[[LightningModule, int], Any] | None = None,
        *,
        every_n_epochs: int = 1,
        n_samples: int = 1000,
        batch_size: int = 64,
        k: int = 5,
        metrics: Sequence[str] = ("precision", "recall", "density", "coverage", "realism", "rarity"),
        extractor: str | Callable[..., Any] = "",
        seed: int = 0,
        prefix: str = "genmend/",
        logger: Any = None,
    ) -> None:
        self.reference = reference
        self.sample = sample
        self.every_n_epochs = as_count(every_n_epochs, "every_n_epochs")
        self.n_samples = as_count(n_samples, "n_samples")
        self.batch_size = as_count(batch_size, "batch_size")
        self.k = as_count(k, "k")
        self.metrics = tuple(metrics)
        self.extractor = extractor
        self.seed = seed
        self.prefix = prefix
        self.logger = None if logger is None else logger_for(logger)
        self.evaluation: Evaluation | None = None
        self._real: FeatureSet | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check what can be checked, and extract the features of the reference."""
        if self.sample is None and not callable(getattr(pl_module, "sample", None)):
            raise ValueError(
                f"{type(pl_module).__name__} has no method sample(n); write one that returns n samples, or give "
                f"ScoreSamples(reference, sample=...)."
            )
        if trainer.is_global_zero and self._real is None:
            self._real = features_of(self.reference, self.extractor)
            if len(self._real) <= self.k or self.n_samples <= self.k:
                raise ValueError(
                    f"{len(self._real)} real samples and n_samples={self.n_samples} are too few for k={self.k}; give "
                    f"at least k + 1 of each."
                )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, score and log, where the epoch is one of those asked for."""
        if (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        totals: dict[str, float] = {}
        if trainer.is_global_zero:
            samples = self._drawn(pl_module)
            totals = self._scored(samples)
            if self.logger is not None:
                for name, value in totals.items():
                    self.logger.scalar(name, value, trainer.global_step)
            if samples.ndim == 4:
                self._show(trainer, samples)
        pl_module.log_dict(totals, rank_zero_only=True)
        trainer.strategy.barrier("genmend")

    def _drawn(self, module: LightningModule) -> NDArray[Any]:
        """Samples in the order drawn; leave the module's mode and the random state as they were."""
        was_training = [part for part in module.modules() if part.training]
        devices = [module.device] if module.device.type == "cuda" else []
        module.eval()
        try:
            with torch.random.fork_rng(devices), torch.no_grad():
                torch.manual_seed(self.seed)
                counts = [min(self.batch_size, self.n_samples - at) for at in range(0, self.n_samples, self.batch_size)]
                batches = [self._batch(module, n) for n in counts]
        finally:
            for part in was_training:
                part.training = True
        return np.concatenate(batches)

    def _batch(self, module: LightningModule, n: int) -> NDArray[Any]:
        own: Callable[[int], Any] = module.sample  # type: ignore[assignment]
        drawn = own(n) if self.sample is None else self.sample(module, n)
        batch = drawn.detach().cpu().numpy() if isinstance(drawn, torch.Tensor) else np.asarray(drawn)
        if len(batch) != n or batch.ndim not in (2, 4):
            raise ValueError(
                f"{n} samples were asked for and shape {batch.shape} came; return images ({n}, 3, h, w) or features "
                f"({n}, d)."
            )
        return batch

    def _scored(self, samples: NDArray[Any]) -> dict[str, float]:
        assert self._real is not None
        extractor = self.extractor or (extractor_beside(self._real) if is_kept(self.reference) else "")
        generated = features_of(samples, extractor, cache=False)
        self.evaluation = evaluate(self._real, generated, self.k, self.metrics)
        totals = self.evaluation.to_dict()["k"][str(self.k)]
        return {self.prefix + name: float("nan") if value is None else float(value) for name, value in totals.items()}

    def _show(self, trainer: Trainer, images: NDArray[Any]) -> None:
        takers = self._picture_loggers(trainer)
        if not takers or self.evaluation is None:
            return
        shown = {"off_manifold": ("score", off_manifold_gallery), "rarest": ("rarity", rare_gallery)}
        for name, (array, gallery) in shown.items():
            if f"k{self.k}_{array}" in self.evaluation.per_sample():
                pixels = _pixels_of(gallery(self.evaluation, list(images), self.k, _SHOWN))
                for taker in takers:
                    taker.image(self.prefix + name, pixels, trainer.global_step)

    def _picture_loggers(self, trainer: Trainer) -> list[Logger]:
        found = [] if self.logger is None else [self.logger]
        for logger in trainer.loggers:
            try:
                found.append(logger_for(getattr(logger, "experiment", None)))
            except TypeError:  # a logger without pictures, such as the CSV one
                continue
        return found


def _pixels_of(figure: Figure) -> NDArray[np.uint8]:
    """Draw a figure; return (h, w, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
