"""The weights' files of a pipeline: which of them are read, in which precision, and what they take in memory.

A repository may hold the same weights twice, as ``model.safetensors`` and in half precision as
``model.fp16.safetensors``; fp16 is called a variant. Pickled weights are never read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

from genmend.diffusion.pipeline_folder import safetensors_header

__all__ = ["DTYPE_BYTES", "bytes_in_memory", "components_of", "files_to_read", "variant_of"]

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|model|pytorch_model)"
    r"(?:\.(?P<variant>\w+))?(?:-\d{5}-of-\d{5})?(?:\.(?P<old_place>\w+))?\.safetensors"
)
# Weights in formats that are not read, beside safetensors of other names.
_OTHER_WEIGHTS = (".safetensors", ".bin", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx", ".onnx_data", ".pb", ".pt",
                  ".pth", ".tflite", ".xml")  # fmt: skip


def components_of(index: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the folders of a pipeline, by what its ``model_index.json`` holds."""
    return tuple(
        name
        for name, value in index.items()
        if not name.startswith("_") and isinstance(value, list) and len(value) == 2 and value[0] is not None
    )


def variant_of(files: Collection[str], components: Collection[str], dtype: str, asked: str = "") -> str:
    """Which variant is read: the one asked for; else fp16 for a 16-bit dtype, or where there is nothing else.

    Parameters
    ----------
    files
        Paths in the repository or folder, with ``/``.
    components
        As `components_of` returns them.
    dtype, asked
        What the weights are turned into; and the variant that the user names.

    Raises
    ------
    ValueError
        If there are no weights of the variant asked for, or only others than fp16, or only pickled ones.
    """
    there = {kind for name in files for kind in (_kind(name, components),) if kind is not None}
    shown = ", ".join(sorted(there - {""})) or "none"
    if asked:
        if asked not in there:
            raise ValueError(f"--variant is {asked!r}, and the variants there are: {shown}; leave it out.")
        return asked
    if not there:
        raise ValueError(
            "There are no weights as safetensors, and pickled ones, which can run code, are never read; use a model "
            "that has them, or save it anew with safe_serialization=True."
        )
    if "fp16" in there and (DTYPE_BYTES[dtype] == 2 or "" not in there):
        return "fp16"
    if "" not in there:
        raise ValueError(f"The weights are there in variants alone: {shown}; name one with --variant.")
    return ""


def files_to_read(files: Iterable[str], components: Collection[str], variant: str) -> list[str]:
    """Paths of what is needed: in each component the weights of the variant, or plain ones, and all small files."""
    files = sorted(files)
    varied = {name.split("/")[0] for name in files if variant and _kind(name, components) == variant}
    found = [name for name in files if name == "model_index.json"]
    for name in files:
        component = name.split("/")[0]
        if component not in components or name.count("/") != 1:
            continue
        kind = _kind(name, components)
        if kind == (variant if component in varied else "") or (kind is None and not name.endswith(_OTHER_WEIGHTS)):
            found.append(name)
    return found


def bytes_in_memory(folder: Path, variant: str, dtype: str) -> dict[str, int]:
    """Component -> bytes that its weights take in this precision; of a quantised one, those of its files.

    Raises
    ------
    ValueError
        If a file is damaged, or a file that an index names is missing.
    """
    components = components_of(json.loads((folder / "model_index.json").read_text(encoding="utf-8")))
    names = [path.relative_to(folder).as_posix() for path in folder.glob("*/*") if path.is_file()]
    found: dict[str, int] = {}
    for name in files_to_read(names, components, variant):
        component = name.split("/")[0]
        if name.endswith(".index.json"):
            _check_shards(
                folder / name, {one.split("/")[1] for one in names if one.startswith(f"{component}/")}, variant
            )
        elif name.endswith(".safetensors"):
            path = folder / name
            bytes_each = None if _is_quantised(folder / component) else DTYPE_BYTES[dtype]
            found[component] = found.get(component, 0) + _bytes_of(path, bytes_each)
    return found


def _kind(name: str, components: Collection[str]) -> str | None:
    """The variant of a weights file, "" for plain ones; None for what is none."""
    component, _, file = name.partition("/")
    match = _WEIGHTS.fullmatch(file) if component in components else None
    return None if match is None else match["variant"] or match["old_place"] or ""


def _bytes_of(path: Path, bytes_each: int | None) -> int:
    if bytes_each is None:
        return path.stat().st_size
    shapes = (tensor.get("shape") for name, tensor in safetensors_header(path).items() if name != "__metadata__")
    return sum(prod(shape) * bytes_each for shape in shapes if isinstance(shape, list))


def _is_quantised(component: Path) -> bool:
    path = component / "config.json"
    return path.is_file() and "quantization_config" in json.loads(path.read_text(encoding="utf-8"))


def _check_shards(index: Path, there: Collection[str], variant: str) -> None:
    named = re.fullmatch(r".*\.safetensors(?:\.index(?:\.(\w+))?)\.json", index.name)
    if named is None or (named[1] or "") != variant:
        return
    shards = set(json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values())
    missing = sorted(shards - set(there))
    if missing:
        raise ValueError(f"{index.parent} lacks {missing[0]}, which {index.name} names; download the model again.")
