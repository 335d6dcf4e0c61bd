"""A correction: edits from weak to strong, how to tell who needs them, and which model they were made for."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from genmend.activations.contract import Edit, same_values
from genmend.activations.digests import (
    AS_STORED,
    layout_difference,
    layout_digest,
    model_layout,
    weights_digest,
    weights_digests,
)

__all__ = ["Correction", "CorrectionMismatchError", "Gate"]

Features = TypeVar("Features", Tensor, np.ndarray)


class CorrectionMismatchError(ValueError):
    """The correction was made for another model; the message lists every difference."""


@dataclass(frozen=True, eq=False)
class Gate:
    """A linear score that says which samples a correction is meant for.

    Attributes
    ----------
    extractor : str
        Name of the feature extractor that `score` expects features of.
    weights : Tensor
        ``(d,)`` floating.
    bias : float
        Added to the score.
    threshold : float
        A sample whose score is above it needs the correction.
    """

    extractor: str
    weights: Tensor
    bias: float
    threshold: float

    def __post_init__(self) -> None:
        weights = torch.as_tensor(self.weights).detach()
        if not isinstance(self.extractor, str) or weights.dim() != 1 or not weights.is_floating_point():
            raise TypeError(
                f"Gate got extractor {self.extractor!r} and weights of shape {tuple(weights.shape)}, {weights.dtype}; "
                "accepted are a name and a flat floating tensor; flatten the weights of the probe."
            )
        object.__setattr__(self, "weights", weights)
        for name in ("bias", "threshold"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if not all(np.isfinite([self.bias, self.threshold])) or not weights.isfinite().all():
            raise ValueError(
                "Gate got NaN or infinity in weights, bias or threshold; only finite ones are accepted; refit."
            )

    def score(self, features: Features) -> Features:
        """Return ``features @ weights + bias``; higher means more in need of the correction.

        *Shape*: features ``(n, d)``, result ``(n,)``; numpy in, numpy out; torch in, torch out, on its device.
        """
        if features.ndim != 2 or features.shape[1] != len(self.weights):
            raise ValueError(
                f"Gate got features of shape {tuple(features.shape)}, but (n, {len(self.weights)}) is needed; "
                f"extract them with {self.extractor!r}."
            )
        if isinstance(features, Tensor):
            return features @ self.weights.to(features.device, features.dtype) + self.bias
        return features @ self.weights.cpu().numpy() + self.bias

    def __eq__(self, other: object) -> bool:
        return same_values(vars(self), vars(other)) if isinstance(other, Gate) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.extractor, self.bias, self.threshold))


@dataclass(frozen=True, eq=False)
class Correction:
    """Edit sets from weak to strong, made for one model; build it with `Correction.of`.

    Attributes
    ----------
    ladder : tuple of tuples of Edit
        Rung ``r`` is the edit set ``ladder[r]``; at least one rung.
    layout : dict
        Name -> shape of the model's ``state_dict()``.
    gate : Gate or None
        Which samples need it.
    tensors : dict
        Further named arrays, such as those of a stop rule.
    info : dict
        Anything JSON holds: versions, seeds, settings, measured figures.
    weights_digests : dict or None
        Dtype -> SHA-256 of the model's weights in it; None in a preset, which fits every model of the layout.
    """

    ladder: tuple[tuple[Edit, ...], ...]
    layout: dict[str, tuple[int, ...]]
    gate: Gate | None = None
    tensors: dict[str, Tensor] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    weights_digests: dict[str, str] | None = None

    def __post_init__(self) -> None:
        ladder = tuple(tuple(rung) for rung in self.ladder)
        if not ladder or not all(isinstance(edit, Edit) for rung in ladder for edit in rung):
            raise TypeError(f"ladder is {self.ladder!r}, but sequences of edits are needed; write [[edit, ...], ...].")
        if not isinstance(self.info, dict) or not isinstance(self.tensors, dict):
            raise TypeError("info and tensors must be dicts; give {} for none.")
        if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in self.tensors.items()):
            raise TypeError(
                "tensors must map names to tensors; convert arrays with torch.from_numpy, the rest is info."
            )
        object.__setattr__(self, "ladder", ladder)
        object.__setattr__(self, "layout", {str(name): tuple(map(int, shape)) for name, shape in self.layout.items()})
        # Through JSON once, so that a correction equals itself when it comes back from a file (tuples become lists).
        object.__setattr__(self, "info", json.loads(json.dumps(self.info, allow_nan=False)))

    @classmethod
    def of(
        cls,
        model: nn.Module,
        ladder: Sequence[Sequence[Edit]],
        *,
        gate: Gate | None = None,
        tensors: Mapping[str, Tensor] | None = None,
        info: Mapping[str, Any] | None = None,
        preset: bool = False,
    ) -> Correction:
        """Build a correction for this model.

        Parameters
        ----------
        model
            The model it was made on; its layout and the digests of its weights are taken.
        ladder, gate, tensors, info
            The attributes of the same names.
        preset
            Leave the digests of the weights out: the correction is for every model of this layout.
        """
        return cls(
            tuple(tuple(rung) for rung in ladder),
            model_layout(model),
            gate,
            dict(tensors or {}),
            dict(info or {}),
            None if preset else weights_digests(model),
        )

    @property
    def layout_digest(self) -> str:
        """SHA-256 of the sorted names and shapes."""
        return layout_digest(self.layout)

    def check(self, model: nn.Module, *, allow_other_weights: bool = False) -> None:
        """Raise unless the correction was made for this model; warn if the weights are the same in another dtype.

        Reads all weights. `attach` does so at every call; where many rungs are tried in turn, check once and use
        ``edited(model, *correction.ladder[r])``.

        Raises
        ------
        CorrectionMismatchError
            If the layout differs (every difference is listed), or the weights do and `allow_other_weights` is False.
        """
        difference = layout_difference(self.layout, model_layout(model))
        if difference:
            raise CorrectionMismatchError(
                f"The correction was made for a model of another layout, {len(difference)} differences:\n  "
                + "\n  ".join(difference)
                + "\nAttach it to the model it was made for."
            )
        if self.weights_digests is None or allow_other_weights:
            return
        digest = weights_digest(model)
        if digest == self.weights_digests.get(AS_STORED):
            return
        if digest not in self.weights_digests.values():
            raise CorrectionMismatchError(
                f"The correction was made for other weights: this model's digest {digest[:12]}... is none of the "
                f"{len(self.weights_digests)} recorded; load the right weights, or pass allow_other_weights=True."
            )
        warnings.warn(
            "The correction was made for the same weights in another dtype; its measured figures may differ slightly.",
            stacklevel=3,
        )

    def __eq__(self, other: object) -> bool:
        return same_values(vars(self), vars(other)) if isinstance(other, Correction) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.layout_digest)
