"""The queue of the page: order, steps, cancel, errors as one sentence, results that outlive who asked."""

import threading
import time

import pytest

from genmend.storage.progress import progress_to, tell, with_progress
from genmend.workbench.app.context import Shared
from genmend.workbench.app.jobs import MOST_KEPT, Job, Jobs


@pytest.fixture
def jobs():
    made = Jobs(1)
    yield made
    made.close()


def ended(job):
    until = time.monotonic() + 10
    while not job.ended and time.monotonic() < until:
        time.sleep(0.002)
    return job.state


def test_steps_of_the_library_are_heard_and_what_the_listener_raises_stops_the_work():
    heard = []
    with progress_to(lambda *step: heard.append(step)):
        assert list(with_progress("ab", "letters", 2, show=False)) == ["a", "b"]
        tell("own", 1, 3)
    assert heard == [("letters", 0, 2), ("letters", 1, 2), ("letters", 2, 2), ("own", 1, 3)]
    tell("nobody listens", 0, 1)

    def stop(step, done, total):
        if done:
            raise KeyboardInterrupt

    with progress_to(stop), pytest.raises(KeyboardInterrupt):
        list(with_progress("abc", "letters", 3, show=False))


def test_a_job_has_steps_and_a_result(jobs):
    go = threading.Event()

    def work():
        tell("first", 0, 2)
        go.wait(10)
        tell("second", 1, 2)
        return 7

    job = jobs.start(work)
    while not job.step:
        time.sleep(0.002)
    assert (job.state, job.step, job.done, job.total) == ("running", "first", 0, 2)
    go.set()
    assert ended(job) == "done"
    assert (job.result, jobs.find(job.id)) == (7, job)
    assert jobs.find("another") is None


def test_cancel_stops_between_two_steps_and_at_once_what_waits(jobs):
    go, reached = threading.Event(), []

    def work():
        for step in with_progress(range(5), "steps", 5, show=False):
            reached.append(step)
            go.wait(10)

    running, waiting = jobs.start(work), jobs.start(lambda: reached.append("never"))
    assert jobs.ahead_of(waiting) == 0
    while not reached:
        time.sleep(0.002)
    running.cancel()
    waiting.cancel()
    assert waiting.state == "cancelled"
    go.set()
    assert ended(running) == "cancelled"
    assert reached == [0]


def test_an_error_is_one_sentence_and_the_queue_goes_on(jobs):
    def fails():
        raise ValueError("no\n such thing")

    def says_nothing():
        raise RuntimeError

    wrong, silent, right = jobs.start(fails), jobs.start(says_nothing), jobs.start(lambda: 1)
    assert [ended(job) for job in (wrong, silent, right)] == ["failed", "failed", "done"]
    assert wrong.error == "no such thing"
    assert "RuntimeError" in silent.error


def test_another_job_takes_the_old_ones_place_but_not_that_of_one_for_all(jobs):
    old, everyones = jobs.start(lambda: 1), jobs.start(lambda: 2, shared=True)
    assert ended(everyones) == "done"
    jobs.forget(old.id)
    jobs.forget(everyones.id)
    everyones.cancel()
    assert jobs.find(old.id) is None
    assert jobs.find(everyones.id).result == 2


def test_results_are_kept_for_a_while_only(jobs):
    everyones = jobs.start(lambda: 0, shared=True)
    started = [jobs.start(lambda: 1) for _ in range(MOST_KEPT + 5)]
    assert [ended(job) for job in started[-1:]] == ["done"]
    jobs.start(lambda: 2)
    assert jobs.find(started[0].id) is None
    assert jobs.find(started[-1].id) is not None
    assert jobs.find(everyones.id) is everyones


def test_what_is_shared_is_made_once():
    shared, made = Shared(), []

    def make():
        time.sleep(0.02)
        made.append(1)
        return object()

    found = []
    threads = [threading.Thread(target=lambda: found.append(shared("x", make))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len({id(each) for each in found}) == 1


def test_of_loops_in_loops_the_longest_is_told_and_the_shortest_beside_it():
    job = Job(None)
    told = []

    def listen(*step):
        job.hear(*step)
        told.append((job.step, job.done, job.total, job.inner))

    with progress_to(listen):
        for _ in with_progress(range(2), "race", 2, show=False):
            for _ in with_progress(range(2), "images", 2, show=False):
                pass
    assert told[:4] == [
        ("race", 0, 2, ""),
        ("race", 0, 2, "images 1 of 2"),
        ("race", 0, 2, "images 2 of 2"),
        ("race", 0, 2, ""),
    ]
    assert told[4] == ("race", 1, 2, "")
    assert told[-1] == ("race", 2, 2, "")
