"""Features: what turns images and recordings into the vectors whose manifold is measured.

`features_of` takes whatever there is, folders, files or arrays; `load_extractor` and `extract` are the steps in it. An
extractor's libraries are imported when it is loaded.
"""

from genmend.manifold.features.audio_extractor import AudioExtractor, extract_audio
from genmend.manifold.features.audio_files import read_audio
from genmend.manifold.features.extractors.loading import AUDIO_EXTRACTORS, EXTRACTORS, extractor_of_file, load_extractor
from genmend.manifold.features.feature_set import FeatureSet, features_of
from genmend.manifold.features.image_extractor import ImageExtractor, extract
from genmend.manifold.features.image_files import read_image
from genmend.manifold.features.unusable import UnusableSampleError

__all__ = [
    "AUDIO_EXTRACTORS",
    "EXTRACTORS",
    "AudioExtractor",
    "FeatureSet",
    "ImageExtractor",
    "UnusableSampleError",
    "extract",
    "extract_audio",
    "extractor_of_file",
    "features_of",
    "load_extractor",
    "read_audio",
    "read_image",
]
