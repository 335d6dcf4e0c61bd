"""No image goes through the extractor twice in one run of detect, and a resumed run computes nothing again."""

from collections import Counter

import pytest
from gans_toys import EXTRACTOR, toy_features, toy_generator

from genmend.gans.settings import DetectorSettings
from genmend.manifold.features.extractors import loading
from genmend.workbench.commands.gans.detect import run_detect

SETTINGS = DetectorSettings(extractor=EXTRACTOR, n_statistics=60, n_reference=40)


@pytest.fixture
def seen(monkeypatch):
    """How often each image was extracted."""
    counted = Counter()

    def extractor(images):
        counted.update(image.numpy().tobytes() for image in images)
        return toy_features(images)

    monkeypatch.setitem(loading._own, EXTRACTOR, extractor)
    return counted


def test_detect_looks_at_every_image_once(seen, tmp_path):
    generator = toy_generator()
    latents = generator.latents(20, 5)
    run_detect(generator, latents, tmp_path, settings=SETTINGS, progress=False)
    assert len(seen) >= 60  # the own samples and these
    assert set(seen.values()) == {1}
    run_detect(generator, latents, tmp_path, settings=SETTINGS, progress=False)
    assert sum(seen.values()) == len(seen)
