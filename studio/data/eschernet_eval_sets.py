"""The folders of EscherNet's evaluation sets: which views are given, from where others are wanted.

Each set is a function from one object's folder to an `EvalObject`; no picture is opened. Cameras
are float64, camera-to-world, OpenCV axes. Sources: arXiv 2402.03908 and the authors' evaluation.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import CANONICAL_RADIUS, opengl_to_opencv
from studio.data.eschernet import read_poses
from studio.data.fixed_rigs import BOUND, rendered_intrinsics
from studio.data.layouts import existing, natural
from studio.errors import ConfigError, DataError
from studio.shots import Shot, find_picture
from studio.transforms import read_scene

logger = logging.getLogger(__name__)

SPIRAL_VIEWS, SPIRAL_LENGTH, SPIRAL_START = 100, 40.0, 0.01  # official


@dataclass
class EvalConfig:
    """Which object, which views are given, and how they are read."""

    root: str = ""
    """Folder of one object."""
    type: str = "GSO25"
    """Layout of the folder: GSO25, GSO3D, GSO100, NeRF, RTMV, Franka, MVDream or Text2Img."""
    references: int = 0
    """Number of reference views; 0: what the set usually has (3; Franka 5, MVDream 4, Text2Img 1)."""  # noqa: E501
    reference_views: list[int] = field(default_factory=list)
    """Which views are references; empty: the first ones (NeRF, Franka: a draw by `seed`)."""
    reference_list: str | None = None
    """NPY file of the references' numbers, or a folder of <object>/train_N<references>M20_random.npy."""  # noqa: E501
    targets: int = 0
    """Number of target views: the first ones, or points of the spiral; 0: what the set has."""
    target_poses: str | None = None
    """Folder of NNN.npy of target cameras, where they do not lie below `root` (GSO3D, GSO100)."""
    cape: str = "6dof"
    """Camera encoding that the views are meant for, 6dof or 4dof; it decides `scaling: released`."""  # noqa: E501
    scaling: str = "released"
    """World scaled so that the farthest camera is 1.5 away: released (NeRF with 6dof), always (NeRF, RTMV) or never."""  # noqa: E501
    compositing: str = "right"
    """right: alpha is kept; released: on white where alpha is 0 only, 8-bit truncation, EXR values above 1 wrap around."""  # noqa: E501
    resolution: int = 256
    """Side of the pictures in pixels."""
    seed: int = 42
    """Of the draw of references."""


@dataclass(frozen=True)
class Frames:
    """Posed pictures that need not have been read, or exist.

    Attributes:
        c2w: camera-to-world, OpenCV axes.
        intrinsics: of pictures of side 1, pixel centres at half-integers.
        pictures: their files; none where there are only cameras.
        angles: (polar angle, azimuth) in radians as the set's own program counts them, unwrapped,
            where cameras are made from angles.
    """

    c2w: Float[Tensor, "v 4 4"]
    intrinsics: Float[Tensor, "v 3 3"]
    pictures: tuple[Path, ...] = ()
    angles: Float[Tensor, "v 2"] | None = None

    def __len__(self) -> int:
        return len(self.c2w)

    def select(self, index: Sequence[int]) -> Frames:
        """Return the frames at these positions."""
        return Frames(
            self.c2w[list(index)],
            self.intrinsics[list(index)],
            tuple(self.pictures[i] for i in index) if self.pictures else (),
            None if self.angles is None else self.angles[list(index)],
        )

    def scaled(self, factor: float) -> Frames:
        """Return the frames in a world enlarged by a factor."""
        c2w = self.c2w.clone()
        c2w[:, :3, 3] *= factor
        return replace(self, c2w=c2w)


@dataclass(frozen=True)
class EvalObject:
    """One object: what is given and what is wanted.

    Attributes:
        references: the views that are given.
        targets: the views that are wanted.
        chosen: numbers of the references in their set.
        measured: positions of the targets that figures are taken over; none where there is no truth.
        bound: half the side of the cube around the origin that holds the object.
    """  # noqa: E501

    references: Frames
    targets: Frames
    chosen: tuple[int, ...]
    measured: tuple[int, ...] = ()
    bound: float = BOUND


def read_object(cfg: EvalConfig) -> EvalObject:
    """Find an object's files and read its cameras.

    Raises:
        DataError: if something is missing or broken, or there are not so many views.
        ConfigError: if there is no such type.
    """
    if cfg.type not in SETS:
        raise ConfigError(f"data.type is {cfg.type!r}.", allowed=", ".join(SETS))
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
        wanted = _first(cfg, wanted)
        chosen = _chosen(cfg, len(given), 3)
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
    wanted = _first(cfg, wanted)
    chosen = _chosen(cfg, len(given), 3, shuffled=True)
    radius = float(given.c2w[:, :3, 3].norm(dim=1).max())
    return _at_distance(cfg, given.select(chosen), wanted, chosen, radius, range(len(wanted)))


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
    wanted = _first(cfg, frames.select(range(min(20, len(frames)))))
    chosen = _chosen(cfg, len(frames), 3)
    radius = float(wanted.c2w[:, :3, 3].norm(dim=1).max())
    return _at_distance(cfg, frames.select(chosen), wanted, chosen, radius, range(10, len(wanted)))


def _rtmv_camera(file: Path) -> tuple[Float[Tensor, "4 4"], Float[Tensor, "3 3"]]:
    """Camera and intrinsics of a frame; the file's matrix is transposed and has OpenGL axes."""
    try:
        camera: dict[str, Any] = json.loads(file.read_text())["camera_data"]
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
        return opengl_to_opencv(c2w), k
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise DataError(
            f"{file} cannot be read: {type(error).__name__} {error}.",
            allowed="camera_data with cam2world (transposed), intrinsics, width and height",
        ) from error


