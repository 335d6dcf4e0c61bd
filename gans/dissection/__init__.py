"""GAN Dissection: what each unit of a generator stands for, what it causes, and which units break images.

Source: Bau et al., "GAN Dissection: Visualizing and Understanding Generative Adversarial Networks", ICLR 2019, arXiv
1811.10597. `dissect` puts these pieces together.
"""

from genmend.gans.dissection.agreement import Agreement, agreement_of, bootstrap_interval, detects
from genmend.gans.dissection.concepts import Concepts, SoftConcepts, load_concepts
from genmend.gans.dissection.counting import Counts, count_at, count_at_levels, count_at_pairs
from genmend.gans.dissection.measuring import (
    UnitStatistics,
    candidate_levels,
    level_counts,
    pair_threshold_counts,
    pairs_of_images,
    threshold_counts,
    unit_peaks,
    unit_statistics,
)
from genmend.gans.dissection.thresholds import BestLevels, best_levels, information_quality

__all__ = [
    "Agreement",
    "BestLevels",
    "Concepts",
    "Counts",
    "SoftConcepts",
    "UnitStatistics",
    "agreement_of",
    "best_levels",
    "bootstrap_interval",
    "candidate_levels",
    "count_at",
    "count_at_levels",
    "count_at_pairs",
    "detects",
    "information_quality",
    "level_counts",
    "load_concepts",
    "pair_threshold_counts",
    "pairs_of_images",
    "threshold_counts",
    "unit_peaks",
    "unit_statistics",
]
