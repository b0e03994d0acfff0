"""What the helper process does with a finished mesh: it writes it in another format.

The function takes and returns plain values, as they cross from process to process.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from studio.errors import DataError

MESHES = ("model.glb", "model.ply", "model.obj", "model.stl", "model.3mf")
"""Files of a result that other formats are made from, the fullest first."""


def convert(result: str, name: str, out: str, title: str) -> str:
    """Write a finished mesh in a format, where the exported file lies.

    What the job has written in that format is taken as it is.

    Args:
        result: folder of the result.
        name: of a registered format.
        out: the file without its suffix; several files become one zip.
        title: of the object.

    Returns:
        The path of the file.

    Raises:
        StudioError: if there is no mesh, no such format, or it cannot be written.
    """
    from studio.export.files import mesh_format
    from studio.io.files import atomic_write

    kind = mesh_format(name)
    there = Path(result) / f"model{kind.suffix}"
    if there.is_file():
        parts = [there, *(there.with_name(f"model{suffix}") for suffix in kind.beside)]
        files = {part.name: part.read_bytes() for part in parts if part.is_file()}
    else:
        files = _made(Path(result), kind, title)
    if len(files) == 1:
        path = Path(out).with_suffix(kind.suffix)
        with atomic_write(path) as temporary:
            temporary.write_bytes(next(iter(files.values())))
        return str(path)
    path = Path(f"{out}.{name}.zip")
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w", 8) as archive:
        for inner, content in files.items():
            archive.writestr(inner, content)
    return str(path)


def _made(result: Path, kind: Any, title: str) -> dict[str, bytes]:
    """A finished mesh as files of another format, by their names."""
    from dataclasses import replace

    from studio.export.brought import without_seams
    from studio.export.readers import read_back

    source = next((p for p in (result / n for n in MESHES) if p.is_file()), None)
    if source is None:
        raise DataError("there is no mesh yet.")
    mesh, placement = read_back(source), _placement(source)
    if not kind.wants_texture and mesh.texture is not None:
        mesh = without_seams(mesh)
    notes = replace(_notes(source, title), placement=placement)
    files: dict[str, bytes] = kind.encode(
        placement.mesh(_smooth(mesh)), f"model{kind.suffix}", notes
    )
    return files


def _smooth(mesh: Any) -> Any:
    """The mesh with vertex normals that do not break at the seams of its texture."""
    from dataclasses import replace

    import numpy as np

    where, joined = np.unique(mesh.vertices, axis=0, return_inverse=True)
    joined = joined.reshape(-1)
    welded = replace(
        mesh, vertices=where, faces=joined[mesh.faces], uv=None, colours=None, normals=None
    )
    return replace(mesh, normals=welded.with_normals().normals[joined])


def _placement(source: Path) -> Any:
    """Where the exported file lies in the world of its views."""
    import numpy as np

    from studio.export.notes import read_record
    from studio.export.readers import way_back
    from studio.export.world import Placement

    record = read_record(source)
    if record is None:
        return Placement()
    turn = np.eye(4)
    if record["up"] == "+y":
        from studio.export.world import Z_UP_TO_Y_UP

        turn[:3, :3] = Z_UP_TO_Y_UP.T
    offset = np.array(record.get("offset", [0, 0, 0]), float)
    held = source.suffix in (".glb", ".gltf")
    added = np.eye(4)
    added[:3, 3] = 0 if held else offset
    lead = np.linalg.inv(added @ turn)
    to_file = np.linalg.inv(way_back(source, "views") @ lead)
    to_capture = way_back(source, "capture") @ lead @ to_file
    return Placement(str(record.get("world", "views")), to_file, to_capture, offset)


def _notes(source: Path, title: str) -> Any:
    """What the exported file says of the weights' licence, under the object's name."""
    from studio.export.notes import Notes
    from studio.io.reading import parse_json

    said = ""
    if source.suffix == ".glb":
        with source.open("rb") as file:
            head = file.read(20)
            text = file.read(min(int.from_bytes(head[12:16], "little"), 1 << 24))
        said = str(parse_json(text).get("asset", {}).get("copyright", ""))
    return Notes(title or "object", said)
