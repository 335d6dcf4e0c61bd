"""Something fitted as one safetensors file: arrays and JSON, never a pickle; read strictly."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from genmend.storage.atomic import atomic_write

__all__ = ["load_fitted", "save_fitted"]

Fitted = TypeVar("Fitted")


def save_fitted(
    path: str | os.PathLike[str], kind: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    """Write arrays and JSON facts, atomically: a reader sees the old file or the whole new one.

    `kind` says what they are, e.g. ``detector``.
    """
    with atomic_write(path) as temporary:
        save_file(
            {name: values.contiguous() for name, values in tensors.items()},
            temporary,
            metadata={"schema": _schema(kind), kind: json.dumps(facts, allow_nan=False)},
        )


def load_fitted(
    path: str | os.PathLike[str],
    kind: str,
    restored: Callable[[dict[str, Any], dict[str, Tensor]], Fitted],
    *,
    command: str,
    error: type[ValueError],
) -> Fitted:
    """What `restored` makes of the facts and tensors of a file that `save_fitted` wrote.

    Raises
    ------
    error
        If the file is of another kind or version, or damaged, or `restored` finds fault with it.
    FileNotFoundError
        If there is none; the message says that ``genmend COMMAND`` writes one.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {kind} file {path}; `genmend {command}` writes one into its --out folder."
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Cloned, for what it gives is the mapped file itself.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - no mapping
        if metadata.get("schema") == _schema(kind):
            return restored(json.loads(metadata[kind], parse_constant=_refused), tensors)
    except (SafetensorError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as fault:
        raise error(f"{path} is not a whole {kind} file ({fault}); fit the {kind} again.") from fault
    raise error(f"{path} is of kind {metadata.get('schema')!r}; a file of {_schema(kind)!r} is needed.")


def _schema(kind: str) -> str:
    return f"genmend.{kind}/1"


def _refused(constant: str) -> float:
    raise ValueError(f"it holds {constant}")
