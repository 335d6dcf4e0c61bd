"""Samples that the generator itself treats alike: smallest supporting boundary sets and walks inside them."""

from gans.boundaries.affine_region import AffineRegion, affine_or_same
from gans.boundaries.bouncing import bouncing, bouncing_walks
from gans.boundaries.boundary_set import GateSettings, SupportingSet, compare_with_rankings, supporting_set
from gans.boundaries.bounds import Box, NormShell, prior_shell
from gans.boundaries.chord import chord, random_directions
from gans.boundaries.convergence import Convergence, convergence
from gans.boundaries.exploration import Exploration, farthest_points, mean_distance, spread
from gans.boundaries.hit_and_run import hit_and_run, walks
from gans.boundaries.homogeneity import Homogeneity, ball_round, homogeneity, rotated_round
from gans.boundaries.preactivation import preactivations
from gans.boundaries.random_set import random_set
from gans.boundaries.region import GenerativeRegion, generative_region
from gans.boundaries.tree import grow_tree

__all__ = [
    "AffineRegion",
    "Box",
    "Convergence",
    "Exploration",
    "GateSettings",
    "GenerativeRegion",
    "Homogeneity",
    "NormShell",
    "SupportingSet",
    "affine_or_same",
    "ball_round",
    "bouncing",
    "bouncing_walks",
    "chord",
    "compare_with_rankings",
    "convergence",
    "farthest_points",
    "generative_region",
    "grow_tree",
    "hit_and_run",
    "homogeneity",
    "mean_distance",
    "preactivations",
    "prior_shell",
    "random_directions",
    "random_set",
    "rotated_round",
    "spread",
    "supporting_set",
    "walks",
]
