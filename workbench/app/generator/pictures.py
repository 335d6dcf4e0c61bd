"""Pictures of samples and units as the page shows them: small, in the page itself, so that no file is left behind."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from genmend.gans import Generator
from genmend.gans.editing.unit_labels import UnitLabels
from genmend.manifold.figures.image_grid import to_pixels
from genmend.storage.atomic import whole_file
from genmend.workbench.pages.gans.dissect_gallery import unit_tiles
from genmend.workbench.pages.pictures import shrunk

__all__ = ["enlarged", "in_page", "mosaics", "to_paint_on"]

LARGEST = 256  # pixels of a sample in the grid
ENLARGED = 320  # of one that is painted on or compared


def in_page(images: Tensor) -> list[str]:
    """Addresses that hold images (n, 3, h, w) in 0..1 themselves."""
    return [_address(pixels) for pixels in to_pixels(shrunk(images, LARGEST))]


def enlarged(image: Tensor) -> str:
    """Address that holds an image (3, h, w) in 0..1, large enough to look at closely."""
    return _address(np.asarray(_large(image)))


def to_paint_on(image: Tensor, folder: Path) -> str:
    """A file of the same image, for an editor: it is written once, since a browser may be reading it."""
    buffer = io.BytesIO()
    _large(image).save(buffer, format="PNG")
    path = folder / "samples" / f"{sha256(buffer.getvalue()).hexdigest()}.png"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            temporary.write_bytes(buffer.getvalue())
    return str(path)


def _large(image: Tensor) -> Image.Image:
    pixels = Image.fromarray(to_pixels(shrunk(image[None], 2 * ENLARGED))[0])
    factor = max(1.0, ENLARGED / max(pixels.size))
    return pixels.resize((round(pixels.width * factor), round(pixels.height * factor)), Image.Resampling.BICUBIC)


def mosaics(generator: Generator, labels: UnitLabels, layer: str, units: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yield (unit, address of an image): its four most exciting samples in a square, dark where it is off."""
    rows = labels.layers[layer]
    for unit, tiles in unit_tiles(generator, layer, rows.samples[:, :4], rows.threshold, units, labels.seed):
        pixels = to_pixels(tiles)
        four = np.concatenate([pixels] * -(-4 // len(pixels)))[:4]
        yield unit, _address(np.concatenate([np.concatenate(four[:2], 1), np.concatenate(four[2:], 1)], 0))


def _address(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="WEBP", quality=90, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
