"""What each metric says in plain words, and which direction is better: for readers of numbers, not of papers."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["MEANINGS", "Meaning", "meaning_of"]


class Meaning(NamedTuple):
    """`better` says the direction, `words` what question the number answers."""

    better: str
    words: str


_UP, _DOWN, _ONE, _NEITHER = "higher", "lower", "near 1", "describes"

# The names of `Evaluation.to_dict`, in the order in which the page of `genmend score` shows them.
MEANINGS = {
    "precision": Meaning(_UP, "Share of the query that lies on the manifold of the reference: is a sample plausible?"),
    "expected_precision": Meaning(
        _NEITHER, "The reference against itself: what precision, and recall of as many samples, is for alike sets."
    ),
    "recall": Meaning(_UP, "Share of the reference that lies on the manifold of the query: is everything produced?"),
    "density": Meaning(
        _ONE, "How many reference balls hold a query, relative to what alike sets would have; far above 1 is crowding."
    ),
    "coverage": Meaning(_UP, "Share of the reference samples with a query in their ball: compare with the next row."),
    "expected_coverage": Meaning(_NEITHER, "The coverage that two sets from one source would have at these sizes."),
    "clipped_density": Meaning(_UP, "Density that neither outliers nor crowding can inflate; 1 = as the reference."),
    "clipped_coverage": Meaning(_UP, "Coverage calibrated so that the value is the share of good, varied samples."),
    "clipped_density_unclipped": Meaning(_NEITHER, "The same before it is cut off at 1."),
    "clipped_coverage_raw": Meaning(_NEITHER, "The same before it is calibrated."),
    "symmetric_precision": Meaning(_UP, "Precision, or the share of query balls that hold a reference, if lower."),
    "symmetric_recall": Meaning(_UP, "Recall, or coverage, if lower."),
    "p_precision": Meaning(_UP, "Precision with balls that fade out instead of ending: mean probability."),
    "p_recall": Meaning(_UP, "Recall with balls that fade out instead of ending: mean probability."),
    "realism_median": Meaning(_UP, "Radius / distance of the best small ball, of the middle query; 1 = on its edge."),
    "realism_share": Meaning(_UP, "Share of the query with a realism of at least 1."),
    "rarity_mean": Meaning(
        _NEITHER, "How sparse the reference is where the queries lie, in feature units; those outside do not count."
    ),
    "rarity_median": Meaning(_NEITHER, "The same for the middle query."),
    "rarity_top10": Meaning(_NEITHER, "The same over the rarest tenth: rare kinds show here first."),
    "rarity_percentile_mean": Meaning(
        _NEITHER, "Rarity as a rank among the reference's own, 0 to 1; 0.5 = as rare as the reference itself."
    ),
    "vendi": Meaning(_UP, "Effective number of different samples in the query, from its own similarities alone."),
    "vendi_reference": Meaning(_NEITHER, "The same of the reference, to compare with."),
    "vendi_subsets_mean": Meaning(_UP, "The same over random subsets, as large for both sets: compare with the next."),
    "vendi_subsets_std": Meaning(_NEITHER, "How far these scatter (standard deviation)."),
    "vendi_reference_subsets_mean": Meaning(_NEITHER, "The same of subsets of the reference."),
    "vendi_reference_subsets_std": Meaning(_NEITHER, "How far these scatter (standard deviation)."),
    "kid": Meaning(_DOWN, "Kernel distance between the two sets, unbiased: 0 for alike sets, may fall below 0."),
    "cmmd": Meaning(_DOWN, "Distance between sets of CLIP embeddings: 0 for equal sets, small for alike ones."),
    "kid_std": Meaning(_NEITHER, "Standard deviation of the kernel distance over random subsets."),
}

_FRECHET = Meaning(_DOWN, "Distance between Gaussians fitted to the two sets, in squared feature units; 0 = alike.")


def meaning_of(name: str) -> Meaning:
    """Direction and words of a metric; of one that is not known, dashes."""
    if name.startswith("frechet_"):
        return _FRECHET
    return MEANINGS.get(name, Meaning("\N{EN DASH}", "See the documentation of manifold.evaluate."))
