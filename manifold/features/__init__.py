"""Feature extractors: what turns images into the vectors whose manifold is measured.

Importing this package costs nothing heavy; an extractor's libraries are imported when it is loaded.
"""

from manifold.features.extractor import (
    EXTRACTORS,
    ImageExtractor,
    extract,
    extractor_of_file,
    load_extractor,
)

__all__ = ["EXTRACTORS", "ImageExtractor", "extract", "extractor_of_file", "load_extractor"]
