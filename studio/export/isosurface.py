"""From a signed distance field to a closed triangle mesh.

The field is sampled coarse to fine: a cell is refined only while its centre value says that the
surface may pass through it, so a 192^3 grid costs half a million evaluations instead of seven.
Marching cubes then runs block by block; blocks are welded exactly along their shared grid edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.errors import ExportError
from studio.export import cleanup
from studio.export.parts import keep_parts
from studio.mesh import Mesh
from studio.views import ViewSet

SdfFn = Callable[[Float[Tensor, "n 3"]], Float[Tensor, " n"]]
MaskFn = Callable[[Float[Tensor, "n 3"]], Tensor]

BLOCK = 64  # cells per side that marching cubes sees at once
COARSE = 64  # cells along the box in which the object is looked for first
BYTES_PER_SAMPLE = 6  # two boolean grids, their temporaries and the sparse values


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
        smooth: rounds of Taubin smoothing (0 for none).
        faces: decimate to about this many triangles (None keeps all).
        chunk: points per call of ``sdf_fn``.
        memory_gb: refuse resolutions whose grids would need more than this.
        device: where the query points are created.

    Raises:
        ExportError: if the field has no zero level set in the box or is not finite, or if the
            grid is too large.
    """
    grid = _grid(box, resolution, memory_gb)
    field = _Field(sdf_fn, outside, grid, chunk, torch.device(device))
    with torch.no_grad():
        if fit and (smaller := _object_box(field, slope, memory_gb)) is not None:
            grid = _grid(smaller, resolution, memory_gb)
            field = _Field(sdf_fn, outside, grid, chunk, torch.device(device))
        inside, index, values = _sample_near_surface(field, slope)
    vertices, triangles = _march(grid, inside, index, values)
    del inside, index, values
    vertices = grid.lower + vertices * grid.voxel
    vertices, triangles = cleanup.remove_degenerate(vertices, triangles)
    if keep_components > 0:
        vertices, triangles = keep_parts(vertices, triangles, keep_components, views)
    if smooth:
        vertices = cleanup.taubin_smooth(vertices, triangles, smooth)
    if faces is not None and len(triangles) > faces:
        vertices, triangles = cleanup.simplify(vertices, triangles, faces)
    triangles = cleanup.face_outward(vertices, triangles)
    return Mesh(vertices.astype(np.float32), triangles.astype(np.int64))


@dataclass(frozen=True)
class _Grid:
    """Cells per axis (a multiple of ``stride``), their side, the corner of sample (0, 0, 0)."""

    cells: tuple[int, int, int]
    used: np.ndarray  # cells per axis that lie in the box; the rest pads to a multiple of stride
    stride: int
    voxel: float
    lower: np.ndarray

    @property
    def samples(self) -> tuple[int, int, int]:
        x, y, z = self.cells
        return x + 1, y + 1, z + 1


def _grid(box: float | Sequence[Sequence[float]], resolution: int, memory_gb: float) -> _Grid:
    if resolution < 8:
        raise ExportError(
            f"resolution is {resolution}.", allowed="8 or more cells", hint="128 to 256 is usual."
        )
    corners = np.array(
        [[-box] * 3, [box] * 3] if isinstance(box, int | float) else box, dtype=np.float64
    )
    extent = corners[1] - corners[0]
    if corners.shape != (2, 3) or not (np.isfinite(corners).all() and (extent > 0).all()):
        raise ExportError(
            f"the export box is {corners.tolist()}.",
            allowed="two corners, the second one larger in x, y and z",
        )
    voxel = float(extent.max()) / resolution
    used = np.ceil(extent / voxel - 1e-6).astype(np.int64)
    stride = 2 ** int(np.clip(np.log2(resolution / 12), 1, 4))
    x, y, z = (int(np.ceil(n / stride)) * stride for n in used)
    cells = (x, y, z)
    needed = np.prod([n + 1.0 for n in cells]) * BYTES_PER_SAMPLE / 2**30
    if needed > memory_gb:
        fits = int(resolution * (memory_gb / needed) ** (1 / 3))
        raise ExportError(
            f"resolution {resolution} needs {needed:.1f} GiB, the limit is {memory_gb:g} GiB.",
            allowed=f"up to about {fits}",
            hint="lower the resolution or raise memory_gb.",
        )
    return _Grid(cells, used, stride, voxel, corners[0])


