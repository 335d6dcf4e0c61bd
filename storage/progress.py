"""How far long work is and how long the rest may take, for people: a bar on a terminal, elsewhere a line a minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

__all__ = ["in_words", "on_terminal", "progress_to", "tell", "with_progress"]

SECONDS = 60.0  # between lines where there is no terminal
Item = TypeVar("Item")
Listener = Callable[[str, int, int], None]
_listener: ContextVar[Listener | None] = ContextVar("listener of progress", default=None)


@contextmanager
def progress_to(listener: Listener) -> Iterator[None]:
    """Have all long work of this thread tell how far it is, e.g. to a page that shows it or stops it.

    Parameters
    ----------
    listener : callable
        Called before each step with what is done, how many steps are behind and how many there are. What it raises
        stops the work there; what was finished before is kept where the work keeps it.

    Examples
    --------
    >>> with progress_to(lambda *step: print(*step)):
    ...     squares = [i * i for i in with_progress(range(2), "squares", 2, show=False)]
    squares 0 2
    squares 1 2
    squares 2 2
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(description: str, done: int, total: int) -> None:
    """Tell the listener of this thread, if there is one, how far work is; see `progress_to`."""
    listener = _listener.get()
    if listener is not None:
        listener(description, done, total)


def _told(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    for done, item in enumerate(items):
        tell(description, done, total)
        yield item
    tell(description, total, total)


def on_terminal() -> bool:
    """Whether stderr is a terminal."""
    return sys.stderr.isatty()


def with_progress(
    items: Iterable[Item], description: str, total: int, *, costs: Sequence[float] | None = None, show: bool = True
) -> Iterator[Item]:
    """Yield the items, and say on stderr how many are done and about how long the rest takes.

    Parameters
    ----------
    items
        What is worked on while it is yielded.
    description : str
        Of the work.
    total : int
        How many items there are.
    costs : sequence of float, optional
        About how many seconds each item takes, for items that differ: then the first estimate is theirs, and the later
        ones scale them by what has passed.
    show : bool
        False says nothing, but to the listener of `progress_to`.
    """
    if _listener.get() is not None:
        items = _told(items, description, total)
    if show and on_terminal():
        from tqdm import tqdm

        if costs is None:
            yield from tqdm(items, desc=description, total=total, leave=False)
            return
        yield from _bar_of_costs(items, description, costs)
        return
    began = said = time.monotonic()
    if show and costs is not None and sum(costs) >= SECONDS:
        print(f"{description}: {total} to do, about {in_words(sum(costs))}", file=sys.stderr, flush=True)
    for done, item in enumerate(items):
        now = time.monotonic()
        if show and done and now - said >= SECONDS:
            said = now
            ahead = (total - done) / done if costs is None else sum(costs[done:]) / max(sum(costs[:done]), 1e-9)
            left = (now - began) * ahead
            print(f"{description}: {done} of {total} done, about {in_words(left)} left", file=sys.stderr, flush=True)
        yield item
    if show and said > began:
        print(f"{description}: done in {in_words(time.monotonic() - began)}", file=sys.stderr, flush=True)


def _bar_of_costs(items: Iterable[Item], description: str, costs: Sequence[float]) -> Iterator[Item]:
    from tqdm import tqdm

    shape = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
    about = f"{description}, about {in_words(sum(costs))}"
    with tqdm(desc=about, total=sum(costs), leave=False, bar_format=shape) as bar:
        for item, cost in zip(items, costs, strict=True):
            yield item
            bar.set_description(description, refresh=False)
            bar.update(cost)


def in_words(seconds: float) -> str:
    """Seconds as people say them: s, min or h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
