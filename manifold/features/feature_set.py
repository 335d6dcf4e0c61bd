"""Features of whatever a user has: folders, files and arrays, image or audio, or features already."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genmend.manifold.engine.inputs import as_count, as_features, is_tensor
from genmend.manifold.features.audio_extractor import AudioExtractor
from genmend.manifold.features.extraction import audio_rows, image_rows
from genmend.manifold.features.extractor_device import extractor_device
from genmend.manifold.features.extractors.loading import AUDIO_EXTRACTORS, EXTRACTORS, load_extractor
from genmend.manifold.features.feature_arrays import holds_array, open_array, shard_paths
from genmend.manifold.features.feature_cache import ShardWriter, cached_rows, folder_of
from genmend.manifold.features.feature_tables import is_table, read_table
from genmend.manifold.features.image_extractor import ImageExtractor, digest_of_pipeline
from genmend.manifold.features.sources import Samples, image_samples, samples_of
from genmend.manifold.features.unusable import UnusableSampleError
from genmend.manifold.kept_features.feature_file import is_kept, kept_kind
from genmend.manifold.kept_features.feature_set import FeatureSet
from genmend.manifold.kept_features.opened import drawn_rows, open_kept
from genmend.manifold.sharded.mapped_features import open_features
from genmend.storage.progress import counted

__all__ = ["FeatureSet", "features_of", "kind_of"]

_log = logging.getLogger(__name__)

_EXTRACTOR_OF_KIND = {"images": "efficientnet-lite0", "audio": "whisper-tiny"}


def features_of(
    source: Any,
    extractor: str | Callable[..., Any] = "",
    *,
    sample_rate: int | None = None,
    on_error: str = "raise",
    cache: bool = True,
    batch_size: int = 16,
    progress: bool = False,
    limit: int | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> FeatureSet:
    """Extract the features of a source, or open them where it holds features already.

    Parameters
    ----------
    source
        A folder of images or audio files (with its subfolders, sorted; hidden files are left out), one such file, or a
        list of them; images as a tensor or array, (n, 3, h, w) or (n, h, w, 3), or gray (n, h, w), floats
        in [0, 1], uint8, uint16 or bool, or a list of such single ones or of Pillow's, or as the array of a .npy, .npz
        or .safetensors file; waves with `sample_rate`, a list of 1-D ones or an array (n, samples); features (n, d), as
        an array, as the path of a .npy, .npz, .safetensors or .csv file, or as a folder or list of .npy and
        .safetensors files, for which `extractor` is not used, nor for a file that `FeatureSet.save` wrote.
        ``FILE.npz:KEY`` names one array of several.
    extractor : str or callable
        As `load_extractor` takes it; where empty efficientnet-lite0 of images, whisper-tiny of audio.
    sample_rate : int, optional
        Hertz, of waves.
    on_error : "raise", "skip" or "report"
        What a sample that can't be used does: stop, be left out and listed in `skipped`, or be logged besides.
    cache : bool
        Whether to keep features, by the content they come from, and use those kept before. A callable of yours is
        cached only if it has a method `pipeline` that returns, as a dict ready for JSON, all that makes its features.
    batch_size : int
        Images a forward pass. Recordings go one by one.
    progress : bool
        Show a progress bar.
    limit : int, optional
        Take only so many samples, drawn at random without replacement, in their order.
    seed : int
        Of that choice; the same for the same number of samples.
    device : str or torch.device
        Where a named extractor runs; a callable of your own stays where it is.

    Returns
    -------
    FeatureSet

    Raises
    ------
    UnusableSampleError
        If a sample can't be used and `on_error` is "raise". A ValueError.
    ValueError
        If the source holds nothing, two kinds, or only samples that can't be used, or doesn't go with the extractor.
    FileNotFoundError
        If there is no such path, or (`genmend.storage.weights.MissingWeightsError`) the weights were not fetched.
    """
    if on_error not in ("raise", "skip", "report"):
        raise ValueError(f"on_error is {on_error!r}; 'raise', 'skip' and 'report' are accepted.")
    batch_size = as_count(batch_size, "batch_size")
    limit = None if limit is None else as_count(limit, "limit")
    if is_kept(source):
        return open_kept(source, limit, seed)
    row_names: list[str] = []
    given = _array_given(source, row_names) if sample_rate is None else None
    if given is not None and given[0].ndim == 2:
        values, name = given
        chosen = drawn_rows(len(values), limit, seed)
        names = [row_names[index] for index in chosen] if row_names else [str(index) for index in chosen]
        if len(chosen) < len(values):
            drawn = {"n_given": len(values), "seed": seed, "folders_left_out": []}
            return FeatureSet(values[chosen], names, "array", {"extractor": None}, source=name, drawn=drawn)
        return FeatureSet(values, names, "array", {"extractor": None}, source=name)
    samples = samples_of(source, sample_rate) if given is None else _images_in_file(*given)
    extractor = extractor or _EXTRACTOR_OF_KIND[samples.kind]
    network = _load(extractor, samples.kind, device)
    pipeline = network.pipeline() if hasattr(network, "pipeline") else {"extractor": _name_of(extractor)}
    failed: dict[int, str] = {}

    def fail(index: int, error: Exception) -> None:
        failed[index] = getattr(error, "reason", str(error))
        path = getattr(error, "path", samples.place(index))
        if on_error == "raise":
            looked_at = f"{places[index] + 1} of {len(indices)} samples were looked at" if len(indices) > 1 else ""
            raise UnusableSampleError(path, failed[index], looked_at) from error
        if on_error == "report":
            _log.warning("%s is left out: %s", path, failed[index])

    indices = drawn_rows(len(samples.names), limit, seed)
    places = {index: place for place, index in enumerate(indices)}
    folder = None
    rows: dict[int, NDArray[np.float32]] = {}
    if cache and hasattr(network, "pipeline"):
        folder = folder_of(digest_of_pipeline({**pipeline, "device": _device_type(network, device)}))
        rows = _rows_kept(samples, indices, folder, fail)
    left = [index for index in indices if index not in rows and index not in failed]
    held: Iterator[NDArray[np.float32]] | None = None
    with (
        ShardWriter(folder) if folder else nullcontext() as writer,
        counted("features", len(indices), done=len(rows), show=progress) as advance,
    ):
        for index, digest, row in (
            image_rows(samples, left, network, fail, batch_size, device)
            if samples.kind == "images"
            else audio_rows(samples, left, network, fail)
        ):
            # In one array from the start: small ones kept between large passing ones leave holes that nothing fills.
            if held is None:
                held = iter(np.empty((len(left), len(row)), np.float32))
            place = next(held)
            if place.shape == row.shape:
                place[:] = row
                row = place
            rows[index] = row
            if writer is not None:
                writer.add(digest, row)
            advance()
    skipped = [(samples.names[index], failed[index]) for index in sorted(failed)]
    if not rows:
        name, reason = skipped[0]
        raise ValueError(f"None of the {len(indices)} samples of {samples.description} can be used; {name}: {reason}.")
    used = sorted(rows)
    names = [samples.names[index] for index in used]
    return FeatureSet(
        _stack(rows, used, names),
        names,
        samples.kind,
        pipeline,
        skipped,
        samples.description,
        _what_was_drawn(samples, indices, seed),
        lambda row: samples.load(used[row])[1],
    )


def kind_of(source: Any) -> str:
    """What `features_of` makes features of: "images", "audio", or "array" where it is features.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError
        As `features_of` does for what it does not take.
    """
    if (kept := kept_kind(source)) is not None:
        return kept
    if holds_array(source):
        return "array" if open_array(source).ndim < 3 else "images"
    return "array" if shard_paths(source) else samples_of(source).kind


def _what_was_drawn(samples: Samples, indices: Sequence[int], seed: int) -> dict[str, Any] | None:
    if len(indices) == len(samples.names):
        return None
    folders, seen = ({name.rpartition("/")[0] for name in names}
                     for names in (samples.names, [samples.names[index] for index in indices]))  # fmt: skip
    return {"n_given": len(samples.names), "seed": seed, "folders_left_out": sorted(folders - seen)}


def _array_given(source: Any, row_names: list[str]) -> tuple[np.ndarray, str] | None:
    """The array that a source is or holds in a file, features or images, and what to call it; None for other sources.

    Of arrays in memory only features: images in memory have other forms beside an array. The names that a table gives
    its rows are added to `row_names`.
    """
    if is_table(source):
        values, names = read_table(Path(source))
        row_names += names
        return values, str(source)
    if holds_array(source):
        return open_array(source), str(source)
    if shards := shard_paths(source):
        return np.asarray(open_features(shards)), str(source) if isinstance(
            source, (str, os.PathLike)
        ) else "a list of files"
    if (isinstance(source, np.ndarray) or is_tensor(source)) and source.ndim == 2:
        return as_features(source, "the array"), "an array in memory"
    return None


def _images_in_file(array: np.ndarray, name: str) -> Samples:
    if array.ndim not in (3, 4):
        as_features(array, name)  # says what is wrong with it
    try:
        return image_samples(array, name)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _load(extractor: str | Callable[..., Any], kind: str, device: str | torch.device) -> Callable[..., Any]:
    network = load_extractor(extractor)
    made_for = getattr(network, "kind", kind)
    if made_for != kind:
        fitting = AUDIO_EXTRACTORS if kind == "audio" else EXTRACTORS
        raise ValueError(
            f"The source holds {kind}, but the extractor {_name_of(extractor)!r} is for {made_for}; "
            f"give one of {', '.join(fitting)}, a library's, or your own."
        )
    if isinstance(extractor, str) and isinstance(network, (ImageExtractor, AudioExtractor)):
        try:
            if extractor_device(network) != torch.device(device):  # moving would build a network that may not be needed
                network.to(device)
        except (RuntimeError, AssertionError) as error:  # the latter from a torch that was built without CUDA
            reason = str(error).strip().splitlines()[0]
            raise ValueError(
                f"device is {str(device)!r}, which cannot be used here ({reason}); 'cpu' always can be."
            ) from error
    return network


def _name_of(extractor: str | Callable[..., Any]) -> str:
    if isinstance(extractor, str):
        return extractor
    return str(getattr(extractor, "name", getattr(extractor, "__qualname__", type(extractor).__qualname__)))


def _device_type(network: Callable[..., Any], device: str | torch.device) -> str:
    # Features differ a little between kinds of devices: they are not mixed in the cache.
    return network.mean.device.type if isinstance(network, ImageExtractor) else torch.device(device).type


def _rows_kept(
    samples: Samples, indices: Sequence[int], folder: Path, fail: Callable[[int, Exception], None]
) -> dict[int, NDArray[np.float32]]:
    """Rows computed before, by index."""
    keys = {}
    for index in indices:
        try:
            keys[index] = samples.digest(index)
        except ValueError as error:
            fail(index, error)
    found = cached_rows(folder, set(keys.values()))
    return {index: found[key] for index, key in keys.items() if key in found}


def _stack(rows: dict[int, NDArray[np.float32]], used: list[int], names: list[str]) -> NDArray[np.float32]:
    for index, name in zip(used, names, strict=True):
        if rows[index].shape != rows[used[0]].shape:
            raise ValueError(
                f"The extractor returned {len(rows[used[0]])} features for {names[0]} and {len(rows[index])} for "
                f"{name}; it has to return as many for every sample, whatever its size."
            )
    return np.stack([rows[index] for index in used])