class _Field:
    """The field at grid coordinates, in chunks; positive on the border and ``outside``."""

    def __init__(
        self, sdf_fn: SdfFn, outside: MaskFn | None, grid: _Grid, chunk: int, device: torch.device
    ) -> None:
        self.sdf_fn, self.outside, self.grid, self.chunk, self.device = (
            sdf_fn,
            outside,
            grid,
            chunk,
            device,
        )

    def __call__(self, coordinates: np.ndarray) -> np.ndarray:
        """Values at [N, 3] positions in units of cells."""
        values = np.empty(len(coordinates), dtype=np.float32)
        for start in range(0, len(coordinates), self.chunk):
            part = coordinates[start : start + self.chunk]
            values[start : start + self.chunk] = self._evaluate(part)
        return values

    def _evaluate(self, coordinates: np.ndarray) -> np.ndarray:
        grid = self.grid
        beyond = ((coordinates <= 0) | (coordinates >= grid.used)).any(1)
        world = grid.lower + np.clip(coordinates, 0, grid.used) * grid.voxel
        points = torch.from_numpy(world.astype(np.float32)).to(self.device)
        values = self.sdf_fn(points).detach().reshape(-1).float().cpu().numpy()
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).sum())
            raise ExportError(
                f"the field returned {bad} NaN or infinite distances out of {len(values)}.",
                hint="training diverged: resume from an earlier checkpoint or lower the lr.",
            )
        if self.outside is not None:
            beyond |= self.outside(points).reshape(-1).cpu().numpy().astype(bool)
        return np.where(beyond, np.maximum(np.abs(values), grid.voxel), values)


def _object_box(field: _Field, slope: float, memory_gb: float) -> np.ndarray | None:
    """The box around what is inside, found on a coarse grid and made a tenth larger on each side.

    None if nothing is found there (what is thinner than a coarse cell may still be found later), or
    if the given box is no more than a fifth longer.
    """
    given = field.grid
    box = np.stack([given.lower, given.lower + given.used * given.voxel])
    grid = _grid(box, COARSE, memory_gb)
    coarse = _Field(field.sdf_fn, field.outside, grid, field.chunk, field.device)
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


def _sample_near_surface(field: _Field, slope: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


def _at_border(shape: tuple[int, ...], grid: _Grid, stride: int) -> np.ndarray:
    """Cells of this stride that touch or pass the border of the box, where walls are put."""
    border = np.zeros(shape, dtype=bool)
    for axis in range(3):
        cells = np.moveaxis(border, axis, 0)
        cells[0] = True
        cells[(grid.used[axis] - 1) // stride :] = True
    return border


def _no_surface(field: _Field) -> ExportError:
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


def _march(
    grid: _Grid, inside: np.ndarray, index: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Marching cubes in blocks, welded.

    Values are kept away from zero by a few thousandths of their usual size, so every vertex lies
    strictly inside a grid edge: no triangle collapses, and the edge names the vertex at joints.
    """
    from skimage.measure import marching_cubes

    unit = float(np.median(np.abs(values))) or grid.voxel
    magnitude = np.clip(np.abs(values), 3e-3 * unit, 20 * unit)
    values = np.where(values < 0, -magnitude, magnitude).astype(np.float32)
    parts, triangles, names, count = [], [], [], 0
    for corner, volume in _volumes(grid, inside, index, values, unit):
        vertices, block_faces, _, _ = marching_cubes(volume, 0.0)
        vertices = vertices.astype(np.float64) + corner
        parts.append(vertices)
        triangles.append(block_faces.astype(np.int64) + count)
        names.append(_edge_names(vertices, grid.samples, count))
        count += len(vertices)
    _, first, inverse = np.unique(np.concatenate(names), return_index=True, return_inverse=True)
    return np.concatenate(parts)[first], inverse[np.concatenate(triangles)]


def _volumes(
    grid: _Grid, inside: np.ndarray, index: np.ndarray, values: np.ndarray, unit: float
) -> Iterator[tuple[tuple[int, int, int], np.ndarray]]:
    """Blocks of samples that the surface passes through, with the corner of each.

    Samples that were not evaluated hold ``unit`` with their sign.
    """
    plane = grid.samples[1] * grid.samples[2]
    for x in range(0, grid.cells[0], BLOCK):
        slab = slice(*np.searchsorted(index, [x * plane, (x + BLOCK + 1) * plane]))
        flat, slab_values = index[slab], values[slab]
        rows = flat // grid.samples[2] % grid.samples[1]
        for y in range(0, grid.cells[1], BLOCK):
            in_row = np.flatnonzero((rows >= y) & (rows <= y + BLOCK))
            columns = flat[in_row] % grid.samples[2]
            for z in range(0, grid.cells[2], BLOCK):
                signs = inside[x : x + BLOCK + 1, y : y + BLOCK + 1, z : z + BLOCK + 1]
                if signs.all() or not signs.any():
                    continue
                volume = np.where(signs, -unit, unit).astype(np.float32)
                here = in_row[(columns >= z) & (columns <= z + BLOCK)]
                i, j, k = np.unravel_index(flat[here], grid.samples)
                volume[i - x, j - y, k - z] = slab_values[here]
                yield (x, y, z), volume


def _edge_names(vertices: np.ndarray, samples: tuple[int, int, int], count: int) -> np.ndarray:
    """A number that two vertices share if and only if they lie on the same grid edge.

    Marching cubes may add a vertex in the middle of a cell; it belongs to one block and gets a
    negative number.
    """
    fractional = np.abs(vertices - np.round(vertices)) > 3e-5
    base = np.where(fractional, np.floor(vertices), np.round(vertices)).astype(np.int64)
    names = np.ravel_multi_index(tuple(base.T), samples) * 3 + fractional.argmax(1)
    own = fractional.sum(1) != 1
    names[own] = -1 - count - np.flatnonzero(own)
    return names
