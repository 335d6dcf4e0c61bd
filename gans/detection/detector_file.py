"""A fitted detector as one safetensors file: arrays and JSON, never a pickle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from genmend.gans.detection.artifact_detector import ArtifactDetector
from genmend.gans.detection.rare_activation import RareActivation
from genmend.gans.detection.soft_logistic import LinearScore
from genmend.manifold import Manifold
from genmend.manifold.features import extractor_of_file
from genmend.storage.container import load, save

__all__ = ["DetectorFileError", "load_detector", "save_detector"]

_KIND = "genmend.detector"
_SETTINGS = ("rate", "k", "n_statistics", "n_reference", "flagged_share", "seed")


class DetectorFileError(ValueError):
    """The file is no detector of ours, or a damaged one."""


def save_detector(path: str | os.PathLike[str], detector: ArtifactDetector) -> None:
    """Write what scoring needs; atomically, so that a reader sees the old file or the whole new one.

    Raises
    ------
    ValueError
        If the detector's extractor is a callable without a name: then nobody could load it.
    """
    if not isinstance(detector.extractor, str):
        raise ValueError("Only a detector whose extractor is given by name can be saved; use module:callable.")
    rare = detector.rare_
    tensors = {f"rates/{layer}": values for layer, values in rare.rates_.items()}
    for name in ("own_features", "own_counts", "own_normal"):
        tensors[name] = torch.from_numpy(np.ascontiguousarray(getattr(detector, f"{name}_")))
    tensors["radii"] = torch.from_numpy(detector.manifold_.radii_)
    facts: dict[str, Any] = {
        "extractor": detector.extractor,
        "settings": {name: getattr(detector, name) for name in _SETTINGS},
        "layers": list(rare.rates_),
        "n_samples": rare.n_samples_,
        "count_mean": rare.count_mean_,
        "count_std": rare.count_std_,
        "scale": detector.scale_,
        "threshold": detector.threshold_,
        "supervised": None,
    }
    if detector.supervised_ is not None:
        tensors["supervised"] = torch.from_numpy(detector.supervised_.weights)
        facts["supervised"] = [detector.supervised_.bias, detector.supervised_.regularisation]
    save(path, _KIND, tensors, facts)


def load_detector(path: str | os.PathLike[str]) -> ArtifactDetector:
    """Read a detector back; it scores as the saved one does, bit for bit.

    Raises
    ------
    DetectorFileError
        If the file is not a whole detector file of this version.
    FileNotFoundError
        If there is none.
    """
    return load(path, _KIND, _restored, framework="torch", command="detect", error=DetectorFileError)


def _restored(tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> ArtifactDetector:
    if not isinstance(facts["extractor"], str):
        raise TypeError("its extractor is not a name")
    extractor_of_file(facts["extractor"])
    detector = ArtifactDetector(facts["extractor"], **facts["settings"])
    rare = RareActivation(detector.rate)
    rare.rates_ = {layer: tensors[f"rates/{layer}"] for layer in facts["layers"]}
    rare.n_samples_ = facts["n_samples"]
    rare.count_mean_ = {layer: float(facts["count_mean"][layer]) for layer in facts["layers"]}
    rare.count_std_ = {layer: float(facts["count_std"][layer]) for layer in facts["layers"]}
    detector.rare_ = rare
    for name in ("own_features", "own_counts", "own_normal"):
        setattr(detector, f"{name}_", tensors[name].numpy())
    reference = detector.own_features_[detector.own_normal_]
    detector.manifold_ = Manifold.from_radii(reference, tensors["radii"].numpy(), k=detector.k)
    detector.scale_ = {name: (float(mean), float(std)) for name, (mean, std) in facts["scale"].items()}
    detector.threshold_ = float(facts["threshold"])
    detector.supervised_ = None
    if facts["supervised"] is not None:
        bias, regularisation = facts["supervised"]
        detector.supervised_ = LinearScore(tensors["supervised"].numpy(), bias, regularisation)
    return detector
