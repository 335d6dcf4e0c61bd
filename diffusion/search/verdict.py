"""In words: what a comparison says, told from its intervals alone.

The rule, with the intervals of `Comparison` (95 %, over pairs of the same prompt and seed):

* **newer**: the interval of the novelty lies above 1; **less new**: below 1.
* **broken**: usability, or the share of samples inside the manifold of real images, is kept by less than `KEPT` with
  confidence, its upper bound being below that.
* **whole**: each of them is kept by at least `KEPT` with confidence, its lower bound not being below.

* **more keepers**: where it is known which samples are keepers (`search.keepers`), the interval of their number above
  that of as many unamplified samples lies above 0; **fewer keepers**: below 0; else **no more keepers**: drawing more
  seeds without the edit gives as many, at the same cost.

Below `FEWEST` pairs, or as many amplified samples whose novelty counts, nothing is said: a bootstrap over a handful of
samples is sure of what it cannot know.

A usability that asks only whether the prompt is met does not see torn images; without real images, whether they are
broken is not known, and that is said.
"""

from __future__ import annotations

import numpy as np

from genmend.diffusion.search.trials import Comparison

__all__ = ["FEWEST", "KEPT", "NOT_MEASURED", "verdict"]

#: Share of the unamplified usability, and of the share inside the real manifold, from which on it counts as kept.
KEPT = 0.95
#: Pairs, and amplified samples that count, from which on something is said.
FEWEST = 10
NOT_MEASURED = "not measured"


def verdict(found: Comparison, *, inside_measured: bool) -> str:
    """Say what a comparison found, e.g. "no difference", or "newer, but broken; no more keepers than more seeds give".

    Parameters
    ----------
    found
        Amplified against unamplified samples.
    inside_measured
        Whether real images say which samples are inside; else the share inside means nothing.

    Examples
    --------
    >>> inside = {"counted": 0.4, "inside": 0.6, "inside_lower": 0.5, "inside_upper": 0.7}
    >>> torn = Comparison({}, {}, {}, novelty=1.3, novelty_interval=(1.2, 1.4), n=64, **inside)
    >>> verdict(torn, inside_measured=True)
    'newer, but broken'
    """
    said = _about_means(found, inside_measured)
    low, high = found.more_keepers
    if found.n < FEWEST or not np.isfinite(low) or not (found.usability or inside_measured):  # else torn ones count
        return said
    return f"{said}; {'more' if low > 0 else 'fewer' if high < 0 else 'no more'} keepers than more seeds give"


def _about_means(found: Comparison, inside_measured: bool) -> str:
    low, high = found.novelty_interval
    uppers, lowers = list(found.usability_upper.values()), list(found.usability_lower.values())
    if inside_measured:
        uppers, lowers = [*uppers, found.inside_upper], [*lowers, found.inside_lower]
    measured = bool(lowers) or bool(np.isfinite(found.novelty))
    if not measured or found.n < FEWEST:
        return f"not told from {found.n} pairs, which are too few" if measured else NOT_MEASURED
    broken = any(upper < KEPT for upper in uppers)
    if not np.isfinite(low) or found.counted * found.n < FEWEST:
        if broken:
            return "broken"
        return "too few samples among the real ones to tell" if inside_measured else "novelty not measured"
    if low > 1:
        return "newer, but broken" if broken else _newer(lowers, inside_measured)
    if high < 1:
        return "less new, and broken" if broken else "less new"
    return "broken, and no newer" if broken else "no difference"


def _newer(lowers: list[float], inside_measured: bool) -> str:
    if not inside_measured:
        return "newer; whether broken was not measured"
    return "newer, and not broken" if all(lower >= KEPT for lower in lowers) else "newer, and perhaps broken"
