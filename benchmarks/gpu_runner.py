"""Runs the parts of one measurement in turn: each inside its own time, leaving a file of its own, and not again once it is done."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FORMAT = 1
DONE, UNFINISHED, FAILED, TIMED_OUT, ABSENT, NOT_REACHED = "done", "unfinished", "failed", "timed out", "absent", "not reached"
#: how a part may end that says nothing against the package; all but what is done is begun again, or gone on with, in the next run
GOOD = (DONE, UNFINISHED, ABSENT)
#: a part is not begun with less than this left of the whole
LEAST_SECONDS = 3.0
#: for a driver to take down what an ended process left
END_SECONDS = 5.0
KEPT_LINES = 12
SHOWN_WIDTH = 200


class Absent(Exception):
    """What a part needs is not on this machine; the sentence says what."""


class Failed(Exception):
    """A part came to an end that it should not have."""


class TimedOut(Exception):
    """A part's time was over before its commands were."""


@dataclass
class Run:
    """One part under way: where it writes, how long it has, and what it is run with."""

    folder: Path
    name: str  # "02-verify"
    deadline: float  # of time.monotonic()
    dry: bool
    environment: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)  # of the whole session
    facts: dict[str, Any] = field(default_factory=dict)  # kept in the part's file
    commands: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)  # what the next run is to go on with, in words
    wrong: list[str] = field(default_factory=list)  # what was found wrong, where the part went on nevertheless
    late: list[str] = field(default_factory=list)  # what had to be ended, where the part went on nevertheless
    code: int = 0  # exit status of the last command

    def path(self, name: str) -> Path:
        """Return a file of this part."""
        return self.folder / f"{self.name}-{name}"

    @property
    def log(self) -> Path:
        """What the part's commands printed."""
        return self.folder / f"{self.name}.log"

    @property
    def left(self) -> float:
        """Seconds until the part's time is over."""
        return max(0.0, self.deadline - time.monotonic())

    def python(self, *words: Any, **options: Any) -> str:
        """Run Python with these words; see `command`."""
        return self.command([sys.executable, *map(str, words)], **options)

    def each(self, *steps: Callable[[], str]) -> str:
        """Take steps one after another, each though the one before it failed or had to be ended, and return what they say."""
        said = []
        for step in steps:
            try:
                said.append(step())
            except Absent:
                raise
            except TimedOut as late:
                self.late.append(str(late))
            except Exception as failure:  # of any kind: the step behind it is to be taken all the same
                self.wrong.append(in_words(failure))
        return "; ".join(said)

    def command(self, words: Sequence[str], accept: Sequence[int] | None = (0,), seconds: float = math.inf) -> str:
        """Run a command from the repository's root and return what it printed.

        Raises
        ------
        Failed
            If its exit status is none of `accept`; None stands for all.
        TimedOut
            If so many seconds, or the part's time, are over first; the command and its children are ended then.
        """
        return self.side_by_side([words], accept, seconds)[0]

    def side_by_side(self, commands: Sequence[Sequence[str]], accept: Sequence[int] | None = (0,), seconds: float = math.inf) -> list[str]:
        """Run several commands at once; return what each printed, once all have ended."""
        until, self.code = min(self.deadline, time.monotonic() + seconds), 0
        outputs = [self.folder / f"{self.name}.{index}.out" for index in range(len(commands))]
        processes = []
        try:
            for words, output in zip(commands, outputs, strict=True):
                self.commands.append(shlex.join(map(str, words)))
                with output.open("w") as stream:
                    processes.append(
                        subprocess.Popen(
                            list(map(str, words)), cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=stream,
                            stderr=subprocess.STDOUT, start_new_session=True,
                        )
                    )  # fmt: skip
            for process in processes:
                process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired as late:
            raise TimedOut(f"its time was over during: {shlex.join(map(str, late.cmd))}") from late
        finally:
            for process in processes:
                end(process)
            said = [self._keep(words, output) for words, output in zip(commands, outputs, strict=True) if output.exists()]
        for words, process, text in zip(commands, processes, said, strict=True):
            self.code = process.returncode
            if accept is not None and process.returncode not in accept:
                last = " | ".join(text.strip().splitlines()[-3:])
                raise Failed(f"{last}; exit status {process.returncode} of: {shlex.join(map(str, words))}")
        return said

    def _keep(self, words: Sequence[str], output: Path) -> str:
        """Move what a command printed to the part's log, and return it."""
        text = output.read_text(errors="replace")
        output.unlink()
        with self.log.open("a") as log:
            log.write(f"$ {shlex.join(map(str, words))}\n{text}\n")
        return text


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it started, unless it has ended; it leads a session of its own. One that its driver holds back is left."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)


def in_words(failure: Exception) -> str:
    """Return what stands in a part's line of a failure."""
    return str(failure) if isinstance(failure, Failed) else f"{type(failure).__name__}: {failure}"


@dataclass(frozen=True)
class Part:
    """One of the parts: `work` runs it and returns the line that says what came of it."""

    name: str
    seconds: float  # its share of the whole, which is kept for it
    work: Callable[[Run], str]
    most: float = math.inf  # seconds, however much is left: of a part that cannot use more, so that its hang costs the others little


