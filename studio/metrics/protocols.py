"""Evaluation protocols: what is normalised, sampled and averaged, each under its name.

Figures of different protocols must not stand in one column. `eschernet`, `syncdreamer` and
`viewfusion` (the interpolated one) do what the authors' evaluation programs do, `studio` what we
think is right. Every protocol judges meshes and pictures; its texts go into the result's JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from studio.mesh import Mesh
from studio.metrics.image import mask_iou, psnr, ssim
from studio.metrics.lpips import LPIPS
from studio.metrics.mesh import (
    mesh_metrics,
    normalised,
    point_distances,
    surface_distances,
    vertex_chamfer,
    volume_iou,
)
from studio.metrics.surface import Surface
from studio.metrics.visible import visible_points
from studio.metrics.voxels import grid_iou, occupancy_grid

GRID = 64
VIEWFUSION_SAMPLES, VIEWFUSION_SIDE, VIEWFUSION_SQUARED_THRESHOLD = 10_000, 1.6, 0.01


@dataclass(frozen=True)
class MeshProtocol:
    """How a mesh is judged against a reference.

    Attributes:
        normalises: what is done to both before.
        samples: what stands for a surface and for a volume.
        figures: name of every figure and what it means.
        measure: the judged mesh and the reference to the figures.
    """

    normalises: str
    samples: str
    figures: dict[str, str]
    measure: Callable[[Mesh, Mesh], dict[str, float]]


@dataclass(frozen=True)
class ViewProtocol:
    """How pictures are judged against reference pictures: each pair, then the mean over pairs.

    Attributes:
        eight_bit: round the pictures, composited on white, to 8 bit first.
        ssim_window: see `studio.metrics.image.ssim`.
        ssim_range_seen: scale SSIM's constants by the range of values that a pair shows instead
            of by 1 (torchmetrics' default).
        backbone: of LPIPS, "alex" or "vgg".
        masks: also compare the masks, where both pictures have one.
    """

    eight_bit: bool = False
    ssim_window: str = "gaussian"
    ssim_range_seen: bool = False
    backbone: str = "vgg"
    masks: bool = False

    @property
    def figures(self) -> dict[str, str]:
        """Name of every figure and what it means."""
        window = {"gaussian": "Gaussian 11x11, sigma 1.5", "box": "uniform 7x7"}[self.ssim_window]
        span = "the range of values seen" if self.ssim_range_seen else "1"
        texts = {
            "psnr": "dB over all pixels and channels, mean over views",
            "ssim": f"{window}, data range {span}, mean over views",
            "lpips": f"version 0.1, {self.backbone}, mean over views",
        }
        return texts | ({"mask_iou": "at alpha 0.5, mean over views"} if self.masks else {})

    def measure(
        self, a: Float[Tensor, "4 h w"], b: Float[Tensor, "4 h w"], lpips: LPIPS | None = None
    ) -> dict[str, float]:
        """Judge RGBA picture ``a`` against ``b``, both straight alpha in [0, 1]."""
        x, y = (self.shown(picture) for picture in (a, b))
        span = float(max(x.max() - x.min(), y.max() - y.min())) if self.ssim_range_seen else 1.0
        found = {
            "psnr": psnr(x, y),
            "ssim": ssim(x, y, window=self.ssim_window, data_range=span),
        }
        if lpips is not None:
            found["lpips"] = lpips(x[None], y[None])[0]
        if self.masks and a[3].min() < 1 and b[3].min() < 1:
            found["mask_iou"] = mask_iou(a[3], b[3])
        return found

    def shown(self, picture: Float[Tensor, "4 h w"]) -> Float[Tensor, "3 h w"]:
        """Composite on white, rounded to 8 bit where the protocol does so."""
        rgb = picture[:3] * picture[3:] + 1 - picture[3:]
        return (rgb * 255).round() / 255 if self.eight_bit else rgb


@dataclass(frozen=True)
class Protocol:
    """A name that figures are published under."""

    name: str
    meshes: MeshProtocol
    views: ViewProtocol

    def describe(self, part: MeshProtocol | ViewProtocol) -> dict[str, Any]:
        """Plain values for the result's JSON."""
        texts: dict[str, Any] = {"name": self.name}
        if isinstance(part, MeshProtocol):
            texts |= {"normalises": part.normalises, "samples": part.samples}
        else:
            shown = "rounded to 8 bit" if part.eight_bit else "not rounded"
            texts |= {"normalises": f"pictures on white, {shown}, at their own size"}
        return texts | {"figures": part.figures}


def _eschernet(mesh: Mesh, reference: Mesh) -> dict[str, float]:
    a, b = normalised(mesh), normalised(reference)
    return {
        "chamfer": vertex_chamfer(a, b),
        "volume_iou": grid_iou(occupancy_grid(a, GRID), occupancy_grid(b, GRID)),
    }


def _syncdreamer(mesh: Mesh, reference: Mesh) -> dict[str, float]:
    reference = normalised(reference)
    distances = point_distances(visible_points(mesh), visible_points(reference))
    grids = occupancy_grid(mesh, GRID), occupancy_grid(reference, GRID)
    return {"chamfer": distances.chamfer, "volume_iou": grid_iou(*grids)}


def _viewfusion(mesh: Mesh, reference: Mesh) -> dict[str, float]:
    a, b = (normalised(m, VIEWFUSION_SIDE) for m in (mesh, reference))
    points = [Surface(m).sample(VIEWFUSION_SAMPLES, seed=i)[0] for i, m in enumerate((a, b))]
    distances = point_distances(*points)
    return {
        "chamfer_squared_sum": 2 * distances.chamfer_squared,
        "f_score": distances.f_score(VIEWFUSION_SQUARED_THRESHOLD**0.5),
        "volume_iou": volume_iou(a, b),
    }


def _studio(mesh: Mesh, reference: Mesh) -> dict[str, float]:
    low, high = reference.vertices.min(0), reference.vertices.max(0)
    centre, side = (low + high) / 2, float((high - low).max())
    return mesh_metrics(
        *(replace(m, vertices=(m.vertices - centre) / np.float32(side)) for m in (mesh, reference))
    )


def _stanford_orb(mesh: Mesh, reference: Mesh) -> dict[str, float]:
    distances = surface_distances(mesh, reference)
    return {"chamfer": distances.chamfer, "chamfer_squared_sum": 2 * distances.chamfer_squared}


_STUDIO_FIGURES = {
    "chamfer": "mean of the two mean distances, not squared",
    "chamfer_squared": "mean of the two mean squared distances",
    "accuracy": "mean distance from the mesh to the reference",
    "completeness": "mean distance from the reference to the mesh",
    "normal_consistency": "mean |cosine| of nearest face normals, both ways",
    "f_score@0.01": "F-score, distance below 0.01, not squared",
    "f_score@0.02": "F-score, distance below 0.02, not squared",
    "volume_iou": "overlap over union of the volumes",
}
_GRID_TEXT = "samples at -1 + 2 i / 64 per axis, inside by parity of crossings"

PROTOCOLS = {
    p.name: p
    for p in (
        Protocol(
            "studio",
            MeshProtocol(
                "both by the reference's box: its centre to the origin, its longest side to 1",
                "surface: 100,000 area-uniform points, distance to the nearest triangle; "
                "volume: 200,000 evenly spread points in the joint box",
                _STUDIO_FIGURES,
                _studio,
            ),
            ViewProtocol(backbone="alex", masks=True),
        ),
        Protocol(
            "eschernet",
            MeshProtocol(
                "each by its own box: centre to the origin, longest side to 1",
                f"surface: the vertices; volume: {_GRID_TEXT}",
                {
                    "chamfer": "mean of the two mean distances between vertices, not squared",
                    "volume_iou": "overlap over union of the two grids",
                },
                _eschernet,
            ),
            ViewProtocol(eight_bit=True, ssim_window="box", backbone="alex"),
        ),
        Protocol(
            "syncdreamer",
            MeshProtocol(
                "the reference by its own box: centre to the origin, longest side to 1; the mesh "
                "stays as it is, in the frame of the 16 views",
                "surface: what 16 views at 30 degrees see in 256 x 256 pixels, thinned to voxels "
                f"of 0.01 (both meshes are cast; the authors read depth pictures of the "
                f"reference); volume: {_GRID_TEXT}",
                {
                    "chamfer": "mean of the two mean distances between points, not squared",
                    "volume_iou": "overlap over union of the two grids",
                },
                _syncdreamer,
            ),
            ViewProtocol(ssim_range_seen=True),
        ),
        Protocol(
            "viewfusion",
            MeshProtocol(
                "each by its own box: centre to the origin, longest side to 1.6",
                "surface: 10,000 area-uniform points, distance to the nearest point; volume: "
                "200,000 evenly spread points in the joint box (the authors print an IoU of random "
                "arrays, which cannot be repeated)",
                {
                    "chamfer_squared_sum": "sum of the two mean squared distances",
                    "f_score": "F-score, squared distance below 0.01 (distance below 0.1)",
                    "volume_iou": "overlap over union of the volumes; ours, see samples",
                },
                _viewfusion,
            ),
            ViewProtocol(),
        ),
        Protocol(
            "stanford-orb",
            MeshProtocol(
                "nothing: the reference is aligned with the cameras of the data set",
                "100,000 area-uniform points of each surface, distance to the nearest triangle of "
                "the other (the paper says bidirectional; neither how many points nor whether "
                "squared, so both stand here; its table counts in thousandths)",
                {
                    "chamfer": "mean of the two mean distances, not squared",
                    "chamfer_squared_sum": "sum of the two mean squared distances",
                },
                _stanford_orb,
            ),
            ViewProtocol(eight_bit=True),
        ),
    )
}
