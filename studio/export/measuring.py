"""What finished files are worth: figures for metrics.json."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from studio.export.base import Seen
from studio.export.readers import FORMATS, read_exact
from studio.export.world import transformed
from studio.mesh import Mesh
from studio.metrics.renders import mesh_psnr, spread_views, views_psnr
from studio.metrics.solidity import solidity
from studio.metrics.walls import print_figures
from studio.views import ViewSet

LOSS = 3.0
"""dB by which a mesh may look less like the views than the fit does before that is told."""
FIT_VIEWS, FIT_PIXELS = 4, 350_000
"""Views of a fit that are rendered to be compared, at most, and pixels of all of them."""

_log = logging.getLogger(__name__)


def file_figures(
    path: Path, mesh: Mesh, record: dict[str, Any], views: ViewSet | None, psnr_views: int
) -> dict[str, Any]:
    """Is a file a solid, and does it look like the views?

    It is read back for that. Where no reader knows its format, or it holds no colours, the mesh
    that was written stands in for it, and ``measured`` says so.

    Args:
        path: of the file.
        mesh: that was written, in the world of the views.
        record: of where the file lies, see `Placement.record`.
        views: what the mesh was made of.
        psnr_views: how many of them it is compared with.
    """
    to_views = np.array(record["to_views"])
    if path.suffix in FORMATS:
        found, said = transformed(read_exact(path), to_views), f"{path.name}, read back"
    else:
        found, said = mesh, f"the mesh itself: {path.name} cannot be read back"
    figures = solidity(found)
    figures["volume"] /= float(np.linalg.det(to_views[:3, :3]))
    if views is not None and psnr_views:
        if found.texture is None and found.colours is None:
            found, said = mesh, f"{said}; its colours on the mesh itself, as it has none"
        figures["mesh_psnr"] = mesh_psnr(found, views, psnr_views)
    return figures | {"measured": said}


def beside_fit(
    source: Seen,
    mesh: Mesh,
    views: ViewSet,
    most: int = 4,
    report: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Compare a mesh and the model that it was made of with some of the views, by one measure.

    Args:
        source: the fitted model.
        mesh: textured or coloured, in the world of the views.
        views: the pictures.
        most: how many are looked at; fewer where they are large, as a model renders slowly.
        report: is told if the mesh is clearly worse.

    Returns:
        ``fit_psnr`` and ``mesh_psnr``, see `mesh_psnr`, and ``views``, how many were looked at.
    """
    height, width = views.cameras.size
    count = min(most, FIT_VIEWS, max(1, FIT_PIXELS // (height * width)))
    views = spread_views(views, count)
    with torch.no_grad():
        fit = views_psnr(source.render(views.cameras), views)
    made = mesh_psnr(mesh, views, count)
    if report is not None and fit - made > LOSS:
        report(
            f"the mesh shows the views at {made:.1f} dB, the fitted model at {fit:.1f} dB, both "
            f"inside the outlines of {len(views)} of them: a larger exporter.resolution or "
            "texture_size may keep more, less exporter.smooth, too; light that changes with the "
            "view no texture can hold."
        )
    return {"views": len(views), "fit_psnr": round(fit, 3), "mesh_psnr": round(made, 3)}


def check_print(
    mesh: Mesh, record: dict[str, Any], names: Sequence[str], report: Callable[[str], None]
) -> dict[str, Any]:
    """Say in a line what slicers will make of files that count millimetres.

    Args:
        mesh: in the world of the views.
        record: of where these files lie.
        names: of the files.
        report: is told if the mesh is not closed.

    Returns:
        What `print_figures` tells.
    """
    to_file = np.eye(4)
    to_file[:3, :3] = np.linalg.inv(np.array(record["to_views"])[:3, :3])
    figures = print_figures(transformed(mesh, to_file), 1.0)
    files = " and ".join(names)
    wall, volume = figures["thinnest_wall_mm"], figures["volume_cm3"]
    said = [" x ".join(f"{side:.4g}" for side in figures["size_mm"]) + " mm"]
    said += ["not watertight" if volume is None else f"watertight, {volume:.4g} cm3"]
    said += [] if wall is None else [f"thinnest wall {wall:.3g} mm"]
    _log.info("%s: %s", files, ", ".join(said))
    if not figures["watertight"]:
        report(f"{files}: the surface has holes; slicers close them as they like, or refuse it.")
    return figures
