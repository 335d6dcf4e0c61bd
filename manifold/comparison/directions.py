"""Which totals say that one set is better than another, and which of them depend on how many samples a set has."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["DEPEND_ON_SIZE", "LOWER_IS_BETTER", "MOST_DIFFERENT", "RANKED", "size_notes"]

# Density (best near 1) and rarity (neither) have no order, nor has the Vendi score, which noise raises, too; of the
# Fréchet distance and CMMD no interval of differences is known.
RANKED = (
    "precision",
    "recall",
    "coverage",
    "clipped_density",
    "clipped_coverage",
    "symmetric_precision",
    "symmetric_recall",
    "p_precision",
    "p_recall",
    "realism_median",
    "realism_share",
    "kid",
)
# Of these; higher is better of the others.
LOWER_IS_BETTER = frozenset({"kid"})
# The others are means over the query. experiments/images/compared_sets.py measures what four times the samples do.
DEPEND_ON_SIZE = frozenset(
    {"recall", "coverage", "clipped_coverage", "clipped_coverage_raw", "symmetric_precision", "symmetric_recall",
     "p_recall", "vendi"}
)  # fmt: skip
# Sets whose sizes differ by less than this share are taken for equally large: a few files that could not be read.
MOST_DIFFERENT = 0.02


def size_notes(sizes: Mapping[str, int]) -> list[str]:
    """What sets of different sizes, by name, do to each metric: sentences without a full stop."""
    smallest, largest = (choose(sizes, key=lambda name: sizes[name]) for choose in (min, max))
    if sizes[smallest] >= (1 - MOST_DIFFERENT) * sizes[largest]:
        return []
    return [
        f"{smallest} has {sizes[smallest]} samples and {largest} {sizes[largest]}: with more samples coverage, "
        f"symmetric recall and vendi rise, symmetric precision and a Fréchet distance fall, and recall, P-recall and "
        f"Clipped Coverage drift by some hundredths, whatever the sets are; none of these has a rank between "
        f"sets whose sizes differ by over {MOST_DIFFERENT:.0%}",
        "precision, density, Clipped Density, realism, rarity, P-precision and kid do not depend on it on average; "
        "equal sizes (--equal-sizes) make all comparable",
    ]
