"""Meshes for a viewer: GLB bytes, and the way from their coordinates to the world of the views."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from studio.errors import WeightsError
from studio.export.gltf import GltfScene
from studio.export.readers import FORMATS, read_back, way_back
from studio.export.world import Z_UP_TO_Y_UP
from studio.io.reading import check_file, read_bytes, reading
from studio.io.weights import read_checkpoint
from studio.mesh import Mesh
from studio.models.base import SceneModel
from studio.models.surface import coloured
from studio.plugins.discovery import find
from studio.plugins.options import build
from studio.plugins.parsing import parse_config
from studio.plugins.registry import config_class

CELLS = 96  # along the longest side of the cube: a second's work


@dataclass(frozen=True)
class Surface:
    """A mesh that a viewer can show.

    Attributes:
        glb: a binary glTF file.
        to_views: similarity from the file's coordinates to the world of the views.
    """

    glb: bytes
    to_views: Float[np.ndarray, "4 4"]


def of_mesh(mesh: Mesh) -> Surface:
    """The surface of a mesh in the world of the views."""
    scene = GltfScene()
    scene.add_object(mesh)
    turn = np.eye(4)
    turn[:3, :3] = Z_UP_TO_Y_UP.T
    return Surface(scene.content(), turn)


def of_file(path: Path) -> Surface:
    """The surface in a mesh file of any format that can be read; GLB files are taken as they are.

    Raises:
        DataError: if it is broken.
    """
    if path.suffix.lower() != ".glb":
        return of_mesh(read_back(path))
    with reading(path, problem="is broken"):
        check_file(path)
        return Surface(read_bytes(path), way_back(path))


def result_in(folder: Path) -> Path | None:
    """The mesh that an export left in a folder, its GLB file if it has one."""
    found = [p for s in FORMATS if (p := folder / f"model{s}").is_file()]
    return found[0] if found else None


def scene_model(system: Mapping[str, Any]) -> SceneModel:
    """A new scene model, as a run holds it; the system itself, which takes seconds, is left alone.

    Args:
        system: its options in the run's config, where those of the model stand among them.

    Raises:
        StudioError: if an option or a plugin cannot be used.
    """
    kind = parse_config(_Kind, {k: v for k, v in system.items() if k == "reconstruction_type"})
    cls = config_class(find("model", kind.reconstruction_type, key="system.reconstruction_type"))
    names = {option.name for option in dataclasses.fields(cls)}  # type: ignore[arg-type]
    options = {name: value for name, value in system.items() if name in names}
    options |= system.get("reconstruction") or {}
    model: SceneModel = build("model", kind.reconstruction_type, options, key="system")
    return model.eval()


@dataclass
class _Kind:
    reconstruction_type: str = "sdf"


def of_checkpoint(path: Path, model: SceneModel) -> Surface:
    """The surface that a checkpoint of a fit holds, on a coarse grid, coloured.

    Args:
        path: of the file, which is only read.
        model: of the run's kind; the checkpoint's weights become its own.

    Raises:
        WeightsError: if the file is of another model, or half there.
        StudioError: if there is no surface (yet).
    """
    content = read_checkpoint(path)
    with reading(path, problem="is no checkpoint of this run", error=WeightsError):
        state = {
            name.removeprefix("model."): value for name, value in content["state_dict"].items()
        }
        model.load_state_dict(state)
    return of_mesh(coloured(model, CELLS))
