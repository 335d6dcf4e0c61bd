"""Images that are known to be normal, brought to a generator's size: their features say what is normal."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans.generator import Generator
from genmend.manifold.features import extract, load_extractor
from genmend.manifold.features.resizing import resize
from genmend.manifold.features.sources import samples_of
from genmend.manifold.kept_features.feature_file import is_kept
from genmend.manifold.kept_features.opened import open_kept
from genmend.manifold.kept_features.same_space import check_same_space
from genmend.storage.pieces import Work

__all__ = ["FEWEST", "fitted_image", "image_size", "normal_features"]

FEWEST, CHUNK = 20, 128


def normal_features(images: Any, generator: Generator, extractor: Any, work: Work | None = None) -> NDArray[np.float32]:
    """Features (n, d) of normal images, each brought to the size and colours of the generator's own.

    Else a photograph would differ from every sample by its sharpness alone.

    Parameters
    ----------
    images
        A folder of images (PNG, JPEG, WEBP; subfolders too), a list of files, or an array (n, 3, h, w) in 0..1 or
        (n, h, w, 3) uint8; or a file of their features (``genmend features``), of images of the generator's size.
    generator : Generator
    extractor : str or callable
        As `genmend.manifold.features.load_extractor` takes it.
    work : Work, optional
        Where features are kept, chunk by chunk.

    Raises
    ------
    ValueError
        If there are fewer than 20 images, no images at all, or a file that can't be read; of kept features, if another
        extractor made them, or of images of another size, as far as these are still there.
    FileNotFoundError
        If there is no such folder.
    """
    work = work or Work()
    if is_kept(images):
        return _kept_features(images, generator, extractor)
    samples = samples_of(images)
    if samples.kind != "images":
        raise ValueError(f"Normal images are wanted, but {samples.description} holds {samples.kind}; give images.")
    n = len(samples.names)
    _check_number(n, samples.description)
    height, width = image_size(generator)
    grey = _is_grey(generator)
    network = load_extractor(extractor)
    about = {"extractor": str(extractor), "size": [height, width], "grey": grey}
    parts = []
    for start in range(0, n, CHUNK):
        rows = range(start, min(start + CHUNK, n))

        def compute(rows: range = rows) -> dict[str, NDArray[np.float32]]:
            loaded = torch.cat([fitted_image(samples.load(row)[1], height, width, grey=grey) for row in rows])
            return {"features": extract(network, loaded, progress=work.progress)}

        digests = [samples.digest(row).hex() for row in rows]
        parts.append(work.kept("normal", about | {"images": digests}, compute)["features"])
    features = np.concatenate(parts)
    if not np.isfinite(features).all():
        row = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
        raise ValueError(
            f"The extractor returned NaN or infinite values for {samples.place(row)}; leave that image out."
        )
    return features


def _check_number(n: int, where: str) -> None:
    if n < FEWEST:
        raise ValueError(
            f"{where} holds {n} images, too few to say what is normal; give {FEWEST} or more, better some hundreds."
        )


def _kept_features(path: Any, generator: Generator, extractor: Any) -> NDArray[np.float32]:
    """Features of a file, of this extractor and of images of the generator's size, as far as the file tells."""
    kept = open_kept(path, None, 0)
    network = load_extractor(extractor)
    pipeline = network.pipeline() if hasattr(network, "pipeline") else {"extractor": str(extractor)}
    check_same_space(kept.pipeline, pipeline, (str(path), "the detector"))
    _check_number(len(kept), str(path))
    size = image_size(generator)
    try:
        found = None if kept.sample is None else tuple(kept.sample(0).shape[-2:])
    except ValueError:  # the image is not what it was
        found = None
    if found not in (None, size):
        raise ValueError(
            f"{path} has features of images of {found[0]} x {found[1]} pixels, and the generator draws {size[0]} x "
            f"{size[1]}: give the images themselves, which are brought to its size."
        )
    return kept.values.astype(np.float32)


def image_size(generator: Generator) -> tuple[int, int]:
    """Return height and width of the generator's images."""
    height, width = generator.generate(torch.zeros(1, *generator.latent_shape)).shape[-2:]
    return int(height), int(width)


def fitted_image(image: Tensor, height: int, width: int, *, grey: bool = False) -> Tensor:
    """Cut the middle of an image (3, h, w) out in the wanted shape and resize it: (1, 3, height, width) in 0..1."""
    scale = min(image.shape[1] / height, image.shape[2] / width)
    tall, wide = max(1, round(scale * height)), max(1, round(scale * width))
    top, left = (image.shape[1] - tall) // 2, (image.shape[2] - wide) // 2
    cut = image[None, :, top : top + tall, left : left + wide]
    sized = resize(cut, (height, width), "bicubic", True).clamp(0, 1)
    return sized.mean(1, keepdim=True).expand(-1, 3, -1, -1) if grey else sized


def _is_grey(generator: Generator) -> bool:
    image = generator.sample(1, 0)
    return bool((image == image[:, :1]).all())
