"""Features: what turns images and recordings into the vectors whose manifold is measured.

`features_of` takes whatever there is, folders, files or arrays; `load_extractor` and `extract` are the steps in it. An
extractor's libraries are imported when it is loaded.
"""

from manifold.features.audio_extractor import AudioExtractor, extract_audio
from manifold.features.audio_files import read_audio
from manifold.features.extractor import ImageExtractor, extract
from manifold.features.feature_set import FeatureSet, features_of
from manifold.features.image_files import read_image
from manifold.features.loading import AUDIO_EXTRACTORS, EXTRACTORS, extractor_of_file, load_extractor
from manifold.features.unusable import UnusableSampleError

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
