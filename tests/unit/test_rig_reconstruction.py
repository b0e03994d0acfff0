"""Every rig shows enough: true pictures through its cameras give the object back.

The object is three ellipsoids, which have no symmetry in common, so that a camera on the wrong side
is seen. Pictures are cast here, from `Cameras.rays` alone; carving uses `Cameras.project`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from studio.cameras import Cameras
from studio.guidance.epidiff import conditioning as epidiff
from studio.guidance.epidiff.options import EpiDiffConfig
from studio.guidance.eschernet import conditioning as eschernet
from studio.guidance.eschernet.options import EscherNetConfig
from studio.guidance.spad import conditioning as spad
from studio.guidance.spad.options import RELEASED, SpadConfig
from studio.guidance.viewfusion_composable import conditioning as composable
from studio.guidance.viewfusion_composable.options import ViewFusionComposableConfig
from studio.guidance.viewfusion_interpolated.options import ViewFusionInterpolatedConfig
from studio.ops.visual_hull import Frame, cell_centres, visual_hull
from studio.rigs import RIGS, Rig
from studio.views import ViewSet

RADII = torch.tensor([[0.20, 0.15, 0.36], [0.16, 0.12, 0.18], [0.12, 0.16, 0.16]])
CENTRES = torch.tensor([[0.0, 0.0, 0.0], [0.15, 0.0, 0.14], [-0.04, -0.12, -0.14]])
SIDE, CELLS = 64, 40
RINGS = EscherNetConfig()

METHODS = {
    "epidiff": epidiff.ring(EpiDiffConfig().views, 30.0),
    "epidiff, released": epidiff.ring(16, 30.0, truncated=True),
    "spad": spad.ring(SpadConfig()),
    "spad, released": spad.ring(SpadConfig(**RELEASED["four-views"])),
    "eschernet": eschernet.default_rig(
        EscherNetConfig().azimuths, EscherNetConfig().elevations_deg
    ),
    "viewfusion-composable": composable.ring(ViewFusionComposableConfig()),
    "viewfusion-interpolated": Rig.ring(ViewFusionInterpolatedConfig().views, frame="azimuth"),
}
ALL = {**RIGS, **METHODS}


def placed(rig: Rig) -> tuple[Tensor, Tensor]:
    """Radii and centres of the ellipsoids in the rig's world."""
    unit = torch.nn.functional.normalize(
        torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)), dim=1
    )
    surface = (unit * RADII[:, None] + CENTRES[:, None]).reshape(-1, 3)
    moved = rig.placed(surface)
    scale = (moved[1] - moved[0]).norm() / (surface[1] - surface[0]).norm()
    return RADII * scale, CENTRES * scale + (moved[0] - surface[0] * scale)


def photograph(cameras: Cameras, shape: tuple[Tensor, Tensor], bound: float) -> ViewSet:
    """Cast the silhouettes of the ellipsoids."""
    rays, (radii, centres) = cameras.rays(), shape
    hit = torch.zeros(len(rays), dtype=torch.bool)
    for radius, centre in zip(radii, centres, strict=True):
        o, d = (rays.origins - centre) / radius, rays.directions / radius
        nearest = o - (o * d).sum(1, keepdim=True) / d.square().sum(1, keepdim=True) * d
        hit |= nearest.norm(dim=1) < 1
    mask = hit.reshape(len(cameras), 1, *cameras.size).float()
    return ViewSet(mask.expand(-1, 4, -1, -1), cameras, bound)


def overlap(rig: Rig, pictured: Cameras, carved: Cameras) -> float:
    """IoU of the object and the hull of its pictures by some cameras, carved with others."""
    shape = placed(rig)
    views = replace(photograph(pictured, shape, rig.bound), cameras=carved)
    frame = Frame(torch.zeros(3), rig.bound)
    hull = visual_hull(views, frame, CELLS).reshape(-1)
    points = frame.to_world(cell_centres(CELLS))
    inside = [((points - c) / r).norm(dim=1) < 1 for r, c in zip(*shape, strict=True)]
    truth = torch.stack(inside).any(0)
    return float((hull & truth).sum() / (hull | truth).sum())


@pytest.mark.parametrize("name", ALL)
def test_true_pictures_give_the_object_back(name: str) -> None:
    rig = ALL[name]
    cameras = rig.cameras(SIDE, 40.0, 25.0)
    enough = 0.8 if len(rig) <= 6 else 0.9
    assert overlap(rig, cameras, cameras) > enough
    if rig.measure == "sphere":
        return  # Zero123++ cuts the corners of objects that fill their sphere, on purpose
    views = photograph(cameras, placed(rig), rig.bound).mask
    edges = torch.cat([views[:, 0], views[:, -1], views[:, :, 0], views[:, :, -1]], dim=1)
    assert not edges.any(), "a picture cuts the object off"


@pytest.mark.parametrize("name", ["epidiff", "spad", "mvadapter", "zero123plus-v1.2", "wonder3d"])
def test_cameras_on_the_wrong_side_do_not(name: str) -> None:
    """What the test above is worth: pictures of a mirrored rig, and of one that is not tilted."""
    rig = ALL[name]
    cameras = rig.cameras(SIDE, 40.0, 25.0)
    mirrored = replace(rig, azimuth_deg=tuple(-a for a in rig.azimuth_deg))
    assert overlap(rig, mirrored.cameras(SIDE, 40.0, 25.0), cameras) < 0.75
    if rig.frame == "input":
        assert overlap(rig, rig.cameras(SIDE, 40.0, 0.0), cameras) < 0.75
