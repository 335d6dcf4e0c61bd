"""What the passes ask of a tile of bounds, an array or, from a screen on another device, a tensor there.

Limits and indices come in and go out as numpy arrays; of a tensor only the few pairs that are found leave the device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from genmend.manifold.engine.inputs import is_tensor


def exclude(tile: Any, i: np.ndarray, j: np.ndarray) -> None:
    """Make these pairs infinitely far apart, in place."""
    tile[_there(i, tile), _there(j, tile)] = np.inf


def smallest(tile: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of k of the least bounds of every row (fewer where the tile is narrower), infinite ones left out.

    By row.
    """
    k = min(k, tile.shape[1])
    if is_tensor(tile):
        values, columns = (part.cpu().numpy() for part in tile.topk(k, dim=1, largest=False))
    else:
        columns = np.argpartition(tile, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(tile, columns, axis=1)
    i, at = np.nonzero(np.isfinite(values))
    return i, columns[i, at]


def near(
    tile: Any, row_limits: np.ndarray | None = None, column_limits: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every finite bound that is no larger than its row's or than its column's limit, by row."""
    found = None
    for limits in (None if row_limits is None else row_limits[:, None], column_limits):
        if limits is not None:
            within = tile <= _there(np.minimum(limits, np.finfo(np.float32).max), tile)  # finite: not the excluded
            found = within if found is None else found.__ior__(within)
    return indices(found)


def least_in_rows(tile: Any) -> tuple[np.ndarray, np.ndarray]:
    """(b,) the column of each row's least bound, and that bound."""
    columns = tile.argmin(1)
    values = tile[_there(np.arange(len(tile)), tile), columns]
    return (columns.cpu().numpy(), values.cpu().numpy()) if is_tensor(tile) else (columns, values)


def indices(mask: Any) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every True, by row: `np.nonzero`, several times faster where few are."""
    flat = mask.ravel().nonzero()[:, 0].cpu().numpy() if is_tensor(mask) else np.flatnonzero(mask)
    return np.divmod(flat, mask.shape[1])


def scaled_columns(tile: Any, factors: np.ndarray) -> Any:
    """The tile with every column multiplied, in place."""
    tile *= _there(factors, tile)
    return tile


def some_columns(tile: Any, columns: np.ndarray) -> Any:
    """The tile's `columns`; the tile itself where these are all of them."""
    return tile if len(columns) == tile.shape[1] else tile[:, _there(columns, tile)]


def _there(values: np.ndarray, tile: Any) -> Any:
    """An array as something that works with the tile."""
    if not is_tensor(tile):
        return values
    import torch

    return torch.from_numpy(np.ascontiguousarray(values)).to(tile.device)
