"""The files of an export: each where it belongs, under its name, and none of an earlier export."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.errors import PluginError
from studio.export.brought import without_seams
from studio.export.formats.base import MeshFormat
from studio.export.inspection import write_inspection
from studio.export.notes import notes_of
from studio.export.world import Wanted, place
from studio.io.files import remove
from studio.mesh import Mesh
from studio.plugins.discovery import available, find
from studio.views import ViewSet

_log = logging.getLogger(__name__)

MOST_LEVELS = 8  # of detail
PICTURES = ("inspect.glb", "turntable.mp4", "turntable.gif", "preview.png")
"""What an export may write beside `model.*`."""


def write_meshes(
    meshes: Mapping[str, Mesh],
    views: ViewSet | None,
    folder: Path,
    *,
    levels: Sequence[Mesh] = (),
    inspected: Mesh | None = None,
    wanted: Wanted | None = None,
    kinds: Mapping[str, MeshFormat] | None = None,
) -> tuple[dict[str, Path], dict[str, dict[str, Any]], list[Path]]:
    """Write `model.<suffix>` in every format and, where there are views, `inspect.glb`.

    Args:
        meshes: by the name of their format, in the world of the views.
        views: what they were made of.
        folder: where the files go.
        levels: coarser ones, written as `model_lod1.<suffix>` and so on, at the place of the main
            mesh: engines take one file a level, and every reader shows each of them as an object.
        inspected: mesh of `inspect.glb`; None does not write it.
        wanted: how the object is to stand.
        kinds: formats by name, where they are not to be as they usually are.

    Returns:
        main files by format (`inspect` among them, and `glb_lod1`, ...), by file name where it lies
        (`Placement.record`), and all files.
    """
    notes, wanted = notes_of(views), wanted or Wanted()
    written: dict[str, Path] = {}
    records: dict[str, dict[str, Any]] = {}
    everything: list[Path] = []
    for name, mesh in meshes.items():
        kind = (kinds or {}).get(name) or mesh_format(name)
        placement = place(mesh, views, kind.up, wanted)
        path = folder / f"model{kind.suffix}"
        placed = placement.mesh(mesh)
        everything += kind.write(placed, path, replace(notes, placement=placement))
        written[name], records[path.name] = path, kind.record(placement)
        _say_offset(path, records[path.name], kind.holds_offset)
        for number, level in enumerate(levels, 1):
            if level.texture is not None and not kind.wants_texture:
                level = without_seams(level)
            path = folder / f"model_lod{number}{kind.suffix}"
            said = replace(notes, placement=placement, name=f"{notes.name} LOD{number}")
            everything += kind.write(placement.mesh(level), path, said)
            written[f"{name}_lod{number}"], records[path.name] = path, kind.record(placement)
    if inspected is not None and views is not None:
        kind = mesh_format("glb")
        placement = place(inspected, views, kind.up, wanted)
        shown = placement.mesh(inspected), placement.views(views)
        path = folder / "inspect.glb"
        write_inspection(*shown, path, replace(notes, placement=placement))
        written["inspect"], records[path.name] = path, kind.record(placement)
        _say_offset(path, records[path.name], kind.holds_offset)
    return written, records, [*everything, *written.values()]


def mesh_format(name: str) -> MeshFormat:
    """Return the format of a name.

    Raises:
        PluginError: if there is none, or it is not a `MeshFormat`.
    """
    made: MeshFormat = find("format", name)()
    return made


def remove_others(folder: Path, written: Iterable[Path]) -> None:
    """Remove what an export with other settings left there, so that nothing old looks new."""
    kept = {path.name for path in written}
    for name in sorted(_all_names() - kept):
        remove(folder / name)


def _all_names() -> set[str]:
    """All names of files that an export may write."""
    names = set(PICTURES)
    for name in available("format"):
        with contextlib.suppress(PluginError):  # what does not load has written nothing
            kind = mesh_format(name)
            stems = ["model", *(f"model_lod{number}" for number in range(1, MOST_LEVELS))]
            names |= {stem + suffix for stem in stems for suffix in (kind.suffix, *kind.beside)}
    return names


def _say_offset(path: Path, record: dict[str, Any], held: bool) -> None:
    """Tell of a file whose vertices are counted from a point far from its world's origin."""
    if any(record["offset"]):
        _log.info(
            "%s: vertices are counted from %s, as float32 cannot hold them so far away; %s"
            " (metrics.json: files)",
            path.name,
            tuple(record["offset"]),
            "the file adds that point" if held else "its header names that point",
        )
