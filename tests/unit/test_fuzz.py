"""The short form of the fuzz campaign: some inputs of a few kinds, all of which are light."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign.fuzz_kinds import SHORT
from tests.conftest import REPOSITORY, environment


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_damaged_inputs_are_read_or_refused(tmp_path: Path) -> None:
    words = ["count=66", "seed=0", f"out={tmp_path / 'fuzz'}", f"kinds={','.join(SHORT)}"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaign.fuzz", *words],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert " 0 faults" in done.stdout.replace("\n", " ")
