"""How pytest-xdist hands out the tests of this repository: one by one, and no crash stops it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

TOGETHER = "tests/browser/"
"""Tests that share a service, a browser and a mesh that takes long: one process has them."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out tests one by one, but for those that share what a fixture sets up: it is done once.

    The files with most tests go first, single tests fill up. pytest-xdist's own `--dist loadgroup`
    writes groups where pytest 9.2 does not look for them.

    A worker begins its last test only once it has another or is told that there is none. The class
    of pytest-xdist tells a worker that replaces a crashed one neither, and both wait; it also gives
    the test that crashed to the next worker, and asks one that still collects tests to run some.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(config, log)
            self.shared: dict[str, bool] = {}

        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            if file.startswith(TOGETHER):
                return TOGETHER
            if file not in self.shared:
                self.shared[file] = _shares(config.rootpath / file)
            return file if self.shared[file] else nodeid

        def _reschedule(self, node: Any) -> None:
            if node.shutting_down or node not in self.registered_collections:
                return
            while self.workqueue and self._pending_of(self.assigned_work[node]) <= 2:
                self._assign_work_unit(node)
            if not self.workqueue:
                node.shutdown()

        def remove_node(self, node: Any) -> str | None:
            """Take back what a worker has left, but for the test that crashed it."""
            left = self.assigned_work.pop(node)
            crashed = next((t for u in left.values() for t, done in u.items() if not done), None)
            for scope, tests in left.items():
                rest = {test: False for test, done in tests.items() if not done and test != crashed}
                if rest:
                    self.workqueue[scope] = rest
            for other in self.nodes:
                self._reschedule(other)
            return crashed

    return Scheduling()


def _shares(file: Path) -> bool:
    """Whether the tests of a file share a fixture, or say that they belong together."""
    text = file.read_text(encoding="utf-8")
    return re.search(r'scope="(module|package|session)"|mark\.xdist_group', text) is not None
