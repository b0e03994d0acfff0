"""The service for programs: the MCP tools through MCP's own client, the example of the docs."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("mcp")

from studio.server.settings import ServerConfig
from tests.conftest import REPOSITORY
from tests.local_server import serving
from tests.unit.server_things import CAR, quick


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    jobs = str(tmp_path_factory.mktemp("mcp") / "jobs")
    with serving(ServerConfig(port=0, jobs=jobs), quick) as (started, _):
        yield started


async def tools(address: str) -> dict[str, Any]:
    from mcp import Client

    found: dict[str, Any] = {}
    picture = base64.b64encode(CAR.read_bytes()).decode()
    async with Client(f"{address}/mcp") as client:
        found["names"] = {tool.name for tool in (await client.list_tools()).tools}
        found["methods"] = await client.call_tool("methods", {})
        asked = {"method": "epidiff-neus", "files": [picture], "steps": 2, "label": "by a program"}
        sent = await client.call_tool("submit", asked)
        found["sent"] = sent.structured_content
        mine = {"id": found["sent"]["id"], "key": found["sent"]["key"]}
        found["followed"] = await client.call_tool("follow", {**mine, "wait": 30})
        found["picture"] = await client.call_tool("fetch", {**mine, "file": "views/000.png"})
        found["mesh"] = await client.call_tool("fetch", {**mine, "format": "glb"})
        long = {"method": "spad-neus", "text": "a red car", "steps": 3000, "key": mine["key"]}
        begun = (await client.call_tool("submit", long)).structured_content
        cancel = {"id": begun["id"], "key": mine["key"]}
        await client.call_tool("cancel", cancel)
        found["cancelled"] = await client.call_tool("follow", {**cancel, "wait": 30})
        misspelt = {"method": "epidiff-neus", "files": [picture], "sead": 7}
        found["misspelt"] = await client.call_tool("submit", misspelt)
        found["incomplete"] = await client.call_tool("follow", {"wait": 0})
        sideways = {"system.exporter.pivot": "sideways"}
        stands = {"method": "epidiff-neus", "files": [picture], "options": sideways}
        found["sideways"] = await client.call_tool("submit", stands)
        found["refused"] = await client.call_tool("submit", {"method": "no", "files": [picture]})
    async with Client(f"{address}/mcp") as stranger:
        found["stranger"] = await stranger.call_tool("follow", {"id": mine["id"], "wait": 0})
    return found


def test_the_tools(address: str) -> None:
    found = asyncio.run(tools(address))
    assert found["names"] == {"methods", "submit", "follow", "fetch", "cancel"}
    assert "epidiff-neus" in found["methods"].content[0].text
    assert found["sent"]["label"] == "by a program" and len(found["sent"]["key"]) >= 32
    assert found["followed"].structured_content["phase"] == "done"
    assert base64.b64decode(found["picture"].content[0].data)[:4] == b"\x89PNG"
    assert base64.b64decode(found["mesh"].content[0].resource.blob)[:4] == b"glTF"
    assert found["cancelled"].structured_content["phase"] == "cancelled"
    assert found["refused"].is_error and "no method 'no'" in found["refused"].content[0].text
    said = found["sideways"].content[0].text
    assert found["sideways"].is_error and '"At the origin" [system.exporter.pivot]' in said
    assert "base, centre, fitted" in said and "glb_textures" in found["methods"].content[0].text
    said = found["misspelt"].content[0].text
    assert found["misspelt"].is_error and "'sead' is unknown" in said and "seed" in said
    assert "'id' is missing" in found["incomplete"].content[0].text
    assert found["stranger"].is_error and "no such job" in found["stranger"].content[0].text


def test_the_example_of_the_docs_runs(address: str, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/server.md").read_text(), re.S)
    assert len(code.strip().splitlines()) <= 20
    (tmp_path / "client.py").write_text(code.replace("http://127.0.0.1:7860", address))
    (tmp_path / "car.png").write_bytes(CAR.read_bytes())
    done = subprocess.run(
        [sys.executable, "client.py"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "car.glb").read_bytes()[:4] == b"glTF"
    assert "done" in done.stdout


def test_what_is_no_mcp_is_refused(address: str) -> None:
    import requests

    answer = requests.post(f"{address}/mcp", data=b"{", timeout=30)
    assert 400 <= answer.status_code < 500
    answer = requests.post(
        f"{address}/mcp",
        data=json.dumps({"jsonrpc": "2.0", "id": 1, "method": "no/such"}),
        headers={"content-type": "application/json", "accept": "application/json"},
        timeout=30,
    )
    assert answer.status_code < 500 and "Traceback" not in answer.text
