"""`studio ui`: its words, and what it says when it cannot start."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from studio.errors import ConfigError
from studio.io.files import alive
from studio.server import run
from studio.server.settings import ServerConfig
from tests.campaign.server import family
from tests.campaign.server_visitors import QUICK
from tests.conftest import REPOSITORY
from tests.unit.server_things import Visitor


def test_words(monkeypatch: pytest.MonkeyPatch) -> None:
    config = run.settings(["port=80", "names=[a.b,c]", "password=007", "open=false"])
    assert (config.port, config.names, config.password, config.open) == (
        80,
        ["a.b", "c"],
        "007",
        False,
    )
    monkeypatch.setenv("STUDIO_PASSWORD", "unseen")
    assert run.settings([]).password == "unseen"
    with pytest.raises(ConfigError, match="did you mean 'password'"):
        run.settings(["pasword=x"])
    with pytest.raises(ConfigError, match="port is 99999"):
        run.settings(["port=99999"])


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(run.NEEDS, "no_such_module", "no-such-package")
    with pytest.raises(ConfigError, match=r"no-such-package, which is not installed(.|\n)*\[ui\]"):
        run.check_packages()


def test_an_address_that_cannot_be_had_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}"):
            run.listen(run.settings([f"port={port}"]))
    with pytest.raises(ConfigError, match=r"10\.255\.255\.1"):
        run.listen(run.settings(["host=10.255.255.1", "port=0"]))


def test_a_folder_of_jobs_has_one_server(tmp_path: Path) -> None:
    with run.alone(tmp_path):
        with pytest.raises(ConfigError, match=f"{os.getpid()}(.|\n)*jobs="):
            with run.alone(tmp_path):
                pass
    with run.alone(tmp_path):
        pass


def test_every_option_is_in_the_docs() -> None:
    table = (REPOSITORY / "docs/server.md").read_text()
    for option in dataclasses.fields(ServerConfig):
        assert f"`{option.name}`" in table, option.name
        if isinstance(option.default, int | float) and not isinstance(option.default, bool):
            assert f"`{option.default:g}`" in table, option.name


@contextlib.contextmanager
def started(jobs: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """`studio ui` in a process of its own; its address, and the first line that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "studio", "ui", "port=0", f"jobs={jobs}", "workers=1", *words],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, line + process.stderr.read()
        yield process, found[0], line
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_starts_without_torch_and_stops_when_told(
    tmp_path: Path, number: int, code: int
) -> None:
    pytest.importorskip("fastapi")
    with started(tmp_path / "jobs") as (process, address, _):
        assert requests.get(f"{address}/api/health", timeout=30).json()["waiting"] == 0
        maps = Path(f"/proc/{process.pid}/maps")
        assert not maps.exists() or "libtorch" not in maps.read_text()
        someone = Visitor(address)
        name = someone.send_job([], method="spad-neus", text="a red car").json()["id"]
        with someone.get(f"/api/jobs/{name}/events", stream=True) as stream:
            assert next(stream.iter_lines()).startswith(b"data: ")
            process.send_signal(number)
            _, errors = process.communicate(timeout=30)
    assert process.returncode == code and "Traceback" not in errors, errors


@pytest.mark.slow
def test_a_killed_server_leaves_no_process_and_takes_its_jobs_up_again(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    key = {"Authorization": f"Bearer {'k' * 20}"}
    with started(tmp_path / "jobs") as (process, address, _):
        someone = Visitor(address)
        someone.headers.update(key)
        names = [someone.send_job(steps=20, options=QUICK).json()["id"] for _ in range(2)]
        end = time.monotonic() + 120
        while time.monotonic() < end:
            told = someone.get(f"/api/jobs/{names[0]}").json()
            if "condition.png" in {file["name"] for file in told["files"]}:
                break
            time.sleep(0.1)
        assert told["phase"] == "running", told
        below = [pid for pid, _ in family(process.pid) if pid != process.pid]
        assert len(below) >= 2  # the helper and a worker
        process.kill()
        process.wait()
    end = time.monotonic() + 10
    while any(alive(pid) for pid in below) and time.monotonic() < end:
        time.sleep(0.1)
    assert not [pid for pid in below if alive(pid)]
    with started(tmp_path / "jobs") as (process, address, _):
        someone = Visitor(address)
        someone.headers.update(key)
        assert len(someone.get("/api/jobs").json()) == 2
        for name in names:
            told = someone.until_over(name, 600)
            assert told["phase"] == "done", told
            assert {"model.glb", "condition.png", "first.glb"} <= {f["name"] for f in told["files"]}
            glb = someone.get(f"/api/jobs/{name}/mesh.glb").content
            assert glb[:4] == b"glTF"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
