"""Connected parts of an extracted surface, and which of them belong to the object."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from studio.export.cleanup import compact, face_components
from studio.mesh import Mesh
from studio.views import ViewSet

_log = logging.getLogger(__name__)

Vertices = Float[np.ndarray, "n 3"]
Faces = Int[np.ndarray, "m 3"]

NEEDED_PIXELS = 6  # of outlines that only this part explains, in all pictures together
WORTH_TELLING = 0.01  # of the surface
MOST_VIEWS = 24  # pictures that are asked, spread evenly


def keep_parts(
    vertices: Vertices,
    faces: Faces,
    share: float,
    views: ViewSet | None = None,
    report: Callable[[str], None] | None = None,
) -> tuple[Vertices, Faces]:
    """Keep the parts of the object, drop floaters and the walls of closed cavities.

    A part stays if it has at least ``share`` of the largest part's area, or if two pictures or more
    show object where, of all parts, only this one is: floaters hide in front of or behind the
    object, real parts stick out of it from some side.

    Args:
        vertices: of a closed surface with outward faces.
        faces: their triangles.
        share: of the largest part's area.
        views: pictures with masks.
        report: is told where what is dropped is more than specks.
    """
    labels = face_components(faces)
    if labels.max() == 0:
        return vertices, faces
    area, volume = _areas_and_volumes(vertices, faces, labels)
    largest = int(area.argmax())
    solid = volume * volume[largest] > 0
    keep = solid & (area >= share * area[largest])
    if views is not None and (solid & ~keep).any():
        keep |= _needed_by_outlines(vertices, faces, labels, keep, solid & ~keep, views)
    lost = solid & ~keep
    dropped = area[lost].sum() / max(area[solid].sum(), 1e-12)
    told = (
        f"{lost.sum()} loose part(s), {_percent(dropped)} of the surface, were taken for floaters "
        "and left out; system.exporter.keep_components=0 keeps all."
    )
    if report is not None and dropped > WORTH_TELLING:
        report(told)
    elif lost.any():
        _log.info("mesh: %s", told)
    if not solid.all():
        _log.info("mesh: %d closed cavities were filled", (~solid).sum())
    return compact(vertices, faces[keep[labels]])


def _percent(share: float) -> str:
    """A share in per cent; specks, too, are more than nothing."""
    return f"{share:.0%}" if share > WORTH_TELLING else f"{max(share, 1e-4):.2%}"


def _areas_and_volumes(
    vertices: Vertices, faces: Faces, labels: Int[np.ndarray, " m"]
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Area and signed volume of each part."""
    mesh = Mesh(vertices, faces)
    doubled = mesh.face_normals
    area = np.bincount(labels, weights=0.5 * np.linalg.norm(doubled, axis=1))
    sixfold = np.einsum("ij,ij->i", vertices[faces[:, 0]], doubled)
    return area, np.bincount(labels, weights=sixfold / 6)


def _needed_by_outlines(
    vertices: Vertices,
    faces: Faces,
    labels: Int[np.ndarray, " m"],
    sure: Bool[np.ndarray, " k"],
    doubtful: Bool[np.ndarray, " k"],
    views: ViewSet,
) -> Bool[np.ndarray, " k"]:
    """Doubtful parts that cover object pixels which the sure parts leave empty."""
    from studio.ops.ray_caster import RayCaster

    main = RayCaster(vertices, faces[sure[labels]])
    small = np.flatnonzero(doubtful[labels])
    parts = RayCaster(vertices, faces[small])
    pixels, seen_by = np.zeros(len(sure)), np.zeros(len(sure))
    step = -(-len(views) // MOST_VIEWS)
    for i in range(0, len(views), step):
        row, column = torch.nonzero(views.images[i, 3].cpu() > 0.5, as_tuple=True)
        at = torch.stack([column, row], -1).float() + 0.5
        rays = views.cameras[[i]].to("cpu").rays(at[None])
        origins, directions = rays.origins.numpy(), rays.directions.numpy()
        empty = main.cast(origins, directions)["primID"] < 0
        hit = parts.cast(origins[empty], directions[empty])["primID"]
        counts = np.bincount(labels[small[hit[hit >= 0]]], minlength=len(sure))
        pixels += counts
        seen_by += counts > 0
    return doubtful & (pixels >= NEEDED_PIXELS) & (seen_by >= min(2, len(views)))
