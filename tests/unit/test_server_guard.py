"""Who may ask, from where, with what password, and how much may be sent."""

from __future__ import annotations

import base64
import functools
import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("fastapi")

import studio.server.guard as guard_module
from studio.server.answers import Refusal
from studio.server.guard import Guard, own_names
from studio.server.settings import ServerConfig
from studio.server.visitors import folder_of, key_in
from tests.local_server import serving
from tests.unit.server_things import Visitor, quick


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    jobs = str(tmp_path_factory.mktemp("guard") / "jobs")
    config = ServerConfig(port=0, jobs=jobs, most_mb=1, names=["studio.example"])
    with serving(config, quick) as (started, _):
        yield started


def ask(
    address: str, method: str, path: str, headers: dict[str, str], body: object = None
) -> tuple[int, dict[str, object], http.client.HTTPResponse]:
    where = urlsplit(address)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=60)
    connection.request(method, path, body=body, headers=headers)  # type: ignore[arg-type]
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if text[:1] in b"{[" and text else {}, answer


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:7860", True),
        ("192.168.1.5:80", True),
        ("[::1]:7860", True),
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("studio.example", True),
        ("studio.example.:80", True),
        (socket.gethostname(), True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:80", False),
        ("", False),
        ("a b", False),
        ("user@127.0.0.1", False),
        ("[::1", False),
        ("127.0.0.1:80:80", False),
        ("evil.example/127.0.0.1", False),
    ],
)
def test_hosts(host: str, known: bool) -> None:
    guard = Guard(None, ServerConfig(names=["Studio.Example"]))  # type: ignore[arg-type]
    assert guard.known(host) == known
    assert "localhost" in own_names()


def test_a_name_that_was_made_to_lead_here_is_refused(address: str) -> None:
    status, told, _ = ask(address, "GET", "/api/jobs", {"Host": "evil.example"})
    assert status == 421 and "evil.example" in str(told["error"])
    assert ask(address, "GET", "/api/jobs", {"Host": "studio.example"})[0] == 200
    call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}})
    kinds = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    told = ask(address, "POST", "/mcp", {"Host": "studio.example", **kinds}, call)
    assert told[0] == 200 and "submit" in str(told[1])


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_pages_may_not_change_anything(address: str, headers: dict[str, str]) -> None:
    for method, path in (("POST", "/api/jobs"), ("DELETE", "/api/jobs/x"), ("POST", "/mcp")):
        status, told, _ = ask(address, method, path, headers)
        assert status == 403 and "another page" in str(told["error"])
    own = {"Origin": address, "Sec-Fetch-Site": "same-origin"}
    assert ask(address, "DELETE", "/api/jobs/x", own)[0] == 404


def test_every_answer_has_the_headers(address: str) -> None:
    for path in ("/", "/api/health", "/api/nothing", "/api/jobs/x/files/y", "/api/docs"):
        headers = ask(address, "GET", path, {})[2].headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "access-control-allow-origin" not in headers
    page = ask(address, "GET", "/api/health", {})[2].headers["set-cookie"]
    assert "HttpOnly" in page and "SameSite=Strict" in page


def test_keys() -> None:
    key = "k" * 30
    assert key_in({"authorization": f"Bearer {key}"}) == key
    assert key_in({"x-studio-visitor": key, "cookie": f"studio-visitor={'c' * 30}"}) == key
    assert key_in({"cookie": f"a=b; studio-visitor={key}; c=d"}) == key
    for bad in ("short", "k" * 300, "../../../../../../etc", "k" * 20 + "\n", 'k" ' * 9):
        for headers in ({"x-studio-visitor": bad}, {"authorization": f"Bearer no {bad}"}):
            with pytest.raises(Refusal, match="no key"):
                key_in(headers)
        assert key_in({"cookie": f'studio-visitor="{bad}"'}) in ("", "k" * 20)
    assert key_in({k.lower(): v for k, v in basic(key, "password").items()}) == key
    assert key_in({k.lower(): v for k, v in basic("anybody", "password").items()}) == ""
    assert len(folder_of(key)) == 32 and key not in folder_of(key)


# --- how much -----------------------------------------------------------------------------------


def test_what_is_too_large_is_told_so_after_it_was_sent(address: str) -> None:
    visitor = Visitor(address)
    answer = visitor.post("/api/jobs", files=[("files", ("a.png", bytes(20_000_000)))])
    assert answer.status_code == 413 and "up to 1 MB" in answer.json()["allowed"]
    assert visitor.get("/api/health").status_code == 200


def test_a_body_without_a_length_is_counted(address: str) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        for _ in range(60):
            yield bytes(100_000)
        yield b"\r\n--x--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = Visitor(address).post("/api/jobs", data=pieces(), headers=headers)
    assert answer.status_code == 413, answer.text
    answer = Visitor(address).post("/api/jobs/x/again", data=pieces(), headers=headers)
    assert answer.status_code in (404, 413) and answer.json()["error"]


def test_an_upload_that_stops_is_ended(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "SILENT_SECONDS", 0.3)
    where = urlsplit(address)
    head = (
        f"POST /api/jobs HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Length: 900000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    ).encode()
    for drips in (0, 8):
        with socket.create_connection((str(where.hostname), where.port or 80), 20) as line:
            line.sendall(head)
            for _ in range(drips):
                line.sendall(b"x")
                time.sleep(0.1)
            assert b" 408 " in line.recv(1000).split(b"\r\n")[0]


# --- a password ---------------------------------------------------------------------------------


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def test_a_password_is_asked_of_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "WRONG_PASSWORD_SECONDS", 0.05)
    config = ServerConfig(port=0, jobs=str(tmp_path), password="geheim:ü")
    with serving(config, quick) as (address, _):
        for path in ("/", "/api/health", "/api/docs", "/api/openapi.json", "/mcp"):
            status, told, answer = ask(address, "GET", path, {})
            assert status == 401 and answer.headers["www-authenticate"].startswith("Basic")
            assert "password" in str(told["error"]) and "set-cookie" not in answer.headers
        for wrong in (basic("", "x"), {"Authorization": "Basic !!"}, {"Authorization": "Bearer x"}):
            assert ask(address, "GET", "/api/health", wrong)[0] == 401
        with ThreadPoolExecutor(30) as crowd:  # guesses take their turns, of which there are few
            guess = functools.partial(ask, address, "GET", "/api/health", basic("", "y"))
            statuses = [crowd.submit(guess) for _ in range(30)]
            time.sleep(0.5)
            right = ask(address, "GET", "/api/health", basic("", "geheim:ü"))
            assert right[0] == 200
            assert sorted({f.result()[0] for f in statuses}) == [401, 429]
        right = basic("anybody", "geheim:ü")
        assert ask(address, "GET", "/api/health", right)[0] == 200
        assert ask(address, "GET", "/api/jobs", basic("v" * 20, "geheim:ü"))[0] == 200
        short = {**right, "X-Studio-Visitor": "short"}
        status, told, _ = ask(address, "GET", "/api/jobs", short)
        assert status == 422 and "no key" in told["error"]
        key = {"X-Studio-Visitor": "v" * 20}
        assert ask(address, "GET", "/api/jobs", {**right, **key})[0] == 200
