"""Parity of Zero123++: its rig."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from studio.cameras import opencv_to_opengl
from studio.rigs import RIGS
from tests.parity.case import Adapter, Case


def rig(case: Case) -> dict[str, Tensor]:
    """The six cameras of v1.2, or of v1.1 where the case says so."""
    config = case.config
    config.about("radius", "radius_v11", "elevation_deg")  # radius: of the inputs
    version = config.get("version", "v1.2")
    named = RIGS[f"zero123plus-{version}"]
    angles = config["elevation_deg"]
    given = replace(
        named,
        azimuth_deg=tuple(map(float, config["azimuth_deg"])),
        elevation_deg=tuple(map(float, angles if isinstance(angles, list) else angles[version])),
        radius=float(case.inputs["radius"]),
        fov_deg=float(config["fov_deg"]),
    )
    cameras = given.cameras(1, config["input_azimuth_deg"])
    k = cameras.intrinsics
    return {
        "c2w_opengl": opencv_to_opengl(cameras.c2w)[:, :3],
        "intrinsics": k[:, [0, 1, 0, 1], [0, 1, 2, 2]],
    }


CASES: dict[str, Adapter] = {"rig": rig}
