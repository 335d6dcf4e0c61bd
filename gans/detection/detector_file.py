"""A fitted detector as one safetensors file: arrays and JSON, never a pickle.

The file says what the detector looks at: ``needs`` is ``["images"]`` where it was trained on images alone, and has
``"neurons"`` besides where it counts neurons of a generator.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from genmend.gans.detection.artifact_detector import ArtifactDetector, LabelledFeatures
from genmend.gans.detection.image_detector import ImageDetector
from genmend.gans.detection.rare_activation import RareActivation
from genmend.gans.detection.soft_logistic import LinearScore
from genmend.gans.detection.tail import Tail
from genmend.gans.fitted_on import FittedOn
from genmend.manifold import Manifold
from genmend.manifold.features import extractor_of_file
from genmend.storage.container import finite_number, load, save, whole_number
from genmend.storage.digests import settings_key, sha256_of_array
from genmend.storage.hub.kinds import Description

__all__ = [
    "AnyDetector",
    "DetectorFileError",
    "describe_detector",
    "detector_digest",
    "load_detector",
    "save_detector",
]

AnyDetector: TypeAlias = ArtifactDetector | ImageDetector

_KIND = "genmend.detector"
_SETTINGS = ("rate", "k", "n_statistics", "n_reference", "flagged_share", "seed")


class DetectorFileError(ValueError):
    """The file is no detector of ours, or a damaged one."""


def save_detector(path: str | os.PathLike[str], detector: AnyDetector) -> None:
    """Write what scoring needs; atomically, so that a reader sees the old file or the whole new one.

    Raises
    ------
    ValueError
        If the detector's extractor is a callable without a name: then nobody could load it.
    """
    tensors, facts = _contents(detector)
    save(path, _KIND, tensors, facts)


def load_detector(path: str | os.PathLike[str]) -> AnyDetector:
    """Read a detector back; it scores as the saved one does, bit for bit.

    Returns
    -------
    ArtifactDetector, or ImageDetector
        The second where it was trained on images alone.

    Raises
    ------
    DetectorFileError
        If the file is not a whole detector file of this version.
    FileNotFoundError
        If there is none.
    """
    return load(path, _KIND, _restored, framework="torch", command="detect", error=DetectorFileError)


def detector_digest(detector: AnyDetector) -> str:
    """Name exactly this fitted detector."""
    tensors, facts = _contents(detector)
    return settings_key({"tensors": {name: sha256_of_array(value) for name, value in tensors.items()}, "facts": facts})


def _contents(detector: AnyDetector) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays and the facts of a file."""
    if not isinstance(detector.extractor, str):
        raise ValueError("Only a detector whose extractor is given by name can be saved; use module:callable.")
    tensors: dict[str, Any] = {"radii": torch.from_numpy(detector.manifold_.radii_)}
    facts: dict[str, Any] = {
        "extractor": detector.extractor,
        "threshold": detector.threshold_,
        "supervised": None,
        "training": detector.training_,
    }
    if isinstance(detector, ImageDetector):
        size = None if detector.image_size is None else list(detector.image_size)
        facts |= {"needs": ["images"], "k": detector.manifold_.k, "image_size": size}
    else:
        _add_generator_side(detector, tensors, facts)
    if detector.supervised_ is not None:
        tensors["supervised"] = torch.from_numpy(detector.supervised_.weights)
        facts["supervised"] = [detector.supervised_.bias, detector.supervised_.regularisation]
    if detector.labelled_ is not None:
        tensors["labelled_features"] = torch.from_numpy(np.ascontiguousarray(detector.labelled_.features))
        tensors["labelled_shares"] = torch.from_numpy(detector.labelled_.shares)
    return tensors, facts


