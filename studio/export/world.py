"""The world that exported files speak of: the capture's own, or the upright one of its views."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.errors import ConfigError
from studio.mesh import Mesh
from studio.views import ViewSet

WORLDS = ("auto", "capture", "views")
UPRIGHT = 0.996  # cosine of 5 degrees

Similarity = Float[Tensor, "4 4"]


def world_of(views: ViewSet | None, world: str, kind: str) -> Similarity | None:
    """Similarity from the views' world to that of a file, None where nothing moves.

    Args:
        views: what the mesh was made of.
        world: auto, capture or views. What viewers show (``glb``) stays upright with auto: it lies
            in the views' world where the capture's own +Z is not up.
        kind: of the file: glb, ply or obj.

    Raises:
        ConfigError: for another word.
    """
    if world not in WORLDS:
        raise ConfigError(f"exporter.world is {world!r}.", allowed=", ".join(WORLDS))
    if views is None or world == "views":
        return None
    to_world = views.to_world
    if torch.equal(to_world, torch.eye(4).to(to_world)):
        return None
    upright = float(to_world[2, 2] / to_world[:3, 2].norm()) > UPRIGHT
    return None if world == "auto" and kind == "glb" and not upright else to_world


def placed_mesh(mesh: Mesh, to_world: Similarity | None) -> Mesh:
    """Return the mesh after a similarity."""
    if to_world is None:
        return mesh
    matrix = to_world.double().numpy()
    linear, normals = matrix[:3, :3], mesh.normals
    if normals is not None:
        turn = linear / np.cbrt(np.linalg.det(linear))
        normals = (normals @ turn.T).astype(np.float32)
    vertices = (mesh.vertices @ linear.T + matrix[:3, 3]).astype(np.float32)
    return replace(mesh, vertices=vertices, normals=normals)


def placed_views(views: ViewSet, to_world: Similarity | None) -> ViewSet:
    """Return the views in the same world as `placed_mesh`; their bound is only scaled."""
    if to_world is None:
        return views
    cameras = views.cameras.to("cpu")
    scale = float(torch.linalg.det(to_world[:3, :3].double()) ** (1 / 3))
    return replace(
        views,
        images=views.images.cpu(),
        cameras=cameras.placed(torch.linalg.inv(to_world.double())),
        bound=views.bound * scale,
        meta={k: v for k, v in views.meta.items() if k != "to_world"},
        normals=None,
    )
