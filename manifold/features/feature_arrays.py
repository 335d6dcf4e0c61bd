"""Features that a user brings: .npy and .safetensors files stay on disk, .npz files and arrays are in memory."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np

from genmend.manifold.engine.inputs import as_features
from genmend.manifold.sharded.mapped_features import FeatureShards, open_features

__all__ = ["FEATURE_SUFFIXES", "read_features"]

FEATURE_SUFFIXES = frozenset({".npy", ".npz", ".safetensors"})


def read_features(path: str | os.PathLike[str]) -> np.ndarray:
    """Open features (n, d): .npy and .safetensors are mapped, not read; .npz, and bfloat16, are read.

    A .npz or .safetensors file holds one array, or one called ``features``. Nothing is unpickled.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, holds objects or several arrays, or no finite 2-D array of numbers.
    """
    if Path(path).suffix.lower() == ".npz":
        return as_features(_read_npz(Path(path)), str(path))
    features = open_features(path)
    return np.asarray(features) if isinstance(features, FeatureShards) else features


def _read_npz(path: Path) -> np.ndarray:
    try:
        if not zipfile.is_zipfile(path):  # numpy takes whatever else for a pickle, and advises to trust it
            if not path.exists():
                raise FileNotFoundError(f"there is no file {path}")
            raise ValueError("it is no zip archive")
        with np.load(path, allow_pickle=False) as arrays:
            names = list(arrays.files)
            if len(names) != 1 and "features" not in names:
                raise ValueError(f"it holds {len(names)} arrays: {', '.join(sorted(names)[:5]) or 'none'}")
            array: np.ndarray = arrays["features" if "features" in names else names[0]]
            return array
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged zip raises whatever its decoder does
        raise ValueError(
            f"{path} is no intact .npz file of one array, or one called 'features' ({error}); "
            "write it again with numpy.savez(path, features=features)"
        ) from error
