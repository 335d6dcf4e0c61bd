"""All arrays of a foreign file: by torch's own safe loader where that admits it, else without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from gans.conversion_archives import read_checkpoint
from gans.conversion_arrays import flat_arrays, is_harmless
from gans.conversion_pickle import PickleError

__all__ = ["read_arrays"]


def read_arrays(path: Path) -> dict[str, Any]:
    """Arrays by name, the settings of modules, how the file was read, and which names in it were never looked up.

    Raises
    ------
    ValueError
        If the file is damaged or of another kind.
    """
    try:
        root = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a crafted file can make it raise; the other way is the answer to all
        refusal = " ".join(str(error).split())[:500]
    else:
        arrays, settings = flat_arrays(root, _no_storage)
        return {"arrays": arrays, "settings": settings, "reader": "torch.load(weights_only=True)", "refused": []}
    root, names, storage = read_checkpoint(path)
    try:
        arrays, settings = flat_arrays(root, storage)
    except (TypeError, IndexError, AttributeError, RuntimeError) as error:
        raise PickleError(f"an array in it is not as torch or numpy write them ({error})") from error
    return {
        "arrays": arrays,
        "settings": settings,
        "reader": "as data, without running anything",
        "refusal": refusal,
        "refused": sorted(str(name) for name in names if not is_harmless(name)),
    }


def _no_storage(value: Any) -> torch.Tensor:
    raise TypeError("torch.load gives tensors whole")
