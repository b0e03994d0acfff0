"""Parity of SPAD's cameras, masks and Pluecker lines."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from studio.cameras import (
    Cameras,
    opencv_to_opengl,
    opengl_to_opencv,
    orbit_cameras,
    pinhole_intrinsics,
)
from studio.guidance.spad.epipolar import (
    camera_vectors,
    epipolar_mask,
    plucker,
    relative_vectors,
)
from tests.parity.case import Adapter, Case
from tests.parity.settings import Settings

BITS = 2 ** torch.arange(7, -1, -1)


def _set(case: Case, name: str, side: int) -> Cameras:
    polar, azimuth = case.inputs[f"{name}.elevation_deg"], case.inputs[f"{name}.azimuth_deg"]
    fov = math.degrees(case.config["fov_rad"])
    return orbit_cameras(azimuth.tolist(), (90 - polar).tolist(), case.config["radius"], fov, side)


def _mask(config: Settings, cameras: Cameras, side: int) -> Tensor:
    config.only(src_depth=3.5)
    spread = 1 if config.get("dilate", True) else 0
    return epipolar_mask(cameras, side, spread=spread)


def cameras(case: Case) -> dict[str, Tensor]:
    """Camera matrices and condition vectors of sets of angles."""
    out: dict[str, Tensor] = {}
    for name in case.config["sets"]:
        rig = _set(case, name, 256)
        absolute = camera_vectors(rig, absolute=True, intrinsics=False)
        both = camera_vectors(rig, absolute=True, intrinsics=True)
        out |= {
            f"{name}.c2w": opencv_to_opengl(rig.c2w),
            f"{name}.cam_pairs_rel": relative_vectors(rig),
            f"{name}.cam_pairs_abs": absolute[:, None].repeat(1, len(rig), 1),
            f"{name}.intrinsics": both[:, 4:].contiguous(),
            f"{name}.cond_two_views": camera_vectors(rig, absolute=False, intrinsics=False),
            f"{name}.cond_four_views": both,
        }
    return out


def masks(case: Case) -> dict[str, Tensor]:
    """Masks and Pluecker lines of sets of angles, as booleans or packed into bytes."""
    out: dict[str, Tensor] = {}
    for name, options in case.config["sets"].items():
        options.about("views")
        rig = _set(case, name, options["S"])
        mask = _mask(case.config, rig, options["S"])
        out[f"{name}.plucker"] = plucker(rig, options["S"])
        if f"{name}.mask_packed" in case.meta["tensors"]:
            out[f"{name}.mask_packed"] = (mask.unflatten(1, (-1, 8)) * BITS).sum(-1).byte()
        else:
            out[f"{name}.mask"] = mask
    return out


def general(case: Case) -> dict[str, Tensor]:
    """Masks between two cameras of any pose and lens, both ways."""
    side = case.config["S"]
    out: dict[str, Tensor] = {}
    for name in sorted({key.split(".")[0] for key in case.inputs}):
        fov = case.inputs[f"{name}.fov"]
        lenses = [pinhole_intrinsics(math.degrees(f), (side, side)) for f in fov.tolist()]
        c2w = opengl_to_opencv(case.inputs[f"{name}.c2w"])
        rig = Cameras(c2w, torch.stack(lenses), (side, side))
        mask, n = _mask(case.config, rig, side), side * side
        out |= {
            f"{name}.mask_src_to_tgt": mask[:n, n:].contiguous(),
            f"{name}.mask_tgt_to_src": mask[n:, :n].contiguous(),
            f"{name}.plucker": plucker(rig, side),
        }
    return out


CASES: dict[str, Adapter] = {
    "cameras": cameras,
    "epipolar_mask": masks,
    "epipolar_mask_general": general,
}
