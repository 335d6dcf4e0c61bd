"""A network as an ONNX graph in the user's cache: exported once, compared with torch's features, whole or not there.

A graph's file name holds the digest of its content, so a damaged one is found out, thrown away and exported again.
Beside it lie the facts of the network, for those who only want its features, and so need not build it.
"""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genmend.manifold.features.onnx_session import onnx_features
from genmend.storage.atomic import whole_file
from genmend.storage.digests import sha256_of_file
from genmend.storage.weights import cache_folder

__all__ = ["TOLERANCE", "Graph", "exported_graph", "largest_difference"]

# How far apart the feature vectors of torch and of onnxruntime may be for the same image, relative to their length.
TOLERANCE = 1e-4
# Part of every file's name: raise it when graphs are made in another way.
_SCHEMA = 1
_OPSET = 17


@dataclass(frozen=True)
class Graph:
    """A file that onnxruntime runs, and what is recorded of the network that it was exported from."""

    path: Path
    facts: dict[str, str]


def exported_graph(network: Callable[[], nn.Module], side: int, key: str, facts: Callable[[], dict[str, str]]) -> Graph:
    """A network's graph, exported where it is not there yet.

    Parameters
    ----------
    network : callable
        Returns a network in eval mode, which takes (n, 3, side, side) float32 on the CPU and returns (n, d).
    side : int
        Pixels.
    key : str
        A digest of all that makes the network's features.
    facts : callable
        Returns what is to be kept beside the graph.

    Raises
    ------
    ValueError
        If torch cannot export the network, or the graph's features are not torch's to `TOLERANCE`.
    """
    folder = cache_folder() / "onnx"
    start = f"{_SCHEMA}-{key[:32]}-"
    for path in sorted(folder.glob(f"{start}*.onnx")):
        if sha256_of_file(path)[:32] == path.stem.removeprefix(start):
            with suppress(OSError, ValueError):
                return Graph(path, json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))
        path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as place:
        made = Path(place) / "graph.onnx"
        probe = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
        try:
            _export(network(), probe, made)
            found = onnx_features(made, probe.numpy())
        except Exception as error:  # the exporter and onnxruntime raise whatever a network is that they do not know
            raise ValueError(f"it cannot be exported ({type(error).__name__})") from error
        with torch.no_grad():
            difference = largest_difference(found, network()(probe).numpy())
        if not difference <= TOLERANCE:
            raise ValueError(f"its exported graph gives other features (by {difference:.1g})")
        kept = folder / f"{start}{sha256_of_file(made)[:32]}.onnx"
        known = facts()
        with whole_file(kept.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(known), encoding="utf-8")
        with whole_file(kept) as temporary:
            os.replace(made, temporary)
    return Graph(kept, known)


def largest_difference(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """The largest distance of two rows, feature vectors of the same image, relative to the length of the wanted one."""
    return float((np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)).max())


def _export(network: nn.Module, probe: Tensor, path: Path) -> None:
    # torch's exporter of traces, which needs no further package, warns that it is the older one; the tracer, that a
    # shape became a constant. What comes out is compared all the same.
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (probe,),
            str(path),
            dynamo=False,
            opset_version=_OPSET,
            input_names=["pixels"],
            output_names=["features"],
            dynamic_axes={"pixels": {0: "n"}, "features": {0: "n"}},
        )
