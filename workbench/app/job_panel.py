"""The line under a button that starts long work: how far it is, a Cancel button, and the result even after a reload.

The browser keeps the id of its job; the job itself stays on the server, whatever becomes of the page that began it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from genmend.storage.progress import in_words
from genmend.workbench.app.context import AppContext
from genmend.workbench.app.jobs import Job, one_sentence

__all__ = ["JobPanel", "job_panel"]

SECONDS = 0.25  # between two looks at a job
# Errors that are told to a person as one sentence.
TOLD = (ValueError, TypeError, LookupError, OSError, RuntimeError, ImportError)


@dataclass(frozen=True)
class JobPanel:
    """See `job_panel`."""

    context: AppContext
    kept: gr.BrowserState
    status: gr.HTML
    cancel: gr.Button
    show: Callable[[Any], Sequence[Any]]
    outputs: list[Any]

    def started_by(
        self, trigger: Any, prepare: Callable[..., Callable[[], Any] | Job], inputs: Sequence[Any] = ()
    ) -> Any:
        """Have an event start a job.

        Parameters
        ----------
        trigger
            The event, e.g. ``button.click``.
        prepare
            Called with the inputs at once: checks them and returns the work, a function without arguments, which runs
            in the queue, or a job that is there already. What either raises is shown as one sentence.
        inputs
            Components.

        Returns
        -------
        The event after the job has ended, for ``.then``.
        """

        def start(old: str | None, *values: Any) -> tuple[Any, ...]:
            return self._started(old, lambda: prepare(*values))

        return self._begun_by(trigger, start, inputs)

    def _started(self, old: str | None, prepare: Callable[[], Any]) -> tuple[Any, ...]:
        """Put the work into the queue in place of the browser's old job: its id twice, and what the line shows."""
        try:
            work = prepare()
        except TOLD as error:
            return gr.skip(), "", _box(one_sentence(error), "error"), gr.skip()
        before = self.context.jobs.find(old)
        job = work if isinstance(work, Job) else self.context.jobs.start(work)
        if before is not None and before is not job:
            before.replaced = not before.shared
            if not before.ended:
                before.cancel()
            if not job.shared:
                job.before = before if before.state == "done" or before.shared else before.before
        return job.id, job.id, _line("Waiting."), gr.update(visible=not job.shared)

    def _begun_by(self, event: Any, start: Callable[..., tuple[Any, ...]], inputs: Sequence[Any]) -> Any:
        """Start at an event and watch what was started; nothing is watched where nothing was."""
        asked = gr.State("")
        begun = event(
            start,
            [self.kept, *inputs],
            [self.kept, asked, self.status, self.cancel],
            show_progress="hidden",
            api_visibility="private",
        )
        return self._watched(begun.then, asked)

    def _first(self, event: Any, prepare: Callable[[], Any]) -> None:
        """Begin at an event what a page begins with that knows of no job."""

        def start(key: str | None) -> tuple[Any, ...]:
            if self.context.jobs.find(key) is not None:
                return gr.skip(), "", gr.skip(), gr.skip()
            return self._started(None, prepare)

        self._begun_by(event, start, [])

    def _watched(self, event: Any, key: Any, *, anew: bool = False) -> Any:
        """Show a job after an event; on a page loaded anew also what stood there before a job that gave no result."""

        async def watch(key: str | None) -> AsyncIterator[Sequence[Any]]:
            job = self.context.jobs.find(key)
            nothing = [gr.skip()] * len(self.outputs)
            if job is None:  # none was begun, or the server was started anew
                yield [gr.skip()] * (3 + len(nothing))
                return
            said = ""
            while not job.ended:
                now = _progress(job, self.context.jobs.ahead_of(job))
                if now != said:
                    said = now
                    yield gr.skip(), said, gr.update(visible=not job.shared), *nothing
                await asyncio.sleep(SECONDS)
            shown, before = nothing, job.before
            there = before if anew and job.state != "done" and before is not None else job
            if there.state == "done":
                try:
                    shown = list(await asyncio.to_thread(self.show, there.result))
                except TOLD as error:
                    job.error, job.state = one_sentence(error), "failed"
            if job.replaced:  # its browser watches another by now
                yield [gr.skip()] * (3 + len(nothing))
                return
            if job.state == "done" and before is not None:
                job.before = None
                self.context.jobs.forget(before.id)
            kept: Any = gr.skip()
            if job.state != "done" and before is not None:  # what is on the page is still the result of the one before
                before.replaced, kept = False, before.id
            yield kept, _ending(job), gr.update(visible=False), *shown

        return event(
            watch,
            [key],
            [self.kept, self.status, self.cancel, *self.outputs],
            show_progress="hidden",
            concurrency_limit=None,
            api_visibility="private",
        )


