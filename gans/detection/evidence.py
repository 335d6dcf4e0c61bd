"""What a label-free detector can say of its own flags: how sure, which score spoke, what another threshold would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genmend.gans.detection.artifact_detector import DEFAULT_SHARE, ArtifactDetector, Detection
from genmend.gans.detection.tail import Tail

__all__ = ["evidence", "known_thresholds", "threshold_table"]

# Share of the samples just at the threshold that are normal, by the null.
_FALSE_SHARES = {"wide": 0.2, "widest": 0.5}
_LEADS = 1.5  # times the other score's excess


def known_thresholds(detector: ArtifactDetector) -> dict[str, float]:
    """Thresholds to choose from, by name; empty where the detector has no learned score, or labels decide."""
    if detector.own_scores_ is None or detector.tail_ is None or detector.supervised_ is not None:
        return {}
    scores, tail = detector.own_scores_, detector.tail_
    default = tail.default_threshold(scores)
    wider = {name: min(default, tail.threshold(scores, share)) for name, share in _FALSE_SHARES.items()}
    return {"default": default, "top 5 %": float(np.quantile(scores, 1 - DEFAULT_SHARE))} | wider


def threshold_table(
    thresholds: Mapping[str, float], tail: Tail, scores: NDArray[np.float64], used: float
) -> list[dict[str, Any]]:
    """What each threshold flags of these scores (n,), against the one that is used; the highest threshold first.

    Of equal thresholds the first by name has a row; `in_use` says which row's is used, called "in use" where it is none
    of those with a name.

    `normal` is how many of the flagged look normal, as many as the null has above the threshold; `more` how many broken
    ones are flagged beyond those flagged at `used`, and `more_normal` how many that look normal.
    """
    n = len(scores)

    def counted(threshold: float) -> tuple[int, int]:
        flagged = int((scores > threshold).sum())
        return flagged, min(flagged, round(n * tail.normal_above(threshold)))

    now, normal_now = counted(used)
    named: dict[float, str] = {}
    for name, threshold in (*thresholds.items(), ("in use", used)):
        named.setdefault(threshold, name)
    rows = []
    for threshold, name in sorted(named.items(), reverse=True):
        flagged, normal = counted(threshold)
        more_normal = normal - normal_now
        rows.append(
            {
                "threshold": threshold,
                "name": name,
                "in_use": threshold == used,
                "flagged": flagged,
                "normal": normal,
                "more": flagged - now - more_normal,
                "more_normal": more_normal,
            }
        )
    return rows


def evidence(detector: ArtifactDetector, detection: Detection) -> dict[str, Any] | None:
    """Whether the tail of the own samples is heavier than chance, and which score spoke; None without a learned score.

    `speaks` is "rare activation", "distance" or "both": whose mean over the flagged samples is further from the own
    samples' mean, in their standard deviations.
    """
    if detector.tail_ is None or detection.rare_activation is None or detection.supervised is not None:
        return None
    tail, flagged = detector.tail_, detection.flagged
    parts = {"rare activation": detection.rare_activation, "distance": detection.distance_to_normal}
    excess = {}
    for (name, values), (mean, std) in zip(parts.items(), detector.scale_.values(), strict=True):
        excess[name] = float((values[flagged].mean() - mean) / std) if flagged.any() else 0.0
    (_, less), (first, most) = sorted(excess.items(), key=lambda pair: pair[1])
    return {
        "broken_share": tail.broken_share,
        "broken_share_interval": list(tail.broken_share_interval),
        "heavier_than_chance": tail.is_heavier,
        "share_is_a_setting": detector.flagged_share,
        "learned_auroc": detector.learned_auroc_,
        "excess": excess,
        "speaks": first if most > _LEADS * max(less, 0.0) else "both",
        "thresholds": threshold_table(known_thresholds(detector), tail, detection.combined, detection.threshold),
    }
