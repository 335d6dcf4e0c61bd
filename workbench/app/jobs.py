"""Long work of the page: in a queue, with progress, stopped between two steps, apart from the browser that asked."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from genmend.storage.progress import progress_to

__all__ = ["CancelledError", "Job", "Jobs", "one_sentence"]

WAITING, RUNNING, DONE, CANCELLED, FAILED = "waiting", "running", "done", "cancelled", "failed"
MOST_KEPT = 200  # ended jobs, whose results a browser may still ask for
_log = logging.getLogger(__name__)


class CancelledError(Exception):
    """Raised inside a job between two of its steps, after somebody cancelled it."""


@dataclass(eq=False)
class Job:
    """One piece of work.

    Attributes
    ----------
    id : str
        A secret of 128 bits: who knows it may watch the job, cancel it and have its result.
    state : str
        ``waiting``, ``running``, ``done``, ``cancelled`` or ``failed``.
    step, done, total
        What it is doing, how many steps of that are behind, how many there are: of the longest loop that it is in.
    inner : str
        How far the shortest loop in that one is.
    result
        What the work returned, once it is done.
    error : str
        One sentence, where it failed.
    shared : bool
        Whether several browsers watch it: then none of them can cancel it.
    before : Job, optional
        The one whose place it takes once it is done.
    replaced : bool
        Whether its browser has begun another since.
    """

    work: Callable[[], Any] | None
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: str = WAITING
    step: str = ""
    done: int = 0
    total: int = 0
    inner: str = ""
    loops: dict[str, tuple[int, int]] = field(default_factory=dict)
    result: Any = None
    error: str = ""
    began: float = 0.0
    shared: bool = False
    before: Job | None = None
    replaced: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in (DONE, CANCELLED, FAILED)

    def cancel(self) -> None:
        """Have it stop: at once where it waits, else before its next step."""
        if self.shared:
            return
        self.stop.set()
        if self.state == WAITING:
            self.state = CANCELLED

    def hear(self, step: str, done: int, total: int) -> None:
        """Take note of a step, or stop there."""
        if self.stop.is_set():
            raise CancelledError
        if done < total:
            self.loops[step] = done, total
        else:
            self.loops.pop(step, None)
        (outer, (self.done, self.total)), *within = list(self.loops.items()) or [(step, (done, total))]
        self.step = outer
        self.inner = "" if not within else f"{within[-1][0]} {within[-1][1][0] + 1} of {within[-1][1][1]}"


class Jobs:
    """The queue: a few jobs at a time, the others wait in order.

    Parameters
    ----------
    n_workers : int
        How many run at a time.
    """

    def __init__(self, n_workers: int = 2) -> None:
        self._pool = ThreadPoolExecutor(n_workers, thread_name_prefix="job")
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def start(self, work: Callable[[], Any], *, shared: bool = False) -> Job:
        """Put work into the queue. Its steps are those that it tells by `genmend.storage.progress`."""
        job = Job(work, shared=shared)
        with self._lock:
            self._jobs[job.id] = job
            ended = [key for key, known in self._jobs.items() if known.ended and not known.shared]
            for key in ended[: max(0, len(ended) - MOST_KEPT)]:
                del self._jobs[key]
        self._pool.submit(_run, job)
        return job

    def find(self, key: str | None) -> Job | None:
        """The job of this id, if there is one."""
        return self._jobs.get(key) if isinstance(key, str) else None

    def ahead_of(self, job: Job) -> int:
        """How many jobs wait before this one."""
        with self._lock:
            waiting = [known for known in self._jobs.values() if known.state == WAITING]
        return waiting.index(job) if job in waiting else 0

    def forget(self, key: str | None) -> None:
        """Cancel a job and drop what it holds, since its browser has begun another in its place."""
        job = self.find(key)
        if job is not None and not job.shared:
            job.cancel()
            with self._lock:
                self._jobs.pop(job.id, None)

    def close(self) -> None:
        """Cancel everything and take nothing more."""
        for job in list(self._jobs.values()):
            job.stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)


def _run(job: Job) -> None:
    work, job.work = job.work, None  # what it holds is let go of with it
    if job.stop.is_set() or work is None:
        return
    job.began, job.state = time.monotonic(), RUNNING
    try:
        with progress_to(job.hear):
            job.result = work()
        job.state = DONE
    except CancelledError:
        job.state = CANCELLED
    except Exception as error:
        job.error, job.state = one_sentence(error), FAILED
        _log.info("A job failed.", exc_info=error)


def one_sentence(error: BaseException) -> str:
    """What an error says to a person, without a traceback."""
    text = " ".join(str(error).split())
    return text if text else f"The work stopped with {type(error).__name__}, which says no more."
