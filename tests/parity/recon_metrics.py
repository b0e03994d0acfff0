"""Metrics of meshes and pictures as the published evaluation programs compute them."""

from __future__ import annotations

import torch
from torch import Tensor

from studio.mesh import Mesh
from studio.metrics.mesh import normalised, point_distances
from studio.metrics.protocols import PROTOCOLS
from studio.metrics.voxels import grid_iou, occupancy_grid
from tests.parity.case import Adapter, Case


def metrics_mesh(case: Case) -> dict[str, Tensor]:
    """Chamfer distances, F-score and IoU of two normalised meshes; PSNR of an RGBA picture."""
    given = {name: tensor.numpy() for name, tensor in case.inputs.items()}
    a, b = (normalised(Mesh(given[f"verts_{k}"], given[f"faces_{k}"])) for k in ("a", "b"))
    grid_a, grid_b = (occupancy_grid(m, case.config.get("sdf_size", 64)) for m in (a, b))
    distances = point_distances(a.vertices, b.vertices)
    threshold = case.config.get("fscore_threshold_on_squared", 0.01) ** 0.5
    numbers = {
        "chamfer_eschernet": distances.chamfer,
        "chamfer_viewfusion_squared_sum": 2 * distances.chamfer_squared,
        "iou": grid_iou(grid_a, grid_b),
        "psnr": _psnr(case.inputs["img_pr_u8"], case.inputs["img_gt_u8"]),
    }
    shares = {
        "fscore": distances.f_score(threshold),
        "precision": distances.precision(threshold),
        "recall": distances.recall(threshold),
    }
    return {
        "norm_a": torch.from_numpy(a.vertices),
        "norm_b": torch.from_numpy(b.vertices),
        "inside_count_a": torch.tensor(int(grid_a.sum())),
        "inside_count_b": torch.tensor(int(grid_b.sum())),
        **{name: torch.tensor(value) for name, value in numbers.items()},
        **{name: torch.tensor([value]) for name, value in shares.items()},
    }


def _psnr(shown: Tensor, wanted: Tensor) -> float:
    """Picture figures of protocol "viewfusion": [H, W, 3 or 4] uint8, on white."""
    pictures = []
    for picture in (shown, wanted):
        rgba = picture.permute(2, 0, 1).float() / 255
        opaque = torch.ones_like(rgba[:1])
        pictures.append(rgba if len(rgba) == 4 else torch.cat([rgba, opaque]))
    return PROTOCOLS["viewfusion"].views.measure(*pictures)["psnr"]


CASES: dict[str, Adapter] = {"metrics_mesh": metrics_mesh}
