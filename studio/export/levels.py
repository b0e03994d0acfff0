"""Levels of detail: a surface with fewer and fewer triangles, and the finest level's colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.export.brought import colours_of_vertices
from studio.export.remesh import remesh
from studio.mesh import Mesh
from studio.metrics.triangle_tree import TriangleTree, closest
from studio.ops.ray_caster import sample_texture

LEAST_TEXTURE = 128


def reduced(whole: Mesh, faces: int) -> Mesh:
    """Return a surface with about a number of even triangles, at most as many as it has."""
    vertices, triangles = remesh(whole.vertices, whole.faces, min(faces, len(whole.faces)))
    made = Mesh(vertices.astype(np.float32), triangles.astype(np.int64)).with_normals()
    return made if whole.colours is None else coloured_vertices(made, whole)


def colours_of(
    mesh: Mesh,
) -> Callable[[Float[Tensor, "n 3"], Float[Tensor, "n 3"]], Float[Tensor, "n 3"]]:
    """A function of positions (and normals) that tells the colours of the nearest points of a mesh.

    Args:
        mesh: with a texture or vertex colours.
    """
    if mesh.texture is None or mesh.uv is None:
        return colours_of_vertices(mesh)
    corners, uv, texture = mesh.vertices[mesh.faces].astype(float), mesh.uv, mesh.texture
    tree = TriangleTree(corners)

    def colour(points: Tensor, normals: Tensor) -> Tensor:
        at = points.cpu().numpy().astype(np.float64)
        face = tree.query(at)[1]
        weights = closest(at, corners[face])
        shown = sample_texture(texture, np.einsum("nc,ncd->nd", weights, uv[mesh.faces[face]]))
        return torch.from_numpy(shown.astype(np.float32))

    return colour


def level_texture(size: int, faces: int, finest: int) -> int:
    """Side of the texture of a coarser level: it is seen from as much farther as it is coarser.

    A power of two times smaller, for edges that are longer by as much.

    Args:
        size: of the finest level's texture.
        faces: of this level.
        finest: faces of the finest level.
    """
    halvings = round(0.5 * np.log2(max(finest / max(faces, 1), 1)))
    return max(min(size, LEAST_TEXTURE), size >> halvings)


def coloured_vertices(mesh: Mesh, source: Mesh) -> Mesh:
    """Return a mesh with the colours that another one has at its vertices."""
    at = torch.from_numpy(mesh.vertices)
    return replace(mesh, colours=colours_of(source)(at, at).numpy())
