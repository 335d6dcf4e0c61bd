"""Decision regions as one safetensors file: the rules' neurons, states and thresholds, and how they are joined."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from genmend.concepts.regions.region import JoinedRegion, Region
from genmend.storage.container import load, save, whole_number
from genmend.storage.hub.kinds import Description

__all__ = ["AnyRegion", "RegionFileError", "describe_region", "load_region", "save_region"]

AnyRegion: TypeAlias = Region | JoinedRegion

_KIND = "genmend.region"
_DEEPEST = 50
_JOINED: tuple[Literal["and", "or", "not"], ...] = ("and", "or", "not")


class RegionFileError(ValueError):
    """The file is no decision region that can be loaded; the message has its path and what is wrong."""


def save_region(path: str | os.PathLike[str], region: AnyRegion) -> None:
    """Write a region, or joined ones, to one file, whole or not at all.

    Raises
    ------
    ValueError
        If regions are joined more than 50 deep.
    OSError
        If the file cannot be written; an old one is left as it was.
    """
    arrays: dict[str, np.ndarray] = {}
    rule = _stored(region, arrays)
    save(path, _KIND, arrays, {"rule": rule, "layers": sorted({part.layer for part in _parts(region)})})


def load_region(path: str | os.PathLike[str]) -> AnyRegion:
    """Read a region; it holds the same samples as the saved one.

    Raises
    ------
    RegionFileError
        If the file is damaged, of another kind, of a newer version, or holds anything that is not expected.
    OSError
        If there is no such file, or it cannot be read.
    """

    def build(arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> AnyRegion:
        if set(facts) != {"rule", "layers"}:
            raise ValueError(f"it says {sorted(facts)}, not its rule and its layers")
        return _restored(facts["rule"], arrays)

    return load(path, _KIND, build, error=RegionFileError)


def describe_region(facts: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> Description:
    """Say what a region's file holds, of its facts and the shapes of its arrays alone."""
    n_neurons = [shape[0] for name, shape in sorted(shapes.items()) if name.startswith("neurons.")]
    rule = facts["rule"]
    does = {
        "layer": ", ".join(facts["layers"]),
        "rules": len(n_neurons),
        "neurons of each rule": ", ".join(map(str, n_neurons)),
        "holds a sample where so many are as the rule says": rule.get("at_least"),
        "joined by": next((how for how in _JOINED if how in rule), None),
    }
    return Description(
        title=f"Decision region of layer {does['layer']}",
        what="The samples in which a few neurons of a layer are on or off as a rule says: what the network takes "
        "for alike.",
        does={name: value for name, value in does.items() if value is not None},
        use="from genmend.concepts import Region, configurations\n\n"
        'region = Region.from_pretrained("{source}")\n'
        f"inside = region.contains(configurations(model, {facts['layers'][0]!r}, inputs))",
        not_told=[
            "Which model the layer is of: its neurons mean nothing in other weights.",
            "How pure it is on samples that it was not made of.",
        ],
    )


def _parts(region: AnyRegion) -> Iterator[Region]:
    if isinstance(region, Region):
        yield region
    else:
        for part in region.parts:
            yield from _parts(part)


def _stored(region: AnyRegion, arrays: dict[str, np.ndarray], depth: int = 0) -> dict[str, Any]:
    if depth > _DEEPEST:
        raise ValueError(f"The regions are joined more than {_DEEPEST} deep; join fewer.")
    if isinstance(region, JoinedRegion):
        return {region.how: [_stored(part, arrays, depth + 1) for part in region.parts]}
    number = len(arrays) // 3
    arrays[f"neurons.{number}"] = np.array(region.neurons, dtype=np.int64)
    arrays[f"states.{number}"] = np.array(region.states, dtype=np.uint8)
    arrays[f"thresholds.{number}"] = np.array(region.thresholds, dtype=np.float64)
    return {"layer": region.layer, "at_least": region.at_least, "number": number}


def _restored(rule: Any, arrays: Mapping[str, np.ndarray], depth: int = 0) -> AnyRegion:
    if not isinstance(rule, dict) or depth > _DEEPEST:
        raise ValueError("its rule is no rule, or one that is joined too deep")
    for how in _JOINED:
        if set(rule) == {how}:
            parts = tuple(_restored(part, arrays, depth + 1) for part in rule[how])
            if not parts or (how == "not" and len(parts) != 1):
                raise ValueError(f"{len(parts)} regions are joined by {how!r}")
            return JoinedRegion(how, parts)
    if set(rule) != {"layer", "at_least", "number"} or not isinstance(rule["layer"], str):
        raise ValueError(f"a rule says {sorted(rule)}, not its layer, at_least and number")
    number = whole_number(rule["number"], "number", least=0)
    neurons, states, limits = (arrays[f"{name}.{number}"] for name in ("neurons", "states", "thresholds"))
    if neurons.dtype != np.int64 or neurons.ndim != 1 or (neurons < 0).any() or not np.isfinite(limits).all():
        raise ValueError("its neurons are no numbers of neurons, or its thresholds are not finite")
    return Region(
        rule["layer"],
        tuple(map(int, neurons)),
        tuple(map(bool, states)),
        whole_number(rule["at_least"], "at_least"),
        tuple(map(float, limits)),
    )
