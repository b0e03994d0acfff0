"""Every kind of visit of the campaign once (tests/campaign/server.py), with quick work."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from studio.server.settings import ServerConfig
from tests.campaign.server import Seen, visit
from tests.campaign.server_visitors import GOOD, HOSTILE, OURS, Visits
from tests.local_server import serving
from tests.unit.server_things import quick

COSTLY = (
    "a_picture_of_36_megapixels",
    "a_body_of_500_mb",
    "several_pictures",
    "a_zip_of_thousands",
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    jobs = tmp_path_factory.mktemp("hostile") / "jobs"
    with serving(ServerConfig(port=0, jobs=str(jobs), queue=100), quick) as (started, _):
        OURS[:] = [str(jobs)]
        yield started, jobs


def test_every_kind_of_visit_is_answered_in_words(address: tuple[str, Path]) -> None:
    seen, canary = Seen(), "canary-of-the-tests"
    on = Visits(address[0], canary, random.Random(0))
    for name in [*GOOD, *HOSTILE]:
        if name not in COSTLY:
            visit(on, {**GOOD, **HOSTILE}, name, seen)  # type: ignore[arg-type]
    assert not seen.faults
    accepted = {kind for kind, status in seen.statuses if status == 201}
    assert accepted >= {name for name in GOOD if name not in COSTLY}
    assert accepted <= {*GOOD, "a_damaged_picture", "a_damaged_zip"}
    assert not [p for p in address[1].parent.rglob("*") if canary in p.name]
