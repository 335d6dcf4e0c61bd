"""The error for one image or recording that cannot be used."""

from __future__ import annotations

from pathlib import Path

__all__ = ["UnusableSampleError"]


class UnusableSampleError(ValueError):
    """One image or recording cannot be used; `path` says which (a file, or its index) and `reason` why.

    `looked_at` says how far a longer work had come, which could have left this one out.
    """

    def __init__(self, path: str | Path, reason: str, looked_at: str = "") -> None:
        rest = f" ({looked_at}; on_error='skip', --on-error skip, leaves out what cannot be used)" if looked_at else ""
        super().__init__(f"{path} cannot be used: {reason}{rest}")
        self.path, self.reason = str(path), reason
