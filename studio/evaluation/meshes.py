"""One mesh against another, in one world."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.errors import DataError
from studio.evaluation.options import Judging, shown

if TYPE_CHECKING:
    from studio.evaluation.options import Judged
    from studio.mesh import Mesh
    from studio.metrics.protocols import Protocol


def evaluate_meshes(
    cfg: Judging, protocol: Protocol, pred: Judged, wanted: Judged
) -> dict[str, Any]:
    """Judge one mesh against another."""
    (mesh, about_mesh), (reference, about_reference) = read_pair(cfg, pred, wanted)
    warnings = [
        f"{about['path']} has {about['open_edges']} open edges: volume_iou counts crossings of "
        "its surface, which an open one answers only where the holes are not in the way"
        for about in (about_mesh, about_reference)
        if about["open_edges"] > 0
    ]
    try:
        figures = protocol.meshes.measure(turned(mesh, cfg.rotate_deg), reference)
    except ValueError as error:  # the ring of cameras sees nothing
        raise DataError(
            f"{shown(pred)} and {shown(wanted)} cannot be compared: {error}.",
            hint=f"protocol {protocol.name} normalises: {protocol.meshes.normalises}",
        ) from error
    return {
        "kind": "meshes",
        "protocol": protocol.describe(protocol.meshes) | {"rotate_deg": cfg.rotate_deg},
        "pred": about_mesh,
        "reference": about_reference,
        "metrics": figures,
        "warnings": warnings,
    }


def turned(mesh: Mesh, degrees: float) -> Mesh:
    """Turn a mesh about +Z, counter-clockwise seen from above."""
    import numpy as np

    if not degrees:
        return mesh
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return replace(mesh, vertices=(mesh.vertices @ rotation.T).astype(np.float32), normals=None)


def read_pair(cfg: Judging, pred: Judged, reference: Judged) -> list[tuple[Mesh, dict[str, Any]]]:
    """Read the judged mesh and the reference into one world, and say what they are."""
    import numpy as np

    from studio.export.readers import read_record, read_together
    from studio.mesh import Mesh
    from studio.metrics.surface import Surface

    given, ups = [pred, reference], [cfg.pred_up, cfg.reference_up]
    meshes = read_together([x if isinstance(x, Mesh) else Path(str(x)) for x in given], ups)
    found = []
    for source, up, mesh in zip(given, ups, meshes, strict=True):
        if not np.isfinite(mesh.vertices).all() or not mesh.area > 0:
            raise DataError(f"mesh {shown(source)} has no area, or vertices that are not finite.")
        filed = isinstance(source, str | Path) and up == "auto"
        record = read_record(Path(source)) if filed else None  # type: ignore[arg-type]
        about: dict[str, Any] = {
            "path": shown(source),
            "vertices": len(mesh.vertices),
            "faces": len(mesh.faces),
            "open_edges": Surface(mesh).open_edges,
            "brought_back_from": None if record is None else record["world"],
        }
        found.append((mesh, about))
    return found
