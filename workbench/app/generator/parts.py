"""What stands in the tab, and how it follows what a visitor does: each event gives a session, what changed is drawn."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from genmend.activations import Correction
from genmend.gans.editing.edit_effect import EditEffect
from genmend.gans.editing.history import EditHistory
from genmend.workbench.app.generator import views
from genmend.workbench.app.generator.inspected import Inspected
from genmend.workbench.app.generator.pictures import to_paint_on
from genmend.workbench.app.generator.session import Session, begun, control, scored
from genmend.workbench.app.jobs import one_sentence

__all__ = ["TOLD", "Parts", "Place", "clicked", "problem_box"]

TOLD = (ValueError, TypeError, LookupError, OSError, RuntimeError, ImportError)
ALL = "all, the best first"
_QUIET: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "multiple", "api_visibility": "private"}

_BEHIND: dict[str, Any] = {"concurrency_limit": 2}  # of each event's scores, which wait in threads for their turn


class Place:
    """Where one browser's session is kept, with what it has measured and uploaded; its events take turns."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.measured: tuple[EditHistory, EditEffect] | None = None
        self.uploaded: Correction | None = None
        self.lock = threading.Lock()

    def __deepcopy__(self, memo: Any) -> Place:
        return Place()


@dataclass(frozen=True)
class Parts:
    """The components that show a session.

    Attributes
    ----------
    inspected : callable
        The generator, loaded when it is first asked for.
    files : Path
        Folder of pictures that are sent to a browser.
    place : gr.State
        Holds the `Place`.
    """

    inspected: Callable[[], Inspected]
    files: Path
    place: gr.State
    verdict: gr.HTML
    problem: gr.HTML
    samples: gr.HTML
    before_after: gr.HTML
    paint: gr.ImageEditor
    layer: gr.Dropdown
    concept: gr.Dropdown
    strength: gr.Slider
    units: gr.HTML
    edited: gr.HTML
    seed: gr.Number

    @property
    def shown(self) -> list[Any]:
        """All that an event may change."""
        return [
            getattr(self, name) for name in self.__dataclass_fields__ if name not in ("inspected", "files", "place")
        ]

    def on(self, trigger: Any, step: Callable[..., Session], inputs: Sequence[Any] = ()) -> Any:
        """Have an event take a step: ``step(session, *values)`` gives the next session, of which the news are drawn.

        What it raises is shown as one sentence, and the session stays. The step may ask for the event's data, as any
        function of Gradio may. Returns the event.
        """

        @functools.wraps(step)
        def run(place: Place, *values: Any) -> dict[Any, Any]:
            with place.lock:
                try:
                    inspected = self.inspected()
                    old = place.session
                    new = step(old or begun(inspected), *values)
                    drawn = self._drawn(inspected, old, new)
                except TOLD as error:
                    return {self.problem: problem_box(error)}
                place.session = new
            return {self.problem: "", **drawn}

        return trigger(run, [self.place, *inputs], self.shown, **_QUIET)

    def edit_on(self, trigger: Any, step: Callable[..., Session], inputs: Sequence[Any] = ()) -> Any:
        """The same for a step that edits: scores, then their control, follow once the samples are there."""

        def score(place: Place) -> dict[Any, Any]:
            session = place.session
            if session is None or session.scores_after is not None:
                return {self.problem: gr.skip()}
            try:
                with self.inspected().scoring:
                    new = scored(self.inspected(), session) if place.session is session else session
                with place.lock:
                    # Another step may have been taken meanwhile, which is scored by its own event.
                    if new is session or place.session is not session:
                        return {self.problem: gr.skip()}
                    place.session = new
                    return self._drawn(self.inspected(), session, new)
            except TOLD as error:
                return {self.problem: problem_box(error)}

        def compare(place: Place) -> Any:
            session = place.session
            if session is None or not session.is_edited:
                return gr.skip()
            try:
                with self.inspected().scoring:
                    effect = control(self.inspected(), session) if place.session is session else None
            except TOLD as error:
                return problem_box(error)
            if effect is None or place.session is not session:
                return gr.skip()
            return views.verdict(self.inspected(), session, effect)

        shown = self.on(trigger, step, inputs)
        found = shown.then(score, [self.place], self.shown, **_QUIET, **_BEHIND)
        return found.then(compare, [self.place], [self.verdict], **_QUIET, **_BEHIND)

    def _drawn(self, inspected: Inspected, old: Session | None, new: Session) -> dict[Any, Any]:
        """New values of what differs between two sessions."""

        def differ(*names: str) -> bool:
            return old is None or any(getattr(old, name) is not getattr(new, name) for name in names)

        drawn: dict[Any, Any] = {}
        if differ("after", "scores_after", "chosen", "rows", "gate"):
            drawn[self.samples] = views.samples(inspected, new)
            drawn[self.verdict] = views.verdict(inspected, new)
        if differ("after", "chosen", "rows"):
            drawn[self.before_after] = views.compared(new)
        if differ("rows", "chosen"):
            background = to_paint_on(new.before[new.chosen], self.files)
            drawn[self.paint] = {"background": background, "layers": [], "composite": None}
        if differ("history", "correction", "rung"):
            drawn[self.edited] = views.edited_units(inspected, new)
        if differ("units", "layer", "history", "told", "labels"):
            drawn[self.units] = views.units(inspected, new)
        if differ("layer", "concept", "labels"):
            detected = inspected.labels.detected(new.layer)
            choices = [(ALL, ""), *((f"{name} ({count})", name) for name, count in detected.items())]
            drawn[self.layer] = gr.update(choices=list(inspected.layers), value=new.layer)
            drawn[self.concept] = gr.update(choices=choices, value=new.concept, visible=len(choices) > 1)
        if differ("unit", "history"):
            drawn[self.strength] = _strength(new)
        if differ("seed"):
            drawn[self.seed] = new.seed
        return drawn


def problem_box(error: BaseException) -> str:
    """What an error says, as a box."""
    return f'<p role="alert" class="error">{escape(one_sentence(error))}</p>'


def _strength(session: Session) -> Any:
    if session.unit is None:
        return gr.update(value=1.0, label="Strength: click a unit first", interactive=False)
    value = session.history.strength(session.layer, session.unit)
    return gr.update(value=value, label=f"Strength of unit {session.unit}", interactive=True)


def clicked(data: gr.EventData, n: int) -> int:
    """Which of n tiles was clicked."""
    place = data._data.get("index") if isinstance(data._data, dict) else None
    if not isinstance(place, int) or not 0 <= place < n:
        raise ValueError("That tile is no longer there: click again.")
    return place
