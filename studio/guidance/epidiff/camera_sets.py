"""Conditioning of EpiDiff's blocks and its base on cameras."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from studio.guidance.epidiff.conditioning import turn_world, viewing_angles
from studio.guidance.epidiff.geometry import RayOptions
from studio.guidance.epidiff.near_views import CameraSet, near_views, square_intrinsics
from studio.guidance.epidiff.options import EpiDiffConfig, filled
from studio.guidance.zero123.network import pose_vector


class CameraSets:
    """Makes the epipolar geometry of target cameras; the last set is kept and reused.

    Args:
        cfg: options, all of them filled in.
    """

    def __init__(self, cfg: EpiDiffConfig) -> None:
        self.cfg = cfg
        self.rays = RayOptions(
            cfg.ray_start,
            cfg.ray_end,
            cfg.n_samples,
            cfg.disparity_space_sampling,
            filled(cfg.ray_axes),
            filled(cfg.align_corners),
        )
        self._last: CameraSet | None = None

    def make(
        self,
        intrinsics: Float[Tensor, "b f 3 3"],
        c2w: Float[Tensor, "b f 4 4"],
        cond_c2w: Float[Tensor, "b 4 4"],
    ) -> CameraSet:
        """Return the set of target cameras, with the near views that the options ask for.

        Args:
            intrinsics: normalised by picture size.
            c2w: target cameras, OpenCV axes.
            cond_c2w: condition cameras.
        """
        cfg, last = self.cfg, self._last
        if cfg.frame == "condition":
            c2w = turn_world(c2w, cond_c2w)
        if (c2w[:1] == c2w).all() and (intrinsics[:1] == intrinsics).all():
            c2w, intrinsics = c2w[:1], intrinsics[:1]  # one set serves all objects
        intrinsics = square_intrinsics(intrinsics)
        if last is None or not (_same(last.c2w, c2w) and _same(last.intrinsics, intrinsics)):
            neighbours = near_views(
                *viewing_angles(c2w),
                min(cfg.k_near_views, c2w.shape[1] - cfg.add_global_k),
                filled(cfg.near_distance),
                cfg.add_global_k,
            )
            last = self._last = self.given(intrinsics, c2w, neighbours)
        return last

    def given(
        self,
        intrinsics: Float[Tensor, "b f 4 4"],
        c2w: Float[Tensor, "b f 4 4"],
        neighbours: Int[Tensor, "b f k"],
    ) -> CameraSet:
        """Return the set of given cameras (intrinsics normalised, 4x4) and near views."""
        return CameraSet(intrinsics, c2w, neighbours, self.rays, "ref" in self.cfg.pos_encs)

    def pose_numbers(
        self, c2w: Float[Tensor, "b f 4 4"], cond_c2w: Float[Tensor, "b 4 4"]
    ) -> Float[Tensor, "b f 4"]:
        """Return what the base is told about each target camera."""
        pose = pose_vector(
            cond_c2w[:, None, :3, 3], c2w[..., :3, 3], filled(self.cfg.fourth_number)
        )
        if self.cfg.pose_sign == "epidiff":
            pose = pose * pose.new_tensor([-1.0, 1.0, 1.0, 1.0])
        return pose


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.device == b.device and torch.equal(a, b)
