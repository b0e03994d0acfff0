"""The visual hull as a model: what the outlines leave of space, coloured by the pictures.

Nothing is trained: a second or two give a closed mesh with the colours of the views, for previews
and as a yardstick. Hollows that show in no outline are filled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import grid_sample

from studio.cameras import Cameras
from studio.errors import DataError
from studio.export.cleanup import vertex_normals
from studio.export.view_colours import Footage
from studio.mesh import Mesh, MeshOptions
from studio.models.base import SceneModel
from studio.models.object_hull import HullOptions, find_object
from studio.models.surface import surface
from studio.ops.ray_caster import cast_mesh
from studio.ops.visual_hull import Frame, cell_centres, hull_distance
from studio.plugins.registry import register
from studio.progress import StageProgress
from studio.views import ViewSet

FACING = 0.5  # least cosine under which a surface counts as seen
LOWEST = 0.005  # share of the seen points that may lie below the base
NEAR = 3.0  # cells from the surface that have colours


@register("model", "visual-hull")
class VisualHull(SceneModel):
    """Visual hull of the masks, coloured by the views: a preview without training."""

    @dataclass
    class Config:
        """Options of the visual hull."""

        hull: HullOptions = field(default_factory=HullOptions)
        """How much the views have to agree, and how fine the grid is."""
        flat_base: bool = False
        """End the mesh flat below the lowest surface seen; for views that all look from above."""

    centre: Float[Tensor, 3]
    half_side: Float[Tensor, ""]
    cube: Float[Tensor, ""]
    base: Float[Tensor, ""]
    distance: Float[Tensor, "r r r"]
    colours: UInt8[Tensor, "3 r r r"]
    done_share: Float[Tensor, ""]

    def __init__(self, cfg: Config | None = None) -> None:
        super().__init__()
        self.cfg = self.Config() if cfg is None else cfg
        cells = (self.cfg.hull.resolution,) * 3
        self.register_buffer("centre", torch.zeros(3))
        self.register_buffer("half_side", torch.ones(()))
        self.register_buffer("cube", torch.ones(()))
        self.register_buffer("base", torch.tensor(-torch.inf))
        self.register_buffer("distance", torch.ones(cells))
        self.register_buffer("colours", torch.full((3, *cells), 128, dtype=torch.uint8))
        self.register_buffer("done_share", torch.zeros(()))
        self._views: ViewSet | None = None
        self._originals: Sequence[ViewSet] = ()

    # --- the fit --------------------------------------------------------------------------------

    def begin(self, views: ViewSet, *, originals: Sequence[ViewSet] = (), seed: int = 0) -> None:
        """Carve the object's cube; nothing here depends on the seed."""
        with StageProgress("visual hull"):
            shape = find_object(views, self.cfg.hull)
        if shape.hull is None:
            raise DataError(
                "the masks of these views have no hull in common: less than half of them agree on "
                "any point.",
                hint="check cameras and masks; reconstruction_type sdf can start without a hull",
            )
        self._views, self._originals, self.left_out = views, originals, shape.lost
        self.centre.copy_(shape.frame.centre)
        self.half_side.fill_(shape.frame.half)
        self.cube.fill_(views.bound)
        self.base.fill_(-torch.inf)
        self.distance.copy_(hull_distance(shape.hull))
        self.done_share.fill_(0.0)

    def step(self, update: Callable[[], Any] | None = None) -> dict[str, Tensor]:
        """Find the base and the colours; there is one step."""
        if self._views is None:
            raise RuntimeError("the model has no views yet: call fit, or begin")
        mesh = self._surface(len(self.distance), MeshOptions(faces=0))
        if self.cfg.flat_base and (base := lowest_facing(mesh, self._views.cameras)) is not None:
            self.base.fill_(base)
        self._paint(mesh, self._views)
        self.done_share.fill_(1.0)
        return {}

    def _paint(self, mesh: Mesh, views: ViewSet) -> None:
        """Colour the surface by the pictures, and the cells around it like the surface."""
        from scipy.spatial import KDTree

        alpha = views.images[:, 3:]
        mean = (views.images[:, :3] * alpha).sum((0, 2, 3)) / alpha.sum().clamp(min=1)
        grey = np.broadcast_to(mean.cpu().numpy(), mesh.vertices.shape).astype(np.float32)
        seen = Footage(mesh, views, originals=self._originals)
        colours = seen.refine_vertices(replace(mesh, colours=grey)).colours
        near = (self.distance.abs() < NEAR * 2 / len(self.distance)).cpu()
        cells = self.frame.to_world(cell_centres(len(near)).to(self.device)).cpu()
        _, vertex = KDTree(mesh.vertices).query(cells[near.reshape(-1)].numpy())
        assert colours is not None
        painted = torch.from_numpy(np.round(colours[vertex] * 255).astype(np.uint8))
        self.colours[:, near.to(self.device)] = painted.T.to(self.device)

    @property
    def progress(self) -> float:
        """0 before the step, 1 after it."""
        return float(self.done_share)

    # --- what it is good for --------------------------------------------------------------------

    @property
    def frame(self) -> Frame:
        """The cube of the grids."""
        return Frame(self.centre, float(self.half_side))

    @property
    def bound(self) -> float:
        """Half the side of the cube around the origin that holds the object."""
        return float(self.cube)

    def mesh(
        self,
        resolution: int = 192,
        options: MeshOptions = MeshOptions(),  # noqa: B008 - frozen
        *,
        report: Callable[[str], None] | None = None,
    ) -> Mesh:
        """The hull's smoothed surface with vertex colours."""
        mesh = self._surface(resolution, options, report)
        points, normals = (torch.from_numpy(x) for x in (mesh.vertices, vertex_normals(mesh)))
        colours = self.colour(points.to(self.device), normals.to(self.device))
        return replace(mesh, colours=colours.cpu().numpy())

    def _surface(
        self,
        resolution: int,
        options: MeshOptions,
        report: Callable[[str], None] | None = None,
    ) -> Mesh:
        how: dict[str, Any] = {"views": self._views, "device": self.device, "report": report}
        return surface(self._signed, self.bound, resolution, options, **how)

    def _signed(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Distance to the surface in world units, negative inside."""
        local = self.frame.to_local(points)
        outside = (local.abs() - 1).clamp(min=0).norm(dim=-1)
        value = (self._sampled(self.distance[None], local)[0] + outside) * float(self.half_side)
        return torch.maximum(value, self.base - points[:, 2])

    @torch.no_grad()
    def colour(
        self, points: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"]
    ) -> Float[Tensor, "n 3"]:
        """Colour of the surface at points near it."""
        local = self.frame.to_local(points.to(self.device))
        return self._sampled(self.colours.float(), local).T / 255

    def _sampled(
        self, grid: Float[Tensor, "c r r r"], local: Float[Tensor, "n 3"]
    ) -> Float[Tensor, "c n"]:
        """Trilinear values of a grid of cells at points of the cube; the border goes on."""
        at = local.flip(-1)[None, None, None]  # grid_sample's x is the last axis
        return grid_sample(grid[None], at, padding_mode="border", align_corners=False)[0, :, 0, 0]

    def render(self, cameras: Cameras, background: float | None = None) -> ViewSet:
        """Cast rays at the mesh; colours without light."""
        seen = cast_mesh(self.mesh(len(self.distance)), cameras, shading=False)
        images = torch.from_numpy(seen.rgba).permute(0, 3, 1, 2).float()
        normals = torch.from_numpy(seen.normal).permute(0, 3, 1, 2).float()
        views = ViewSet(images.contiguous(), cameras.to("cpu"), self.bound, normals=normals)
        if background is None:
            return views
        solid = torch.ones_like(images[:, :1])
        return replace(views, images=torch.cat([views.rgb_on(background), solid], 1))


def lowest_facing(mesh: Mesh, cameras: Cameras) -> float | None:
    """Height of the lowest surface that faces a camera; None if a camera stands below it.

    Below what cameras above an object see, its hull goes on as a cone along their rays.
    """
    normals, facing = vertex_normals(mesh), np.full(len(mesh.vertices), -1.0)
    for c2w in cameras.c2w.cpu().numpy():
        if cameras.ortho_scale is None:
            to_camera = c2w[:3, 3] - mesh.vertices
            to_camera /= np.maximum(np.linalg.norm(to_camera, axis=1, keepdims=True), 1e-9)
        else:
            to_camera = -c2w[:3, 2]
        facing = np.maximum(facing, (normals * to_camera).sum(1))
    seen = np.sort(mesh.vertices[facing > FACING, 2])
    if not len(seen):
        return None
    lowest = float(seen[int(LOWEST * (len(seen) - 1))])
    return None if bool((cameras.c2w[:, 2, 3] <= lowest).any()) else lowest
