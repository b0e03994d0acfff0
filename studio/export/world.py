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
Z_UP_TO_Y_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=np.float64)
"""-90 degrees about X. Blender's importers turn it back, so coordinates agree."""
UPRIGHT = 0.996  # cosine of 5 degrees

Matrix = Float[np.ndarray, "4 4"]


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

    def record(self, up: str = "+z", holds_offset: bool = False) -> dict[str, Any]:
        """Return plain values that lead back from a file's coordinates as its readers see them.

        Args:
            up: which way is up there: "+y" or "+z".
            holds_offset: whether the file has a node that adds the offset; elsewhere `to_capture`
                and `to_views` add it.
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
            "offset": self.offset.tolist(),
            "to_views": (to_views @ added @ turn + 0.0).tolist(),
            "to_capture": (to_capture @ added @ turn + 0.0).tolist(),
        }


def place(
    mesh: Mesh, views: ViewSet | None, up: str, world: str = "auto", height: float = 0.0
) -> Placement:
    """Decide where a file lies.

    Args:
        mesh: in the world of the views.
        views: what the mesh was made of.
        up: which way is up in the file: "+y" or "+z".
        world: "ground": upright, its base at height 0 and its middle above the origin, the input's
            (or first) view in front, which is -Y here and +Z in Y-up files. "capture": where the
            capture's cameras are. "views": as fitted. "auto": generated objects and those with a
            `height` on the ground, captures in their own world, but files that viewers show (+y up)
            in the views' world where the capture's +Z is not up.
        height: of the object along +Z in the file, 0 for the size that the world gives it.
    """
    to_capture = np.eye(4) if views is None else views.to_world.numpy()
    if world == "auto":
        world = _usual_world(views, up, to_capture, height)
    if world == "ground":
        to_file = _on_the_ground(mesh, views)
    else:
        to_file = to_capture if world == "capture" else np.eye(4)
    if height:
        z = transformed(mesh, to_file).vertices[:, 2]
        to_file = np.diag([height / float(np.ptp(z))] * 3 + [1.0]) @ to_file
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


def _usual_world(views: ViewSet | None, up: str, to_capture: Matrix, height: float) -> str:
    if height or (views is not None and "guidance" in views.meta):
        return "ground"
    upright = to_capture[2, 2] / np.linalg.norm(to_capture[:3, 2]) > UPRIGHT
    return "views" if up == "+y" and not upright else "capture"


def _on_the_ground(mesh: Mesh, views: ViewSet | None) -> Matrix:
    """Turn the front to -Y, put the middle of the base into the origin."""
    front = np.array([0.0, -1.0]) if views is None else _front(views)
    matrix = np.eye(4)
    matrix[:2, :2] = [[-front[1], front[0]], [-front[0], -front[1]]]  # its second row: front to -y
    points = mesh.vertices @ matrix[:3, :3].T
    low, high = points.min(0).astype(np.float64), points.max(0).astype(np.float64)
    return moved(np.array([*-(low + high)[:2] / 2, -low[2]])) @ matrix


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
