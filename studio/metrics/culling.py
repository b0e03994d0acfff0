"""A mesh cut by the masks of the pictures that it was made from, as tables of DTU want it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from studio.errors import DataError
from studio.mesh import Mesh
from studio.views import ViewSet

MARGIN = 25 / 1600
"""Of DTU's pictures: masks are grown by a disc of 50 px across, in pictures of 1600 px."""


def within_masks(mesh: Mesh, views: ViewSet, margin: float = MARGIN) -> Mesh:
    """Return the faces all of whose corners lie within every mask, or beside that picture.

    Args:
        mesh: in the world of the views.
        views: pictures with masks.
        margin: by how much masks are grown, as a share of the pictures' longer side.

    Raises:
        DataError: if nothing is left.
    """
    stays = np.ones(len(mesh.vertices), dtype=bool)
    points = torch.from_numpy(np.ascontiguousarray(mesh.vertices)).double()
    grow = margin * max(views.cameras.size)
    for i in range(len(views)):
        camera = views.cameras[[i]].to("cpu")
        camera = replace(camera, c2w=camera.c2w.double(), intrinsics=camera.intrinsics.double())
        at, depth = (x[0].numpy() for x in camera.project(points))
        stays &= _allowed(at, depth, views.mask[i].cpu().numpy() > 0.5, grow)
    faces = mesh.faces[stays[mesh.faces].all(1)]
    if not len(faces):
        raise DataError(
            "the masks of the pictures cut the whole mesh away.",
            hint="Look at masks and cameras, or leave the culling out.",
        )
    return _of_faces(mesh, faces)


def _allowed(
    at: Float[np.ndarray, "n 2"],
    depth: Float[np.ndarray, " n"],
    mask: Bool[np.ndarray, "h w"],
    grow: float,
) -> Bool[np.ndarray, " n"]:
    """Whether points at pixel positions lie within a grown mask, or not in the picture at all."""
    from scipy.ndimage import distance_transform_edt

    grown = distance_transform_edt(~mask) <= grow if mask.any() else mask
    height, width = mask.shape
    shown = (depth > 0) & (at >= 0).all(1) & (at < [width, height]).all(1)
    allowed = ~shown
    x, y = at[shown].astype(np.int64).T
    allowed[shown] = grown[y, x]
    return allowed


def _of_faces(mesh: Mesh, faces: np.ndarray) -> Mesh:
    """The mesh of some faces, without vertices that none of them uses."""
    used, index = np.unique(faces, return_inverse=True)
    parts: dict[str, Any] = {
        name: None if (values := getattr(mesh, name)) is None else values[used]
        for name in ("vertices", "colours", "uv", "normals")
    }
    return replace(mesh, faces=index.reshape(-1, 3).astype(np.int64), **parts)
