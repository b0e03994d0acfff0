"""The common part of EscherNet's evaluation sets: options, posed images on disk, made cameras.

Cameras are float64, camera-to-world, OpenCV axes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import CANONICAL_RADIUS
from studio.data.layouts.fixed_rigs import BOUND
from studio.data.training.arrays import read_npy
from studio.errors import DataError
from studio.io.paths import existing
from studio.io.reading import reading
from studio.plugins.ranges import CountOrZero, Range, Seed
from studio.similarity import scaled_poses

logger = logging.getLogger(__name__)

SPIRAL_VIEWS, SPIRAL_LENGTH, SPIRAL_START = 100, 40.0, 0.01  # official

SetName = Literal["GSO25", "GSO3D", "GSO100", "NeRF", "RTMV", "Franka", "MVDream", "Text2Img"]


@dataclass
class EvalConfig:
    """Which object, which views are given, and how they are read."""

    root: str = ""
    """Folder of one object."""
    type: SetName = "GSO25"
    """Layout of the folder."""
    references: CountOrZero = 0
    """Number of reference views; 0: what the set usually has (3; Franka 5, MVDream 4, Text2Img 1)."""  # noqa: E501
    reference_views: list[CountOrZero] = field(default_factory=list)
    """Which views are references; empty: the first ones (NeRF, Franka: a draw by `seed`)."""
    reference_list: str | None = None
    """NPY file of the references' numbers, or a folder of <object>/train_N<references>M20_random.npy."""  # noqa: E501
    targets: CountOrZero = 0
    """Number of target views: the first ones, or points of the spiral; 0: what the set has."""
    target_poses: str | None = None
    """Folder of NNN.npy of target cameras, where they do not lie below `root` (GSO3D, GSO100)."""
    cape: Literal["6dof", "4dof"] = "6dof"
    """Camera encoding that the views are meant for, 6dof or 4dof; it decides `scaling: released`."""  # noqa: E501
    scaling: Literal["released", "always", "never"] = "released"
    """World scaled so that the farthest camera is 1.5 away: released (NeRF with 6dof), always (NeRF, RTMV) or never."""  # noqa: E501
    compositing: Literal["right", "released"] = "right"
    """right: alpha is kept; released: on white where alpha is 0 only, 8-bit truncation, EXR values above 1 wrap around."""  # noqa: E501
    resolution: Annotated[int, Range(8, 4096)] = 256
    """Side of the pictures in pixels."""
    seed: Seed = 42
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

    @property
    def reach(self) -> float:
        """Distance of the farthest camera from the origin."""
        return float(self.c2w[:, :3, 3].norm(dim=1).max())

    def select(self, index: Sequence[int]) -> Frames:
        """Return the frames at these positions."""
        return Frames(
            self.c2w[list(index)],
            self.intrinsics[list(index)],
            tuple(self.pictures[i] for i in index) if self.pictures else (),
            None if self.angles is None else self.angles[list(index)],
        )

    def scaled(self, factor: float) -> Frames:
        """Return the frames in a world that is `factor` times as large."""
        return replace(self, c2w=scaled_poses(self.c2w, factor))


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


def chosen_references(
    cfg: EvalConfig, total: int, usual: int, shuffled: bool = False
) -> tuple[int, ...]:
    """Return the numbers of the reference views among `total`.

    Args:
        cfg: `reference_views`, else `reference_list`, else `references` of them.
        total: views that there are.
        usual: how many references, where `cfg.references` is 0.
        shuffled: draw them instead of taking the first ones.

    Raises:
        DataError: if a view does not exist or the list cannot be read.
    """
    count = cfg.references or usual
    if cfg.reference_views:
        chosen = tuple(cfg.reference_views)
    elif cfg.reference_list:
        path = existing(Path(cfg.reference_list))
        if path.is_dir():  # official: metrics/NeRF_idx
            path = path / Path(cfg.root).resolve().name / f"train_N{count}M20_random.npy"
        chosen = _listed(path)
    elif shuffled and 0 < count <= total:
        logger.warning("%s: references are drawn by data.seed, not the published ones", cfg.root)
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
    with reading(path, "an .npy of numbers"):
        numbers = read_npy(path)
    if numbers.dtype.kind not in "iu":
        raise DataError(f"{path} holds {numbers.dtype}.", allowed="whole numbers")
    return tuple(numbers.reshape(-1).tolist())


def first_targets(cfg: EvalConfig, frames: Frames) -> Frames:
    """Return the first `cfg.targets` frames, all where that is 0."""
    if cfg.targets > len(frames):
        raise DataError(
            f"{cfg.root}: data.targets is {cfg.targets}.", allowed=f"0 to {len(frames)}"
        )
    return frames.select(range(cfg.targets)) if cfg.targets else frames
