"""Normal maps: what a reduced mesh lacks of the surface it was made of, as glTF shades it.

Tangent space of glTF 2.0 (section 3.9.3): red along the tangent, green along the bitangent, upwards
in the picture, blue along the normal. Tangents come from the texture coordinates as MikkTSpace has
them: every triangle's, across the vertex's normal, weighted by its angle; they are written into the
files, so that bakers and viewers agree.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from studio.export.attributes import unit_normals
from studio.export.texture import rasterise_uv, spread
from studio.mesh import Mesh
from studio.metrics.triangle_tree import TriangleTree, closest
from studio.ops.ray_caster import RayCaster, sample_texture

REACH = 0.02  # of the object's size: how far the surface is looked for along a normal


def with_normal_map(mesh: Mesh, whole: Mesh, size: int) -> Mesh:
    """Return a mesh whose normal map makes it look like the surface that it approximates.

    Args:
        mesh: with ``uv``.
        whole: the surface, with vertex normals.
        size: side of the map in texels.
    """
    texels = rasterise_uv(mesh, size)
    at, normals = (x.astype(np.float64) for x in (texels.points, texels.normals))
    face, weights = seen(whole, at, normals)
    wanted = np.einsum("nc,ncd->nd", weights, unit_normals(whole)[whole.faces[face]])
    frame = _frames(mesh, texels.face, texels.weights)
    local = _unit(np.einsum("nkd,nd->nk", frame, wanted))
    local[local[:, 2] <= 0] = (0, 0, 1)  # what a light from outside could not reach
    filled = spread(0.5 * local + 0.5, texels.covered)
    return replace(mesh, normal_map=np.round(255 * filled).astype(np.uint8))


def tangents(mesh: Mesh) -> Float[np.ndarray, "n 4"]:
    """Unit tangents along the texture's u, across the normals, and 1 or -1: where v runs.

    The bitangent is that sign times the cross product of normal and tangent.
    """
    assert mesh.uv is not None, "the mesh has no uv"
    corners, uv = (x[mesh.faces].astype(np.float64) for x in (mesh.vertices, mesh.uv))
    edge, side = ((x[:, 1:] - x[:, :1]) for x in (corners, uv))
    turned = side[:, 0, 0] * side[:, 1, 1] - side[:, 0, 1] * side[:, 1, 0]
    along = edge[:, 0] * side[:, 1, 1:] - edge[:, 1] * side[:, 0, 1:]
    along = _unit(along * np.sign(turned)[:, None])
    normals = unit_normals(mesh).astype(np.float64)
    total, sign = np.zeros((len(normals), 3)), np.zeros(len(normals))
    for k in range(3):
        at, n = mesh.faces[:, k], normals[mesh.faces[:, k]]
        one, other = (_unit(corners[:, (k + j) % 3] - corners[:, k]) for j in (1, 2))
        angle = np.arccos(np.clip((one * other).sum(1), -1, 1)) * (turned != 0)
        across = _unit(along - n * (along * n).sum(1, keepdims=True)) * angle[:, None]
        for d in range(3):
            total[:, d] += np.bincount(at, across[:, d], len(normals))
        sign += np.bincount(at, angle * np.sign(turned), len(normals))
    total -= normals * (total * normals).sum(1, keepdims=True)
    lost = np.linalg.norm(total, axis=1) < 1e-9  # no texture around it: any direction will do
    axis = np.eye(3)[np.abs(normals[lost]).argmin(1)]
    total[lost] = axis - normals[lost] * (axis * normals[lost]).sum(1, keepdims=True)
    return np.concatenate([_unit(total), np.where(sign < 0, -1.0, 1.0)[:, None]], axis=1)


def shading_normals(
    mesh: Mesh, face: Int[np.ndarray, " n"], weights: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n 3"]:
    """The unit normals that viewers shade points of a mesh with, its normal map applied.

    Args:
        mesh: with or without a normal map.
        face: triangle of each point.
        weights: barycentric, of its corners.
    """
    frame = _frames(mesh, face, weights)
    if mesh.normal_map is None or mesh.uv is None:
        return frame[:, 2]
    at = np.einsum("nc,ncd->nd", weights, mesh.uv[mesh.faces[face]])
    local = 2 * sample_texture(mesh.normal_map, at) - 1
    return _unit(np.einsum("nk,nkd->nd", local, frame))


def _frames(
    mesh: Mesh, face: Int[np.ndarray, " n"], weights: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n 3 3"]:
    """Tangent, bitangent and normal, interpolated over triangles."""
    index, weights = mesh.faces[face], weights.astype(np.float64)
    normal = _unit(np.einsum("nc,ncd->nd", weights, unit_normals(mesh)[index]))
    if mesh.uv is None:
        return np.stack([np.zeros_like(normal), np.zeros_like(normal), normal], 1)
    corner = tangents(mesh)[index]
    tangent = np.einsum("nc,ncd->nd", weights, corner[..., :3])
    tangent = _unit(tangent - normal * (tangent * normal).sum(1, keepdims=True))
    return np.stack([tangent, np.cross(normal, tangent) * corner[:, 0, 3:], normal], 1)


def seen(
    whole: Mesh, points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"]
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
    """The places of a surface over or under points along their normals, else the nearest ones."""
    reach = REACH * float(np.ptp(whole.vertices, axis=0).max())
    facing = _unit(whole.face_normals.astype(np.float64))
    caster = RayCaster(whole.vertices, whole.faces)
    best, face = np.full(len(points), reach), np.full(len(points), -1)
    weights = np.zeros((len(points), 3))
    for sign in (1, -1):
        found = caster.cast(points, sign * normals)
        nearer = (found["primID"] >= 0) & (found["tfar"] < best)
        nearer &= (facing[found["primID"]] * normals).sum(1) > 0
        u, v = found["u"][nearer], found["v"][nearer]
        best[nearer], face[nearer] = found["tfar"][nearer], found["primID"][nearer]
        weights[nearer] = np.stack([1 - u - v, u, v], 1)
    lost = np.flatnonzero(face < 0)
    if len(lost):
        corners = whole.vertices[whole.faces].astype(np.float64)
        face[lost] = TriangleTree(corners).query(points[lost])[1]
        weights[lost] = closest(points[lost], corners[face[lost]])
    return face, weights


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-30))
