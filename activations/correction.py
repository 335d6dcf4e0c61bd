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
    has_adapters,
    has_fused_adapters,
    layout_difference,
    layout_digest,
    model_layout,
    same_but_for_dtype,
    weights_digest,
    weights_digests,
)
from genmend.activations.latent_descent import LatentDescent
from genmend.storage.hub.shareable import Shareable

__all__ = ["Correction", "CorrectionMismatchError", "Gate", "StopRule"]

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
class StopRule:
    """Which corrected samples are normal, by gate score and place among normal samples, and when a rung is enough.

    Attributes
    ----------
    enough_gate_score : float
        Once a sample's gate score is at most this, no stronger rung is tried.
    normal_gate_score : float
        The gate score of a normal sample is at most this.
    normal_manifold_score : float
        The distance of a normal sample to the nearest of `features`, in units of that one's radius, is at most this.
    k : int
        The radii reach to the k-th nearest neighbour; at least 1.
    features : Tensor
        ``(m, d)`` floating: features of normal samples, by the gate's extractor.
    radii : Tensor
        ``(m,)`` floating, at least 0, in feature units.
    """

    enough_gate_score: float
    normal_gate_score: float
    normal_manifold_score: float
    k: int
    features: Tensor
    radii: Tensor

    def __post_init__(self) -> None:
        for name in ("enough_gate_score", "normal_gate_score", "normal_manifold_score"):
            object.__setattr__(self, name, float(getattr(self, name)))
            if not np.isfinite(getattr(self, name)):
                raise ValueError(f"StopRule got {name} {getattr(self, name)}; only finite limits are accepted; refit.")
        if isinstance(self.k, bool) or not isinstance(self.k, int) or self.k < 1:
            raise ValueError(f"StopRule got k {self.k!r}; a whole number of at least 1 is needed; refit.")
        for name in ("features", "radii"):
            values = torch.as_tensor(getattr(self, name)).detach()
            object.__setattr__(self, name, values)
            if not values.is_floating_point() or not values.isfinite().all():
                raise ValueError(f"StopRule got {name} that are not finite floating numbers; refit.")
        if self.features.dim() != 2 or self.radii.shape != self.features.shape[:1] or (self.radii < 0).any():
            raise ValueError(
                f"StopRule got features of shape {tuple(self.features.shape)} and radii of shape "
                f"{tuple(self.radii.shape)}; (m, d) and (m,), at least 0, are needed; refit."
            )

    def is_normal(self, gate_score: np.ndarray, manifold_score: np.ndarray) -> np.ndarray:
        """Whether samples are normal, ``(n,)`` bool, by their two scores, ``(n,)`` each, where lower is more normal."""
        normal: np.ndarray = (gate_score <= self.normal_gate_score) & (manifold_score <= self.normal_manifold_score)
        return normal

    def __eq__(self, other: object) -> bool:
        return same_values(vars(self), vars(other)) if isinstance(other, StopRule) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.enough_gate_score, self.normal_gate_score, self.normal_manifold_score, self.k))


@dataclass(frozen=True, eq=False)
class Correction(Shareable):
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
        Further named arrays; nothing here reads them.
    info : dict
        Anything JSON holds, to be told: versions, seeds, settings, measured figures. Nothing here reads it.
    weights_digests : dict or None
        Dtype -> SHA-256 of the model's weights in it; None in a preset, which fits every model of the layout.
    stop_rule : StopRule or None
        Which rung is enough; it needs a gate.
    generator_settings : dict or None
        Settings of the generator that it was made at, such as truncation; None where nothing is known.
    sigma_window : (float, float) or None
        Lowest and highest noise level, of a diffusion model's steps, at which it acts; None: all.
    descent : LatentDescent or None
        How latents are moved before a rung is tried; it needs a gate and a stop rule.
    """

    ladder: tuple[tuple[Edit, ...], ...]
    layout: dict[str, tuple[int, ...]]
    gate: Gate | None = None
    tensors: dict[str, Tensor] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    weights_digests: dict[str, str] | None = None
    stop_rule: StopRule | None = None
    generator_settings: dict[str, Any] | None = None
    sigma_window: tuple[float, float] | None = None
    descent: LatentDescent | None = None

    _kinds = ("correction", "amplification")

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
        self._check_facts()

    def _check_facts(self) -> None:
        """The facts that have fields of their own, and stand in the file's ``info``."""
        taken = sorted({"stop_rule", "generator_settings", "sigma_window", "descent"} & self.info.keys())
        if taken:
            raise ValueError(f"info holds {taken}, which are fields of a correction; write {taken[0]}=... instead.")
        if self.stop_rule is not None and not isinstance(self.stop_rule, StopRule):
            raise TypeError(f"stop_rule is a {type(self.stop_rule).__name__}, but a StopRule is needed; build one.")
        if self.descent is not None and not isinstance(self.descent, LatentDescent):
            raise TypeError(f"descent is a {type(self.descent).__name__}, but a LatentDescent is needed; build one.")
        if self.generator_settings is not None:
            if not isinstance(self.generator_settings, dict):
                raise TypeError(f"generator_settings is {self.generator_settings!r}; give a dict, or None.")
            settings = json.loads(json.dumps(self.generator_settings, allow_nan=False))
            object.__setattr__(self, "generator_settings", settings)
        if self.sigma_window is not None:
            low, high = map(float, self.sigma_window)
            if not 0 <= low <= high:  # also NaN
                raise ValueError(f"sigma_window is {self.sigma_window}; (low, high) with 0 <= low <= high is needed.")
            object.__setattr__(self, "sigma_window", (low, high))

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
        stop_rule: StopRule | None = None,
        generator_settings: Mapping[str, Any] | None = None,
        sigma_window: tuple[float, float] | None = None,
        descent: LatentDescent | None = None,
    ) -> Correction:
        """Build a correction for this model.

        Parameters
        ----------
        model
            The model it was made on; its layout and the digests of its weights are taken.
        ladder, gate, tensors, info, stop_rule, generator_settings, sigma_window, descent
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
            stop_rule,
            None if generator_settings is None else dict(generator_settings),
            sigma_window,
            descent,
        )

    @property
    def facts(self) -> dict[str, Any]:
        """All that can be told of it as JSON: `info`, and those of its fields that say how it is used."""
        facts = dict(self.info)
        if self.generator_settings is not None:
            facts["generator_settings"] = self.generator_settings
        if self.stop_rule is not None:
            facts["stop_rule"] = {n: v for n, v in vars(self.stop_rule).items() if not isinstance(v, Tensor)}
        if self.descent is not None:
            facts["descent"] = self.descent.facts
        if self.sigma_window is not None:
            low, high = self.sigma_window
            facts["sigma_window"] = [low, None if np.isinf(high) else high]
        return facts

    @property
    def layout_digest(self) -> str:
        """SHA-256 of the sorted names and shapes."""
        return layout_digest(self.layout)

    def check(self, model: nn.Module, *, allow_other_weights: bool = False) -> None:
        """Raise unless the correction was made for this model; warn if the weights are the same in another dtype.

        Adapters (LoRA) are no part of the layout: with them it warns too, and weights they are fused into are not
        compared.

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
        if has_adapters(model):
            warnings.warn(
                "The model has adapters (LoRA) that the correction knows nothing of; its measured figures may differ.",
                stacklevel=3,
            )
        if self.weights_digests is None or allow_other_weights or has_fused_adapters(model):
            return
        digest = weights_digest(model)
        if digest == self.weights_digests.get(AS_STORED):
            return
        if not same_but_for_dtype(model, self.weights_digests):
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
