"""UV coordinates for a mesh: the contract of what cuts it into charts, and xatlas."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from studio.export.cleanup import vertex_normals
from studio.mesh import Mesh
from studio.plugins.discovery import find
from studio.plugins.registry import register

_log = logging.getLogger(__name__)

MOST_FACES = 60_000
"""More are too many for xatlas, whose work grows faster than the mesh: 60,000 take it 5 to 15
seconds of one core."""
CPU_LIMIT_S = 600
"""Seconds of the processor after which xatlas is taken to be lost; other programs do not count."""

# Runs in its own process, because the native code cannot be interrupted otherwise.
_XATLAS_PROGRAM = """
import sys, numpy, xatlas
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[3]), -1))
except ImportError:  # Windows
    pass
given = numpy.load(sys.argv[1])
atlas = xatlas.Atlas()
atlas.add_mesh(given["vertices"], given["faces"])
charts, pack = xatlas.ChartOptions(), xatlas.PackOptions()
a, b, c = (given["vertices"][given["faces"][:, i]] for i in range(3))
area = 0.5 * numpy.linalg.norm(numpy.cross(b - a, c - a), axis=1).sum()
charts.max_iterations, charts.max_chart_area = 1, 0.04 * float(area)  # large charts are slow
pack.resolution, pack.padding, pack.bilinear = int(given["size"]), int(given["padding"]), True
atlas.generate(charts, pack)
origin, faces, uv = atlas.get_mesh(0)
numpy.savez(sys.argv[2], origin=origin, faces=faces, uv=uv)
"""


class Unwrapper(ABC):
    """Cuts meshes into charts; `@register("unwrap", "<name>")`, built without arguments."""

    @abstractmethod
    def unwrap(self, mesh: Mesh, size: int, padding: int = 4) -> Mesh:
        """Return the mesh cut along its charts, with ``uv`` in [0, 1], origin at the bottom left.

        Faces keep their order and their first corner; `cut_along` makes such a mesh.

        Args:
            mesh: closed or open triangles; vertices on chart borders are duplicated.
            size: side of the texture that will be baked, in texels.
            padding: empty texels between charts.
        """


def unwrap(mesh: Mesh, size: int = 1024, *, padding: int = 4, method: str = "auto") -> Mesh:
    """Return the mesh as the `Unwrapper` of that name cuts it.

    Raises:
        PluginError: if there is none.
    """
    made: Mesh = find("unwrap", method)().unwrap(mesh, size, padding)
    return made


@register("unwrap", "auto")
class Auto(Unwrapper):
    """Xatlas up to 60,000 faces; box beyond, or if xatlas fails."""

    def unwrap(self, mesh: Mesh, size: int, padding: int = 4) -> Mesh:
        """Neither the clock nor the load of the machine decides."""
        if len(mesh.faces) > MOST_FACES:
            _log.info(
                "unwrap: %d faces are too many for xatlas, projecting on axes", len(mesh.faces)
            )
            return unwrap(mesh, size, padding=padding, method="box")
        try:
            return Xatlas().unwrap(mesh, size, padding)
        except subprocess.CalledProcessError as error:
            why = error.stderr.strip().splitlines()[-1:] or error.returncode
            _log.warning(
                "unwrap: xatlas failed (%s), projecting on axes instead (more seams, same colours)",
                why,
            )
            return unwrap(mesh, size, padding=padding, method="box")


@register("unwrap", "xatlas")
class Xatlas(Unwrapper):
    """Charts by xatlas: few seams; its work grows faster than the mesh."""

    def unwrap(self, mesh: Mesh, size: int, padding: int = 4) -> Mesh:
        """Run xatlas in a process of its own."""
        with tempfile.TemporaryDirectory() as folder:
            given, made = Path(folder) / "given.npz", Path(folder) / "made.npz"
            np.savez(
                given,
                vertices=mesh.vertices.astype(np.float32),
                faces=mesh.faces.astype(np.uint32),
                size=size,
                padding=padding,
            )
            subprocess.run(
                [sys.executable, "-c", _XATLAS_PROGRAM, str(given), str(made), str(CPU_LIMIT_S)],
                check=True,
                capture_output=True,
                text=True,
            )
            with np.load(made) as result:
                return cut_along(
                    mesh, result["origin"].astype(np.int64), result["faces"], result["uv"]
                )


def cut_along(
    mesh: Mesh,
    origin: Int[np.ndarray, " k"],
    faces: Int[np.ndarray, "m 3"],
    uv: Float[np.ndarray, "k 2"],
) -> Mesh:
    """The mesh with vertex ``i`` copied from ``origin[i]``; normals stay smooth across cuts."""
    return replace(
        mesh,
        vertices=mesh.vertices[origin],
        normals=vertex_normals(mesh)[origin],
        colours=None if mesh.colours is None else mesh.colours[origin],
        faces=faces.astype(np.int64),
        uv=uv.astype(np.float32),
    )
