"""Features computed before, by the content they were computed from: shards of rows, written whole or not at all.

A row's key is the SHA-256 of the sample's content; a folder holds the rows of one pipeline. A shard's name is the
digest of its own content, so a damaged one is found out, thrown away and computed again. Two runs may write at once.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from genmend.storage.atomic import whole_file
from genmend.storage.digests import sha256_of
from genmend.storage.weights import cache_folder

__all__ = ["SCHEMA", "ShardWriter", "cached_rows", "folder_of"]

# Part of every folder's name: raise it when the meaning of a row changes.
SCHEMA = 1
ROWS_A_SHARD = 256
# A slow extractor's rows are written sooner: this much work is the most that a kill loses.
SECONDS_A_SHARD = 20.0


def folder_of(pipeline_digest: str) -> Path:
    """Where the rows of one pipeline are."""
    return cache_folder() / "features" / f"{SCHEMA}-{pipeline_digest[:32]}"


def cached_rows(folder: Path, keys: Collection[bytes]) -> dict[bytes, NDArray[np.float32]]:
    """Those of the `keys` whose rows are here, with their rows; damaged shards are removed."""
    wanted = set(keys)
    found: dict[bytes, NDArray[np.float32]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="numpy") as file:
                here = {bytes(key) for key in file.get_tensor("keys")} & wanted
            if not here:
                continue
            content = path.read_bytes()
            if _name(content) != path.name:
                raise ValueError("the content is not what the name says")
            shard = load(content)
        except (OSError, ValueError, SafetensorError):
            path.unlink(missing_ok=True)
            continue
        # Copies, because a view would keep the whole shard in memory.
        rows = zip(map(bytes, shard["keys"]), shard["values"], strict=True)
        found |= {key: row.copy() for key, row in rows if key in here}
    return found


class ShardWriter:
    """Collects rows and writes them as shards; leaving the ``with`` block, also by an error, writes what is left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: dict[bytes, NDArray[np.float32]] = {}
        self._written = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write()

    def add(self, key: bytes, row: NDArray[np.float32]) -> None:
        """Keep one row; it is on disk when its shard is full or 20 seconds have passed."""
        self._rows[key] = row
        if len(self._rows) >= ROWS_A_SHARD or time.monotonic() - self._written > SECONDS_A_SHARD:
            self._write()

    def _write(self) -> None:
        if self._rows:
            keys = np.frombuffer(b"".join(self._rows), dtype=np.uint8).reshape(len(self._rows), -1)
            content = save({"keys": keys, "values": np.stack(list(self._rows.values()))})
            self._folder.mkdir(parents=True, exist_ok=True)
            with whole_file(self._folder / _name(content)) as temporary:
                temporary.write_bytes(content)
            self._rows = {}
        self._written = time.monotonic()


def _name(content: bytes) -> str:
    return f"{sha256_of([content])[:32]}.safetensors"