def _add_generator_side(detector: ArtifactDetector, tensors: dict[str, Any], facts: dict[str, Any]) -> None:
    rare, fitted_on = detector.rare_, detector.fitted_on_
    facts |= {} if fitted_on is None else {"fitted_on": fitted_on.to_dict()}
    tensors |= {f"rates/{layer}": values for layer, values in rare.rates_.items()}
    for name in ("own_features", "own_counts", "own_normal"):
        tensors[name] = torch.from_numpy(np.ascontiguousarray(getattr(detector, f"{name}_")))
    unlike = detector.unlike_normal_
    if unlike is not None:
        tensors["normal_features"] = torch.from_numpy(np.ascontiguousarray(detector.manifold_.reference_))
        tensors["unlike_normal"] = torch.from_numpy(unlike.weights)
    facts |= {
        "needs": ["images", "neurons"],
        "settings": {name: getattr(detector, name) for name in _SETTINGS},
        "layers": list(rare.rates_),
        "n_samples": rare.n_samples_,
        "count_mean": rare.count_mean_,
        "count_std": rare.count_std_,
        "scale": detector.scale_,
        "rare_weight": detector.rare_weight_,
        "unlike_normal": None if unlike is None else [unlike.bias, unlike.regularisation, detector.beyond_normal_],
        "rate": rare.rate,
    }
    if detector.learned_ is not None and detector.own_scores_ is not None and detector.tail_ is not None:
        tensors["learned"] = torch.from_numpy(detector.learned_.weights)
        tensors["own_scores"] = torch.from_numpy(detector.own_scores_)
        facts["learned"] = {
            "bias": detector.learned_.bias,
            "regularisation": detector.learned_.regularisation,
            "auroc": detector.learned_auroc_,
            "tail": detector.tail_.to_dict(),
        }


def _restored(tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> AnyDetector:
    if not isinstance(facts["extractor"], str):
        raise TypeError("its extractor is not a name")
    extractor_of_file(facts["extractor"])
    _check_tensors(tensors)
    if facts.get("needs", ["images", "neurons"]) == ["images"]:
        return _image_detector(tensors, facts)
    _check_settings(facts["settings"])
    detector = ArtifactDetector(facts["extractor"], **facts["settings"])
    detector.fitted_on_ = FittedOn.from_dict(facts["fitted_on"]) if "fitted_on" in facts else None
    rare = RareActivation(finite_number(facts.get("rate", detector.rate), "the rate"))
    rare.rates_ = {layer: tensors[f"rates/{layer}"] for layer in facts["layers"]}
    rare.n_samples_ = whole_number(facts["n_samples"], "n_samples")
    for name in ("count_mean", "count_std"):
        numbers = {layer: finite_number(facts[name][layer], f"{name} of {layer}") for layer in facts["layers"]}
        setattr(rare, f"{name}_", numbers)
    detector.rare_ = rare
    for name in ("own_features", "own_counts", "own_normal"):
        setattr(detector, f"{name}_", tensors[name].numpy())
    detector.normal_given_ = "normal_features" in tensors
    own = detector.own_features_[detector.own_normal_]
    reference = tensors["normal_features"].numpy() if detector.normal_given_ else own
    detector.manifold_ = Manifold.from_radii(reference, tensors["radii"].numpy(), k=detector.k)
    detector.unlike_normal_, detector.beyond_normal_ = _unlike_normal(tensors, facts)
    detector.scale_ = {
        name: (finite_number(mean, f"the mean of {name}"), finite_number(std, f"the deviation of {name}"))
        for name, (mean, std) in facts["scale"].items()
    }
    detector.rare_weight_ = finite_number(facts.get("rare_weight", 1.0), "rare_weight")
    detector.threshold_ = finite_number(facts["threshold"], "threshold")
    _add_learned(detector, tensors, facts.get("learned"))
    detector.supervised_ = _supervised(tensors, facts) if facts["supervised"] is not None else None
    detector.labelled_ = _labelled(tensors) if "labelled_features" in tensors else None
    detector.training_ = facts.get("training")
    return detector


def _check_settings(settings: Mapping[str, Any]) -> None:
    for name in ("k", "n_statistics", "n_reference", "seed"):
        if name in settings:
            whole_number(settings[name], name, least=0 if name == "seed" else 1)
    for name in ("rate", "flagged_share"):
        if settings.get(name) is not None and not 0 <= finite_number(settings[name], name) <= 1:
            raise ValueError(f"its {name} is {settings[name]!r}, and a share of 0 to 1 is accepted")


def _check_tensors(tensors: Mapping[str, torch.Tensor]) -> None:
    for name, values in tensors.items():
        if not torch.isfinite(values).all():
            raise ValueError(f"its {name} holds NaN or infinite values")


def _image_detector(tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> ImageDetector:
    labelled, size = _labelled(tensors), facts["image_size"]
    normal = labelled.features[labelled.shares == 0]
    return ImageDetector(
        facts["extractor"],
        _supervised(tensors, facts),
        finite_number(facts["threshold"], "threshold"),
        Manifold.from_radii(normal, tensors["radii"].numpy(), k=whole_number(facts["k"], "k")),
        labelled,
        None if size is None else (whole_number(size[0], "image_size"), whole_number(size[1], "image_size")),
        facts["training"],
    )


def _unlike_normal(
    tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]
) -> tuple[LinearScore | None, float | None]:
    if facts.get("unlike_normal") is None:
        return None, None
    bias, regularisation, beyond = facts["unlike_normal"]
    return LinearScore(tensors["unlike_normal"].numpy(), bias, regularisation), float(beyond)


def _add_learned(
    detector: ArtifactDetector, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any] | None
) -> None:
    """The learned score; a file from before it has none, and decides by the mean of the other two as it did."""
    detector.learned_ = detector.own_scores_ = detector.learned_auroc_ = detector.tail_ = None
    if facts is None:
        return
    weights, own = tensors["learned"].numpy(), tensors["own_scores"].numpy()
    if weights.shape != detector.own_features_.shape[1:] or own.shape != detector.own_features_.shape[:1]:
        raise ValueError("its learned score does not fit its features")
    if not (np.isfinite(weights).all() and np.isfinite(own).all()):
        raise ValueError("its learned score holds NaN or infinity")
    bias, regularisation = finite_number(facts["bias"], "the bias"), finite_number(facts["regularisation"], "C")
    detector.learned_ = LinearScore(weights, bias, regularisation)
    detector.own_scores_, detector.learned_auroc_ = own, finite_number(facts["auroc"], "the AUROC")
    detector.tail_ = Tail.of(facts["tail"])


