"""Parity of mesh extraction."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from studio.export.isosurface_dense import dense_mesh, sample_grid, two_pass_mesh
from studio.mesh import Mesh
from tests.parity.case import Adapter, Case

FUNCTIONS = {name: getattr(torch, name) for name in ("sin", "cos", "exp", "sqrt", "abs", "tanh")}


def _field(formula: str) -> Callable[[Tensor], Tensor]:
    """The field that a formula like ``|x|-0.5+0.06*sin(6x)*cos(5y)`` means; |x| is the length."""
    text = formula.replace(" ", "").replace("|x|", "r").replace("^", "**")
    text = re.sub(r"(?<=[\d)])(?=[a-z(])", "*", text)
    if not set(re.findall(r"[a-z]+", text)) <= {*FUNCTIONS, "r", "x", "y", "z"}:
        raise ValueError(f"cannot read the field {formula!r}")
    code = compile(text, formula, "eval")

    def field(points: Tensor) -> Tensor:
        x, y, z = points.unbind(-1)
        names = {**FUNCTIONS, "x": x, "y": y, "z": z, "r": points.norm(dim=-1)}
        return eval(code, {"__builtins__": {}}, names)

    return field


def _sorted(vertices: np.ndarray) -> Tensor:
    """By x, y, z in steps of 1e-5, so that rounding does not decide between mirrored vertices."""
    return torch.from_numpy(vertices[np.lexsort(vertices.round(5).T[::-1])])


def _number(value: float | np.floating) -> Tensor:
    return torch.tensor(float(value))


def _box(mesh: Mesh) -> Tensor:
    return torch.from_numpy(np.stack([mesh.vertices.min(0), mesh.vertices.max(0)]))


def mesh_extract(case: Case) -> dict[str, Tensor]:
    """NeuS's one pass and instant-nsr's two."""
    config = case.config
    sdf, resolution = _field(config["sdf"]), config["resolution"]
    level = -config.get("threshold", 0.0)  # the threshold is one of -sdf
    box = np.array([config["bound_min"], config["bound_max"]], dtype=np.float64)
    mesh = dense_mesh(sdf, box, resolution, level)
    unit = mesh.face_normals / np.linalg.norm(mesh.face_normals, axis=1, keepdims=True)
    centres = mesh.vertices[mesh.faces].mean(1)
    radius, coarse = config["radius"], config["insr_resolution"]
    cube = np.array([[-radius] * 3, [radius] * 3])
    first, fine = dense_mesh(sdf, cube, coarse), two_pass_mesh(sdf, radius, coarse)
    return {
        "field": -torch.from_numpy(sample_grid(sdf, box, resolution)),
        "verts_sorted": _sorted(mesh.vertices),
        "n_verts": torch.tensor(len(mesh.vertices)),
        "n_faces": torch.tensor(len(mesh.faces)),
        "area": _number(mesh.area),
        "signed_volume": _number(mesh.volume),
        "signed_volume_plus_sdf": _number(mesh.flipped().volume),
        "bbox": _box(mesh),
        "normals_dot": _number((unit * centres).sum(1).mean()),
        "insr_coarse_bbox": _box(first),
        "insr_verts_sorted": _sorted(fine.vertices),
        "insr_n_faces": torch.tensor(len(fine.faces)),
        "insr_area": _number(fine.area),
        "insr_signed_volume": _number(fine.volume),
    }


CASES: dict[str, Adapter] = {"mesh_extract": mesh_extract}
