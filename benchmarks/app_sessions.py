"""Sessions of the page at once on loopback: errors, how long an answer takes, and the server's memory.

Every session opens the page, looks at the example of the Samples tab, chooses another set, clicks pictures, then opens
the Generator tab, switches a unit off and takes it back, draws samples and does it again, in rounds; all of them at the
same time, each with seeds and a unit of its own. They talk to the server as a browser does, without drawing anything;
an action lasts until all that follows it is there, the scores of random units too. *Memory* is the server's resident
memory (VmRSS).

    python benchmarks/app_sessions.py                      # 20 sessions, 3 rounds: some minutes on two cores
    python benchmarks/app_sessions.py --sessions 5 --save  # also in benchmarks/results/app-sessions-<CPU>.json

It ends with status 1 where a session met an error. Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import conditions, result_file
from page_client import PageClient

SAMPLED_EVERY = 2.0  # seconds


def main() -> None:
    """Serve, have the sessions at once, print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        process, url = served(Path(folder))
        try:
            found = measured(process.pid, url, options.sessions, options.rounds)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:  # on a busy machine; what was measured is not lost
                process.kill()
    found["conditions"] = conditions("gradio", "torch")
    print(conditions("gradio", "torch"))
    for line in in_words(found):
        print(line)
    if options.save:
        result_file("app-sessions", ".json").write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(bool(found["errors"]))


def served(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """The server in a process of its own, once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "genmend", "serve", "--out", str(folder / "out"), "--port", str(port)]
    log = folder / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    while b"The page: " not in log.read_bytes():
        if process.poll() is not None:
            sys.exit(log.read_text())
        time.sleep(0.2)
    return process, f"http://127.0.0.1:{port}"


def measured(pid: int, url: str, n_sessions: int, n_rounds: int) -> dict[str, Any]:
    """All sessions at once, after one has opened the page, so that the example is there and models are loaded."""
    began = time.monotonic()
    memory: list[tuple[float, float]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0 if not memory else SAMPLED_EVERY):
            memory.append((round(time.monotonic() - began, 1), resident(pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    first_seconds: dict[str, list[float]] = defaultdict(list)
    errors: list[str] = []
    one_session(url, 1, first_seconds, errors)
    warm = memory[-1][1]
    seconds: dict[str, list[float]] = defaultdict(list)
    start = cpu_seconds(pid)
    threads = [
        threading.Thread(target=one_session, args=(url, n_rounds, seconds, errors, person))
        for person in range(1, n_sessions + 1)
    ]
    at_once = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.monotonic() - at_once
    over.set()
    watcher.join()
    return {
        "sessions": n_sessions,
        "rounds": n_rounds,
        "actions": sum(map(len, seconds.values())),
        "errors": errors,
        "wall_seconds": round(wall, 1),
        "cpu_seconds_of_the_server": round(cpu_seconds(pid) - start, 1),
        "alone": {what: round(values[0], 2) for what, values in first_seconds.items()},
        "at_once": {
            what: {
                "n": len(values),
                "median": round(statistics.median(values), 2),
                "longest": round(max(values), 2),
            }
            for what, values in seconds.items()
        },
        "megabytes_before": warm,
        "megabytes_largest": max(value for _, value in memory),
        "megabytes_after": memory[-1][1],
        "megabytes": memory,
    }


def one_session(url: str, n_rounds: int, seconds: dict[str, list[float]], errors: list[str], person: int = 0) -> None:
    """What one person does; the others' samples and units are other ones."""
    client = PageClient(url)

    def act(what: str, do: Callable[[], None]) -> None:
        began = time.monotonic()
        try:
            do()
        except Exception as error:
            errors.append(f"{what}: {type(error).__name__}: {error}")
        seconds[what].append(time.monotonic() - began)

    def send(elem_id: str, name: str, data: Any = None) -> Callable[[], None]:
        return lambda: client.send(client.find(elem_id, name), data)

    act("open the page", client.open)
    samples = client.find("samples-set", "input")
    chosen = client.events[[one["id"] for one in client.events].index(samples)]["inputs"][1]
    try:
        generator = client.find("tab-generator", "select")
        new = client.find("generator-new", "click")
        seed = client.events[[one["id"] for one in client.events].index(new)]["inputs"][-1]
    except LookupError:
        generator = None
    for number in range(n_rounds):
        client.values[chosen] = ("latents at half their length", "same generator, other seeds")[number % 2]
        act("choose a set", send("samples-set", "input"))
        for kind in ("rare", "off", "missed"):
            act("click a picture", send(f"samples-{kind}", "select", {"index": number, "value": None}))
        if generator is not None:
            act("open the generator" if not number else "open it again", lambda: client.send(generator))
            act("switch a unit off", send("generator-units", "select", {"index": person % 24}))
            act("undo", send("generator-undo", "click"))
            client.values[seed] = 1000 * person + number
            act("new samples", send("generator-new", "click"))
            act("and one of theirs", send("generator-units", "select", {"index": person % 24}))
            act("undo", send("generator-undo", "click"))
    errors += client.errors


def resident(pid: int) -> float:
    """Resident memory of a process, MB (10^6 bytes)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)
    return round(kilobytes * 1024 / 1e6, 1)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def in_words(found: dict[str, Any]) -> list[str]:
    """A table of the actions, and the memory in one line."""
    lines = [
        f"{found['sessions']} sessions at once, {found['rounds']} rounds each: {found['actions']} actions, "
        f"{len(found['errors'])} errors, {found['wall_seconds']} s, "
        f"{found['cpu_seconds_of_the_server']} CPU seconds of the server",
        f"{'action':22} {'n':>5} {'median s':>9} {'longest s':>10} {'alone s':>9}",
    ]
    for what, taken in found["at_once"].items():
        alone = found["alone"].get(what)
        lines.append(
            f"{what:22} {taken['n']:5} {taken['median']:9.2f} {taken['longest']:10.2f} "
            f"{'' if alone is None else f'{alone:9.2f}'}"
        )
    step = max(1, len(found["megabytes"]) // 12)
    curve = ", ".join(f"{seconds:.0f} s {value:.0f}" for seconds, value in found["megabytes"][::step])
    lines.append(
        f"memory of the server, MB: {found['megabytes_before']:.0f} after one session, at most "
        f"{found['megabytes_largest']:.0f}, {found['megabytes_after']:.0f} at the end; over time: {curve}"
    )
    return [*lines, *(f"error: {error}" for error in found["errors"][:20])]


if __name__ == "__main__":
    main()
