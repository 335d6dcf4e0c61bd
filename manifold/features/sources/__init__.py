"""Where samples come from: folders and files, arrays, archives and tables, data sets, loaders and functions.

`samples_of` makes numbered samples of whatever can be read by number; `streams` goes through the rest once.
"""

from genmend.manifold.features.sources.memory import image_samples
from genmend.manifold.features.sources.opening import samples_of
from genmend.manifold.features.sources.samples import NO_LABEL, Samples

__all__ = ["NO_LABEL", "Samples", "image_samples", "samples_of"]
