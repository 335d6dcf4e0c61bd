"""Samples that the generator itself treats alike: smallest supporting boundary sets and walks inside them."""

from genmend.gans.boundaries.affine_region import AffineRegion, as_affine
from genmend.gans.boundaries.bouncing import bouncing, bouncing_walks
from genmend.gans.boundaries.boundary_set import SupportingSet, compare_with_rankings, supporting_set
from genmend.gans.boundaries.bounds import Box, NormShell, chord, prior_shell, random_directions
from genmend.gans.boundaries.convergence import Convergence, convergence
from genmend.gans.boundaries.exploration import Exploration, farthest_points, mean_distance, spread
from genmend.gans.boundaries.hit_and_run import hit_and_run, walks
from genmend.gans.boundaries.homogeneity import Homogeneity, ball_round, homogeneity, random_set, rotate_round
from genmend.gans.boundaries.preactivation import preactivations
from genmend.gans.boundaries.region import GenerativeRegion, generative_region
from genmend.gans.boundaries.tree import grow_tree
from genmend.gans.settings import GateSettings

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
    "as_affine",
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
    "rotate_round",
    "spread",
    "supporting_set",
    "walks",
]
