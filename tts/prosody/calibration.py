"""The strength of an edit, chosen by what comes out of the voice: secants and bisection on one number."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Calibration", "calibrate"]


@dataclass(frozen=True)
class Calibration:
    """What was tried, and what came nearest.

    Attributes
    ----------
    target, tolerance : float
        What was asked for, and how near is near enough.
    gain, achieved : float
        The strength that came nearest, and what it gave; `achieved` is NaN if nothing could be measured.
    trials : tuple of (float, float)
        Every (gain, measured), in the order tried.
    """

    target: float
    tolerance: float
    gain: float
    achieved: float
    trials: tuple[tuple[float, float], ...]

    @property
    def reached(self) -> bool:
        """Whether the target was met within the tolerance."""
        return abs(self.achieved - self.target) <= self.tolerance


def calibrate(
    measure: Callable[[float], float],
    target: float,
    *,
    start: float = 1.0,
    tolerance: float,
    largest: float = 8.0,
    n_trials: int = 6,
) -> Calibration:
    """Find the gain in [0, `largest`] at which `measure` comes nearest to the target.

    A gain of 0 is taken to measure 0. While the target lies beyond all that was measured, the gain grows along the
    secant, at most threefold; once it lies between two gains, they close in on it. A measurement that fails (NaN) is
    taken as a sign of too much.

    Parameters
    ----------
    measure
        Gain -> what it changed, in the target's unit.
    start
        The gain tried first.
    n_trials
        Measurements at most.

    Raises
    ------
    ValueError
        If `start`, `largest`, `tolerance` or `n_trials` is not above 0, or the target not finite.
    """
    if not (0 < start <= largest and tolerance > 0 and n_trials > 0 and math.isfinite(target)):
        raise ValueError(
            f"start {start}, largest {largest}, tolerance {tolerance}, n_trials {n_trials}, target {target}: give "
            f"0 < start <= largest, a tolerance and a number of trials above 0, and a finite target."
        )
    trials: list[tuple[float, float]] = []
    below, above = (0.0, 0.0), None  # (gain, measured) on either side of the target
    failed = math.inf
    gain = start
    sign = math.copysign(1.0, target)
    while len(trials) < n_trials:
        value = measure(gain)
        trials.append((gain, value))
        if abs(value - target) <= tolerance:
            break
        if math.isnan(value):
            failed = min(failed, gain)
        elif sign * value < sign * target:
            below = (gain, value)
        else:
            above = (gain, value)
        following = _next(below, above, target, min(failed, largest), failed <= largest)
        if any(math.isclose(following, tried, rel_tol=1e-3) for tried, _ in trials):
            break
        gain = following
    measured = [trial for trial in trials if not math.isnan(trial[1])]
    best = min(measured, key=lambda trial: abs(trial[1] - target), default=(start, math.nan))
    return Calibration(target, tolerance, *best, tuple(trials))


def _next(
    below: tuple[float, float], above: tuple[float, float] | None, target: float, limit: float, failed: bool
) -> float:
    if above is None:
        if failed:
            return (below[0] + limit) / 2
        slope = below[1] / below[0] if below[0] else 0.0
        wanted = target / slope if slope * target > 0 else 3 * below[0]
        return min(wanted, 3 * below[0], limit)
    # Between the two: where the line through them meets the target, but not so near an end that nothing is learnt.
    share = (target - below[1]) / (above[1] - below[1])
    return below[0] + min(max(share, 0.1), 0.9) * (above[0] - below[0])
