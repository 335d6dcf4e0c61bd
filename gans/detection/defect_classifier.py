"""A classifier of broken images whose attributions say where they are broken.

Source: Tousi et al., arXiv 2104.06118, where the masks of broken places come from a classifier's Grad-CAM. Three
classes (real, normal, artifact) are our reading of it. Ours: a logistic head, trained on soft labels, on a frozen
backbone, so that a few hundred labels do.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional

from genmend.gans.detection.soft_logistic import fit_soft_logistic
from genmend.gans.generator import Generator
from genmend.gans.image_features import image_features
from genmend.manifold.engine.inputs import to_array
from genmend.manifold.features import extract, load_extractor
from genmend.manifold.features.extractor_device import at_extractor, extractor_device
from genmend.storage.progress import with_progress

__all__ = ["DefectClassifier"]


class DefectClassifier(BaseEstimator):
    """Tell broken images from normal ones; differentiable down to the backbone's last feature map.

    Parameters
    ----------
    extractor : str or nn.Module
        As `load_extractor` takes it, or images in 0..1 to features (n, d); it is never changed.
    regularisation : float, optional
        scikit-learn's C of the head; for two classes chosen by cross-validation where None, for three 0.003.
    tuned : sequence of str
        Dotted names of modules of the extractor to train further, with the head, once the head is fitted; for
        EfficientNet-Lite0's last block ``("network.conv_head", "network.bn2")``.
    epochs, learning_rate : int, float
        Of that training (Adam, batches of 16); batch statistics stay frozen.
    seed : int
        Of the folds and of the order of the batches.

    Attributes
    ----------
    module_ : nn.Module
        Images (n, 3, h, w) in 0..1 to logits (n, n_classes), in eval mode; `module_.extractor` is a copy where
        something was tuned.
    classes_ : tuple of str
        ``("normal", "artifact")``, or ``("real", "normal", "artifact")``.
    feature_layer_ : str
        Dotted name in `module_` of the last feature map, whose output is (n, channels, h, w).
    """

    def __init__(
        self,
        extractor: str | nn.Module = "efficientnet-lite0",
        *,
        regularisation: float | None = None,
        tuned: Sequence[str] = (),
        epochs: int = 3,
        learning_rate: float = 1e-4,
        seed: int = 0,
    ) -> None:
        self.extractor = extractor
        self.regularisation = regularisation
        self.tuned = tuned
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.seed = seed

    def fit(
        self,
        images: Tensor,
        shares: Tensor | NDArray[Any],
        real: Tensor | None = None,
        *,
        progress: bool = False,
    ) -> Self:
        """Train the head, and what is to be tuned.

        Parameters
        ----------
        images : Tensor (n, 3, h, w)
            Generated images in 0..1.
        shares : array (n,)
            0 for normal to 1 for artifact; 0.5 counts half on each side.
        real : Tensor (n_real, 3, h, w), optional
            Real images in 0..1: the third class.
        progress : bool
            Show progress bars.

        Raises
        ------
        ValueError
            If the lengths differ, a share is outside [0, 1], or one of the two sides is absent.
        """
        extractor = self._network()
        shares = to_array(shares, "shares").astype(np.float64)
        features = extract(extractor, images, progress=progress)
        if real is not None:
            features = np.concatenate([extract(extractor, real, progress=progress), features])
            images = torch.cat([real, images])
        labels = self._fit_head(extractor, features, shares, images[:1])
        if self.tuned:
            self._tune(images, torch.from_numpy(labels).float(), progress)
        return self

    def fit_samples(
        self, generator: Generator, latents: Tensor, shares: Tensor | NDArray[Any], *, progress: bool = False
    ) -> Self:
        """The same on the generator's samples of these latents; their images are held all at once for `tuned` alone."""
        if self.tuned:
            return self.fit(generator.generate(latents, progress=progress), shares, progress=progress)
        extractor = self._network()
        features = image_features(generator, latents, extractor, progress=progress)
        self._fit_head(
            extractor, features, to_array(shares, "shares").astype(np.float64), generator.generate(latents[:1])
        )
        return self

    def _network(self) -> nn.Module:
        extractor: Any = load_extractor(self.extractor) if isinstance(self.extractor, str) else self.extractor
        if not isinstance(extractor, nn.Module):
            raise TypeError(
                f"extractor is a {type(extractor).__name__}; attributions need the gradients of an nn.Module."
            )
        return copy.deepcopy(extractor) if self.tuned else extractor

    def _fit_head(
        self, extractor: nn.Module, features: NDArray[Any], shares: NDArray[np.float64], image: Tensor
    ) -> NDArray[np.float64]:
        """Fit the head on features, those of real images first; return the labels (n, n_classes)."""
        n_real = len(features) - len(shares)
        if not n_real:
            self.classes_: tuple[str, ...] = ("normal", "artifact")
            score = fit_soft_logistic(features, shares, regularisation=self.regularisation, seed=self.seed)
            # Half of the log-odds on either side: the difference of the logits is the score.
            weights = np.stack([-score.weights, score.weights]) / 2
            bias = np.array([-score.bias, score.bias]) / 2
            labels = np.stack([1 - shares, shares], axis=1)
        else:
            self.classes_ = ("real", "normal", "artifact")
            labels = np.zeros((len(features), 3))
            labels[:n_real, 0], labels[n_real:, 1], labels[n_real:, 2] = 1, 1 - shares, shares
            weights, bias = _softmax_head(features, labels, self.regularisation or 3e-3)
        self.module_ = _Classifier(extractor, weights, bias).to(extractor_device(extractor)).eval()
        self.feature_layer_ = _last_feature_map(self.module_, image)
        return labels

    @property
    def fitted(self) -> bool:
        """Whether `fit` has been called: a head that has not been trained attributes nothing."""
        return hasattr(self, "module_")

    def checked_module(self) -> nn.Module:
        """The trained network in eval mode, for attributions.

        Raises
        ------
        NotFittedError
            If there is none: a random head would give masks that look like masks.
        """
        if not self.fitted:
            raise NotFittedError("This DefectClassifier is not fitted, and a random head attributes nothing; call fit.")
        return self.module_.eval()

    @torch.no_grad()
    def predict_proba(self, images: Tensor, *, batch_size: int = 16) -> NDArray[np.float32]:
        """Probabilities (n, n_classes) in the order of `classes_`."""
        module = self.checked_module()
        logits = torch.cat([module(batch) for batch in images.split(batch_size)])
        probabilities: NDArray[np.float32] = logits.softmax(1).cpu().numpy()
        return probabilities

    @torch.no_grad()
    def score(self, images: Tensor, *, batch_size: int = 16) -> NDArray[np.float32]:
        """Log-odds of artifact against normal, (n,); higher = more broken."""
        module = self.checked_module()
        logits = torch.cat([module(batch) for batch in images.split(batch_size)])
        normal, artifact = self.classes_.index("normal"), self.classes_.index("artifact")
        scores: NDArray[np.float32] = (logits[:, artifact] - logits[:, normal]).cpu().numpy()
        return scores

    def _tune(self, images: Tensor, labels: Tensor, progress: bool) -> None:
        module = self.module_
        modules = [module.extractor.get_submodule(name) for name in self.tuned]
        learnt = [parameter for part in modules for parameter in part.parameters()] + list(module.head.parameters())
        for parameter in learnt:
            parameter.requires_grad_(True)
        optimiser = torch.optim.Adam(learnt, lr=self.learning_rate)
        draw = torch.Generator().manual_seed(self.seed)
        for _ in range(self.epochs):
            order = torch.randperm(len(images), generator=draw).split(16)
            for rows in with_progress(order, "tuning", len(order), show=progress):
                optimiser.zero_grad()
                logits = module(images[rows])
                functional.cross_entropy(logits, labels[rows].to(logits)).backward()
                optimiser.step()
        for parameter in learnt:
            parameter.requires_grad_(False)


