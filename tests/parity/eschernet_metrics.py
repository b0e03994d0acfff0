"""EscherNet's evaluation: figures of meshes and of pictures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from studio.mesh import Mesh
from studio.metrics.mesh import normalised
from studio.metrics.protocols import PROTOCOLS
from studio.metrics.voxels import occupancy_grid
from tests.parity.case import Adapter, Case


def metrics_3d(case: Case) -> dict[str, Tensor]:
    """Chamfer distance between vertices and IoU on the grid of mesh2sdf."""
    given, out = case.inputs, {}
    case.config.only(grid_extent=[-1, 1], fix=False, chamfer_on="mesh vertices")
    case.config.only(normalise=NORMALISED)
    meshes = {k: Mesh(given[f"{k}_vertices"].numpy(), given[f"{k}_faces"].numpy()) for k in KEYS}
    figures = PROTOCOLS["eschernet"].meshes.measure(meshes["rec"], meshes["gt"])
    grids = {k: occupancy_grid(normalised(m), case.config["grid"]) for k, m in meshes.items()}
    for key in KEYS:
        out[f"{key}_vertices_norm"] = torch.from_numpy(normalised(meshes[key]).vertices)
        out[f"{key}_volume_packed"] = torch.from_numpy(np.packbits(grids[key]))
    out["occupied"] = torch.tensor([int(grids[key].sum()) for key in KEYS])
    out["chamfer"] = torch.tensor([figures["chamfer"]])
    out["iou"] = torch.tensor([figures["volume_iou"]])
    return out


def metrics_2d(case: Case) -> dict[str, Tensor]:
    """PSNR and SSIM of a picture in 8 bit."""
    pictures = []
    case.config.about("ssim", "psnr", "loss", "lpips")  # descriptions
    for key in ("pred", "gt"):
        rgb = case.inputs[key].permute(2, 0, 1).float() / 255
        pictures.append(torch.cat([rgb, torch.ones_like(rgb[:1])]))
    figures = PROTOCOLS["eschernet"].views.measure(*pictures)
    return {name: torch.tensor([figures[name]]) for name in ("psnr", "ssim")}


KEYS = ("gt", "rec")
NORMALISED = (
    "scale by 1/longest bbox side, then subtract the bbox centre; each mesh on its own; "
    "the reconstruction twice"
)
CASES: dict[str, Adapter] = {"metrics_3d": metrics_3d, "metrics_2d": metrics_2d}
