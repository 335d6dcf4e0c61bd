"""Which sets of features may be compared: those that one pipeline made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from genmend.storage.digests import sha256_of_json

__all__ = ["OtherPipelineError", "check_same_space", "pipeline_digest"]

# What changes features by rounding at most: the engine, and releases of the libraries.
_ROUNDING = ("engine", "versions")
_SHOWN = 60  # characters


class OtherPipelineError(ValueError):
    """Two sets have features of two pipelines; the message names both."""


def pipeline_digest(pipeline: Mapping[str, Any]) -> str:
    """SHA-256 of what makes a feature space, whatever the engine and the versions of the libraries."""
    return sha256_of_json({name: value for name, value in pipeline.items() if name not in _ROUNDING})


def check_same_space(
    reference: Mapping[str, Any] | None,
    query: Mapping[str, Any] | None,
    names: tuple[str, str] = ("the reference", "the query"),
) -> list[str]:
    """Refuse two sets whose pipelines make two feature spaces; of an unknown pipeline nothing can be said.

    Parameters
    ----------
    reference, query : mapping or None
        Pipelines as `FeatureSet.pipeline`; None, or one whose ``extractor`` is None, of features that were given.
    names : pair of str
        What to call the two sets.

    Returns
    -------
    list of str
        What to keep in mind of two that agree: sentences without a full stop.

    Raises
    ------
    OtherPipelineError
        If they differ in more than the engine and the versions of libraries.
    """
    if not (reference and query) or None in (reference.get("extractor"), query.get("extractor")):
        return []
    ours, theirs = (json.loads(json.dumps(one)) for one in (reference, query))
    if pipeline_digest(ours) == pipeline_digest(theirs):
        if ours.get("versions") == theirs.get("versions"):
            return []
        return [f"{names[0]} was made with {_versions(ours)} and {names[1]} with {_versions(theirs)}: the same "
                f"pipeline, so features differ by rounding, if at all"]  # fmt: skip
    differing = [name for name in dict.fromkeys([*ours, *theirs]) if name not in _ROUNDING
                 and ours.get(name) != theirs.get(name)]  # fmt: skip
    told = "; ".join(f"{name} {_short(ours.get(name))} against {_short(theirs.get(name))}" for name in differing[:3])
    raise OtherPipelineError(
        f"{_capital(names[0])} has features of {ours['extractor']} and {names[1]} of {theirs['extractor']}, two "
        f"pipelines ({told}), and distances between two feature spaces mean nothing; take both with the same extractor."
    )


def _versions(pipeline: Mapping[str, Any]) -> str:
    versions = pipeline.get("versions") or {}
    return ", ".join(f"{name} {version}" for name, version in versions.items()) or "unknown versions"


def _short(value: Any) -> str:
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}\N{HORIZONTAL ELLIPSIS}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
