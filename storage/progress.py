"""How far long work is and how long the rest may take: a bar on a terminal or in a notebook, else a line a minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any, TypeVar

__all__ = ["counted", "in_words", "progress_to", "tell", "with_progress"]

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


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this."""
    shell = sys.modules.get("IPython")
    return shell is not None and hasattr(shell.get_ipython(), "kernel")


def _bar() -> Any:
    """The class of bars that can be seen here; None where a line a minute is better."""
    if _in_notebook():
        from tqdm import notebook, std

        return notebook.tqdm if find_spec("ipywidgets") else std.tqdm
    if sys.stderr.isatty():
        from tqdm import tqdm

        return tqdm
    return None


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
    bar = _bar() if show else None
    if bar is not None and costs is not None:
        yield from _bar_of_costs(bar, items, description, costs)
        return
    if bar is None and show and costs is not None and sum(costs) >= SECONDS:
        print(f"{description}: {total} to do, about {in_words(sum(costs))}", file=sys.stderr, flush=True)
    with counted(description, total, costs=costs, show=show) as advance:
        tell(description, 0, total)
        for item in items:
            yield item
            advance()


@contextmanager
def counted(
    description: str,
    total: int,
    *,
    done: int = 0,
    costs: Sequence[float] | None = None,
    unit: str = "",
    show: bool = True,
) -> Iterator[Callable[..., None]]:
    """Give a function to call with how much more is done (1 if nothing is said), and say how far the work is.

    That function takes ``before=True`` for what an earlier run had done: it takes no time and counts for no estimate.

    Parameters
    ----------
    description, total, costs, show
        As `with_progress` takes them.
    done : int
        What was done before, by an earlier run.
    unit : str
        What one is, e.g. "image": then seconds for each are said too.
    """
    bar = _bar() if show else None
    if bar is not None:
        with bar(desc=description, total=total, initial=done, leave=False, unit=f" {unit}" if unit else "it") as shown:

            def update(more: int = 1, *, before: bool = False) -> None:
                if before:
                    shown.initial += more
                shown.update(more)
                tell(description, shown.n, total)

            yield update
        return
    first, finished = done, done
    began = said = time.monotonic()

    def advance(more: int = 1, *, before: bool = False) -> None:
        nonlocal finished, first, said
        finished += more
        if before:
            first += more
        tell(description, finished, total)
        now = time.monotonic()
        n = finished - first
        if show and n and finished < total and now - said >= SECONDS:
            said = now
            ahead = (total - finished) / n if costs is None else sum(costs[n:]) / max(sum(costs[:n]), 1e-9)
            left = in_words((now - began) * ahead)
            each = f", {(now - began) / n:.1f} s for each {unit}" if unit else ""
            print(f"{description}: {finished} of {total} done{each}, about {left} left", file=sys.stderr, flush=True)

    yield advance
    if show and said > began:
        print(f"{description}: done in {in_words(time.monotonic() - began)}", file=sys.stderr, flush=True)


def _bar_of_costs(kind: Any, items: Iterable[Item], description: str, costs: Sequence[float]) -> Iterator[Item]:
    shape = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
    about = f"{description}, about {in_words(sum(costs))}"
    with kind(desc=about, total=sum(costs), leave=False, bar_format=shape) as bar:
        for done, (item, cost) in enumerate(zip(items, costs, strict=True)):
            tell(description, done, len(costs))
            yield item
            bar.set_description(description, refresh=False)
            bar.update(cost)


def in_words(seconds: float) -> str:
    """Seconds as people say them: s, min or h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
