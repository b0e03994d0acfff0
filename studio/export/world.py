"""Where exported files lie: on the ground, in their capture's world, or in that of the views.

A fit's mesh lives in the world of its views. A `Placement` leads from there to the coordinates of a
file, in double precision, and says how to come back.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from studio.mesh import Mesh
from studio.similarity import FAR
from studio.views import ViewSet

WORLDS = ("auto", "ground", "capture", "views")
PIVOTS = ("auto", "base", "centre", "fitted")
FRONTS = ("auto", "+z", "+x", "-z", "-x")
"""Axes of +Y up files, each a quarter turn (counter-clockwise from above) after the one before."""
Z_UP_TO_Y_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=np.float64)
"""-90 degrees about X. Blender's importers turn it back, so coordinates agree."""
UPRIGHT = 0.996  # cosine of 5 degrees

Matrix = Float[np.ndarray, "4 4"]


@dataclass(frozen=True)
class Wanted:
    """How an object is to stand in its files.

    Attributes:
        world: "ground": upright, its front towards +z and its base at height 0 above the origin.
            "capture": where the capture's cameras are. "views": as fitted. "auto": generated
            objects, and those of which anything below is asked, on the ground; captures in their
            own world, but files that viewers show (+y up) in the views' where the capture's +Z is
            not up.
        height: along the axis that is up, in metres; 0 for the size that the world gives it.
        pivot: what lies at the origin: "base", the middle of the object's lowest point's height;
            "centre", the middle of its box; "fitted": what lay there. "auto": the world's.
        front: axis of +Y up files that the input's (or first) view looks at the object from; in
            files of +Z up, -Y stands for "+z". "auto": "+z" on the ground, else as fitted.
    """

    world: str = "auto"
    height: float = 0.0
    pivot: str = "auto"
    front: str = "auto"

    @property
    def asked(self) -> list[str]:
        """Which of them take an object from where its world has it."""
        found = {
            "height": self.height > 0,
            "pivot": self.pivot in ("base", "centre"),
            "front": self.front != "auto",
        }
        return [name for name, is_asked in found.items() if is_asked]


@dataclass(frozen=True)
class Placement:
    """The place of a file (float64, +Z up).

    Attributes:
        world: "ground", "capture" or "views".
        to_file: similarity from the views' world to that of the file.
        to_capture: similarity from the views' world to that of the capture's own cameras.
        offset: point of the file's world that its vertices are counted from: zero, unless float32
            could not hold vertices so far from the origin.
    """

    world: str = "views"
    to_file: Matrix = field(default_factory=lambda: np.eye(4))
    to_capture: Matrix = field(default_factory=lambda: np.eye(4))
    offset: Float[np.ndarray, "3"] = field(default_factory=lambda: np.zeros(3))

    @property
    def scale(self) -> float:
        """Length of the views' unit in the file."""
        return float(np.cbrt(np.linalg.det(self.to_file[:3, :3])))

    @property
    def to_vertices(self) -> Matrix:
        """Similarity from the views' world to the file's, counted from `offset`."""
        return moved(-self.offset) @ self.to_file

    def mesh(self, mesh: Mesh) -> Mesh:
        """Return a mesh of the views' world as the file holds it, counted from `offset`."""
        return transformed(mesh, self.to_vertices)

    def views(self, views: ViewSet) -> ViewSet:
        """Return the views where `mesh` is; their bound is only scaled."""
        cameras = views.cameras.to("cpu")
        return replace(
            views,
            images=views.images.cpu(),
            cameras=cameras.placed(torch.from_numpy(np.linalg.inv(self.to_vertices))),
            bound=views.bound * self.scale,
            meta={k: v for k, v in views.meta.items() if k != "to_world"},
            normals=None,
        )

    def record(
        self, up: str = "+z", holds_offset: bool = False, metres_per_unit: float = 1.0
    ) -> dict[str, Any]:
        """Return plain values that lead back from a file's coordinates, in metres.

        Args:
            up: which way is up there: "+y" or "+z".
            holds_offset: whether the file has a node that adds the offset; elsewhere `to_capture`
                and `to_views` add it.
            metres_per_unit: of the file's numbers.
        """
        turn = np.eye(4)
        if up == "+y":
            turn[:3, :3] = Z_UP_TO_Y_UP.T
        added = np.eye(4) if holds_offset else moved(self.offset)
        to_views = np.linalg.inv(self.to_file)
        to_capture = np.eye(4) if self.world == "capture" else self.to_capture @ to_views
        return {
            "world": self.world,
            "up": up,
            "metres_per_unit": metres_per_unit,
            "offset": self.offset.tolist(),
            "to_views": (to_views @ added @ turn + 0.0).tolist(),
            "to_capture": (to_capture @ added @ turn + 0.0).tolist(),
        }


