"""The error for one image or recording that cannot be used."""

from __future__ import annotations

from pathlib import Path

__all__ = ["UnusableSampleError"]


class UnusableSampleError(ValueError):
    """One image or recording cannot be used; `path` says which (a file, or its index) and `reason` why."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path} cannot be used: {reason}")
        self.path, self.reason = str(path), reason
