"""The protocol of DTU's multi-view stereo benchmark (Aanæs et al. 2016), for meshes, in mm.

A surface is sampled so that no two points are nearer than 0.2 mm. *Accuracy* is the mean distance
from these points, where the scanner has observed (the scan's observation mask), to the points of
the scan; *completeness* the mean distance from the scan's points above the table to the sampled
ones. Distances of 20 mm and more are left out of both. Published tables of neural surfaces state
the mean of the two, over 15 scans, of meshes that were cut by the pictures' masks before
(`studio.metrics.culling`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from studio.data.layouts.transforms import read_cloud
from studio.errors import DataError
from studio.io.reading import check_file, reading
from studio.mesh import Mesh
from studio.metrics.spacing import evenly_sampled

Points = Float[np.ndarray, "n 3"]

SCANS = (24, 37, 40, 55, 63, 65, 69, 83, 97, 105, 106, 110, 114, 118, 122)
"""The scans of published tables (IDR's choice)."""
SPACING, CUT = 0.2, 20.0
PLACES = ("", "SampleSet/MVS Data", "MVS Data", "SampleSet", "DTU", "eval")
"""Folders below the given one where the benchmark's own folders, Points and ObsMask, may lie."""


@dataclass(frozen=True)
class DTUScan:
    """What a scan is measured against, in mm.

    Attributes:
        points: the structured-light scan.
        box: lower and upper corner of what the observation mask covers.
        cell: side of its cells.
        observed: cells that the scanner saw.
        plane: a, b, c, d of the table; points above it have a x + b y + c z + d > 0.
    """

    points: Points
    box: Float[np.ndarray, "2 3"]
    cell: float
    observed: Bool[np.ndarray, "x y z"]
    plane: Float[np.ndarray, "4"]

    @classmethod
    def read(cls, folder: Path | str, scan: int) -> DTUScan:
        """Read `stl024_total.ply`, `ObsMask24_10.mat` and `Plane24.mat` of a scan.

        Args:
            folder: that holds `Points/stl` and `ObsMask`, itself or in the folders of the
                benchmark's archives.
            scan: its number.

        Raises:
            DataError: if one is missing or broken.
        """
        root = Path(folder)
        mask = _matrices(_find(root, f"ObsMask/ObsMask{scan}_10.mat"), "ObsMask", "BB", "Res")
        plane = _matrices(_find(root, f"ObsMask/Plane{scan}.mat"), "P")["P"]
        cloud = _find(root, f"Points/stl/stl{scan:03d}_total.ply")
        grid = mask["ObsMask"]
        if mask["BB"].shape != (2, 3) or mask["Res"].size != 1 or grid.ndim != 3 or plane.size != 4:
            raise DataError(
                f"the observation mask or plane of scan {scan} in {root} has another shape.",
                allowed="ObsMask [x, y, z], BB [2, 3], Res [1] and P [4]",
            )
        return cls(
            read_cloud(cloud).numpy(),
            mask["BB"].astype(np.float64),
            float(mask["Res"].item()),
            grid > 0,
            plane.astype(np.float64).reshape(4),
        )

    def observes(self, points: Points) -> Bool[np.ndarray, " n"]:
        """Whether points lie where the scanner has observed: by the nearest cell of the mask."""
        index = np.round((points - self.box[0]) / self.cell).astype(np.int64)
        inside = ((index >= 0) & (index < self.observed.shape)).all(1)
        inside[inside] = self.observed[tuple(index[inside].T)]
        return inside

    def above_table(self, points: Points) -> Bool[np.ndarray, " n"]:
        """Whether points lie above the table."""
        return np.asarray(points @ self.plane[:3] + self.plane[3] > 0)


def dtu_figures(
    mesh: Mesh, scan: DTUScan, *, spacing: float = SPACING, cut: float = CUT, seed: int = 0
) -> dict[str, float]:
    """Measure a mesh as the benchmark does.

    Args:
        mesh: in the scan's world, in mm; cut by the pictures' masks where the table wants it.
        scan: what it is measured against.
        spacing: least distance of the points that stand for the mesh.
        cut: distances from which on points do not count.
        seed: of these points.

    Returns:
        ``accuracy`` and ``completeness`` in mm, ``chamfer``, their mean, and the shares of points
        that were not left out as too far.

    Raises:
        DataError: if nothing of the mesh is near the scan.
    """
    from scipy.spatial import cKDTree

    points = evenly_sampled(mesh, spacing, seed)
    seen = points[scan.observes(points)]
    wanted = scan.points[scan.above_table(scan.points)]
    accuracy = cKDTree(scan.points).query(seen, distance_upper_bound=cut)[0] if len(seen) else []
    completeness = cKDTree(points).query(wanted, distance_upper_bound=cut)[0]
    near = [np.asarray(d)[np.asarray(d) < cut] for d in (accuracy, completeness)]
    if not all(map(len, near)):
        low, high = mesh.vertices.min(0), mesh.vertices.max(0)
        raise DataError(
            f"nothing of the mesh, from {_shown(low)} to {_shown(high)}, is observed and within "
            f"{cut:g} mm of the scan, from {_shown(wanted.min(0))} to {_shown(wanted.max(0))}.",
            allowed="a mesh in the scan's own world, in mm",
            hint="world_mat and scale_mat of the cameras' file lead there.",
        )
    means = [float(d.mean()) for d in near]
    return {
        "accuracy": means[0],
        "completeness": means[1],
        "chamfer": sum(means) / 2,
        "accuracy_share": len(near[0]) / len(seen),
        "completeness_share": len(near[1]) / len(wanted),
    }


def _shown(point: np.ndarray) -> str:
    return "(" + ", ".join(f"{x:.4g}" for x in point) + ")"


def _find(root: Path, name: str) -> Path:
    """A file of the benchmark, in whichever of its archives' folders it was left."""
    found = next((p for p in (root / place / name for place in PLACES) if p.is_file()), None)
    if found is None:
        raise DataError(
            f"{root} has no {name}.",
            allowed="DTU's archives Points and SampleSet, unpacked: Points/stl/stl024_total.ply, "
            "ObsMask/ObsMask24_10.mat and ObsMask/Plane24.mat, there or in SampleSet/MVS Data",
        )
    return found


def _matrices(path: Path, *names: str) -> dict[str, Any]:
    """Numbers of a MATLAB file."""
    from scipy.io import loadmat

    with reading(path, f"a MATLAB file (version 7 or older) with {', '.join(names)}"):
        check_file(path)
        content = loadmat(path, variable_names=names)
        if missing := [name for name in names if name not in content]:
            raise ValueError(f"it holds no {', '.join(missing)}")
        found = {name: np.asarray(content[name]) for name in names}
        if not all(m.dtype.kind in "fiub" and np.isfinite(m).all() for m in found.values()):
            raise ValueError("it holds other things than finite numbers")
        return found
