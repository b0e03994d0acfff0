"""UV coordinates for a mesh: the contract of what cuts it into charts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from studio.export.cleanup import vertex_normals
from studio.mesh import Mesh
from studio.plugins.discovery import find

LEAST_PADDING = 2  # texels between charts: bilinear lookups reach half a texel beyond an edge
PADDING = 256  # further texels for every so many of the side, for as many levels of mip maps


class Unwrapper(ABC):
    """Cuts meshes into charts; `@register("unwrap", "<name>")`, built without arguments."""

    @abstractmethod
    def unwrap(self, mesh: Mesh, size: int, padding: int = 4) -> Mesh:
        """Return the mesh cut along its charts, with ``uv`` in [0, 1], origin at the bottom left.

        Faces keep their order and their first corner; `cut_along` makes such a mesh.

        Args:
            mesh: closed or open triangles; vertices on chart borders are duplicated.
            size: side of the texture that will be baked, in texels.
            padding: empty texels between charts.
        """


def unwrap(
    mesh: Mesh, size: int = 1024, *, padding: int | None = None, method: str = "box"
) -> Mesh:
    """Return the mesh as the `Unwrapper` of that name cuts it.

    Args:
        mesh: see `Unwrapper.unwrap`.
        size: see there.
        padding: see there; by default a 256th of the side, two texels at least.
        method: name of the plugin.

    Raises:
        PluginError: if there is none.
    """
    gap = max(LEAST_PADDING, size // PADDING) if padding is None else padding
    made: Mesh = find("unwrap", method)().unwrap(mesh, size, gap)
    return made


def cut_along(
    mesh: Mesh,
    origin: Int[np.ndarray, " k"],
    faces: Int[np.ndarray, "m 3"],
    uv: Float[np.ndarray, "k 2"],
) -> Mesh:
    """The mesh with vertex ``i`` copied from ``origin[i]``; normals stay smooth across cuts."""
    return replace(
        mesh,
        vertices=mesh.vertices[origin],
        normals=vertex_normals(mesh)[origin],
        colours=None if mesh.colours is None else mesh.colours[origin],
        faces=faces.astype(np.int64),
        uv=uv.astype(np.float32),
    )
