"""Do the tests notice? Plant one fault at a time in a copy of the project, and run the tests that should fail.

    python tests/planted_faults.py                               all faults, about 40 minutes on one free core
    python tests/planted_faults.py --only closed-ball own-seed   some of them
    python tests/planted_faults.py --list                        their names
    python tests/planted_faults.py --jobs 2 --json found.json    two copies at a time, the result also as a file
    python tests/planted_faults.py --json found.json --resume    what an interrupted run has not come to

Not collected by pytest. The faults are in planted_faults_list.py. Each is a snippet that stands exactly once in the
sources of some rooms, in whatever file and however it is wrapped, and what takes its place; so a file may move between
two runs. First every selection of tests runs without a fault: where it fails, what it catches means nothing.

A fault is caught when pytest says 1 (tests failed). What its selection misses is tried on the whole folder of its room.
Exit code 0: every fault was planted and every selection passed without one; whether all were caught is for the reader.
Exit code 1: a snippet was not found or found twice, or a selection fails by itself: nothing was proven.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from planted_faults_list import FAULTS, ROOMS, Fault, Tests

ROOT = Path(__file__).resolve().parents[1]
PASSED, FAILED, NOTHING_SELECTED = 0, 1, 5
NOT_PLANTED, NOT_TRIED = "NOT PLANTED", "NOT TRIED"
PYTEST = ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow and not clip", "--no-header")


class NotPlantedError(Exception):
    """The snippet is not there, or there more than once."""


@dataclass(frozen=True)
class Place:
    """Where a fault goes: a file of the project, and its text with the fault in it."""

    path: Path
    line: int
    faulty: str


@dataclass(frozen=True)
class Run:
    """One run of pytest: its exit code (None: out of time), its seconds and its last line that says something."""

    code: int | None
    seconds: float
    said: str


@dataclass(frozen=True)
class Outcome:
    """What became of a fault: "caught", "caught by the whole room", "NOT CAUGHT", or why there is no answer."""

    name: str
    place: str
    tests: str
    verdict: str
    seconds: float
    said: str


def sources(root: Path, rooms: Sequence[str]) -> Iterator[Path]:
    """The Python files of these rooms; a room that is not there yet, or no longer, has none."""
    for room in rooms:
        yield from sorted((root / room).rglob("*.py"))


def n_shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words both begin with."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def place_of(fault: Fault, root: Path) -> Place:
    """The one place of the first of the fault's snippets that stands anywhere.

    White space is one as good as another. The words with which snippet and replacement both begin and end only say
    where the fault is: they stay as they stand.
    """
    for snippet, replacement in fault.edits:
        old, new = snippet.split(), replacement.split()
        before = n_shared(old, new)
        after = n_shared(old[before:][::-1], new[before:][::-1])
        pattern = re.compile(r"\s+".join(map(re.escape, old)))
        found = [
            (path, text, hit)
            for path in sources(root, fault.rooms)
            for text in [path.read_text(encoding="utf-8")]
            for hit in pattern.finditer(text)
        ]
        if len(found) > 1:
            where = ", ".join(str(path.relative_to(root)) for path, _, _ in found)
            raise NotPlantedError(f"found {len(found)} times ({where}): {snippet}")
        if found:
            path, text, hit = found[0]
            words = [(hit.start() + word.start(), hit.start() + word.end()) for word in re.finditer(r"\S+", hit[0])]
            middle = words[before : len(words) - after]
            # Nothing goes: the new words follow the last of those that stay in front.
            start, stop = (middle[0][0], middle[-1][1]) if middle else (words[before - 1][1], words[before - 1][1])
            added = " ".join(new[before : len(new) - after])
            faulty = text[:start] + (added if middle else f" {added}") + text[stop:]
            return Place(path.relative_to(root), text.count("\n", 0, start) + 1, faulty)
    raise NotPlantedError(f"not found in {', '.join(fault.rooms)}: {fault.edits[0][0]}")


class Copy:
    """A copy of the project in a folder of its own, whose modules are the ones that its tests import."""

    def __init__(self, folder: Path, timeout: float) -> None:
        self.root, self.timeout = folder / "copy", timeout
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
        compiled = [path for room in ROOMS for path in (ROOT / room).rglob("_native*.so")]
        for path in [ROOT / name for name in names if name] + compiled:
            if path.is_file():
                target = self.root / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
        rooms = [room for room in ROOMS if (self.root / room).is_dir()]
        package = self.root / "src" / "genmend"
        if package.is_dir():  # the rooms are installed as genmend.<room>: links in place of an installation
            links = folder / "links" / "genmend"
            links.mkdir(parents=True)
            for target in [*package.iterdir(), *(self.root / room for room in rooms)]:
                (links / target.name).symlink_to(target)
            self._first, modules = links.parent, [f"genmend.{room}" for room in rooms]
        else:
            self._first, modules = self.root, rooms
        self._check_imports(modules)

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(self._first), os.environ.get("PYTHONPATH", "")]))
        return os.environ | {"PYTHONPATH": path}

    def _check_imports(self, modules: Sequence[str]) -> None:
        """Raise unless the copy's modules are imported, whatever is installed in this environment."""
        code = f"import importlib; [print(importlib.import_module(name).__file__) for name in {list(modules)}]"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=self.root, env=self._environment(), capture_output=True, text=True
        )
        files = [Path(line).resolve() for line in done.stdout.splitlines()]
        if len(files) != len(modules) or not all(file.is_relative_to(self.root.resolve()) for file in files):
            raise SystemExit(f"the copy's modules are not the ones imported: {files}\n{done.stderr[-2000:]}")

    def targets(self, tests: Tests) -> list[str]:
        """The folders of the selection that this tree has."""
        return [f"tests/{folder}" for folder in tests.folders if (self.root / "tests" / folder).is_dir()]

    def run(self, tests: Tests) -> Run:
        """Run a selection of tests."""
        chosen = ["-k", tests.names] if tests.names else []
        begun = time.monotonic()
        try:
            done = subprocess.run(
                [sys.executable, *PYTEST, *chosen, *self.targets(tests)],
                cwd=self.root,
                env=self._environment(),
                capture_output=True,
                text=True,
                timeout=self.timeout,
            )
        except subprocess.TimeoutExpired:
            return Run(None, time.monotonic() - begun, f"stopped after {self.timeout:.0f} s")
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("FAILED ", "ERROR "))] or lines[-1:]
        return Run(done.returncode, time.monotonic() - begun, " ".join(told[:1])[:200])

    @contextmanager
    def planted(self, place: Place) -> Iterator[None]:
        """The fault, for the length of a block."""
        path = self.root / place.path
        path.write_text(place.faulty, encoding="utf-8")
        try:
            yield
        finally:
            shutil.copy2(ROOT / place.path, path)


