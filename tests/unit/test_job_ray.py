"""Jobs on a Ray cluster of two nodes on one machine; one of them is killed in the middle."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.errors import ConfigError
from studio.jobs import Job, LocalExecutor, Phase, Record
from tests.unit.job_tasks import TASKS

ray = pytest.importorskip("ray")
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    from studio.jobs.ray_cluster import our_signals

    folder = tmp_path_factory.mktemp("custom")
    (folder / "naps.py").write_text(TASKS)
    with pytest.MonkeyPatch.context() as patch, our_signals():
        patch.setenv("STUDIO_CUSTOM", str(folder))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster(initialize_head=True, head_node_args=NODE)
        made.second = made.add_node(**NODE)
        before = signal.getsignal(signal.SIGTERM)
        with our_signals():
            ray.init(address=made.address, log_to_driver=False, logging_level="critical")
            assert signal.getsignal(signal.SIGTERM) != before, "Ray has none of its own any more"
        assert signal.getsignal(signal.SIGTERM) == before
        yield made
        ray.shutdown()
        made.shutdown()


def naps(folder: Path, count: int, **options: object) -> list[Record]:
    given = {f"task.{key}": value for key, value in options.items()}
    return [
        Record.create(folder / f"n{i}", Job(task="nap", seed=i, options=given, text=str(i)))
        for i in range(count)
    ]


def begun(record: Record) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return (record.folder / "seen.txt").read_text().split()
    return []


def until(true: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def test_work_spreads_and_outlives_a_node(cluster: Any, tmp_path: Path) -> None:
    from studio.jobs.ray import RayExecutor

    told: set[str] = set()
    with RayExecutor(changed=lambda r: told.add(r.folder.name), tasks=()) as executor:
        records = naps(tmp_path / "far", 10, lasts=0.5)
        bad = naps(tmp_path / "bad", 1, mistake="x.png")[0]
        crash = naps(tmp_path / "crash", 1, crashes=1)[0]
        ended = naps(tmp_path / "ended", 1, lasts=300, deaf=True)[0]
        for record in (bad, crash, ended):
            executor.submit(record)
        until(lambda: bool(begun(ended)))
        executor.cancel(ended)
        assert executor.wait(60)
        assert (bad.state.phase, bad.state.error) == (Phase.FAILED, "x.png is no good.")
        assert (crash.state.phase, crash.state.attempt) == (Phase.DONE, 2)
        assert ended.state.phase == Phase.CANCELLED
        for record in records:
            executor.submit(record)
        until(lambda: len({line for record in records for line in begun(record)}) == 2)  # both work
        cluster.remove_node(cluster.second, allow_graceful=False)
        assert executor.wait(60)
    assert {record.state.phase for record in records} == {Phase.DONE}
    assert sum(len(begun(record)) for record in records) <= len(records) + 1
    assert told >= {record.folder.name for record in records}
    with LocalExecutor(1, tasks=()) as local:
        for record in (near := naps(tmp_path / "near", 10)):
            local.submit(record)
        assert local.wait(60)
    for here, there in zip(near, records, strict=True):
        assert (here.result / "nap.txt").read_bytes() == (there.result / "nap.txt").read_bytes()
        assert here.state.figures["group.seed"] == there.state.figures["group.seed"]


def test_a_cluster_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.jobs.ray_cluster import joined

    def refuse(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ConfigError, match="no Ray cluster at address 'auto'.*\n.*ray start"):
        joined("auto")
    with pytest.raises(ConfigError, match="no Ray cluster at address '127.0.0.1:1'"):
        joined("127.0.0.1:1")  # nobody listens there, and Ray is not asked
