"""Colours that a mesh brings, where its model knows none for baking."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.errors import ExportError
from studio.export.base import Meshed
from studio.export.cleanup import vertex_normals
from studio.export.projection import Gloss
from studio.export.texture import ColourFn
from studio.mesh import Mesh
from studio.ops.ray_caster import sample_texture

NEIGHBOURS = 3  # vertices whose colours a point between them has


def without_seams(mesh: Mesh) -> Mesh:
    """A textured mesh with vertex colours instead, its vertices joined where charts were cut."""
    assert mesh.texture is not None and mesh.uv is not None
    colours = sample_texture(mesh.texture, mesh.uv)
    where, joined = np.unique(mesh.vertices, axis=0, return_inverse=True)
    sums = np.stack([np.bincount(joined, colours[:, c]) for c in range(3)], 1)
    mean = sums / np.bincount(joined)[:, None]
    faces = joined[mesh.faces].astype(np.int64)
    return Mesh(where, faces, colours=mean.astype(np.float32)).with_normals()


def colours_of_vertices(
    mesh: Mesh,
) -> Callable[[Float[Tensor, "n 3"], Float[Tensor, "n 3"]], Float[Tensor, "n 3"]]:
    """A function of positions (and normals) that blends the colours of the nearest vertices."""
    from scipy.spatial import KDTree

    assert mesh.colours is not None
    tree, colours = KDTree(mesh.vertices), mesh.colours

    def colour(points: Tensor, normals: Tensor) -> Tensor:
        far, near = tree.query(points.cpu().numpy(), k=min(NEIGHBOURS, len(colours)))
        weight = 1 / np.maximum(far.reshape(len(points), -1), 1e-9)
        weight /= weight.sum(1, keepdims=True)
        shown = np.einsum("nk,nkc->nc", weight, colours[near.reshape(len(points), -1)])
        return torch.from_numpy(shown.astype(np.float32))

    return colour


def colour_function(source: Meshed, mesh: Mesh) -> ColourFn:
    """Colours for baking: those that a model tells, or else those of its mesh's vertices.

    Raises:
        ExportError: if there are none.
    """

    def told(points: Tensor, normals: Tensor) -> Tensor:
        found = source.colour(points, normals)
        assert found is not None
        return found

    normals = vertex_normals(mesh)
    one = (torch.from_numpy(of[:1]).to(source.device) for of in (mesh.vertices, normals))
    if source.colour(*one) is not None:
        return told
    if mesh.colours is None:
        raise ExportError(
            f"{type(source).__name__} gives neither colours nor a mesh that has some.",
            hint="let its mesh() bring a texture or vertex colours, or write colour()",
        )
    return colours_of_vertices(mesh)


def gloss_function(source: Meshed, mesh: Mesh) -> Gloss | None:
    """What a model tells of mirrored light, for pictures of its mesh; None if it tells nothing."""

    def told(*given: np.ndarray) -> np.ndarray:
        found = source.gloss(*(torch.from_numpy(of).to(source.device) for of in given))
        assert found is not None
        return found.float().cpu().numpy()

    at, normals = (
        torch.from_numpy(of[:1]).to(source.device) for of in (mesh.vertices, vertex_normals(mesh))
    )
    return None if source.gloss(at, normals, -normals) is None else told
