"""Any bytes give a sample or one kind of error that names the file: mutated files of every format that is read."""

import io
import random

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

from genmend.manifold.features import UnusableSampleError, read_audio, read_image
from genmend.manifold.features.feature_arrays import read_features

N_MUTANTS = 120
DRAW = np.random.default_rng(0)
WAVE, VALUES = 0.1 * DRAW.standard_normal(3000), DRAW.standard_normal((40, 10))


def image(kind):
    file = io.BytesIO()
    Image.fromarray(DRAW.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(file, format=kind)
    return file.getvalue()


def recording(kind):
    file = io.BytesIO()
    pytest.importorskip("soundfile").write(file, WAVE, 16_000, format=kind)
    return file.getvalue()


def features(kind):
    if kind == "safetensors":
        return save({"features": VALUES})
    file = io.BytesIO()
    np.save(file, VALUES) if kind == "npy" else np.savez(file, features=VALUES)
    return file.getvalue()


def mutants(content, seed):
    """Bytes changed, mostly near the beginning, cut off, or put in between; the first one is empty."""
    rng = random.Random(seed)
    yield b""
    for _ in range(N_MUTANTS):
        mutant = bytearray(content)
        for _ in range(rng.choice((1, 2, 5, 20))):
            place = rng.randrange(min(len(mutant), rng.choice((64, len(mutant)))))
            how = rng.random()
            if how < 0.6:
                mutant[place] = rng.choice((0, 127, 128, 255, rng.randrange(256)))
            elif how < 0.8:
                del mutant[rng.randrange(1, len(mutant) + 1) :]
            else:
                mutant[place:place] = rng.randbytes(rng.randrange(1, 9))
        yield bytes(mutant)


READERS = {
    **dict.fromkeys(("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"), (image, read_image, UnusableSampleError)),
    **dict.fromkeys(("WAV", "FLAC", "OGG", "MP3", "AIFF"), (recording, read_audio, UnusableSampleError)),
    **dict.fromkeys(("npy", "npz", "safetensors"), (features, read_features, ValueError)),
}


@pytest.mark.parametrize("kind", READERS)
def test_mutated_bytes_are_read_or_refused(tmp_path, kind):
    make, read, error_class = READERS[kind]
    content, path = make(kind), tmp_path / f"a.{kind.lower()}"
    path.write_bytes(content)
    read(path)
    refusals = []
    for mutant in mutants(content, seed=len(kind)):
        path.write_bytes(mutant)
        try:
            read(path)
        except error_class as error:
            refusals.append(str(error))
    assert refusals
    assert all(path.name in refusal for refusal in refusals)
