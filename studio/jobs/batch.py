"""Many jobs at once: one folder an item, a log as it goes, and a page of it all at the end."""

from __future__ import annotations

import os
import queue
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.errors import ConfigError, DataError, StudioError
from studio.io.files import make_folder
from studio.jobs.attempt import held
from studio.jobs.executor import Changed, Executor
from studio.jobs.items import Item
from studio.jobs.record import Phase, Record
from studio.jobs.results import ResultsLog, row_of
from studio.jobs.sheet import write_sheet
from studio.progress import StageProgress
from studio.runs.lock import RunLock

ALL_DONE, SOME_FAILED = 0, 3
"""Exit codes of a batch that came to its end."""


@dataclass(frozen=True)
class Part:
    """One of several slices of a batch, for machines that do not know of each other."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read `3/8`; `auto` is this task of a SLURM array, an empty text the whole.

        Raises:
            ConfigError: if it is no such slice.
        """
        if not text:
            return cls()
        if text == "auto":
            return cls._of_array()
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) < 10**6):
            raise ConfigError(f"part is '{text}'.", allowed="1/8 to 8/8, any number of parts; auto")
        return cls(int(number), int(of))

    @classmethod
    def _of_array(cls) -> Part:
        names = ("ID", "MIN", "MAX", "STEP")
        said = {name: os.environ.get(f"SLURM_ARRAY_TASK_{name}", "") for name in names}
        said["STEP"] = said["STEP"] or "1"
        if not all(value.isdecimal() for value in said.values()):
            raise ConfigError(
                "part is auto, and this is no task of a SLURM array (SLURM_ARRAY_TASK_ID).",
                allowed="3/8 anywhere; auto after sbatch --array=1-8",
            )
        task, low, high, step = (int(value) for value in said.values())
        of = (high - low) // step + 1
        if (count := os.environ.get("SLURM_ARRAY_TASK_COUNT", str(of))) != str(of):
            raise ConfigError(
                f"part is auto, and the array's {count} tasks are not numbered evenly.",
                hint="number them so: sbatch --array=1-8",
            )
        return cls((task - low) // step + 1, of)

    def chosen(self, items: Sequence[Item]) -> list[Item]:
        """The items of the slice: every n-th, and with each one those that are equal to it."""
        firsts = [item.name for item in items if not item.same_as]
        ours = set(firsts[self.number - 1 :: self.of])
        return [item for item in items if (item.same_as or item.name) in ours]

    @property
    def suffix(self) -> str:
        """What the slice's files are told from others' by."""
        return "" if self.of == 1 else f"-{self.number}-of-{self.of}"


class Batch:
    """Carries out the items of a batch.

    Args:
        items: all of them.
        out: their folder.
        part: which of them to carry out here.
        again: carry out what has failed or was cancelled once more.
    """

    def __init__(
        self, items: Sequence[Item], out: Path, part: Part = Part(), *, again: bool = False
    ) -> None:
        self.out, self.part, self.again = make_folder(out), part, again
        self.items = {item.name: item for item in part.chosen(items)}
        self.all = list(items)
        self.records = {name: Record(out / name) for name in self.items}
        self.followers: dict[str, list[str]] = {}
        for item in self.items.values():
            if item.same_as:
                self.followers.setdefault(item.same_as, []).append(item.name)

    def run(self, make_executor: Callable[[Changed], Executor]) -> Counter[str]:
        """Do all that is not done yet.

        Args:
            make_executor: makes what carries jobs out, given whom to tell of changes.

        Returns:
            How many items are in each state.

        Raises:
            StudioError: if another process does the same, or `out` cannot be used or holds others.
        """
        lock = RunLock(self.out, f".lock{self.part.suffix}", "out").acquire()
        try:
            self._write_down()
            self.log = ResultsLog(self.out / f"results{self.part.suffix}.jsonl", self._counts)
            for name in self.items:
                self._finished(name)
            if left := [n for n, item in self.items.items() if self._left(item)]:
                self._carry_out(left, make_executor)
            write_sheet(self.out, self.all)
        finally:
            lock.release()
        return Counter(row["state"] for row in self.log.rows.values())

    def _write_down(self) -> None:
        """Make a record of every item."""
        with StageProgress("writing jobs", len(self.items)) as told:
            for n, (name, item) in enumerate(self.items.items()):
                record = Record.create(self.out / name, item.job)
                if self.again and record.state.phase in (Phase.FAILED, Phase.CANCELLED):
                    record.again()
                told(n + 1, len(self.items))

    def _counts(self, row: dict[str, object]) -> bool:
        """Whether a line of the log is still so."""
        name = str(row["name"])
        return name in self.items and str(self.records[name].state.phase) == row["state"]

    def _left(self, item: Item) -> bool:
        return item.name not in self.log.rows and not item.same_as

    def _finished(self, name: str) -> bool:
        """Write the line of an item that is over, and of those that are equal to it."""
        state = self.records[name].state
        if not state.over:
            return False
        if name not in self.log.rows:
            self.log.add(row_of(self.items[name], self.records[name], state))
        for other in self.followers.get(name, ()):
            if not self.records[other].state.over:
                self._copy(name, other)
            self._finished(other)
        return True

    def _told(self, name: str) -> bool:
        """What `_finished` says; False where the record is gone or cannot be read."""
        try:
            return self._finished(name)
        except DataError:
            return False

    def _stage(self, name: str) -> str:
        """What is being done for an item, in words."""
        try:
            state = self.records[name].state
        except DataError:
            return "?"
        share = f" {state.done / state.total:.0%}" if state.total else ""
        return f"{state.stage or state.phase}{share}"

    def _copy(self, name: str, other: str) -> None:
        """Give an item the result of an equal one."""
        source, target = self.records[name], self.records[other]
        with held(target) as ours:
            if not ours:
                raise StudioError(f"{target.folder} is worked on by another process.")
            shutil.rmtree(target.result, ignore_errors=True)
            if source.result.is_dir():
                shutil.copytree(source.result, target.result)
            now, state = time.time(), source.state
            target.note(
                **{
                    k: getattr(state, k)
                    for k in ("phase", "error", "warnings", "alarms", "figures")
                },
                began=now,
                ended=now,
            )

    def _carry_out(self, left: list[str], make_executor: Callable[[Changed], Executor]) -> None:
        changed: queue.Queue[str] = queue.Queue()
        with (
            StageProgress("batch", len(self.items), len(self.log.rows)) as told,
            make_executor(lambda record: changed.put(record.folder.name)) as executor,
        ):
            for name in left:
                executor.submit(self.records[name])
            waiting, at, values = set(left), dict[str, str](), dict[str, Any]()
            while waiting:
                try:
                    name = changed.get(timeout=0.2)  # not for ever: Ctrl-C comes between
                except queue.Empty:
                    if executor.wait(0) and changed.empty():  # the disk is full, a folder gone, ...
                        break
                    continue
                if name not in waiting:
                    continue
                if self._told(name):
                    waiting.remove(name)
                    at.pop(name, None)
                    states = Counter(row["state"] for row in self.log.rows.values())
                    values["failed"] = states[Phase.FAILED]
                else:
                    at[name] = f"{name} ({self._stage(name)})"
                values["at"] = ", ".join(at.values())
                told(len(self.log.rows), len(self.items), {k: v for k, v in values.items() if v})
