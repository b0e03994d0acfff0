"""`studio ui`: its words, and what it says when it cannot start."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studio.errors import ConfigError
from studio.server import run
from tests.conftest import REPOSITORY


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


def test_it_starts_without_torch_and_stops_when_told(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "studio", "ui", "port=0", f"jobs={tmp_path}/jobs", "workers=1"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert address, line + process.stderr.read()  # type: ignore[union-attr]
        connection = http.client.HTTPConnection("127.0.0.1", int(address[1]), timeout=30)
        connection.request("GET", "/api/health")
        assert json.loads(connection.getresponse().read())["waiting"] == 0
        assert time.monotonic() - began < 30
        maps = Path(f"/proc/{process.pid}/maps")
        if maps.exists():
            assert "libtorch" not in maps.read_text()
    finally:
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode == 130 and "Traceback" not in errors, errors
