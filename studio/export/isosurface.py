"""From a signed distance field to a closed triangle mesh.

The field is sampled coarse to fine: a cell is refined only while its centre value says that the
surface may pass through it, so a 192^3 grid costs half a million evaluations instead of seven.
Marching cubes then runs block by block; blocks are welded exactly along their shared grid edges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import torch

from studio.errors import ExportError
from studio.export import cleanup
from studio.export.grid import Field, Grid, MaskFn, SdfFn, make_grid
from studio.export.marching import march
from studio.export.parts import keep_parts
from studio.export.remesh import remesh
from studio.mesh import Mesh
from studio.views import ViewSet

COARSE = 64  # cells along the box in which the object is looked for first


def extract_mesh(
    sdf_fn: SdfFn,
    box: float | Sequence[Sequence[float]],
    resolution: int = 192,
    *,
    outside: MaskFn | None = None,
    fit: bool = True,
    slope: float = 2.0,
    keep_components: float = 0.05,
    views: ViewSet | None = None,
    smooth: int = 0,
    faces: int | None = None,
    chunk: int = 2**18,
    memory_gb: float = 4.0,
    device: torch.device | str = "cpu",
    report: Callable[[str], None] | None = None,
) -> Mesh:
    """Extract the zero level set as a closed mesh with outward faces, in world units.

    The border of the box always counts as outside: a surface that leaves it is closed by a wall.

    Args:
        sdf_fn: signed distance at world points, negative inside; need not be exact.
        box: half the side of a cube around the origin, or ``((x0, y0, z0), (x1, y1, z1))``.
        resolution: cells along the longest side of the box.
        outside: true where a point is known to be empty, whatever the field says there.
        fit: look for the object first, and let ``box`` be the box around it, a tenth larger.
        slope: upper bound of the field's gradient length, used to skip empty space; larger is
            safer and slower.
        keep_components: drop parts with less than this share of the largest one's area (0: none),
            and the walls of closed cavities, which nobody can see.
        views: smaller parts stay where the outlines in these pictures need them.
        report: is told what was dropped, where it is more than specks.
        smooth: rounds of Taubin smoothing (0 for none).
        faces: even triangles, about this many or less (None: those of marching cubes, all).
        chunk: points per call of ``sdf_fn``.
        memory_gb: refuse resolutions whose grids would need more than this.
        device: where the query points are created.

    Raises:
        ExportError: if the field has no zero level set in the box or is not finite, or if the
            grid is too large.
    """
    grid = make_grid(box, resolution, memory_gb)
    field = Field(sdf_fn, outside, grid, chunk, torch.device(device))
    with torch.no_grad():
        if fit and (smaller := _object_box(field, slope, memory_gb)) is not None:
            grid = make_grid(smaller, resolution, memory_gb)
            field = Field(sdf_fn, outside, grid, chunk, torch.device(device))
        inside, index, values = _sample_near_surface(field, slope)
    vertices, triangles = march(grid, inside, index, values)
    del inside, index, values
    vertices = grid.lower + vertices * grid.voxel
    vertices, triangles = cleanup.remove_degenerate(vertices, triangles)
    if keep_components > 0:
        vertices, triangles = keep_parts(vertices, triangles, keep_components, views, report)
    if smooth:
        vertices = cleanup.taubin_smooth(vertices, triangles, smooth)
    if faces is not None:
        vertices, triangles = remesh(vertices, triangles, min(faces, len(triangles)))
    triangles = cleanup.face_outward(vertices, triangles)
    return Mesh(vertices.astype(np.float32), triangles.astype(np.int64))


def _object_box(field: Field, slope: float, memory_gb: float) -> np.ndarray | None:
    """The box around what is inside, found on a coarse grid and made a tenth larger on each side.

    None if nothing is found there (what is thinner than a coarse cell may still be found later), or
    if the given box is no more than a fifth longer.
    """
    given = field.grid
    box = np.stack([given.lower, given.lower + given.used * given.voxel])
    grid = make_grid(box, COARSE, memory_gb)
    coarse = Field(field.sdf_fn, field.outside, grid, field.chunk, field.device)
    try:
        inside, _, _ = _sample_near_surface(coarse, slope)
    except ExportError as error:
        if "NaN" in str(error):
            raise
        return None
    at = [np.flatnonzero(inside.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    low, high = (np.array([a[end] for a in at], dtype=np.float64) for end in (0, -1))
    margin = 0.1 * (high - low) + 1
    ends = np.stack([np.maximum(low - margin, 0), np.minimum(high + margin, grid.used)])
    found: np.ndarray = grid.lower + ends * grid.voxel
    return found if np.ptp(found, axis=0).max() < 0.8 * np.ptp(box, axis=0).max() else None


def _sample_near_surface(field: Field, slope: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the sign at every grid sample and the value at those near the surface.

    Returns:
        ``inside`` at every sample, and the flat indices (sorted) and values of those evaluated.
    """
    grid, stride = field.grid, field.grid.stride
    shape = tuple(n // stride for n in grid.cells)
    todo = np.indices(shape).reshape(3, -1).T
    inside = np.zeros(shape, dtype=bool)
    while True:
        values = field((todo + 0.5) * stride)
        at = tuple(todo.T)
        inside[at] = values < 0
        near = np.zeros(shape, dtype=bool)
        near[at] = np.abs(values) <= slope * 0.5 * np.sqrt(3) * stride * grid.voxel
        near |= _sign_changes(inside) | (inside & _at_border(shape, grid, stride))
        if not near.any():
            raise _no_surface(field)
        if stride == 2:
            break
        stride //= 2
        shape = tuple(n // stride for n in grid.cells)
        inside = _doubled(inside)
        todo = (np.argwhere(near)[:, None] * 2 + np.indices((2, 2, 2)).reshape(3, -1).T).reshape(
            -1, 3
        )
    samples = np.pad(_doubled(inside), ((0, 1),) * 3, mode="edge")
    cell_mask, needed = _doubled(near), np.zeros(grid.samples, dtype=bool)
    for offset in product((0, 1), repeat=3):
        needed[tuple(slice(o, n + o) for o, n in zip(offset, grid.cells, strict=True))] |= cell_mask
    index = np.flatnonzero(needed)
    coordinates = np.stack(np.unravel_index(index, grid.samples), 1)
    fine = field(coordinates)
    samples.reshape(-1)[index] = fine < 0
    if not samples.any() or (samples[1:-1, 1:-1, 1:-1].all()):
        raise _no_surface(field)
    return samples, index, fine


def _doubled(cells: np.ndarray) -> np.ndarray:
    return cells.repeat(2, 0).repeat(2, 1).repeat(2, 2)


def _sign_changes(inside: np.ndarray) -> np.ndarray:
    """Cells with a face neighbour of the other sign, on both sides."""
    changes = np.zeros_like(inside)
    for axis in range(3):
        low = [slice(None)] * 3
        high = list(low)
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        differs = inside[tuple(low)] != inside[tuple(high)]
        changes[tuple(low)] |= differs
        changes[tuple(high)] |= differs
    return changes


def _at_border(shape: tuple[int, ...], grid: Grid, stride: int) -> np.ndarray:
    """Cells of this stride that touch or pass the border of the box, where walls are put."""
    border = np.zeros(shape, dtype=bool)
    for axis in range(3):
        cells = np.moveaxis(border, axis, 0)
        cells[0] = True
        cells[(grid.used[axis] - 1) // stride :] = True
    return border


def _no_surface(field: Field) -> ExportError:
    half = field.grid.used / 2.0
    ring = half + (np.array(list(product((-1, 0, 1), repeat=3))) * half * 0.98)
    centre, border = field(half[None])[0], field(ring[np.abs(ring - half).any(1)])
    where = (
        f"{centre:+.3g} in the centre, {border.min():+.3g} to {border.max():+.3g} near the border"
    )
    if centre < 0 and border.max() < 0:
        return ExportError(
            f"the field is negative (inside) in the whole export box: {where}.",
            allowed="negative inside the object, positive outside",
            hint="flip the sign if it is positive inside; otherwise train longer or with masks.",
        )
    return ExportError(
        f"the field has no surface in the export box: {where}.",
        allowed="a signed distance that is negative somewhere inside the box",
        hint="the object vanished or lies outside: check bound and masks, train longer, lower the"
        " sparsity and mask weights.",
    )