class _Classifier(nn.Module):
    """Features and one linear layer."""

    extractor: nn.Module

    def __init__(self, extractor: nn.Module, weights: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
        super().__init__()
        self.extractor = extractor
        self.head = nn.Linear(weights.shape[1], len(weights)).requires_grad_(False)
        self.head.weight.copy_(torch.from_numpy(weights))
        self.head.bias.copy_(torch.from_numpy(bias))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, n_classes)."""
        logits: Tensor = self.head(self.extractor(at_extractor(self.extractor, images)))
        return logits


def _softmax_head(
    features: NDArray[np.floating], labels: NDArray[np.float64], regularisation: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (n_classes, d) and bias of a softmax regression on soft labels (n, n_classes)."""
    if not (labels.sum(0) > 0).all():
        raise ValueError("One of the classes real, normal and artifact has no image; give a dozen of each or more.")
    mean, std = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    std[std == 0] = 1
    standardised = (features - mean) / std
    rows, classes = np.nonzero(labels)
    model = LogisticRegression(C=regularisation, max_iter=2000)
    model.fit(standardised[rows], classes, sample_weight=labels[rows, classes])
    weights = model.coef_ / std
    return weights, model.intercept_ - weights @ mean


@torch.no_grad()
def _last_feature_map(module: nn.Module, images: Tensor) -> str:
    """Name of the last module to finish whose output is a stack of maps larger than one pixel."""
    finished: list[str] = []

    def hook_of(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.dim() == 4 and output.shape[2] * output.shape[3] > 1:
                finished.append(name)

        return hook

    handles = [part.register_forward_hook(hook_of(name)) for name, part in module.named_modules() if name]
    try:
        module(images)
    finally:
        for handle in handles:
            handle.remove()
    if not finished:
        raise ValueError("The extractor has no module with a feature map (n, channels, h, w), as Grad-CAM needs; "
                         "choose a convolutional one.")  # fmt: skip
    return finished[-1]
