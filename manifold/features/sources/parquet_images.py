"""Encoded images in parquet files, as Hugging Face data sets are stored: a row group is read where it is needed.

Their image column is a struct of ``bytes`` and ``path``, others hold the bytes alone. Needs pyarrow (extra `parquet`).
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, NamedTuple

from torch import Tensor

from genmend.manifold.features.image_files import MOST_BYTES
from genmend.manifold.features.sources.files import encoded_image
from genmend.manifold.features.sources.samples import Samples, label_text
from genmend.manifold.features.unusable import UnusableSampleError
from genmend.storage.digests import sha256_of

__all__ = ["PARQUET_SUFFIXES", "parquet_samples"]

PARQUET_SUFFIXES = (".parquet", ".pq")
# What the image column is called where a file has several that may be it, and what a column of classes is called.
_IMAGES = ("image", "img", "images", "jpg", "png")
_LABELS = ("label", "labels", "class", "cls", "class_name", "category", "fine_label", "target")
_MOST_GROUP_BYTES = 8 << 30
_GROUPS_HELD = 2  # threads that read ahead look into the next one


class _Group(NamedTuple):
    """A row group of one of the files, and the number of its first row."""

    path: Path
    number: int
    start: int


def parquet_samples(paths: Sequence[Path], column: str, description: str) -> Samples:
    """The images of a column of one or several parquet files, row by row.

    Parameters
    ----------
    paths
    column
        Its name; empty: the one that holds images.
    description

    Raises
    ------
    ValueError
        If a file is damaged, has no rows or no such column, other columns than the first file, or several that may be
        meant; or a row group of more than 8 GB.
    ModuleNotFoundError
        If pyarrow is not installed.
    """
    pq = _pyarrow()
    first = _opened(pq, paths[0])
    chosen = _image_column(first.schema_arrow, column, paths[0])
    labels_in = _label_column(first.schema_arrow, chosen)
    groups: list[_Group] = []
    labels: dict[int, str] = {}
    n = 0
    for path in paths:
        file = _opened(pq, path)
        if chosen not in _image_columns(file.schema_arrow):
            raise ValueError(f"{path} has no column {chosen!r} of images, and {paths[0]} has; give files of one set.")
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            size = sum(group.column(i).total_uncompressed_size for i in range(group.num_columns)
                       if group.column(i).path_in_schema.split(".")[0] == chosen)  # fmt: skip
            if size > _MOST_GROUP_BYTES:
                raise ValueError(f"{path} has a row group of {size >> 30} GB, which would be held in memory; write it "
                                 f"again with row_group_size=1000.")  # fmt: skip
            groups.append(_Group(path, number, n))
            n += group.num_rows
        labels |= _labels(file, labels_in, n - file.metadata.num_rows, path)
    if not n:
        raise ValueError(f"{description} has no rows; give one a sample.")
    starts = [group.start for group in groups]
    reading = Lock()

    @lru_cache(_GROUPS_HELD)
    def cells(number: int) -> Any:
        group = groups[number]
        return _cells(_opened(pq, group.path), group, chosen)

    def place(index: int) -> str:
        group = groups[bisect_right(starts, index) - 1]
        first = next(one.start for one in groups if one.path == group.path)
        return f"{group.path}, row {index - first}"

    def content(index: int) -> bytes:
        number = bisect_right(starts, index) - 1
        with reading:
            cell = cells(number)[index - starts[number]].as_py()
        if cell is None:
            raise UnusableSampleError(place(index), f"its column {chosen} holds no bytes of an image")
        if len(cell) > MOST_BYTES:
            raise UnusableSampleError(place(index), f"it is larger than {MOST_BYTES >> 20} MB; give a smaller image")
        return bytes(cell)

    def load(index: int) -> tuple[bytes, Tensor]:
        return encoded_image(content(index), place(index))

    return Samples(
        "images",
        _names(groups, n),
        lambda index: bytes.fromhex(sha256_of([content(index)])),
        load,
        description if column else f"{description}:{chosen}",
        labels=labels,
        where=place,
        threads=True,
    )


def _pyarrow() -> ModuleType:
    try:
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Reading parquet files needs the package pyarrow, which is not installed: pip install 'genmend[parquet]'.",
            name="pyarrow",
        ) from error
    return parquet


def _opened(pq: ModuleType, path: Path) -> Any:
    try:
        return pq.ParquetFile(path)
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(path, error) from error
    except Exception as error:  # whatever its reader does on hostile bytes
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ValueError:
    reason = " ".join(str(error).split())[:120].rstrip(".") or type(error).__name__
    return ValueError(f"{path} is no intact parquet file ({reason}); write it again")


def _image_columns(schema: Any) -> list[str]:
    """Columns that may hold encoded images: bytes, or a struct with a field of that name that does."""
    return [field.name for field in schema if _is_bytes(field.type) or _is_struct(field.type)]


def _is_bytes(kind: Any) -> bool:
    return str(kind) in ("binary", "large_binary", "binary_view")


def _is_struct(kind: Any) -> bool:
    return str(kind).startswith("struct<") and any(
        field.name == "bytes" and _is_bytes(field.type) for field in (kind.field(i) for i in range(kind.num_fields))
    )


def _image_column(schema: Any, wanted: str, path: Path) -> str:
    found = _image_columns(schema)
    listed = ", ".join(schema.names[:8]) or "none"
    if wanted:
        if wanted not in schema.names:
            raise ValueError(f"{path} has no column {wanted!r}; its columns are {listed}.")
        if wanted not in found:
            raise ValueError(f"The column {wanted!r} of {path} is {schema.field(wanted).type}; encoded images are "
                             f"accepted, as bytes or as a struct of bytes and path.")  # fmt: skip
        return wanted
    if not found:
        raise ValueError(f"{path} has no column of encoded images (bytes, or a struct of bytes and path); its columns "
                         f"are {listed}.")  # fmt: skip
    known = [name for name in _IMAGES if name in found]
    if len(found) > 1 and not known:
        raise ValueError(f"{path} has {len(found)} columns that may be images: {', '.join(found[:8])}; name one, as "
                         f"{path.name}:{found[0]}.")  # fmt: skip
    return known[0] if known else found[0]


def _label_column(schema: Any, images: str) -> str:
    """The column of classes; empty where there is none."""
    named = list(_class_names(schema))
    fitting = [name for name in schema.names if name != images and _is_label(schema.field(name).type)]
    known = [name for name in _LABELS if name in fitting]
    of_names = [name for name in named if name in fitting]
    return next(iter([*(name for name in known if name in of_names), *of_names, *known]), "")


def _is_label(kind: Any) -> bool:
    text = str(kind)
    return text.startswith(("int", "uint", "bool", "string", "large_string", "dictionary<values=string"))


def _class_names(schema: Any) -> dict[str, list[str]]:
    """The names of the classes by column, as the Hugging Face library writes them into a file."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: list(map(str, one["names"]))
            for name, one in features.items()
            if isinstance(one, dict) and one.get("_type") == "ClassLabel" and isinstance(one.get("names"), list)
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}


