"""Rare but normal-looking samples: optimise latents towards low density inside the normal manifold.

Fit a density (`GaussianMixtureDensity`, `FlowDensity`) to an `ArtifactDetector`'s own normal features, make a
`RareSpace` of both, and ask `rare_samples` for versions of reference latents. `find_rare` does all of it.
"""

from genmend.gans.rare.density import FeatureDensity, GaussianMixtureDensity
from genmend.gans.rare.density_file import DensityFileError, load_density, save_density
from genmend.gans.rare.flow import FlowDensity
from genmend.gans.rare.samples import RareSamples
from genmend.gans.rare.search import rare_samples
from genmend.gans.rare.space import Measured, RareSpace, label_free_artifact_score
from genmend.gans.rare.whitening import Whitening, fit_whitening
from genmend.gans.settings import RareObjective, RareSearch

__all__ = [
    "DensityFileError",
    "FeatureDensity",
    "FlowDensity",
    "GaussianMixtureDensity",
    "Measured",
    "RareObjective",
    "RareSamples",
    "RareSearch",
    "RareSpace",
    "Whitening",
    "fit_whitening",
    "label_free_artifact_score",
    "load_density",
    "rare_samples",
    "save_density",
]