def _at_distance(
    cfg: EvalConfig,
    given: Frames,
    wanted: Frames,
    chosen: tuple[int, ...],
    radius: float,
    measured: range,
) -> EvalObject:
    """Scale the world, if so configured, such that `radius` becomes 1.5."""
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
    try:
        angles = torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float64))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}.", allowed="[n, 2] radians") from error
    files = sorted((root / "images_rgba").glob("frame*.png"), key=natural)
    if angles.dim() != 2 or angles.shape[1] != 2 or (files and len(files) != len(angles)):
        raise DataError(
            f"{path} holds {tuple(angles.shape)}, images_rgba {len(files)} pictures.",
            allowed="one row (azimuth, elevation) for each frame%06d.png",
        )
    polar, azimuth = math.pi / 2 - angles[:, 1], angles[:, 0] - math.pi
    given = _around(torch.stack([polar, azimuth], dim=1), tuple(files))
    chosen = _chosen(cfg, len(given), 5, shuffled=True)
    return EvalObject(given.select(chosen), _spiral(cfg), chosen)


def _mvdream(cfg: EvalConfig, root: Path) -> EvalObject:
    """Four level pictures, 90 degrees apart; a spiral."""
    files = tuple(root / f"{i}_rgba.png" for i in range(4))
    chosen = _chosen(cfg, 4, 4)
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
    chosen = _chosen(cfg, 1, 1)
    given = _around(torch.tensor([[math.pi / 2, 0.0]], dtype=torch.float64), files)
    return EvalObject(given.select(chosen), _spiral(cfg), chosen)


def _around(angles: Float[Tensor, "v 2"], files: tuple[Path, ...] = ()) -> Frames:
    """Cameras 1.5 from the origin that look at it, from (polar angle, azimuth) in radians."""
    return Frames(spherical_poses(angles), _rendered(len(angles)), files, angles)


def _spiral(cfg: EvalConfig) -> Frames:
    return _around(spiral(cfg.targets or SPIRAL_VIEWS))


def spiral(
    count: int, length: float = SPIRAL_LENGTH, start: float = SPIRAL_START
) -> Float[Tensor, "v 2"]:
    """Return (polar angle, azimuth) in radians on a spiral around a sphere, from the top down.

    The azimuth runs backwards, all in all `length` radians, and is not wrapped.
    """
    turn = start + torch.arange(count, dtype=torch.float64) * (length / count)
    return torch.stack([math.pi * turn / length, -turn], dim=1)


def spherical_poses(
    angles: Float[Tensor, "v 2"], radius: float = CANONICAL_RADIUS
) -> Float[Tensor, "v 4 4"]:
    """Return cameras that look at the origin, upright, at any polar angle.

    Straight from above or below, too, "up" is what the azimuth makes of it.
    """
    polar, azimuth = angles.unbind(1)
    zero = torch.zeros_like(polar)
    right = torch.stack([-azimuth.sin(), azimuth.cos(), zero], dim=1)
    outward = torch.stack(
        [polar.sin() * azimuth.cos(), polar.sin() * azimuth.sin(), polar.cos()], dim=1
    )
    down = torch.linalg.cross(right, outward, dim=1)
    c2w = torch.eye(4, dtype=angles.dtype).repeat(len(angles), 1, 1)
    c2w[:, :3, :] = torch.stack([right, down, -outward, radius * outward], dim=2)
    return c2w


# --- choosing -------------------------------------------------------------------------------------


def _chosen(cfg: EvalConfig, total: int, usual: int, shuffled: bool = False) -> tuple[int, ...]:
    """Numbers of the reference views."""
    count = cfg.references or usual
    if cfg.reference_views:
        chosen = tuple(cfg.reference_views)
    elif cfg.reference_list:
        path = existing(Path(cfg.reference_list))
        if path.is_dir():  # official: metrics/NeRF_idx
            path = path / Path(cfg.root).resolve().name / f"train_N{count}M20_random.npy"
        chosen = _listed(path)
    elif shuffled and 0 < count <= total:
        logger.info("%s: references are drawn by data.seed, not the published ones", cfg.root)
        order = torch.randperm(total, generator=torch.Generator().manual_seed(cfg.seed))
        chosen = tuple(order[:count].tolist())
    else:
        chosen = tuple(range(count))
    if not chosen or not all(0 <= i < total for i in chosen):
        raise DataError(
            f"{cfg.root}: reference views are {list(chosen)}.", allowed=f"0 to {total - 1}"
        )
    return chosen


def _listed(path: Path) -> tuple[int, ...]:
    try:
        numbers = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}.", allowed="an .npy of numbers") from error
    if numbers.dtype.kind not in "iu":
        raise DataError(f"{path} holds {numbers.dtype}.", allowed="whole numbers")
    return tuple(numbers.reshape(-1).tolist())


def _first(cfg: EvalConfig, frames: Frames) -> Frames:
    if cfg.targets > len(frames):
        raise DataError(
            f"{cfg.root}: data.targets is {cfg.targets}.", allowed=f"0 to {len(frames)}"
        )
    return frames.select(range(cfg.targets)) if cfg.targets else frames


SETS: dict[str, Callable[[EvalConfig, Path], EvalObject]] = {
    "GSO25": _gso("render_mvs_25", range(10, 25)),
    "GSO3D": _gso("render_sync_36_single", None),
    "GSO100": _gso("render_spiral_100", None),
    "NeRF": _nerf,
    "RTMV": _rtmv,
    "Franka": _franka,
    "MVDream": _mvdream,
    "Text2Img": _text2img,
}
