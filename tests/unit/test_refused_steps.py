"""Sampling steps that cannot be placed are refused before any weights are read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from studio.errors import ConfigError
from studio.plugins.options import build
from tests.nano import whole_nano

NANO = whole_nano()
METHODS = {
    "zero123": "zero123",
    "viewfusion-interpolated": "zero123-any",
    "eschernet": "eschernet",
    "spad": "spad",
    "epidiff": "epidiff",
    "viewfusion-composable": "viewfusion-composable",
}


def broken_copy(name: str, folder: Path) -> Path:
    """Copy a nano model without the insides of its weights, and what its config names beside it."""
    for source in (NANO / name, NANO / "zero123"):
        if not (folder / source.name).exists():
            shutil.copytree(source, folder / source.name)
    for path in folder.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:64])
    return folder / name


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 90_000}, "steps is 90000"),
        ({"steps": 1, "timestep_spacing": "zero123"}, "steps is 1, which spacing 'zero123'"),
    ],
)
def test_steps_are_judged_first(
    method: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    if method == "viewfusion-composable" and "timestep_spacing" in options:
        options, message = {"steps": 2001}, "steps is 2001"
    weights = broken_copy(METHODS[method], tmp_path)
    with pytest.raises(ConfigError, match=message):
        build("guidance", method, {"weights": str(weights), **options}, key="system.guidance")
