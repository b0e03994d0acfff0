"""The local executor: warm processes carry out jobs, are cancelled, die, and leave none behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studio.errors import StudioError
from studio.io.files import alive
from studio.jobs import Job, LocalExecutor, Phase, Record, State
from studio.jobs import record as record_module
from studio.jobs.attempt import held
from studio.jobs.machine import cores, places
from tests.conftest import environment
from tests.unit.job_tasks import custom_tasks

Nap = Callable[..., Record]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of custom plugins, for the processes that are started."""
    with custom_tasks(tmp_path_factory.mktemp("custom")) as folder:
        yield folder


@pytest.fixture(scope="module")
def executor(tasks: Path) -> Iterator[LocalExecutor]:
    with LocalExecutor(2, tasks=()) as made:
        made.start()
        yield made


@pytest.fixture
def nap(tmp_path: Path) -> Nap:
    def make(name: str, **options: object) -> Record:
        own = {k: options.pop(k) for k in list(options) if k in Job.__annotations__}
        given = {f"task.{key}": value for key, value in options.items()}
        return Record.create(tmp_path / name, Job(task="nap", options=given, **own))  # type: ignore[arg-type]

    return make


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def workers_of(record: Record) -> list[int]:
    seen = record.folder / "seen.txt"
    return [int(line) for line in seen.read_text().split()] if seen.is_file() else []


def test_jobs_are_carried_out_by_processes_that_stay(executor: LocalExecutor, nap: Nap) -> None:
    records = [nap(f"n{i}", figure=i, seed=i, lasts=0.05) for i in range(8)]
    for record in records:
        executor.submit(record)
    assert executor.wait(120)
    for i, record in enumerate(records):
        state = record.state
        assert (state.phase, state.error, state.attempt) == (Phase.DONE, "", 1)
        assert state.figures["figure"] == i and state.figures["group.seed"] == i
        assert state.figures["seconds.napping"] >= 0.05
        assert state.warnings == ["slept"] and state.alarms == ["too long"]
        assert state.began <= state.ended and (record.result / "nap.txt").is_file()
        figures = json.loads((record.result / "figures.json").read_text())
        assert figures["group"] == {"seed": i}
        assert "hello from the task" in record.log.read_text()
        assert not (record.folder / ".lock").exists()
    pids = {workers_of(record)[0] for record in records}
    assert len(pids) == 2 and os.getpid() not in pids


def test_what_is_over_is_left_alone(executor: LocalExecutor, nap: Nap) -> None:
    record = nap("n")
    for _ in range(2):
        executor.submit(record)
        assert executor.wait(60)
    assert record.state.attempt == 1
    record.again()
    executor.submit(record)
    assert executor.wait(60) and record.state.attempt == 2


