"""The correction file: safetensors for the arrays, JSON in its metadata for the rest, never a pickle."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from torch import Tensor

from genmend.activations.contract import Edit, edit_class, edit_name, field_names
from genmend.activations.correction import Correction, Gate, StopRule
from genmend.activations.latent_descent import LatentDescent
from genmend.storage.container import load, save
from genmend.storage.digests import sha256_of_array

__all__ = ["CorrectionFileError", "load_correction", "save_correction"]

_KIND = "genmend.correction"
_TENSOR = "$tensor"
_DESCENT = "descent."  # with the layer: its weights
_NORMAL = {"features": "normal_features", "radii": "normal_radii"}  # fields of the stop rule, names in the file


class CorrectionFileError(ValueError):
    """The file is not a correction that can be loaded; the message has its path and what is wrong."""


def save_correction(path: str | os.PathLike[str], correction: Correction) -> None:
    """Write a correction to one file, whole or not at all; arrays that are equal are written once.

    Raises
    ------
    ValueError
        If an edit's class is not registered, so that the file could not be read again.
    OSError
        If the file cannot be written; an old one is left as it was.
    """
    tensors: dict[str, Tensor] = {}
    names: dict[tuple[Any, ...], str] = {}

    def stored(name: str, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return list(value) if isinstance(value, tuple) else value
        # Every rung of a ladder has the same ceilings: gigabytes of them for a large model.
        first = names.setdefault((value.dtype, value.shape, sha256_of_array(value)), name)
        if first == name:
            tensors[name] = value
        return {_TENSOR: first}

    content = {
        "ladder": [
            [
                {"type": edit_name(edit)}
                | {name: stored(f"ladder.{r}.{e}.{name}", getattr(edit, name)) for name in field_names(type(edit))}
                for e, edit in enumerate(rung)
            ]
            for r, rung in enumerate(correction.ladder)
        ],
        "gate": correction.gate
        and {name: stored(f"gate.{name}", value) for name, value in vars(correction.gate).items()},
        "tensors": {name: stored(f"tensors.{name}", value) for name, value in _arrays(correction).items()},
        "info": correction.facts,
        "layout": correction.layout,
        "layout_digest": correction.layout_digest,
        "weights_digests": correction.weights_digests,
    }
    save(path, _KIND, tensors, content)


def load_correction(path: str | os.PathLike[str]) -> Correction:
    """Read a correction; every value is checked and no code from the file runs.

    Raises
    ------
    CorrectionFileError
        If the file is damaged, of another kind, of a newer version, or holds anything that is not expected.
    OSError
        If there is no such file, or it cannot be read.
    """
    return load(path, _KIND, _correction, framework="torch", command="correct", error=CorrectionFileError)


def _correction(tensors: dict[str, Tensor], content: dict[str, Any]) -> Correction:
    _expect(
        content,
        {"ladder", "gate", "tensors", "info", "layout", "layout_digest", "weights_digests"},
        "the file",
    )

    unused = set(tensors)

    def restored(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        _expect(value, {_TENSOR}, "a reference to an array")
        if value[_TENSOR] not in tensors:
            raise ValueError(f"array {value[_TENSOR]!r} is missing")
        unused.discard(value[_TENSOR])
        return tensors[value[_TENSOR]]

    gate = content["gate"]
    if gate is not None:
        _expect(gate, {"extractor", "weights", "bias", "threshold"}, "the gate")
        gate = Gate(**{name: restored(value) for name, value in gate.items()})
    _check_digests(content["weights_digests"])
    named = {name: restored(value) for name, value in _mapping(content["tensors"], "tensors").items()}
    info = dict(_mapping(content["info"], "info"))
    correction = Correction(
        ladder=tuple(tuple(_edit(values, restored) for values in rung) for rung in content["ladder"]),
        layout=_layout(content["layout"]),
        gate=gate,
        stop_rule=_stop_rule(info.pop("stop_rule", None), named),
        generator_settings=info.pop("generator_settings", None),
        sigma_window=_sigma_window(info.pop("sigma_window", None)),
        descent=_descent(info.pop("descent", None), named),
        tensors=named,
        info=info,
        weights_digests=content["weights_digests"],
    )
    if unused:
        raise ValueError(f"it has arrays that nothing refers to: {sorted(unused)}")
    if correction.layout_digest != content["layout_digest"]:
        raise ValueError("its layout does not have the digest that stands beside it")
    return correction


def _edit(values: Any, restored: Callable[[Any], Any]) -> Edit:
    cls = edit_class(str(_mapping(values, "an edit").get("type")))
    _expect(values, {"type", *field_names(cls)}, f"edit {values['type']!r}")
    return cls(**{name: restored(value) for name, value in values.items() if name != "type"})


def _arrays(correction: Correction) -> dict[str, Tensor]:
    """The named arrays of the file: its own, and before them those of the stop rule and of the descent."""
    rule = correction.stop_rule
    normal = {} if rule is None else {_NORMAL[name]: getattr(rule, name) for name in _NORMAL}
    descent = correction.descent
    if descent is not None:
        normal |= {f"{_DESCENT}{layer}": one for layer, one in zip(descent.layers, descent.weights, strict=True)}
    taken = sorted(normal.keys() & correction.tensors.keys())
    if taken:
        raise ValueError(
            f"tensors holds {taken}, as arrays of the stop rule or the descent are called in a file; name them "
            "otherwise."
        )
    return normal | correction.tensors


def _stop_rule(limits: Any, named: dict[str, Tensor]) -> StopRule | None:
    """The stop rule, whose arrays are taken out of `named`."""
    if limits is None:
        return None
    _expect(limits, {field.name for field in fields(StopRule)} - _NORMAL.keys(), "the stop rule")
    missing = sorted(set(_NORMAL.values()) - named.keys())
    if missing:
        raise ValueError(f"it has a stop rule without the arrays {missing}")
    return StopRule(**limits, features=named.pop(_NORMAL["features"]), radii=named.pop(_NORMAL["radii"]))


def _descent(facts: Any, named: dict[str, Tensor]) -> LatentDescent | None:
    """How latents are moved; the arrays are taken out of `named`."""
    if facts is None:
        return None
    _expect(facts, {field.name for field in fields(LatentDescent)} - {"weights"}, "the descent")
    layers = facts["layers"]
    missing = [layer for layer in layers if f"{_DESCENT}{layer}" not in named]
    if missing:
        raise ValueError(f"it has a descent without the arrays of {missing}")
    return LatentDescent(**facts, weights=tuple(named.pop(f"{_DESCENT}{layer}") for layer in layers))


def _sigma_window(ends: Any) -> tuple[float, float] | None:
    if ends is None:
        return None
    if not isinstance(ends, list) or len(ends) != 2:
        raise ValueError(f"its sigma_window is {ends!r}, but a pair of noise levels is needed")
    return ends[0], float("inf") if ends[1] is None else ends[1]


def _layout(layout: Any) -> dict[str, tuple[int, ...]]:
    for name, shape in _mapping(layout, "layout").items():
        if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"layout gives {name!r} the shape {shape!r}, but a list of sizes is needed")
    return layout


def _check_digests(digests: Any) -> None:
    if digests is not None and not all(
        isinstance(value, str) for value in _mapping(digests, "weights_digests").values()
    ):
        raise ValueError("weights_digests must map dtypes to hexadecimal strings")


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is a {type(value).__name__}, but a JSON object is needed")
    return value


def _expect(value: Any, keys: set[str], what: str) -> None:
    given = _mapping(value, what).keys()
    if given != keys:
        raise ValueError(f"{what} lacks {sorted(keys - given)} and has unknown {sorted(given - keys)}")
