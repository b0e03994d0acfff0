"""The files of an export: each where it belongs, under its name, and none of an earlier export."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.export.inspection import write_inspection
from studio.export.notes import notes_of
from studio.export.world import place
from studio.export.writers import write_glb, write_obj, write_ply
from studio.files import remove
from studio.mesh import Mesh
from studio.views import ViewSet

_log = logging.getLogger(__name__)

_WRITERS = {"glb": write_glb, "ply": write_ply, "obj": write_obj}
FORMATS = tuple(_WRITERS)
OURS = (
    *(f"model.{suffix}" for suffix in (*FORMATS, "mtl", "png")),
    *("inspect.glb", "turntable.mp4", "turntable.gif", "preview.png"),
)
"""All names that an export may write."""


def write_meshes(
    meshes: Mapping[str, Mesh],
    views: ViewSet | None,
    folder: Path,
    *,
    inspected: Mesh | None = None,
    world: str = "auto",
    height: float = 0.0,
) -> tuple[dict[str, Path], dict[str, dict[str, Any]]]:
    """Write `model.<kind>` for every kind of file and, where there are views, `inspect.glb`.

    Args:
        meshes: by kind (glb, ply, obj), in the world of the views.
        views: what they were made of.
        folder: where the files go.
        inspected: mesh of `inspect.glb`; None does not write it.
        world: see `studio.export.world.place`.
        height: see there.

    Returns:
        paths by kind (`inspect` among them), and by file name where it lies (`Placement.record`).
    """
    notes = notes_of(views)
    written: dict[str, Path] = {}
    records: dict[str, dict[str, Any]] = {}
    for kind, mesh in meshes.items():
        placement = place(mesh, views, kind, world, height)
        path = folder / f"model.{kind}"
        _WRITERS[kind](placement.mesh(mesh), path, replace(notes, placement=placement))
        written[kind], records[path.name] = path, placement.record(kind)
    if inspected is not None and views is not None:
        placement = place(inspected, views, "glb", world, height)
        shown = placement.mesh(inspected), placement.views(views)
        path = folder / "inspect.glb"
        write_inspection(*shown, path, replace(notes, placement=placement))
        written["inspect"], records[path.name] = path, placement.record("glb")
    for name, record in records.items():
        _say_offset(name, record)
    return written, records


def remove_others(folder: Path, written: Mapping[str, Path]) -> None:
    """Remove what an export with other settings left there, so that nothing old looks new."""
    kept = {path.name for path in written.values()}
    if "obj" in written:
        with written["obj"].open(encoding="utf-8", errors="replace") as file:
            head = file.read(1 << 13)
        kept |= {"model.mtl", "model.png"} if "\nmtllib " in head else set()
    for name in OURS:
        if name not in kept:
            remove(folder / name)


def _say_offset(name: str, record: dict[str, Any]) -> None:
    """Tell of a file whose vertices are counted from a point far from its world's origin."""
    if any(record["offset"]):
        _log.info(
            "%s: vertices are counted from %s, as float32 cannot hold them so far away; %s has that"
            " point (and metrics.json: files)",
            name,
            tuple(record["offset"]),
            "a node" if name.endswith(".glb") else "its header",
        )
