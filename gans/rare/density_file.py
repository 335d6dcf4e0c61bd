"""A fitted density as one safetensors file: arrays and JSON, never a pickle; loaded strictly."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from genmend.gans.rare.density import FeatureDensity, GaussianMixtureDensity
from genmend.gans.rare.flow import FlowDensity
from genmend.gans.rare.whitening import Whitening
from genmend.storage.container import load, save

__all__ = ["DensityFileError", "load_density", "save_density"]

_KIND = "genmend.density"
_KINDS: dict[str, type[FeatureDensity]] = {"gmm": GaussianMixtureDensity, "flow": FlowDensity}
_MIXTURE = ("weights", "means", "precisions_cholesky")
_FITTED = {"gmm": (), "flow": ("n_epochs", "held_out_curve")}


class DensityFileError(ValueError):
    """The file is no density of ours, or a damaged one."""


def save_density(path: str | os.PathLike[str], density: FeatureDensity) -> None:
    """Write a fitted density; atomically, so that a reader sees the old file or the whole new one."""
    kind = next(name for name, of_kind in _KINDS.items() if isinstance(density, of_kind))
    tensors = {"whitening/mean": density.whitening_.mean, "whitening/projection": density.whitening_.projection}
    if isinstance(density, GaussianMixtureDensity):
        tensors |= {f"mixture/{name}": getattr(density, f"{name}_") for name in _MIXTURE}
    elif isinstance(density, FlowDensity):
        tensors |= {f"flow/{name}": values.cpu() for name, values in density.flow_.state_dict().items()}
    facts = {
        "kind": kind,
        "settings": density.get_params(),
        "explained": density.whitening_.explained,
        "held_out_log_prob": density.held_out_log_prob_,
        "fitted": {name: getattr(density, f"{name}_") for name in _FITTED[kind]},
    }
    save(path, _KIND, tensors, facts)


def load_density(path: str | os.PathLike[str]) -> FeatureDensity:
    """Read a density back: every tensor has to be there in its shape, and no other (the paper's code is not so strict).

    Raises
    ------
    DensityFileError
        If the file is not a whole density file of this version.
    FileNotFoundError
        If there is none.
    """
    return load(path, _KIND, _restored, framework="torch", command="rare", error=DensityFileError)


def _restored(tensors: dict[str, Tensor], facts: dict[str, Any]) -> FeatureDensity:
    settings = dict(facts["settings"])
    density = _KINDS[facts["kind"]](**settings)
    parts: dict[str, dict[str, Tensor]] = {"whitening": {}, "mixture": {}, "flow": {}}
    for name, values in tensors.items():
        group, _, rest = name.partition("/")
        parts[group][rest] = values
        if not torch.isfinite(values.double()).all():
            raise ValueError(f"{name} holds NaN or infinite values")
    whitening = parts["whitening"]
    _check_shape("whitening/projection", whitening["projection"], (len(whitening["mean"]), None))
    density.whitening_ = Whitening(whitening["mean"], whitening["projection"], float(facts["explained"]))
    density.held_out_log_prob_ = float(facts["held_out_log_prob"])
    n_dims = density.whitening_.n_dims
    if isinstance(density, GaussianMixtureDensity):
        if set(parts["mixture"]) != set(_MIXTURE):
            raise ValueError(f"it holds {sorted(parts['mixture'])} and {sorted(_MIXTURE)} are needed")
        n_components = len(parts["mixture"]["weights"])
        _check_shape("mixture/means", parts["mixture"]["means"], (n_components, n_dims))
        _check_shape("mixture/precisions", parts["mixture"]["precisions_cholesky"], (n_components, n_dims, n_dims))
        for name, values in parts["mixture"].items():
            setattr(density, f"{name}_", values)
    elif isinstance(density, FlowDensity):
        density.hidden = tuple(density.hidden)
        flow = density.new_flow(n_dims)
        flow.load_state_dict(parts["flow"], strict=True)
        density.flow_ = flow.eval().requires_grad_(False)
        density.n_epochs_ = int(facts["fitted"]["n_epochs"])
        density.held_out_curve_ = [float(value) for value in facts["fitted"]["held_out_curve"]]
    return density


def _check_shape(name: str, values: Tensor, wanted: tuple[int | None, ...]) -> None:
    found = tuple(values.shape)
    if len(found) != len(wanted) or any(w is not None and w != f for w, f in zip(wanted, found, strict=True)):
        raise ValueError(f"{name} has shape {found} and {wanted} is needed")
