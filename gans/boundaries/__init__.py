"""Samples that the generator itself treats alike: smallest supporting boundary sets and walks inside them."""

from gans.boundaries.boundary_set import GateSettings, SupportingSet, compare_with_rankings, supporting_set
from gans.boundaries.bounds import Box, NormShell, prior_shell
from gans.boundaries.chord import chord, random_directions
from gans.boundaries.exploration import Exploration, farthest_points, mean_distance, spread
from gans.boundaries.hit_and_run import hit_and_run
from gans.boundaries.homogeneity import Homogeneity, ball_round, homogeneity, rotated_round
from gans.boundaries.preactivation import preactivations
from gans.boundaries.region import GenerativeRegion, generative_region
from gans.boundaries.tree import grow_tree

__all__ = [
    "Box",
    "Exploration",
    "GateSettings",
    "GenerativeRegion",
    "Homogeneity",
    "NormShell",
    "SupportingSet",
    "ball_round",
    "chord",
    "compare_with_rankings",
    "farthest_points",
    "generative_region",
    "grow_tree",
    "hit_and_run",
    "homogeneity",
    "mean_distance",
    "preactivations",
    "prior_shell",
    "random_directions",
    "rotated_round",
    "spread",
    "supporting_set",
]
