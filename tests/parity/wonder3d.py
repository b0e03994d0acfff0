"""Parity of Wonder3D: its rig."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from studio.cameras import opencv_to_opengl
from studio.rigs import RIGS
from tests.parity.case import Adapter, Case


def rig(case: Case) -> dict[str, Tensor]:
    """The cameras' rotations as the input camera sees them, wherever that stands."""
    config = case.config
    azimuths = tuple(map(float, config["azimuth_deg"]))
    given = replace(
        RIGS["wonder3d"],
        azimuth_deg=azimuths,
        elevation_deg=(0.0,) * len(azimuths),
        ortho_scale=config["ortho_scale"],
        names=tuple(config["order"]),
    )
    axes = opencv_to_opengl(given.cameras(256, 70.0, 35.0).c2w)[:, :3, :3].double()
    relative = axes[0].T @ axes
    turned = torch.rad2deg(torch.atan2(relative[:, 0, 2], relative[:, 2, 2]))
    turned = (turned + 179.5) % 360 - 179.5  # above -180, up to 180
    return {"relative_rotation": relative.float(), "azimuth_deg": turned.float()}


CASES: dict[str, Adapter] = {"rig": rig}
