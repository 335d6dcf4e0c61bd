"""A normalising flow on whitened features, by zuko: the paper's kind of density, small enough for a laptop."""

from __future__ import annotations

import copy
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genmend.gans.rare.density import FeatureDensity, held_out_split
from genmend.gans.rare.whitening import fit_whitening
from genmend.storage.progress import with_progress

__all__ = ["FlowDensity"]


class FlowDensity(FeatureDensity):
    """A neural spline flow or a masked autoregressive flow, stopped early by held-out likelihood.

    Parameters
    ----------
    kind : "nsf" or "maf"
        Durkan et al., arXiv 1906.04032; Papamakarios et al., arXiv 1705.07057.
    n_transforms, hidden : int, tuple of int
        Autoregressive transforms, and the widths of each one's network.
    explained, max_dims : float, int
        As `fit_whitening` takes them.
    learning_rate, weight_decay : float
        Of AdamW.
    batch_size, n_epochs : int
        Samples a step, and passes at most.
    patience : int
        Passes without a better held-out likelihood before it stops; the best pass is what is kept.
    seed : int
        Of the split, the first weights and the order of samples. torch's own random state is left as it was.

    Attributes
    ----------
    flow_ : nn.Module
        zuko's, in eval mode and frozen, float32.
    n_epochs_ : int
        Passes until the best.
    held_out_curve_ : list of float
        Mean held-out log-density after each pass.
    """

    def __init__(
        self,
        kind: Literal["nsf", "maf"] = "nsf",
        *,
        n_transforms: int = 3,
        hidden: tuple[int, ...] = (128, 128),
        explained: float = 0.9,
        max_dims: int = 64,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-3,
        batch_size: int = 128,
        n_epochs: int = 60,
        patience: int = 5,
        seed: int = 0,
    ) -> None:
        self.kind = kind
        self.n_transforms = n_transforms
        self.hidden = hidden
        self.explained = explained
        self.max_dims = max_dims
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.patience = patience
        self.seed = seed

    def fit(self, features: NDArray[Any], *, progress: bool = False) -> Self:
        """Fit to features (n, d) of normal samples.

        Raises
        ------
        ModuleNotFoundError
            If zuko is not installed.
        ValueError
            If there are too few samples, or a setting is out of range.
        """
        if min(self.n_epochs, self.patience, self.batch_size, self.n_transforms) < 1:
            raise ValueError("n_epochs, patience, batch_size and n_transforms have to be at least 1.")
        whitening = fit_whitening(features, self.explained, self.max_dims)
        whitened = whitening(torch.as_tensor(features)).float()
        training, held_out = (whitened[rows] for rows in held_out_split(len(whitened), self.seed))
        flow = self.new_flow(whitening.n_dims)
        optimizer = torch.optim.AdamW(flow.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        self.held_out_curve_: list[float] = []
        best, rng = copy.deepcopy(flow.state_dict()), np.random.default_rng(self.seed)
        for epoch in with_progress(range(self.n_epochs), "flow", self.n_epochs, show=progress):
            for rows in torch.from_numpy(rng.permutation(len(training))).split(self.batch_size):
                loss = -flow().log_prob(training[rows]).mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
                optimizer.step()
            with torch.no_grad():
                self.held_out_curve_.append(float(flow().log_prob(held_out).mean()))
            since_best = epoch - int(np.argmax(self.held_out_curve_))
            if since_best == 0:
                best = copy.deepcopy(flow.state_dict())
            if since_best >= self.patience:
                break
        if not np.isfinite(self.held_out_curve_).all():
            raise ValueError("The flow's likelihood became infinite while fitting: give a smaller learning_rate.")
        flow.load_state_dict(best)
        self.flow_ = flow.eval().requires_grad_(False)
        self.n_epochs_ = int(np.argmax(self.held_out_curve_)) + 1
        self.held_out_log_prob_ = max(self.held_out_curve_)
        self.whitening_ = whitening
        return self

    def log_prob_whitened(self, whitened: Tensor) -> Tensor:
        """The flow's log-density, computed in its float32."""
        self.flow_.to(whitened.device)
        log_prob: Tensor = self.flow_().log_prob(whitened.float())
        return log_prob.to(whitened.dtype)

    def new_flow(self, n_dims: int) -> nn.Module:
        """A flow of these settings with its first weights, which depend on `seed` alone."""
        try:
            from zuko.flows import MAF, NSF
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "FlowDensity needs zuko, which is not installed: pip install 'genmend[flows]', or use the Gaussian "
                "mixture (--density gmm).",
                name="zuko",
            ) from error
        kinds = {"nsf": NSF, "maf": MAF}
        if self.kind not in kinds:
            raise ValueError(f"kind is {self.kind!r}; give 'nsf' or 'maf'.")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            flow: nn.Module = kinds[self.kind](n_dims, transforms=self.n_transforms, hidden_features=tuple(self.hidden))
        return flow
