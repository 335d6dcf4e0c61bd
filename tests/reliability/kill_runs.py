"""Kill commands at random moments and resume them: the result has to be that of the run that nobody disturbed.

``python tests/reliability/kill_runs.py --kills 50`` prints one row for each command and exits with 1 where a result
differs. Commands run on a generator of scratch weights (tests/workbench/scratch_commands.py) and tiny models, for what
is tried is the keeping of work, not the methods. Each run is forked from this process, which has imported torch once,
and is killed with SIGKILL, which no program can catch, at a moment drawn uniformly over the length of a whole run.

Four experiments:

- kills: a run is killed, resumed, killed again (at most four times), and left to its end. Every other kill takes the
  command's own process alone, as the kernel does when memory runs out: its children have to end by themselves;
- changed: a run is killed; another takes over its folder, with another setting or with other content under the same
  names (latents, weights, images, labels, sentences), and gives its own result; then the first again, as before;
- two at once: two runs start on one folder, both end by themselves, and what lies there is the result;
- full disk: the folder lies on a small file system that fills up: one sentence, nothing half-written, and with more
  room the resumed run gives the result. It needs the right to mount a tmpfs, and is left out where there is none.

Temporary files of killed writers have to be gone at the end. Every round begins with an empty cache of features and of
voices. ``--save`` keeps the counts, for the table of docs/reliability.md.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, islice
from pathlib import Path

from commands_to_kill import Change, commands, exchange, prepare
from kept_counts import keep

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("workbench", "diffusion", "gans")]


class RunError(Exception):
    """A run that was to end well did not."""


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
    differences: list[str] = field(default_factory=list)

    def compare(self, reference: dict[str, str], out: Path) -> None:
        self.ends += 1
        found = digests(out)
        left = [*out.rglob(".*"), *Path(tempfile.gettempdir()).iterdir()]
        self.differences += [f"{file.name} is left" for file in left if is_leftover(file)]
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
        (folder / "modules").write_text("\n".join(sys.modules))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(pid: int, seconds: float | None = None, kill: Callable[[int, int], None] = os.killpg) -> int | None:
    """Exit code of the child; None where it had to be killed after `seconds`."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, 0 if end is None else os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if end is not None and time.monotonic() >= end:
            kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.002)


def import_all(names: Sequence[str]) -> None:
    """Import what a run has imported, but the user's own module, which differs from run to run."""
    for name in names:
        if name not in ("scratch", "__main__"):
            with suppress(Exception):
                importlib.import_module(name)