class Report:
    """What has been found so far: on the screen, and in a file that an interrupted run leaves behind as well."""

    def __init__(self, file: Path | None, resume: bool) -> None:
        self.file = file
        self.controls: dict[Tests, tuple[Tests, Run]] = {}  # the selection asked for -> the one in its place, its run
        self.outcomes: list[Outcome] = []
        if resume and file and file.is_file():
            kept = json.loads(file.read_text(encoding="utf-8"))
            outcomes = [Outcome(**found) for found in kept["faults"]]
            self.outcomes = [found for found in outcomes if found.verdict not in (NOT_PLANTED, NOT_TRIED)]
            for found in kept["controls"]:
                asked, used = (Tests(tuple(found[name][0]), found[name][1]) for name in ("asked", "used"))
                self.controls[asked] = used, Run(**found["run"])

    def add_control(self, asked: Tests, used: Tests, run: Run) -> None:
        """Take the run of a selection without a fault."""
        self.controls[asked] = used, run
        verdict = "passes" if run.code == PASSED else f"FAILS BY ITSELF ({run.code})"
        self._tell(f"  {verdict}  {run.seconds:6.1f} s  {used}: {run.said}")

    def add(self, found: Outcome) -> None:
        """Take what became of a fault."""
        self.outcomes.append(found)
        self._tell(f"  {found.verdict:24} {found.seconds:6.1f} s  {found.name:30} {found.place}: {found.said}")

    def passes(self, tests: Tests) -> bool:
        """Whether the selection is known to pass without a fault."""
        return tests in self.controls and self.controls[tests][1].code == PASSED

    def summary(self) -> int:
        """Say what was not caught, and give the exit code."""
        rest = [found for found in self.outcomes if not found.verdict.startswith("caught")]
        print(f"\n{len(self.outcomes) - len(rest)} of {len(self.outcomes)} faults are caught.")
        for found in rest:
            print(f"  {found.verdict}: {found.name}  {found.place}  {found.said}")
        return int(any(found.verdict in (NOT_PLANTED, NOT_TRIED) for found in rest))

    def _tell(self, line: str) -> None:
        print(line, flush=True)
        if self.file:
            ran = [
                {"asked": (one.folders, one.names), "used": (used.folders, used.names), "run": asdict(run)}
                for one, (used, run) in self.controls.items()
            ]
            result = {"faults": [asdict(found) for found in self.outcomes], "controls": ran}
            self.file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def tried(fault: Fault, place: Place, tests: Tests, copy: Copy, whole_rooms: bool) -> Outcome:
    """Plant a fault, and see whether its tests, or else all tests of its rooms, fail."""
    with copy.planted(place):
        run = copy.run(tests)
        seconds, verdict = run.seconds, "caught" if run.code == FAILED else "NOT CAUGHT"
        if run.code == PASSED and tests.names and whole_rooms:
            run = copy.run(Tests(tests.folders))
            seconds += run.seconds
            verdict = "caught by the whole room" if run.code == FAILED else "NOT CAUGHT"
    if run.code not in (PASSED, FAILED):
        verdict = "OUT OF TIME" if run.code is None else f"BROKEN: pytest exited {run.code}"
    return Outcome(fault.name, f"{place.path}:{place.line}", str(tests), verdict, round(seconds, 1), run.said)


