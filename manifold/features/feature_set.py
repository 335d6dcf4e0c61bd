"""Features of whatever a user has: folders, files and arrays, image or audio, or features already."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from genmend.manifold.engine.inputs import as_count, as_features, is_tensor
from genmend.manifold.features.audio_extractor import AudioExtractor
from genmend.manifold.features.extraction import audio_rows, image_rows
from genmend.manifold.features.extractor_device import extractor_device
from genmend.manifold.features.extractors.loading import AUDIO_EXTRACTORS, EXTRACTORS, load_extractor
from genmend.manifold.features.feature_arrays import array_sources, open_array
from genmend.manifold.features.feature_cache import ShardWriter, cached_rows, folder_of
from genmend.manifold.features.feature_tables import is_table, read_table
from genmend.manifold.features.image_extractor import ImageExtractor, digest_of_pipeline
from genmend.manifold.features.sources import Samples, samples_of
from genmend.manifold.features.sources.array_shards import array_labels
from genmend.manifold.features.sources.streams import Stream, is_stream
from genmend.manifold.features.unusable import UnusableSampleError
from genmend.manifold.kept_features.feature_file import is_kept, kept_kind
from genmend.manifold.kept_features.feature_set import FeatureSet
from genmend.manifold.kept_features.opened import drawn_rows, open_kept
from genmend.manifold.sharded.mapped_features import SUFFIXES, open_features
from genmend.storage.progress import counted

__all__ = ["FeatureSet", "features_of", "kind_of"]

_log = logging.getLogger(__name__)

_EXTRACTOR_OF_KIND = {"images": "efficientnet-lite0", "audio": "whisper-tiny"}
_ROWS_AT_ONCE = 4096  # that memory is taken for where nothing says how many there will be


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
    n_samples: int | None = None,
) -> FeatureSet:
    """Extract the features of a source, or open them where it holds features already.

    Parameters
    ----------
    source
        A folder of images or audio files (with its subfolders, sorted; hidden files are left out), one such file, or a
        list of them; images as a tensor or array, (n, 3, h, w) or (n, h, w, 3), or gray (n, h, w), floats
        in [0, 1], uint8, uint16 or bool, or a list of such single ones or of Pillow's, or as the array of a .npy, .npz
        or .safetensors file; waves with `sample_rate`, a list of 1-D ones or an array (n, samples); features (n, d), as
        an array, as the path of a .npy, .npz, .safetensors or .csv file, or as a folder or list of .npy, .npz and
        .safetensors files, for which `extractor` is not used, nor for a file that `FeatureSet.save` wrote.
        Also images in one or several .tar (as webdataset writes them) or .parquet files (needs pyarrow), or a data set
        that gives items by number (torch, torchvision, Hugging Face). ``FILE.npz:KEY`` names one array of several,
        ``DATA.parquet:COLUMN`` a column, ``SHARDS.tar:png`` an ending; ``{000..009}.tar`` and ``train-*.parquet`` name
        several files. Or what is gone through once and not cached: a DataLoader or an iterator of images, or of batches
        of images or of features, alone, as (images, labels) or as mappings; a function that is called with a number of
        images, and returns a batch of about so many, with `n_samples`.
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
        Take only so many samples, drawn at random without replacement, in their order; the first of an iterator that
        doesn't say how many it has.
    seed : int
        Of that choice; the same for the same number of samples.
    device : str or torch.device
        Where a named extractor runs; a callable of your own stays where it is.
    n_samples : int, optional
        How many a function is to draw, or are taken of an iterator: exactly so many.

    Returns
    -------
    FeatureSet

    Raises
    ------
    UnusableSampleError
        If a sample can't be used and `on_error` is "raise". A ValueError.
    ValueError
        If the source holds nothing, two kinds, or only samples that can't be used, or doesn't go with the extractor; if
        batches differ in their form, or there are fewer samples than `n_samples`.
    ModuleNotFoundError
        If it is a parquet file, and pyarrow is not installed.
    FileNotFoundError
        If there is no such path, or (`genmend.storage.weights.MissingWeightsError`) the weights were not fetched.
    """
    if on_error not in ("raise", "skip", "report"):
        raise ValueError(f"on_error is {on_error!r}; 'raise', 'skip' and 'report' are accepted.")
    batch_size = as_count(batch_size, "batch_size")
    limit = None if limit is None else as_count(limit, "limit")
    n_samples = None if n_samples is None else as_count(n_samples, "n_samples")
    if is_stream(source):
        if sample_rate is not None:
            raise ValueError("Recordings are taken as files, a list or an array, not one batch after the other.")
        stream = Stream(source, n_samples, batch_size)
        chosen = None if limit is None else drawn_rows(limit if stream.n is None else stream.n, limit, seed)
        if (rows := stream.features(chosen)) is not None:
            return FeatureSet(rows[0], rows[1], "array", {"extractor": None}, source=stream.description, labels=rows[2])
        return _extracted(*stream.samples(chosen), extractor, on_error, False, batch_size, progress, seed, device)
    if n_samples is not None:
        raise ValueError("n_samples says how many a function or an iterator is asked for; of a set limit draws some.")
    if is_kept(source):
        return open_kept(source, limit, seed)
    if sample_rate is None and (given := _features_given(source)) is not None:
        chosen = drawn_rows(len(given.values), limit, seed)
        whole = len(chosen) == len(given.values)
        return FeatureSet(
            given.values if whole else given.values[chosen],
            [given.names[index] for index in chosen] if given.names else [str(index) for index in chosen],
            "array",
            {"extractor": None},
            source=given.description,
            drawn=None if whole else {"n_given": len(given.values), "seed": seed, "folders_left_out": []},
            labels=None if given.labels is None else [given.labels[index] for index in chosen],
        )
    samples = samples_of(source, sample_rate)
    indices = drawn_rows(len(samples.names), limit, seed)
    return _extracted(samples, indices, extractor, on_error, cache, batch_size, progress, seed, device)


def _extracted(
    samples: Samples,
    indices: Sequence[int] | Iterator[int],
    extractor: str | Callable[..., Any],
    on_error: str,
    cache: bool,
    batch_size: int,
    progress: bool,
    seed: int,
    device: str | torch.device,
) -> FeatureSet:
    """Features of samples by an extractor; those kept before come from the cache, but of a stream none are kept."""
    extractor = extractor or _EXTRACTOR_OF_KIND[samples.kind]
    network = _load(extractor, samples.kind, device)
    pipeline = network.pipeline() if hasattr(network, "pipeline") else {"extractor": _name_of(extractor)}
    failed: dict[int, str] = {}
    by_number = isinstance(indices, Sequence)
    n = len(indices) if isinstance(indices, Sequence) else 0  # 0 where it is not known

    def fail(index: int, error: Exception) -> None:
        failed[index] = getattr(error, "reason", str(error))
        path = getattr(error, "path", samples.place(index))
        if on_error == "raise":
            place = indices.index(index) if isinstance(indices, Sequence) else index
            looked_at = f"{place + 1}{f' of {n}' if n else ''} samples were looked at" if n != 1 else ""
            raise UnusableSampleError(path, failed[index], looked_at) from error
        if on_error == "report":
            _log.warning("%s is left out: %s", path, failed[index])

    folder = None
    rows: dict[int, NDArray[np.float32]] = {}
    if isinstance(indices, Sequence) and cache and hasattr(network, "pipeline"):
        folder = folder_of(digest_of_pipeline({**pipeline, "device": _device_type(network, device)}))
        rows = _rows_kept(samples, indices, folder, fail)
    left = [index for index in indices if index not in rows and index not in failed] if by_number else indices
    held: Iterator[NDArray[np.float32]] = iter(())
    with (
        ShardWriter(folder) if folder else nullcontext() as writer,
        counted("features", n, done=len(rows), show=progress) as advance,
    ):
        for index, digest, row in (
            image_rows(samples, left, network, fail, batch_size, device)
            if samples.kind == "images"
            else audio_rows(samples, left, network, fail)
        ):
            # In one array from the start: small ones kept between large passing ones leave holes that nothing fills.
            place = next(held, None)
            if place is None:
                held = iter(np.empty((n - len(rows) if n else _ROWS_AT_ONCE, len(row)), np.float32))
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
        raise ValueError(f"None of the {len(skipped)} samples of {samples.description} can be used; {name}: {reason}.")
    used = sorted(rows)
    names = [samples.names[index] for index in used]
    return FeatureSet(
        _stack(rows, used, names),
        names,
        samples.kind,
        pipeline,
        skipped,
        samples.description,
        _what_was_drawn(samples, indices, seed) if isinstance(indices, Sequence) else None,
        (lambda row: samples.load(used[row])[1]) if by_number else None,
        labels=samples.labels_of(used),
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
    if sources := array_sources(source):
        return "array" if open_array(sources[0]).ndim < 3 else "images"
    return samples_of(source).kind


def _what_was_drawn(samples: Samples, indices: Sequence[int], seed: int) -> dict[str, Any] | None:
    if len(indices) == len(samples.names):
        return None
    folders, seen = ({name.rpartition("/")[0] for name in names}
                     for names in (samples.names, [samples.names[index] for index in indices]))  # fmt: skip
    return {"n_given": len(samples.names), "seed": seed, "folders_left_out": sorted(folders - seen)}


class _Features(NamedTuple):
    """Features (n, d) that a source holds already; without names they go by their numbers."""

    values: np.ndarray
    description: str
    names: Sequence[str] = ()
    labels: list[str] | None = None


def _features_given(source: Any) -> _Features | None:
    """The features that a source is, or holds in one file or several; None for other sources."""
    if is_table(source):
        values, names = read_table(Path(source))
        return _Features(values, str(source), names)
    if (isinstance(source, np.ndarray) or is_tensor(source)) and source.ndim == 2:
        return _Features(as_features(source, "the array"), "an array in memory")
    sources = array_sources(source)
    if not sources or (first := open_array(sources[0])).ndim != 2:
        return None
    description = str(source) if isinstance(source, (str, os.PathLike)) else "a list of files"
    plain = all(Path(one).suffix.lower() in SUFFIXES for one in sources)
    if len(sources) == 1:
        values = first
    elif plain:
        values = np.asarray(open_features(sources))
    else:
        values = np.concatenate([as_features(open_array(one), str(one), first.shape[1]) for one in sources])
    labels = [array_labels(one, len(values) if len(sources) == 1 else len(open_array(one))) for one in sources]
    told = all(of_file is not None for of_file in labels)
    return _Features(values, description, (), [text for of_file in labels for text in of_file or ()] if told else None)


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