def outlives(pid: int, seconds: float = 60) -> bool:
    """Whether a process that a killed one has started is still there after so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    os.killpg(pid, signal.SIGKILL)
    return True


def run_whole(folder: Path, command: Command, log: Path) -> float:
    """Run to the end; seconds. RunError with the log where it fails."""
    began = time.monotonic()
    code = wait(start(folder, command, log))
    if code != 0:
        raise RunError(f"genmend {' '.join(command)} ended with {code}:\n{log.read_text()[-2000:]}")
    return time.monotonic() - began


class Trial:
    """One command on one folder, its undisturbed result, and how long that takes."""

    def __init__(self, folder: Path, name: str, command: Command, rng: random.Random) -> None:
        self.folder, self.name, self.command, self.rng = folder, name, command, rng
        self.log = folder / f"{name}.log"
        # One place for all, where small disks are mounted too, for some results name it.
        self.disk, self.out = folder / "disk", folder / "disk" / "out"
        self.reference, self.seconds = self._whole(command)
        import_all((folder / "modules").read_text().split())  # once here, for all the runs that are forked
        again, seconds = self._whole(command)
        self.seconds = min(self.seconds, seconds)
        if again != self.reference:
            names = [n for n in {*again, *self.reference} if again.get(n) != self.reference.get(n)]
            raise RunError(f"{name}: two undisturbed runs differ in {sorted(names)}")

    def _whole(self, command: Command) -> tuple[dict[str, str], float]:
        self._empty()
        seconds = run_whole(self.folder, [*command, "--out", str(self.out)], self.log)
        return digests(self.out), seconds

    def _empty(self) -> None:
        """Remove the result, the work kept beside it and the caches."""
        for rest in (self.out, self.folder / "cache" / "features", self.folder / "cache" / "voices"):
            shutil.rmtree(rest, ignore_errors=True)

    def moment(self) -> float:
        return self.rng.uniform(0.02, 1.0) * self.seconds

    def kills(self, n: int) -> Tally:
        tally = Tally(self.name, "kills")
        while tally.events < n:
            self._empty()
            command = [*self.command, "--out", str(self.out)]
            alone = []
            for _ in range(MOST_KILLS):
                pid = start(self.folder, command, self.log)
                code = wait(pid, self.moment(), os.kill if tally.events % 2 else os.killpg)
                if code is not None:
                    break
                alone += [pid] * (tally.events % 2)
                tally.events += 1
            else:
                code = wait(start(self.folder, command, self.log))
            if code != 0:
                tally.differences.append(f"exit {code}: {self.log.read_text()[-300:]}")
            tally.compare(self.reference, self.out)
            tally.differences += [f"a child of {pid} outlives it" for pid in alone if outlives(pid)]
        return tally

    def changed(self, changes: Sequence[Change], n: int) -> Tally:
        tally = Tally(self.name, "changed")
        command = [*self.command, "--out", str(self.out)]
        for options, inputs in islice(cycle(changes), n):
            exchange(self.folder, inputs)
            reference, _ = self._whole([*self.command, *options])
            exchange(self.folder, inputs)
            if reference == self.reference:
                raise RunError(f"{self.name}: {options} {inputs} change nothing")
            self._empty()
            tally.events += 1
            wait(start(self.folder, command, self.log), self.moment())
            exchange(self.folder, inputs)
            run_whole(self.folder, [*command, *options], self.log)
            tally.compare(reference, self.out)
            exchange(self.folder, inputs)
            run_whole(self.folder, command, self.log)
            tally.compare(self.reference, self.out)
        return tally

    def two_at_once(self, n: int) -> Tally:
        tally = Tally(self.name, "two at once")
        for _ in range(n):
            self._empty()
            command = [*self.command, "--out", str(self.out)]
            first = start(self.folder, command, self.log)
            time.sleep(self.rng.uniform(0, 0.5) * self.seconds)
            second = start(self.folder, command, self.log.with_suffix(".log2"))
            codes = [wait(first), wait(second)]
            tally.events += 1
            if 70 in codes or not any(code == 0 for code in codes):
                tally.differences.append(f"exits {codes}")
            tally.compare(self.reference, self.out)
        return tally

    def full_disk(self, n: int) -> Tally:
        """The result and the caches share the small disk, so either may meet its end."""
        tally = Tally(self.name, "full disk")
        cache = os.environ["GENMEND_CACHE"]
        size = self._size()
        for _ in range(n):
            room = max(4096, int(self.rng.uniform(0, 1) * size))
            self._empty()
            with Tmpfs(self.disk, room) as disk:
                (self.disk / "cache").mkdir()
                (self.disk / "cache" / "weights").symlink_to(Path(cache, "weights"))
                os.environ["GENMEND_CACHE"] = str(self.disk / "cache")
                command = [*self.command, "--out", str(self.out)]
                code = wait(start(self.folder, command, self.log))
                told = self.log.read_text()
                tally.events += 1
                if code not in (0, 2) or "Traceback" in told:
                    tally.differences.append(f"exit {code} on a full disk: {told[-300:]}")
                for name, digest in digests(self.out).items():
                    if code and self.reference.get(name, digest) != digest:
                        tally.differences.append(f"{name} is half-written")
                disk.grow(64 * 2**20)
                run_whole(self.folder, command, self.log)
                tally.compare(self.reference, self.out)
                os.environ["GENMEND_CACHE"] = cache
        return tally

    def _size(self) -> int:
        """Bytes of the result, of the work kept beside it and of the caches."""
        self._whole(self.command)
        kept = [self.out, *(self.folder / "cache" / name for name in ("features", "voices"))]
        return sum(file.stat().st_size for place in kept for file in place.rglob("*") if file.is_file())


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

    from genmend.storage.weights import cache_folder

    tqdm.tqdm.monitor_interval = 0  # its thread could hold a lock while a run is forked, which then waits for ever

    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--kills", type=int, default=50, help="kills of each command")
    given.add_argument("--others", type=int, default=6, help="rounds of each of the other three experiments")
    given.add_argument("--only", nargs="*", default=[], help="names of commands")
    given.add_argument("--seed", type=int, default=0)
    given.add_argument(
        "--save", action="store_true", help="keep the counts, and write the table of docs/reliability.md"
    )
    chosen = given.parse_args()
    differ = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cache").mkdir()
        (folder / "cache" / "weights").symlink_to(cache_folder() / "weights")
        os.environ["GENMEND_CACHE"] = str(folder / "cache")
        (folder / "temporary").mkdir()
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "temporary")
        prepare(folder)
        disks = may_mount(folder)
        for command, (arguments, changes) in commands().items():
            if chosen.only and command not in chosen.only:
                continue
            rng = random.Random(f"{chosen.seed}-{command}")
            try:
                trial = Trial(folder, command, arguments, rng)
            except RunError as error:
                print(error, file=sys.stderr)
                differ = True
                continue
            print(f"{command}: {trial.seconds:.1f} s undisturbed", flush=True)
            rounds: list[Callable[[], Tally]] = [
                partial(trial.kills, chosen.kills),
                partial(trial.changed, changes, chosen.others),
                partial(trial.two_at_once, chosen.others),
                *([partial(trial.full_disk, chosen.others)] if disks else []),
            ]
            for experiment in rounds:
                try:
                    tally = experiment()
                except RunError as error:
                    print(error, file=sys.stderr)
                    differ = True
                    break
                differ |= bool(tally.differences)
                print(row(tally), flush=True)
                if chosen.save:
                    keep("kills", command, {tally.experiment: vars(tally)})
    if not disks:
        print("full disk: left out, a tmpfs can't be mounted here")
    return int(differ)


def row(tally: Tally) -> str:
    told = f" | {'; '.join(tally.differences)}" if tally.differences else ""
    return f"{tally.command} | {tally.experiment} | {tally.events} | {tally.equal} of {tally.ends}{told}"


if __name__ == "__main__":
    sys.exit(main())
