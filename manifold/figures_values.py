"""What the figures read out of an evaluation, with an error that says what to compute where it is not there."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold.inputs import to_array

__all__ = ["chosen_k", "interval", "numbers_of_k", "per_sample", "value"]


def numbers_of_k(evaluation: Any) -> list[int]:
    """Every k that was computed, ascending."""
    return sorted(int(k) for k in evaluation.to_dict()["k"])


def chosen_k(evaluation: Any, k: int | None) -> int:
    """`k` where it was computed, the smallest one where it is None."""
    known = numbers_of_k(evaluation)
    if not known:
        raise ValueError("no metric of the k nearest neighbours was computed; pass one to evaluate, e.g. precision")
    if k is not None and k not in known:
        raise ValueError(f"k = {k} was not computed; {known} were; pass it to evaluate")
    return known[0] if k is None else k


def value(evaluation: Any, k: int, name: str) -> float:
    """One total of one k; NaN where it is undefined."""
    totals = evaluation.to_dict()["k"][str(k)] if k in numbers_of_k(evaluation) else {}
    if name not in totals:
        raise ValueError(f"{name} at k = {k} was not computed; pass both to evaluate")
    return float("nan") if totals[name] is None else float(totals[name])


def interval(evaluation: Any, k: int, name: str) -> tuple[float, float] | None:
    """Bootstrap interval of a total, or None where there is none."""
    found = (evaluation.to_dict().get("intervals") or {}).get(str(k), {}).get(name)
    return None if found is None or None in found else (float(found[0]), float(found[1]))


def per_sample(evaluation: Any, name: str) -> np.ndarray:
    """One per-sample array, e.g. ``k3_rarity``."""
    arrays = evaluation.per_sample()
    if name not in arrays:
        raise ValueError(f"{name} was not computed; {', '.join(arrays) or 'no per-sample array'} were; "
                         f"pass its metric to evaluate")  # fmt: skip
    return to_array(arrays[name], name)
