"""The surface of a signed distance, as scene models make it from `MeshOptions`; quick meshes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from studio.export.isosurface import extract_mesh
from studio.mesh import Mesh, MeshOptions
from studio.models.base import SceneModel
from studio.views import ViewSet


def surface(
    signed: Callable[[Any], Any],
    bound: float,
    resolution: int,
    options: MeshOptions,
    *,
    views: ViewSet | None,
    device: torch.device,
    report: Callable[[str], None] | None = None,
) -> Mesh:
    """Return the zero level set with vertex normals; arguments as `SceneModel.mesh` has them.

    Args:
        signed: distances [n] in world units, negative inside, of world points [n, 3] on `device`.
        bound: half the side of the cube around the origin that is searched.
        resolution: cells along the longest side of the object.
        options: how the surface becomes triangles.
        views: whose outlines tell which loose parts belong to the object.
        device: where the field is.
        report: is told what was lost.
    """
    return extract_mesh(
        signed,
        bound,
        resolution,
        slope=options.slope,
        keep_components=options.keep_components,
        views=views,
        smooth=options.smooth,
        faces=options.faces or None,
        memory_gb=options.memory_gb,
        device=device,
        report=report,
    ).with_normals()


def coloured(model: SceneModel, resolution: int) -> Mesh:
    """A quick mesh of a model with vertex colours.

    Args:
        model: fitted, or on its way.
        resolution: cells along the longest side of the object.
    """
    mesh = model.mesh(resolution, MeshOptions(faces=8000))
    if mesh.colours is not None or mesh.texture is not None:
        return mesh
    mesh = mesh if mesh.normals is not None else mesh.with_normals()
    assert mesh.normals is not None
    at = (torch.from_numpy(x).to(model.device) for x in (mesh.vertices, mesh.normals))
    colours = model.colour(*at)
    return mesh if colours is None else replace(mesh, colours=colours.clamp(0, 1).cpu().numpy())