def _supervised(tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> LinearScore:
    bias, regularisation = facts["supervised"]
    return LinearScore(
        tensors["supervised"].numpy(),
        finite_number(bias, "the bias"),
        finite_number(regularisation, "the regularisation"),
    )


def _labelled(tensors: Mapping[str, torch.Tensor]) -> LabelledFeatures:
    return LabelledFeatures(tensors["labelled_features"].numpy(), tensors["labelled_shares"].numpy())


def describe_detector(facts: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> Description:
    """Say what a detector's file holds, of its facts and the shapes of its arrays alone."""
    by_images = facts.get("needs") == ["images"]
    fitted_on = FittedOn.from_dict(facts["fitted_on"]) if "fitted_on" in facts else None
    training, learned, settings = facts.get("training") or {}, facts.get("learned"), facts.get("settings") or {}
    labelled = facts["supervised"] is not None
    does = {
        "looks at": "images" if by_images else f"images, and neurons of {', '.join(facts['layers'])}",
        "features": facts["extractor"],
        "learnt from": "labelled samples" if labelled else "a generator's own samples, without labels",
        "flags above": facts["threshold"],
        "own samples": None if by_images else shapes["own_features"][0],
        "size of the images": facts.get("image_size"),
        **{name: settings.get(name) for name in ("n_statistics", "k", "flagged_share", "seed")},
    }
    figures = {f"labels, cross-validated: {name.replace('_', ' ')}": value for name, value in training.items()}
    if learned and not labelled:
        figures["AUROC of what it learnt against what it suspected"] = learned["auroc"]
    name = "ImageDetector" if by_images else "ArtifactDetector"
    return Description(
        title="Detector of broken images" if by_images else "Detector of a generator's broken samples",
        what="A score of how broken a sample looks, and the threshold above which it is flagged.",
        model={}
        if fitted_on is None
        else {"model": fitted_on.name, "weights": f"SHA-256 {fitted_on.weights['as_stored']}"},
        does={name: value for name, value in does.items() if value is not None},
        figures=figures,
        judged_by=""
        if not figures
        else "The labels are those of whoever trained it."
        if labelled
        else "No label was seen: this figure says how well its suspicion can be learnt, not how often it is right.",
        use=f"from genmend.gans import {name}, detect\n\n"
        f'run = detect(generator, latents, detector={name}.from_pretrained("{{source}}"))\n'
        "print(run.detection.flagged)",
        not_told=["Which images it was trained on, and whether yours are of that kind."]
        if by_images
        else []
        if fitted_on is not None
        else [
            "Which weights its generator has: a generator is accepted where the layers have the same names and shapes."
        ],
    )