def usable(tests: Tests, copy: Copy) -> tuple[Tests, Run]:
    """The selection and its run without a fault; the whole folder in its place where its names select nothing."""
    run = copy.run(tests)
    if run.code != NOTHING_SELECTED or not tests.names:
        return tests, run
    return Tests(tests.folders), copy.run(Tests(tests.folders))


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Plant faults in a copy and run the tests that should notice.")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these faults alone")
    parser.add_argument("--jobs", type=int, default=1, help="copies, and runs of pytest, at a time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the result goes as well")
    parser.add_argument("--resume", action="store_true", help="leave out what FILE already knows")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one run of pytest")
    parser.add_argument("--no-rooms", action="store_true", help="do not try whole rooms on what a selection misses")
    parser.add_argument("--list", action="store_true", help="say where each fault goes, and run nothing")
    asked = parser.parse_args(arguments)
    unknown = sorted(set(asked.only or ()) - {fault.name for fault in FAULTS})
    if unknown:
        parser.error(f"no fault is called {', '.join(unknown)}")
    return asked


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script."""
    asked = parsed(arguments)
    report = Report(asked.json, asked.resume)
    known = {found.name for found in report.outcomes}
    places: dict[Fault, Place] = {}
    for fault in FAULTS:
        if fault.name in known or (asked.only and fault.name not in asked.only):
            continue
        try:
            places[fault] = place_of(fault, ROOT)
        except NotPlantedError as error:
            report.add(Outcome(fault.name, "", str(fault.tests), NOT_PLANTED, 0.0, str(error)))
    if asked.list:
        for fault, place in places.items():
            print(f"{fault.name:30} {place.path}:{place.line}  ({fault.tests})")
        return int(bool(report.outcomes))

    with tempfile.TemporaryDirectory(prefix="planted-") as temporary, ThreadPoolExecutor(asked.jobs) as pool:
        copies: queue.Queue[Copy] = queue.Queue()
        for number in range(asked.jobs):
            copies.put(Copy(Path(temporary) / str(number), asked.timeout))

        @contextmanager
        def borrowed() -> Iterator[Copy]:
            copy = copies.get()
            try:
                yield copy
            finally:
                copies.put(copy)

        def control(tests: Tests) -> None:
            with borrowed() as copy:
                report.add_control(tests, *usable(tests, copy))

        def plant(fault: Fault) -> None:
            if report.passes(fault.tests):
                with borrowed() as copy:
                    report.add(tried(fault, places[fault], report.controls[fault.tests][0], copy, not asked.no_rooms))
            else:
                said = "its tests fail without it"
                report.add(Outcome(fault.name, str(places[fault].path), str(fault.tests), NOT_TRIED, 0.0, said))

        selections = [tests for tests in dict.fromkeys(fault.tests for fault in places) if not report.passes(tests)]
        print(f"{len(selections)} selections of tests without a fault:", flush=True)
        list(pool.map(control, selections))
        print(f"{len(places)} faults:", flush=True)
        list(pool.map(plant, places))
    return report.summary()


if __name__ == "__main__":
    sys.exit(main())
