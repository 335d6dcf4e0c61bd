"""The kinds of files that can be shared, and the module that writes, reads and describes each.

The table is fixed, and a module is imported where a file of its kind is met: a file cannot choose what is imported.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from genmend.storage.container import ContainerError, read_facts

__all__ = ["KINDS", "Description", "Kind", "describe", "kind_of", "plain_word"]


@dataclass(frozen=True)
class Description:
    """What a file says of itself, for its card and for people; what it does not hold is left out.

    Attributes
    ----------
    title : str
    what : str
        A sentence or two on what it is.
    model : mapping
        What it was made for or from: names, digests, settings.
    does : mapping
        The method, what it edits or looks at, how strongly.
    figures : mapping
        What was measured of it.
    judged_by : str
        Who measured them, and with which control, or that there was none.
    use : str
        Lines of Python, or of a shell where `in_shell`, with ``{source}`` for the folder or the repository.
    preview : bool
        Whether ``genmend attach`` shows what it does.
    reproduce : str
        A line of a shell that makes it anew; empty where the file does not hold what that takes.
    not_told : tuple of str
        What a reader may want to know and the file does not say, a sentence each.
    """

    title: str
    what: str
    model: Mapping[str, Any] = field(default_factory=dict)
    does: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    judged_by: str = ""
    use: str = ""
    in_shell: bool = False
    preview: bool = False
    reproduce: str = ""
    not_told: Sequence[str] = ()


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes
    ----------
    name : str
    noun : str
        For messages, with its article.
    stored_as : str
        As the container names it.
    file : str
        Its name in a folder or a repository.
    module : str
        Where the next three are.
    save, load, describe : str
        ``save(path, thing)``, ``load(path)``, and ``describe(facts, shapes)``, which gives a `Description`.
    read_by : str
        The Python class whose ``from_pretrained`` reads it.
    described_in : str
        Where `describe` is, if not in `module`.
    """

    name: str
    noun: str
    stored_as: str
    file: str
    module: str
    save: str
    load: str
    describe: str
    read_by: str
    described_in: str = ""

    def function(self, name: Literal["save", "load", "describe"]) -> Any:
        """The function that the attribute of this name names."""
        module = self.described_in if name == "describe" and self.described_in else self.module
        return getattr(importlib.import_module(module), getattr(self, name))


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "correction",
            "a correction",
            "genmend.correction",
            "correction.safetensors",
            "genmend.activations.correction_file",
            "save_correction",
            "load_correction",
            "describe_correction",
            "genmend.activations.Correction",
            "genmend.activations.correction_description",
        ),
        Kind(
            "amplification",
            "an amplification",
            "genmend.correction",
            "amplification.safetensors",
            "genmend.activations.correction_file",
            "save_correction",
            "load_correction",
            "describe_amplification",
            "genmend.activations.Correction",
            "genmend.diffusion.amplification.description",
        ),
        Kind(
            "detector",
            "a detector",
            "genmend.detector",
            "detector.safetensors",
            "genmend.gans.detection.detector_file",
            "save_detector",
            "load_detector",
            "describe_detector",
            "genmend.gans.ArtifactDetector",
        ),
        Kind(
            "normal-region",
            "a normal region",
            "genmend.normal_region",
            "normal_region.safetensors",
            "genmend.manifold.regions.normal_region_file",
            "save_normal_region",
            "load_normal_region",
            "describe_normal_region",
            "genmend.manifold.NormalRegion",
        ),
        Kind(
            "region",
            "a decision region",
            "genmend.region",
            "region.safetensors",
            "genmend.concepts.regions.region_file",
            "save_region",
            "load_region",
            "describe_region",
            "genmend.concepts.Region",
        ),
        Kind(
            "voice-repairs",
            "repairs of a voice",
            "genmend_voice_repairs",
            "repairs.safetensors",
            "genmend.tts.mending.combination_file",
            "save_voice_repairs",
            "load_voice_repairs",
            "describe_repairs",
            "genmend.tts.VoiceRepairs",
        ),
        Kind(
            "reference",
            "features of a reference",
            "genmend.features",
            "reference.safetensors",
            "genmend.manifold.kept_features.feature_set",
            "save_features",
            "load_feature_set",
            "describe_features",
            "genmend.manifold.features.FeatureSet",
            "genmend.manifold.kept_features.description",
        ),
    )
}


def kind_of(path: str | os.PathLike[str]) -> tuple[Kind, dict[str, Any], dict[str, tuple[int, ...]]]:
    """Which kind a file is of, its facts and the shapes of its arrays; the arrays are not read.

    Raises
    ------
    ContainerError
        If it is damaged, or of no kind that can be shared.
    OSError
        If there is none, or it cannot be read.
    """
    stored_as, facts, shapes = read_facts(path)
    for kind in KINDS.values():
        if kind.stored_as == stored_as and (kind.name == "amplification") == _amplifies(facts):
            return kind, facts, shapes
    nouns = ", ".join(kind.noun for kind in KINDS.values())
    raise ContainerError(f"{path} holds {stored_as!r}, which cannot be shared; shared are {nouns}.")


def plain_word(name: Any, other: str) -> str:
    """A name out of a file where it is one plain word, which a shell can be given; else `other`."""
    return name if isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_][\w:./-]*", name, re.ASCII) else other


def _amplifies(facts: Mapping[str, Any]) -> bool:
    """Whether a correction's edits are those of a diffusion model."""
    rungs = facts.get("ladder")
    rung = rungs[0] if isinstance(rungs, list) and rungs else None
    edit = rung[0] if isinstance(rung, list) and rung else None
    return isinstance(edit, dict) and str(edit.get("type")).startswith("diffusion.")


def describe(path: str | os.PathLike[str]) -> tuple[Kind, Description]:
    """Say what a file holds.

    Raises
    ------
    ContainerError
        As `kind_of`, and where its facts are not those of its kind.
    OSError
        If there is none, or it cannot be read.
    """
    kind, facts, shapes = kind_of(path)
    described = kind.function("describe")
    try:
        return kind, described(facts, shapes)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as fault:
        raise ContainerError(
            f"{Path(path)} does not say what {kind.noun} says of itself ({fault}); make it anew."
        ) from fault
