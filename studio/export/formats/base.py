"""What a kind of mesh file is: a class that turns a mesh into the content of its files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from studio.errors import ExportError
from studio.export.notes import Notes
from studio.export.world import Placement
from studio.io.files import write_bytes
from studio.mesh import Mesh


class MeshFormat(ABC):
    """Writes meshes; registered as `@register("format", "<name>")`, built without arguments.

    `encode` is all that a format has to have besides `suffix`. One whose library writes the files
    itself overrides `write`.
    """

    suffix: ClassVar[str]
    """Of its files, with the dot."""
    beside: ClassVar[tuple[str, ...]] = ()
    """Suffixes of further files that it may write next to the main one."""
    up: ClassVar[str] = "+z"
    """What its readers take for up: "+z", as meshes have it, or "+y": `encode` turns them."""
    wants_texture: ClassVar[bool] = False
    """Whether meshes come with a texture rather than with colours per vertex."""
    holds_offset: ClassVar[bool] = False
    """Whether its readers add `Notes.offset` themselves, as the file tells them to."""
    metres_per_unit: ClassVar[float] = 1.0
    """What its readers take its numbers for; `encode` is given metres."""

    @abstractmethod
    def encode(self, mesh: Mesh, name: str, notes: Notes) -> dict[str, bytes]:
        """Return the content of every file by its name, the main one first.

        Args:
            mesh: not empty, finite, +Z up, counted from the offset of `notes`. Any of its colours,
                texture and normals may be missing.
            name: of the main file; the others lie beside it.
            notes: what the file should say of itself, as far as it can.
        """

    def write(self, mesh: Mesh, path: str | Path, notes: Notes | None = None) -> list[Path]:
        """Write a mesh, each file as a whole or not at all, and the main one last.

        Args:
            mesh: +Z up, counted from the offset of `notes`.
            path: of the main file; its folder is made if missing.
            notes: what the file says of itself.

        Returns:
            All files, the main one first.

        Raises:
            ExportError: if the mesh is empty or holds a NaN.
            StudioError: if the system refuses to write.
        """
        path = Path(path)
        check_writable(mesh, path)
        files = self.encode(mesh, path.name, notes or Notes())
        for name in reversed(files):
            write_bytes(path.with_name(name), files[name])
        return [path.with_name(name) for name in files]

    def record(self, placement: Placement) -> dict[str, Any]:
        """Return where such a file lies, see `Placement.record`."""
        return placement.record(self.up, self.holds_offset, self.metres_per_unit)


def check_writable(mesh: Mesh, path: str | Path) -> None:
    """Refuse a mesh that is empty, not finite or inconsistent.

    Raises:
        ExportError: for the first two.
    """
    if len(mesh.vertices) == 0 or len(mesh.faces) == 0:
        raise ExportError(
            f"{path} is not written: the mesh is empty.",
            hint="No surface was found: look at the views and masks, train longer, or check\n"
            "  data.bound (half the side of the cube that holds the object).",
        )
    if not np.isfinite(mesh.vertices).all():
        raise ExportError(f"{path} is not written: a vertex is NaN or infinite.")
    if mesh.faces.min() < 0 or mesh.faces.max() >= len(mesh.vertices):
        raise ValueError("a face refers to a vertex that does not exist")
    for name in ("colours", "uv", "normals"):
        values = getattr(mesh, name)
        if values is not None and len(values) != len(mesh.vertices):
            raise ValueError(f"{len(values)} {name} for {len(mesh.vertices)} vertices")
