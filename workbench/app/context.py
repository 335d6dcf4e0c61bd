"""What the tabs of the page share: the output folder, the queue of jobs, and models that are loaded once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmend.workbench.app.jobs import Jobs

if TYPE_CHECKING:
    import gradio as gr

    from genmend.gans import Generator

__all__ = ["AppContext", "Models", "Shared"]


@dataclass(frozen=True)
class Models:
    """What the tabs work on: chosen where the page is started, never in the page.

    Attributes
    ----------
    pipeline : str
        "reference", or the folder of a diffusers pipeline.
    voice : str
        Any voice that `load_voice` takes, beside those that come with genmend; "" for none.
    generator : Generator, optional
        Of the tab Generator, which alone runs it; the face generator where None.
    """

    pipeline: str = "reference"
    voice: str = ""
    generator: Generator | None = None


class Shared:
    """Things that all sessions use, each made when it is first asked for. They must not be changed by who uses them."""

    def __init__(self) -> None:
        self._made: dict[Any, Any] = {}
        self._locks: dict[Any, threading.Lock] = {}
        self._lock = threading.Lock()

    def __call__(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what `make` returned when `key` was first asked for; others wait while it is made."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._made:
                self._made[key] = make()
            return self._made[key]


@dataclass(frozen=True)
class AppContext:
    """What ``build(context)`` of a tab is given.

    Attributes
    ----------
    out : Path
        The one folder that is written to; only files below it are served.
    models : Models
        What the tabs work on.
    jobs : Jobs
        For whatever takes more than a second: see `genmend.workbench.app.job_panel`.
    shared : Shared
        ``context.shared("faces", lambda: load_generator("faces"))``: loaded when first used, for all sessions.
    page : gr.Blocks
        The page that is being built, for its ``load``.
    tab : gr.Tab
        The tab that is being built, for its ``select``: when it is first used.
    kept : list of gr.BrowserState
        What browsers keep of the page. They stand outside the tabs: a tab that is not open reads nothing.
    """

    out: Path
    models: Models = field(default_factory=Models)
    jobs: Jobs = field(default_factory=Jobs)
    shared: Shared = field(default_factory=Shared)
    page: gr.Blocks | None = None
    tab: gr.Tab | None = None
    kept: list[gr.BrowserState] = field(default_factory=list)

    @property
    def files(self) -> Path:
        """Where uploads and pictures of the page lie, the only folder whose files are sent to a browser."""
        return self.out / "files"