def job_panel(
    context: AppContext,
    name: str,
    show: Callable[[Any], Sequence[Any]],
    outputs: Sequence[Any],
    *,
    first: Callable[[], Any] | None = None,
    when: Any = None,
) -> JobPanel:
    """Put the line of a tab's long work where it is called, and return what starts the work.

    Parameters
    ----------
    name : str
        Of the tab, e.g. ``samples``: one job of a tab at a time in a browser; a new one takes the old one's place.
    show : callable
        Makes the new values of `outputs` of the job's result; called again after a reload.
    outputs : sequence of components
        What shows the result; already on the page, or made with ``render=False``.
    first : callable, optional
        As `prepare` of `JobPanel.started_by`, without inputs: what a page begins with that knows of no job of its own.
    when
        The event it begins at, e.g. ``context.tab.select``; when the page is opened if not given.

    Examples
    --------
    ::

        button = gr.Button("Score")
        picture = gr.Image(render=False)
        panel = job_panel(context, "samples", lambda result: [result.plot()], [picture])
        picture.render()
        panel.started_by(button.click, lambda n: partial(long_work, n), [number])
    """
    kept = gr.BrowserState("", storage_key=f"genmend-{name}", secret="the id of a job", render=False)
    context.kept.append(kept)
    with gr.Row(elem_classes="job"):
        status = gr.HTML("", padding=False, elem_id=f"{name}-status", elem_classes="status")
        cancel = gr.Button("Cancel", visible=False, size="sm", scale=0, elem_id=f"{name}-cancel")
    panel = JobPanel(context, kept, status, cancel, show, list(outputs))

    def stop(key: str | None) -> Any:
        job = context.jobs.find(key)
        if job is not None and not job.ended:
            job.cancel()
            return _line("Stopping after this step.")
        return gr.skip()

    cancel.click(stop, [kept], [status], show_progress="hidden", api_visibility="private", queue=False)
    if context.page is not None:
        panel._watched(context.page.load, kept, anew=True)
        if first is not None:
            panel._first(when or context.page.load, first)
    return panel


def _progress(job: Job, ahead: int) -> str:
    if job.stop.is_set():
        return _line("Stopping after this step.")
    if job.state == "waiting":
        return _line(f"Waiting for {ahead} other job{'s' * (ahead != 1)}." if ahead else "Waiting.")
    passed = time.monotonic() - job.began
    if not job.total:
        return _line(f"Working, {in_words(round(passed))}.")
    left = f", step {min(job.done + 1, job.total)} of {job.total}{f' ({job.inner})' if job.inner else ''}"
    bar = f'<progress max="{job.total}" value="{job.done}" aria-label="{escape(job.step)}"></progress>'
    return bar + _line(f"{job.step[:1].upper()}{job.step[1:]}{left}, {in_words(round(passed))} so far.")


def _ending(job: Job) -> str:
    if job.state == "failed":
        return _box(job.error, "error")
    return _line("Cancelled: what was finished before is kept.") if job.state == "cancelled" else ""


def _line(text: str) -> str:
    return f'<p role="status">{escape(text)}</p>'


def _box(text: str, kind: str) -> str:
    return f'<p role="alert" class="{kind}">{escape(text)}</p>'