def _labels(file: Any, column: str, start: int, path: Path) -> dict[int, str]:
    """The class of each row of a file, by its number among all."""
    if not column or column not in file.schema_arrow.names:
        return {}
    names = _class_names(file.schema_arrow).get(column, [])
    try:
        values = file.read(columns=[column], use_threads=False).column(0).to_pylist()
    except Exception as error:
        raise _damaged(path, error) from error
    found = {}
    for row, value in enumerate(values):
        if value is not None and value != -1:  # -1 stands for none in data sets whose test part has no labels
            named = isinstance(value, int) and 0 <= value < len(names)
            text = names[value] if named else label_text(value)
            if text is not None:
                found[start + row] = text
    return found


def _cells(file: Any, group: _Group, column: str) -> Any:
    """The bytes of a row group, a cell a row."""
    from pyarrow import compute

    kind = file.schema_arrow.field(column).type
    wanted = f"{column}.bytes" if _is_struct(kind) else column
    try:
        found = file.read_row_group(group.number, columns=[wanted], use_threads=False).column(0)
        return compute.struct_field(found, "bytes") if _is_struct(kind) else found
    except Exception as error:  # whatever a decoder does on hostile bytes
        raise _damaged(group.path, error) from error


def _names(groups: list[_Group], n: int) -> list[str]:
    """The row of each sample, behind the name of its file where there are several."""
    ends = [*(group.start for group in groups[1:]), n]
    names: list[str] = []
    first: dict[Path, int] = {}
    several = len({group.path for group in groups}) > 1
    for group, end in zip(groups, ends, strict=True):
        start = first.setdefault(group.path, group.start)
        head = f"{group.path.name}:" if several else ""
        names += [f"{head}{row - start}" for row in range(group.start, end)]
    return names