@dataclass(frozen=True)
class Session:
    """All parts of one run over one folder."""

    folder: Path
    commit: str
    dry: bool
    environment: Callable[[], dict[str, str]]  # asked before each part, since the first one builds what the others run
    options: dict[str, Any] = field(default_factory=dict)
    archive: Path | None = None

    def run(self, parts: Sequence[Part], seconds: float, only: Sequence[str] = ()) -> int:
        """Run the parts that are not done; print a line for each and a table last; return 0 if all ended well."""
        self.folder.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + seconds
        names = [f"{number:02}-{part.name}" for number, part in enumerate(parts, 1)]
        done = [self.record_of(name) for name in names]
        asked = [before is None and (not only or part.name in only) for part, before in zip(parts, done, strict=True)]
        records = []
        for number, (part, name) in enumerate(zip(parts, names, strict=True)):
            kept = sum(later.seconds for later, wanted in zip(parts[number + 1 :], asked[number + 1 :], strict=True) if wanted)
            # a rehearsal's processor is as slow as it is, and has no GPU that hangs
            until = min(max(deadline - kept, time.monotonic() + part.seconds), time.monotonic() + (math.inf if self.dry else part.most))
            record = self._run_part(name, part, until, deadline) if asked[number] else done[number]
            reason = "no time was left" if asked[number] else "left out of this run"
            records.append(record or {"part": name, "status": NOT_REACHED, "seconds": 0.0, "line": reason})
            print(f"[{number + 1}/{len(parts)}] {self._line(records[-1])}{' (done in an earlier run)' if done[number] else ''}", flush=True)
        print("\n" + table(records), flush=True)
        return 0 if all(record["status"] in GOOD for record, wanted in zip(records, asked, strict=True) if wanted) else 1

    @staticmethod
    def _line(record: dict[str, Any]) -> str:
        return f"{record['part']}: {record['status']} in {record['seconds']:.1f} s: {record['line']}"

    def record_of(self, name: str) -> dict[str, Any] | None:
        """Return what a part's file says if it was done for this commit and in this way, else None."""
        path = self.folder / f"{name}.json"
        try:
            record: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError):  # none, or cut off while it was written
            return None
        same = (record.get("format"), record.get("commit"), record.get("dry_run")) == (FORMAT, self.commit, self.dry)
        return record if same and record.get("status") == DONE else None

    def _run_part(self, name: str, part: Part, until: float, deadline: float) -> dict[str, Any] | None:
        begin = time.monotonic()
        if deadline - begin < LEAST_SECONDS:
            return None
        for old in (self.folder / f"{name}.json", self.folder / f"{name}.log"):
            old.unlink(missing_ok=True)
        run = Run(self.folder, name, min(until, deadline), self.dry, self.environment(), self.options)
        try:
            status, line = DONE, part.work(run)
            if run.unfinished:
                status, line = UNFINISHED, "; ".join(run.unfinished)
            if run.late:
                status, line = TIMED_OUT, "; ".join(run.late)
            if run.wrong:
                status, line = FAILED, "; ".join(run.wrong + run.late)
        except Absent as reason:
            status, line = ABSENT, str(reason)
        except TimedOut as late:
            status, line = TIMED_OUT, str(late)
        except Exception as failure:  # of any kind: the parts behind this one are to run all the same
            status, line = FAILED, in_words(failure)
        seconds = {"seconds": round(time.monotonic() - begin, 2), "limit_seconds": round(run.deadline - begin, 2)}
        record = {
            "format": FORMAT, "part": name, "status": status, "line": line, **seconds,
            "commit": self.commit, "dry_run": self.dry, "commands": run.commands, "facts": run.facts,
        }  # fmt: skip
        if status != DONE and run.log.exists():
            record["last_words"] = run.log.read_text(errors="replace").splitlines()[-KEPT_LINES:]
        unfinished = self.folder / f"{name}.json.part"
        unfinished.write_text(json.dumps(record, indent=1, default=str) + "\n")
        unfinished.replace(self.folder / f"{name}.json")
        if self.archive is not None:
            pack(self.folder, self.archive)
        return record


def pack(folder: Path, archive: Path) -> None:
    """Write all files that lie in the folder itself to one compressed archive, and none of its folders, which hold the build."""
    unfinished = archive.with_name(archive.name + ".part")
    with tarfile.open(unfinished, "w:gz") as packed:
        for path in sorted(folder.iterdir()):
            if path.is_file() and path not in (archive, unfinished):
                packed.add(path, path.name)
    unfinished.replace(archive)


def table(records: Sequence[dict[str, Any]]) -> str:
    """Return the parts as a table for a terminal."""
    width = max(len(record["part"]) for record in records)
    lines = [f"{'part':<{width}}  {'status':<11}  {'seconds':>7}  what came of it"]
    for record in records:
        first = record["line"].partition("\n")[0][:SHOWN_WIDTH]
        lines.append(f"{record['part']:<{width}}  {record['status']:<11}  {record['seconds']:7.1f}  {first}")
    return "\n".join(lines)