def test_a_folder_that_others_have_removed_is_not_made_anew(
    nap: Nap, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = nap("gone")
    read = record_module.read_json

    def read_then_removed(path: Path) -> object:
        found = read(path)
        shutil.rmtree(record.folder)  # by whoever deletes a run, between reading and writing
        return found

    monkeypatch.setattr(record_module, "read_json", read_then_removed)
    with pytest.raises(StudioError, match="its folder does not exist"):
        record.note(phase=Phase.RUNNING)
    assert not record.folder.exists()
    with pytest.raises(StudioError, match="its folder does not exist"):
        record.cancel()
    assert not record.folder.exists()


def test_changes_are_told_and_progress_is_written(tasks: Path, nap: Nap) -> None:
    told: list[tuple[Record, State]] = []
    with LocalExecutor(
        1, tasks=(), changed=lambda record: told.append((record, record.state))
    ) as own:
        record = nap("n", lasts=1.0)
        own.submit(record)
        assert own.wait(60)
    states = [state for _, state in told]
    assert [s.phase for s in states][-1] == Phase.DONE
    napping = [s for s in states if s.stage == "napping"]
    assert 2 <= len(napping) <= 8, "a few times a second"
    assert napping[-1].total == 100 and 0 < napping[-1].done <= 100


@pytest.mark.parametrize("deaf", [False, True])
def test_cancelling_frees_the_worker_within_two_seconds(
    executor: LocalExecutor, nap: Nap, deaf: bool
) -> None:
    records = [nap(f"n{i}", lasts=300, deaf=deaf) for i in range(2)]
    waiting = nap("waiting")
    for record in [*records, waiting]:
        executor.submit(record)
    until(lambda: all(r.state.phase == Phase.RUNNING and workers_of(r) for r in records))
    executor.cancel(waiting)
    assert waiting.state.phase == Phase.CANCELLED and not workers_of(waiting)
    began = time.monotonic()
    executor.cancel(records[0])
    records[1].cancel()  # as another process does
    assert executor.wait(10)
    assert time.monotonic() - began < 2.5
    for record in records:
        assert record.state.phase == Phase.CANCELLED and record.state.ended
        assert alive(workers_of(record)[0]) != deaf, "only what does not listen is killed"


def test_refusals_mistakes_and_exits_are_failures_in_words(
    executor: LocalExecutor, nap: Nap
) -> None:
    said = {
        "inputs/car.png": "inputs/car.png is no good.",
        "bug": "the program made a mistake (KeyError: 'a bug'); log.txt says where.",
        "exit": "the program made a mistake (SystemExit: 5); log.txt says where.",
    }
    records = {mistake: nap(Path(mistake).stem, mistake=mistake) for mistake in said}
    for record in records.values():
        executor.submit(record)
    assert executor.wait(60)
    for mistake, record in records.items():
        state = record.state
        assert (state.phase, state.error, state.attempt) == (Phase.FAILED, said[mistake], 1)
    assert "Traceback" in records["bug"].log.read_text()
    executor.submit(unknown := Record.create(records["bug"].folder / "u", Job(task="napp")))
    assert executor.wait(60) and "did you mean 'nap'" in unknown.state.error


def test_a_job_whose_process_died_is_tried_again(executor: LocalExecutor, nap: Nap) -> None:
    once, ever = nap("once", crashes=1, how=11), nap("ever", crashes=9, retries=1)
    leaves = nap("leaves", crashes=9, how="exit", retries=0)
    for record in (once, ever, leaves):
        executor.submit(record)
    assert executor.wait(120)
    assert (once.state.phase, once.state.attempt) == (Phase.DONE, 2)
    assert len(set(workers_of(once))) == 2
    assert (ever.state.phase, ever.state.attempt) == (Phase.FAILED, 2)
    assert "died 2 times (killed from outside" in ever.state.error
    assert (leaves.state.phase, leaves.state.attempt) == (Phase.FAILED, 1)
    assert "died (exit code 3)" in leaves.state.error
    assert "Segmentation fault" in once.log.read_text()


@pytest.mark.parametrize("deaf", [False, True])
def test_what_takes_too_long_is_given_up(executor: LocalExecutor, nap: Nap, deaf: bool) -> None:
    record = nap("n", lasts=300, deaf=deaf, timeout=0.5)
    executor.submit(record)
    assert executor.wait(30)
    assert record.state.phase == Phase.FAILED
    assert record.state.error == "it was given up after 0.5 s, as its timeout says."


def test_two_executors_do_no_job_twice(executor: LocalExecutor, tasks: Path, nap: Nap) -> None:
    records = [nap(f"n{i}", lasts=0.3) for i in range(6)]
    with LocalExecutor(1, tasks=()) as other:
        for record in records:
            executor.submit(record)
            other.submit(record)
        assert executor.wait(60) and other.wait(60)
    assert [len(workers_of(record)) for record in records] == [1] * 6
    assert {record.state.phase for record in records} == {Phase.DONE}


def test_a_job_that_others_hold_is_taken_over_when_they_let_go(
    executor: LocalExecutor, nap: Nap
) -> None:
    record = nap("n")
    record.note(phase=Phase.RUNNING, attempt=1)  # by a process that was killed, or works on it
    with held(record) as ours:
        assert ours
        executor.submit(record)
        assert not executor.wait(1.5) and not workers_of(record)
    assert executor.wait(10) and record.state.phase == Phase.DONE and record.state.attempt == 2


def test_closing_leaves_no_process_and_no_job_behind(tasks: Path, nap: Nap) -> None:
    record = nap("n", lasts=300)
    with LocalExecutor(1, tasks=()) as own:
        own.submit(record)
        until(lambda: bool(workers_of(record)))
    assert record.state.phase == Phase.WAITING
    assert not alive(workers_of(record)[0])
    with pytest.raises(RuntimeError, match="closed"):
        own.submit(record)


PROGRAM = """
import sys
from studio.app.console import guarded
from studio.jobs import LocalExecutor, Record

with guarded(), LocalExecutor(1, tasks=()) as executor:
    executor.submit(Record(sys.argv[1]))
    executor.wait()
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_the_one_that_started_them(
    tasks: Path, nap: Nap, sent: signal.Signals
) -> None:
    record = nap("n", lasts=300, deaf=True)
    started = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(record.folder)],
        env=environment(),
        stderr=subprocess.DEVNULL,
    )
    until(lambda: bool(workers_of(record)))
    started.send_signal(sent)
    started.wait(10)
    until(lambda: not alive(workers_of(record)[0]), 3.0)
    killed = sent == signal.SIGKILL
    assert record.state.phase == (Phase.RUNNING if killed else Phase.WAITING)
    with held(record) as ours:
        assert ours


def test_places_share_out_the_cores() -> None:
    assert places(1) == [("cpu", cores())] or places(1)[0][0].startswith("cuda")
    found = places()
    assert sum(threads for _, threads in found) <= max(cores(), len(found))


def test_a_job_of_nobody_is_cancelled_at_once(executor: LocalExecutor, nap: Nap) -> None:
    record = nap("n")
    executor.cancel(record)
    assert record.state.phase == Phase.CANCELLED
    executor.submit(record)
    assert executor.wait(10) and not workers_of(record)
