"""The line that the user typed, so that pages and summaries can say how to make them again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["given_line", "typed"]

_typed: ContextVar[str] = ContextVar("typed", default="")


@contextmanager
def typed(arguments: Sequence[str]) -> Iterator[None]:
    """Say, for what runs within, what stood behind ``genmend`` on the command line."""
    token = _typed.set(shlex.join(["genmend", *arguments]))
    try:
        yield
    finally:
        _typed.reset(token)


def given_line() -> str:
    """The whole line, quoted for a POSIX shell; empty where genmend was called from Python."""
    return _typed.get()