def place(mesh: Mesh, views: ViewSet | None, up: str, wanted: Wanted | None = None) -> Placement:
    """Decide where a file lies.

    Args:
        mesh: in the world of the views.
        views: what the mesh was made of.
        up: which way is up in the file: "+y" or "+z".
        wanted: what is asked.
    """
    wanted = wanted or Wanted()
    to_capture = np.eye(4) if views is None else views.to_world.numpy()
    world = wanted.world
    if world == "auto":
        world = _usual_world(views, up, to_capture, wanted)
    if world == "capture":
        to_file = to_capture
    else:
        to_file = _standing(mesh, views, wanted, on_the_ground=world == "ground")
    return Placement(world, to_file, to_capture, far_offset(mesh, to_file))


def transformed(mesh: Mesh, matrix: Matrix) -> Mesh:
    """Return a mesh after a similarity, computed in float64 and stored in float32.

    Vertices at one place stay at one place, bit by bit, which a product of matrices (by BLAS) does
    not promise.
    """
    linear, normals = matrix[:3, :3], mesh.normals
    if normals is not None:
        turn = linear / np.cbrt(np.linalg.det(linear))
        normals = (normals @ turn.T).astype(np.float32)
    x, y, z = mesh.vertices.astype(np.float64).T[..., None]
    vertices = x * linear[:, 0] + y * linear[:, 1] + z * linear[:, 2] + matrix[:3, 3]
    return replace(mesh, vertices=vertices.astype(np.float32), normals=normals)


def _usual_world(views: ViewSet | None, up: str, to_capture: Matrix, wanted: Wanted) -> str:
    if wanted.asked or (views is not None and "guidance" in views.meta):
        return "ground"
    upright = to_capture[2, 2] / np.linalg.norm(to_capture[:3, 2]) > UPRIGHT
    return "views" if up == "+y" and not upright else "capture"


def _standing(mesh: Mesh, views: ViewSet | None, wanted: Wanted, *, on_the_ground: bool) -> Matrix:
    """Turn the front to its axis, scale, move the pivot into the origin."""
    front, pivot = wanted.front, wanted.pivot
    if on_the_ground:
        front = "+z" if front == "auto" else front
        pivot = "base" if pivot == "auto" else pivot
    matrix = np.eye(4) if front == "auto" else _turned(views, FRONTS.index(front) - 1)
    low, high = _bounds(mesh, matrix)
    if wanted.height:
        scale = wanted.height / (high - low)[2]
        matrix, low, high = np.diag([scale] * 3 + [1.0]) @ matrix, scale * low, scale * high
    if pivot not in ("base", "centre"):
        return matrix
    middle = (low + high) / 2
    if pivot == "base":
        middle[2] = low[2]
    return moved(-middle) @ matrix


def _turned(views: ViewSet | None, quarters: int) -> Matrix:
    """Turn the front to -Y, and by quarters of a turn further."""
    x, y = np.array([0.0, -1.0]) if views is None else _front(views)
    further = np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), quarters)
    matrix = np.eye(4)
    matrix[:2, :2] = further @ [[-y, x], [-x, -y]]  # the second row takes the front to -y
    return matrix


def _bounds(mesh: Mesh, matrix: Matrix) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    points = mesh.vertices @ matrix[:3, :3].T
    return points.min(0).astype(np.float64), points.max(0).astype(np.float64)


def _front(views: ViewSet) -> Float[np.ndarray, "2"]:
    """Unit vector across the ground from the object to the camera that sees its front.

    That is the camera of the picture that guidance was asked with, else of the first view. From
    right above (below), what is low (high) in the picture is in front.
    """
    asked = views.meta.get("condition_cameras")
    c2w = views.cameras.c2w.tolist() if asked is None else asked["c2w"]
    _, down, forward = np.array(c2w[0], dtype=np.float64)[:3, :3].T
    front = -forward[:2]
    if np.linalg.norm(front) < 0.1:
        front = down[:2] * (-1 if forward[2] > 0 else 1)
    unit: np.ndarray = front / np.linalg.norm(front)
    return unit


def far_offset(mesh: Mesh, to_file: Matrix) -> Float[np.ndarray, "3"]:
    """A round point near the object where it is far from the file's origin, else zero."""
    low, high = mesh.vertices.min(0).astype(np.float64), mesh.vertices.max(0).astype(np.float64)
    middle: np.ndarray = to_file[:3, :3] @ ((low + high) / 2) + to_file[:3, 3]
    size = float((high - low).max() * np.cbrt(np.linalg.det(to_file[:3, :3])))
    if np.abs(middle).max() <= FAR * size:
        return np.zeros(3)
    rounded: np.ndarray = np.round(middle, -int(np.floor(np.log10(size)))) + 0.0
    return rounded


def moved(by: Float[np.ndarray, "3"]) -> Matrix:
    """Return the matrix of a translation."""
    matrix = np.eye(4)
    matrix[:3, 3] = by
    return matrix
