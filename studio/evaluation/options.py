"""What is asked of an evaluation: options, and what can be judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from studio.plugins.ranges import Angle

if TYPE_CHECKING:
    from studio.mesh import Mesh
    from studio.views import ViewSet

    Judged = str | Path | Mesh | ViewSet


@dataclass
class Judging:
    """How a pair is measured."""

    protocol: Literal["studio", "eschernet", "syncdreamer", "viewfusion", "stanford-orb"] = "studio"
    """What is measured, and how."""
    pred_up: Literal["auto", "+y", "+z"] = "auto"
    """Which way is up in the judged mesh: +y, +z or auto (what glTF defines and what files of this program say, else +z)."""  # noqa: E501
    reference_up: Literal["auto", "+y", "+z"] = "auto"
    """The same of the reference."""
    rotate_deg: Angle = 0.0
    """Turn the judged mesh about +Z, counter-clockwise seen from above, before anything else."""
    match: Literal["name", "order"] = "name"
    """Which pictures belong together: those of equal name, or in the order of their names."""
    lpips: str = ""
    """File or folder with the backbone's weights; empty leaves LPIPS out."""


@dataclass
class EvaluateConfig(Judging):
    """Words of `--evaluate`."""

    pred: str = ""
    """What is judged: a mesh file, a folder with transforms.json, or a folder of pictures."""
    reference: str = ""
    """What it is judged against, of the same kind."""
    out: str = "evaluation.json"
    """Where the result is written."""


def shown(given: Judged) -> str:
    """Say where something judged comes from: its path, or that it is in memory."""
    return str(given) if isinstance(given, str | Path) else f"(a {type(given).__name__} in memory)"
