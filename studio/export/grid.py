"""The grid of an extraction, and a signed distance field on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.errors import ExportError

SdfFn = Callable[[Float[Tensor, "n 3"]], Float[Tensor, " n"]]
MaskFn = Callable[[Float[Tensor, "n 3"]], Tensor]

BYTES_PER_SAMPLE = 6  # two boolean grids, their temporaries and the sparse values


@dataclass(frozen=True)
class Grid:
    """Cells per axis (a multiple of ``stride``), their side, the corner of sample (0, 0, 0)."""

    cells: tuple[int, int, int]
    used: np.ndarray  # cells per axis that lie in the box; the rest pads to a multiple of stride
    stride: int
    voxel: float
    lower: np.ndarray

    @property
    def samples(self) -> tuple[int, int, int]:
        """Samples per axis: the corners of the cells."""
        x, y, z = self.cells
        return x + 1, y + 1, z + 1


def make_grid(
    box: float | Sequence[Sequence[float]] | np.ndarray, resolution: int, memory_gb: float
) -> Grid:
    """Cells of one size over a box (or a cube of this half side), refused if too many.

    Raises:
        ExportError: if the box is no box, or the grid too coarse or too large.
    """
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
    stride = min(max(1 << max(resolution // 12, 1).bit_length() - 1, 2), 16)
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
    return Grid(cells, used, stride, voxel, corners[0])


class Field:
    """The field at grid coordinates, in chunks; positive on the border and ``outside``."""

    def __init__(
        self, sdf_fn: SdfFn, outside: MaskFn | None, grid: Grid, chunk: int, device: torch.device
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
