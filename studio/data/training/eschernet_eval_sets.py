"""The folders of EscherNet's evaluation sets: which views are given, from where others are wanted.

Each set is a function from one object's folder to an `EvalObject`; no picture is opened. Cameras
are float64, camera-to-world, OpenCV axes. Sources: arXiv 2402.03908 and the authors' evaluation.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import CANONICAL_RADIUS, opengl_to_opencv
from studio.captures.files import find_picture
from studio.captures.shots import Shot
from studio.captures.transforms import read_scene
from studio.data.layouts.base import natural
from studio.data.layouts.eschernet import read_poses
from studio.data.layouts.fixed_rigs import BOUND, rendered_intrinsics
from studio.data.training.arrays import read_array
from studio.data.training.eschernet_eval_frames import (
    SPIRAL_VIEWS,
    EvalConfig,
    EvalObject,
    Frames,
    SetName,
    chosen_references,
    first_targets,
    spherical_poses,
    spiral,
)
from studio.errors import DataError
from studio.io.paths import existing
from studio.io.reading import parse_json, read_text, reading

logger = logging.getLogger(__name__)


def read_object(cfg: EvalConfig) -> EvalObject:
    """Find an object's files and read its cameras.

    Raises:
        DataError: if something is missing or broken, or there are not so many views.
    """
    if not cfg.root:
        raise DataError("data.root is not given.", allowed="the folder of one object")
    return SETS[cfg.type](cfg, existing(Path(cfg.root)))


# --- Google Scanned Objects -----------------------------------------------------------------------


def _gso(rig: str, measured: range | None) -> Callable[[EvalConfig, Path], EvalObject]:
    """References from the 25 random views (Blender's axes), targets from a rig (OpenCV's)."""

    def read(cfg: EvalConfig, root: Path) -> EvalObject:
        given = _posed_frames(_views_folder(root, "render_mvs_25"), "blender")
        if cfg.target_poses:
            wanted = _posed_frames(existing(Path(cfg.target_poses)), _axes(rig))
            wanted = replace(wanted, pictures=())
        else:
            wanted = _posed_frames(_views_folder(root, rig), _axes(rig))
        wanted = first_targets(cfg, wanted)
        chosen = chosen_references(cfg, len(given), 3)
        figures = [i for i in measured or range(len(wanted)) if i < len(wanted)]
        return EvalObject(given.select(chosen), wanted, chosen, tuple(figures))

    return read


def _axes(rig: str) -> str:
    return "blender" if rig == "render_mvs_25" else "opencv"


def _views_folder(root: Path, name: str) -> Path:
    candidates = [root / name / "model", root / name]
    if root.name == name or root.parent.name == name:
        candidates += [root / "model", root]
    for folder in candidates:
        if any(folder.glob("*.npy")):
            return folder
    raise DataError(
        f"{root} has no {name}/model with NNN.npy.",
        allowed="<object>/render_mvs_25/model, and the folder of the target rig beside it",
        hint="data.target_poses names a folder of target cameras elsewhere.",
    )


def _posed_frames(folder: Path, axes: str) -> Frames:
    files = sorted(folder.glob("*.npy"), key=natural)
    if not files:
        raise DataError(f"{folder} has no NNN.npy.", allowed="3x4 world-to-camera matrices")
    pictures = tuple(find_picture(f.with_suffix("")) or f.with_suffix(".png") for f in files)
    return Frames(read_poses(files, axes), _rendered(len(files)), pictures)


def _rendered(count: int) -> Float[Tensor, "v 3 3"]:
    """Intrinsics of the training renderings, which all generated views are taken to have."""
    return rendered_intrinsics((1, 1)).double().expand(count, 3, 3)


# --- NeRF-synthetic, RTMV -------------------------------------------------------------------------


def _nerf(cfg: EvalConfig, root: Path) -> EvalObject:
    """References from the training frames, all test frames as targets."""
    given, wanted = (_frames(read_scene(root, split).shots) for split in ("train", "test"))
    wanted = first_targets(cfg, wanted)
    chosen = chosen_references(cfg, len(given), 3, shuffled=True)
    measured = range(len(wanted))
    return _at_distance(cfg, given.select(chosen), wanted, chosen, given.reach, measured)


def _frames(shots: Sequence[Shot]) -> Frames:
    sizes = torch.tensor([[s.size[1], s.size[0], 1.0] for s in shots]).double()
    intrinsics = torch.stack([s.intrinsics for s in shots]).double() / sizes[:, :, None]
    c2w = torch.stack([s.c2w for s in shots]).double()
    return Frames(c2w, intrinsics, tuple(s.picture for s in shots))


def _rtmv(cfg: EvalConfig, root: Path) -> EvalObject:
    """The first frames are references, the first twenty targets; the second ten are measured."""
    files = sorted((f for f in root.glob("*.json") if f.stem.isdigit()), key=natural)
    if not files:
        raise DataError(f"{root} has no frames.", allowed="00000.exr with 00000.json and so on")
    c2w, intrinsics = zip(*(_rtmv_camera(file) for file in files), strict=True)
    pictures = tuple(file.with_suffix(".exr") for file in files)
    frames = Frames(torch.stack(c2w), torch.stack(intrinsics), pictures)
    wanted = first_targets(cfg, frames.select(range(min(20, len(frames)))))
    chosen = chosen_references(cfg, len(frames), 3)
    measured = range(10, len(wanted))
    return _at_distance(cfg, frames.select(chosen), wanted, chosen, frames.reach, measured)


def _rtmv_camera(file: Path) -> tuple[Float[Tensor, "4 4"], Float[Tensor, "3 3"]]:
    """Camera and intrinsics of a frame; the file's matrix is transposed and has OpenGL axes."""
    with reading(file, "camera_data with cam2world (transposed), intrinsics, width and height"):
        camera: dict[str, Any] = parse_json(read_text(file))["camera_data"]
        c2w = torch.tensor(camera["cam2world"], dtype=torch.float64).T
        if c2w.shape != (4, 4):
            raise ValueError(f"cam2world has shape {tuple(c2w.shape)}")
        k = _rendered(1)[0].clone()
        if "intrinsics" in camera:
            lens, w, h = camera["intrinsics"], camera["width"], camera["height"]
            k[0, 0], k[0, 2], k[1, 1], k[1, 2] = torch.tensor(
                [lens["fx"] / w, lens["cx"] / w, lens["fy"] / h, lens["cy"] / h]
            ).double()
        else:
            logger.info("%s has no intrinsics; a field of view of 49.1 degrees is taken", file)
        if not (c2w.isfinite().all() and k.isfinite().all()):
            raise ValueError("a number is not finite")
        return opengl_to_opencv(c2w), k


