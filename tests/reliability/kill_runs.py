"""Kill commands at random moments and resume them: the result has to be that of the run that nobody disturbed.

``python tests/reliability/kill_runs.py --kills 50`` prints one row for each command and exits with 1 where a result
differs. Commands run on a generator of scratch weights (tests/workbench/scratch_commands.py) and tiny models, for what
is tried is the keeping of work, not the methods. Each run is forked from this process, which has imported torch once,
and is killed with SIGKILL, which no program can catch, at a moment drawn uniformly over the length of a whole run.

Four experiments:

- kills: a run is killed, resumed, killed again (at most four times), and left to its end;
- changed: a run is killed, and another with other inputs or settings takes over its folder, and gives its own result;
- two at once: two runs start on one folder, both end by themselves, and what lies there is the result;
- full disk: the folder lies on a small file system that fills up: one sentence, nothing half-written, and with more
  room the resumed run gives the result. It needs the right to mount a tmpfs, and is left out where there is none.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("workbench", "diffusion", "gans")]

MOST_KILLS = 4  # of one run before it is left to its end
Command = list[str]


@dataclass
class Tally:
    """What one command went through."""

    command: str
    experiment: str
    events: int = 0  # kills, or runs that took over, met another or met a full disk
    ends: int = 0
    equal: int = 0
    leftovers: int = 0  # hidden files of killed writers, which whole_file says that a kill may leave
    differences: list[str] = field(default_factory=list)

    def compare(self, reference: dict[str, str], out: Path) -> None:
        self.ends += 1
        self.leftovers += sum(map(is_leftover, out.rglob(".*")))
        found = digests(out)
        different = sorted(name for name in {*reference, *found} if reference.get(name) != found.get(name))
        self.equal += not different
        self.differences += [name for name in different if name not in self.differences]


def digests(out: Path) -> dict[str, str]:
    """SHA-256 of every file of a result; kept work and what a killed writer left are no part of it."""
    files = (file for file in sorted(out.rglob("*")) if file.is_file() and not is_leftover(file))
    named = {str(file.relative_to(out)): file for file in files}
    return {
        name: hashlib.sha256(file.read_bytes()).hexdigest()
        for name, file in named.items()
        if not name.startswith("work/")
    }


def is_leftover(file: Path) -> bool:
    """Whether it is a temporary file of `storage.atomic.whole_file`."""
    return file.name.startswith(".") and ".tmp" in file.name


def start(folder: Path, command: Sequence[str], log: Path) -> int:
    """Fork a child that runs the command line in this process's image; its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()  # so that a kill takes its own children with it
        os.chdir(folder)
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.argv = ["genmend", *command]
        sys.path.insert(0, str(folder))
        from genmend.workbench.cli.main import main

        main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:  # a traceback is what must not happen: it is reported as code 70
        import traceback

        traceback.print_exc()
        code = 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(pid: int, seconds: float | None = None) -> int | None:
    """Exit code of the child; None where it had to be killed after `seconds`."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, 0 if end is None else os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if end is not None and time.monotonic() >= end:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.002)


def run_whole(folder: Path, command: Command, log: Path) -> float:
    """Run to the end; seconds. SystemExit with the log where it fails."""
    began = time.monotonic()
    code = wait(start(folder, command, log))
    if code != 0:
        raise SystemExit(f"genmend {' '.join(command)} ended with {code}:\n{log.read_text()[-2000:]}")
    return time.monotonic() - began


class Trial:
    """One command on one folder, its undisturbed result, and how long that takes."""

    def __init__(self, folder: Path, name: str, command: Command, rng: random.Random) -> None:
        self.folder, self.name, self.command, self.rng = folder, name, command, rng
        self.log = folder / f"{name}.log"
        self.reference, self.seconds = self._whole(command, "whole")
        again, seconds = self._whole(command, "again")
        self.seconds = min(self.seconds, seconds)
        if again != self.reference:
            names = [n for n in {*again, *self.reference} if again.get(n) != self.reference.get(n)]
            raise SystemExit(f"{name}: two undisturbed runs differ in {sorted(names)}")

    def _whole(self, command: Command, out: str) -> tuple[dict[str, str], float]:
        place = self.folder / f"{self.name}-{out}"
        shutil.rmtree(place, ignore_errors=True)
        seconds = run_whole(self.folder, [*command, "--out", str(place)], self.log)
        found = digests(place)
        shutil.rmtree(place)
        return found, seconds

    def moment(self) -> float:
        return self.rng.uniform(0.02, 1.0) * self.seconds

    def kills(self, n: int) -> Tally:
        tally = Tally(self.name, "kills")
        while tally.events < n:
            out = self.folder / f"{self.name}-killed"
            shutil.rmtree(out, ignore_errors=True)
            command = [*self.command, "--out", str(out)]
            for _ in range(MOST_KILLS):
                code = wait(start(self.folder, command, self.log), self.moment())
                if code is not None:
                    break
                tally.events += 1
            else:
                code = wait(start(self.folder, command, self.log))
            if code != 0:
                tally.differences.append(f"exit {code}: {self.log.read_text()[-300:]}")
            tally.compare(self.reference, out)
        return tally

    def changed(self, other: Command, n: int) -> Tally:
        tally = Tally(self.name, "changed")
        reference, _ = self._whole(other, "other")
        for _ in range(n):
            out = self.folder / f"{self.name}-changed"
            shutil.rmtree(out, ignore_errors=True)
            wait(start(self.folder, [*self.command, "--out", str(out)], self.log), self.moment())
            tally.events += 1
            run_whole(self.folder, [*other, "--out", str(out)], self.log)
            tally.compare(reference, out)
        return tally

    def two_at_once(self, n: int) -> Tally:
        tally = Tally(self.name, "two at once")
        for _ in range(n):
            out = self.folder / f"{self.name}-two"
            shutil.rmtree(out, ignore_errors=True)
            command = [*self.command, "--out", str(out)]
            first = start(self.folder, command, self.log)
            time.sleep(self.rng.uniform(0, 0.5) * self.seconds)
            second = start(self.folder, command, self.log.with_suffix(".log2"))
            codes = [wait(first), wait(second)]
            tally.events += 1
            if 70 in codes or not any(code == 0 for code in codes):
                tally.differences.append(f"exits {codes}")
            tally.compare(self.reference, out)
        return tally

    def full_disk(self, n: int) -> Tally:
        tally = Tally(self.name, "full disk")
        mount = self.folder / "disk"
        mount.mkdir(exist_ok=True)
        size = sum(f.stat().st_size for f in self._kept_files())
        for _ in range(n):
            room = max(4096, int(self.rng.uniform(0, 1) * size))
            with Tmpfs(mount, room) as disk:
                out = mount / "out"
                command = [*self.command, "--out", str(out)]
                code = wait(start(self.folder, command, self.log))
                tally.events += 1
                if code not in (0, 2) or "Traceback" in self.log.read_text():
                    tally.differences.append(f"exit {code} on a full disk: {self.log.read_text()[-300:]}")
                for name, digest in digests(out).items():
                    if code and self.reference.get(name, digest) != digest:
                        tally.differences.append(f"{name} is half-written")
                disk.grow(64 * 2**20)
                run_whole(self.folder, command, self.log)
                tally.compare(self.reference, out)
        return tally

    def _kept_files(self) -> list[Path]:
        out = self.folder / f"{self.name}-size"
        shutil.rmtree(out, ignore_errors=True)
        run_whole(self.folder, [*self.command, "--out", str(out)], self.log)
        return [file for file in out.rglob("*") if file.is_file()]


class Tmpfs:
    """A small file system in memory while the block runs."""

    def __init__(self, place: Path, size: int) -> None:
        self.place, self.size = place, size

    def __enter__(self) -> Tmpfs:
        self._mount(self.size, 0)
        return self

    def grow(self, size: int) -> None:
        self._mount(size, 32)  # MS_REMOUNT

    def __exit__(self, *_: object) -> None:
        ctypes.CDLL(None).umount2(str(self.place).encode(), 2)  # MNT_DETACH

    def _mount(self, size: int, flags: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"tmpfs", str(self.place).encode(), b"tmpfs", flags, f"size={size}".encode()):
            raise PermissionError(os.strerror(ctypes.get_errno()))


def may_mount(folder: Path) -> bool:
    (folder / "disk").mkdir(exist_ok=True)
    try:
        with Tmpfs(folder / "disk", 4096):
            return True
    except (OSError, AttributeError):
        return False


def main() -> int:
    import tqdm
    from commands_to_kill import commands, prepare

    tqdm.tqdm.monitor_interval = 0  # its thread could hold a lock while a run is forked, which then waits for ever

    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--kills", type=int, default=50, help="kills of each command")
    given.add_argument("--others", type=int, default=5, help="rounds of each of the other three experiments")
    given.add_argument("--only", nargs="*", default=[], help="names of commands")
    given.add_argument("--seed", type=int, default=0)
    given.add_argument("--json", type=Path, help="also write the table here")
    chosen = given.parse_args()
    tallies: list[Tally] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        disks = may_mount(folder)
        for command, (arguments, other) in commands().items():
            if chosen.only and command not in chosen.only:
                continue
            trial = Trial(folder, command, arguments, random.Random(f"{chosen.seed}-{command}"))
            rounds: list[Callable[[], Tally]] = [
                lambda t=trial: t.kills(chosen.kills),
                lambda t=trial, o=other: t.changed(o, chosen.others),
                lambda t=trial: t.two_at_once(chosen.others),
                *([lambda t=trial: t.full_disk(chosen.others)] if disks else []),
            ]
            for experiment in rounds:
                tallies.append(experiment())
                print(row(tallies[-1]), flush=True)
                if chosen.json:
                    chosen.json.write_text(json.dumps([vars(tally) for tally in tallies], indent=1) + "\n")
    if not disks:
        print("full disk: left out, a tmpfs can't be mounted here")
    return int(any(tally.differences for tally in tallies))


def row(tally: Tally) -> str:
    told = f" | {'; '.join(tally.differences)}" if tally.differences else ""
    equal = f"{tally.equal} of {tally.ends}"
    return f"{tally.command} | {tally.experiment} | {tally.events} | {equal} | {tally.leftovers}{told}"


if __name__ == "__main__":
    sys.exit(main())