def _at_distance(
    cfg: EvalConfig,
    given: Frames,
    wanted: Frames,
    chosen: tuple[int, ...],
    radius: float,
    measured: range,
) -> EvalObject:
    """Scale the world, if so configured, such that `radius` becomes 1.5.

    The radius is that of all the set's cameras: it does not depend on how many are chosen.
    """
    released = cfg.type == "NeRF" and cfg.cape == "6dof"
    if cfg.scaling == "always" or (cfg.scaling == "released" and released):
        factor = CANONICAL_RADIUS / radius
        given, wanted, radius = given.scaled(factor), wanted.scaled(factor), CANONICAL_RADIUS
    bound = BOUND * radius / CANONICAL_RADIUS
    return EvalObject(given, wanted, chosen, tuple(measured), bound)


# --- cameras from angles --------------------------------------------------------------------------


def _franka(cfg: EvalConfig, root: Path) -> EvalObject:
    """Frames of a robot's camera, `angles.npy` (azimuth, elevation) in radians; a spiral."""
    path = root / "angles.npy"
    angles = torch.from_numpy(read_array(path, "finite angles [n, 2] in radians"))
    files = sorted((root / "images_rgba").glob("frame*.png"), key=natural)
    if angles.dim() != 2 or angles.shape[1] != 2 or (files and len(files) != len(angles)):
        raise DataError(
            f"{path} holds {tuple(angles.shape)}, images_rgba {len(files)} pictures.",
            allowed="one row (azimuth, elevation) for each frame%06d.png",
        )
    if not angles.isfinite().all():
        raise DataError(f"{path} holds values that are not finite.", allowed="angles in radians")
    polar, azimuth = math.pi / 2 - angles[:, 1], angles[:, 0] - math.pi
    given = _around(torch.stack([polar, azimuth], dim=1), tuple(files))
    chosen = chosen_references(cfg, len(given), 5, shuffled=True)
    return EvalObject(given.select(chosen), _spiral(cfg), chosen)


def _mvdream(cfg: EvalConfig, root: Path) -> EvalObject:
    """Four level pictures, 90 degrees apart; a spiral."""
    files = tuple(root / f"{i}_rgba.png" for i in range(4))
    chosen = chosen_references(cfg, 4, 4)
    if len(chosen) != 4:
        raise DataError(f"MVDream has four references, not {len(chosen)}.", allowed="4")
    azimuth = torch.arange(4).double() * (math.pi / 2)
    given = _around(torch.stack([torch.full_like(azimuth, math.pi / 2), azimuth], 1), files)
    return EvalObject(given.select(chosen), _spiral(cfg), chosen)


def _text2img(cfg: EvalConfig, root: Path) -> EvalObject:
    """One level picture; a spiral."""
    files = tuple(sorted(root.glob("*rgba.png")))
    if len(files) != 1:
        raise DataError(f"{root} has {len(files)} files *rgba.png.", allowed="one")
    chosen = chosen_references(cfg, 1, 1)
    given = _around(torch.tensor([[math.pi / 2, 0.0]], dtype=torch.float64), files)
    return EvalObject(given.select(chosen), _spiral(cfg), chosen)


def _around(angles: Float[Tensor, "v 2"], files: tuple[Path, ...] = ()) -> Frames:
    """Cameras 1.5 from the origin that look at it, from (polar angle, azimuth) in radians."""
    return Frames(spherical_poses(angles), _rendered(len(angles)), files, angles)


def _spiral(cfg: EvalConfig) -> Frames:
    return _around(spiral(cfg.targets or SPIRAL_VIEWS))


SETS: dict[SetName, Callable[[EvalConfig, Path], EvalObject]] = {
    "GSO25": _gso("render_mvs_25", range(10, 25)),
    "GSO3D": _gso("render_sync_36_single", None),
    "GSO100": _gso("render_spiral_100", None),
    "NeRF": _nerf,
    "RTMV": _rtmv,
    "Franka": _franka,
    "MVDream": _mvdream,
    "Text2Img": _text2img,
}
