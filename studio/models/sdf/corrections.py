"""Small errors of poses, corrected while a field is fitted to the views.

They are found from what the steps render anyway, without a gradient through the field. A ray whose
camera moves sees what lies beside it in the picture; so the slope of the picture (blurred at first,
then fine), times the motion of the surface point in the picture's plane, is the derivative of the
residual by the pose (direct image alignment: Lucas and Kanade 1981; Engel et al. 2018). The sums
over all rays of some steps make one damped Gauss-Newton step of all views.

A common motion or size of all cameras cannot be told from another object: the means over the views
are held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import Rays
from studio.metrics.exposure import with_corrections
from studio.models.sdf.alignment import PictureSlopes, seen_points, turned
from studio.models.sdf.ray_pool import RayBatch
from studio.ops.visual_hull import Frame
from studio.plugins.ranges import Share
from studio.renderers.base import RenderOutput
from studio.views import ViewSet

REACH = 0.04  # of a picture's longer side: about 2 degrees
STEPS = 100  # of all corrections in a fit, about,
RAYS = 30  # and the fewest rays a view that make one
BEGIN = 0.04  # share of the fit before which colours and shape mean little
FINE = 0.5  # share of the time for corrections from which on pictures are not blurred any more
DAMPING = 0.02  # of the normal equations' diagonal
PACE = 0.7  # of a Gauss-Newton step
OUTLIER = 0.1  # residual from which one counts by its size instead of its square
STATE = ("values", "sums", "seen")
TURN, SHIFT = slice(0, 3), slice(3, 6)
EXPECTED = (0.03, 0.02)
"""Standard deviations: turns in radians, moves in distances to the cube's centre. No step is
longer."""


@dataclass
class CorrectionConfig:
    """What is corrected of captured views; off costs nothing."""

    exposure: bool = False
    """Make pictures of differing brightness and tint alike before the fit: a factor for each and every colour channel, found from common points of the outlines' hull; their mean is 1. Textures are made of the corrected pictures."""  # noqa: E501
    poses: bool = False
    """Refine every camera's position and direction during the fit, for errors of up to about 2 degrees and 2 % of the distance; their mean is held."""  # noqa: E501
    until: Share = 0.7
    """Share of the fit after which poses stay as they are."""

    def reach_px(self, views: ViewSet) -> float:
        """How far beside its mask an object may lie before its pose is corrected."""
        return REACH * max(views.cameras.size) if self.poses else 0.0


class Corrections:
    """Poses of the views of one fit, corrected as it goes on.

    Args:
        cfg: options.
        views: what is fitted.
        frame: the cube the geometry works in.
        device: where it computes.
        without: views from which nothing is learned.
        fixed: how many pictures follow the views that are right as they are.
        surroundings: whether the renderer shows what lies around the object, too.

    Attributes:
        values: of every view and fixed picture: a rotation about the cube's centre as a vector in
            radians, and a shift in half cubes.
    """

    values: Float[Tensor, "v 6"]

    def __init__(
        self,
        cfg: CorrectionConfig,
        views: ViewSet,
        frame: Frame,
        device: torch.device,
        without: Sequence[int] = (),
        fixed: int = 0,
        surroundings: bool = False,
    ) -> None:
        self.until, self.frame, self.surroundings = cfg.until, frame, surroundings
        count = len(views) + fixed
        self.learned = torch.ones(count, dtype=torch.bool, device=device)
        self.learned[[*without, *range(len(views), count)]] = False
        self.slopes = PictureSlopes(views, frame, device)
        self.values = torch.zeros(count, 6, dtype=torch.float64, device=device)
        self.given = torch.zeros_like(self.values[:, :3])
        self.given[: len(views)] = frame.to_local(views.cameras.centres.double().to(device))
        self.expected = self.values.new_tensor(EXPECTED).repeat(count, 1).repeat_interleave(3, 1)
        self.expected[:, SHIFT] *= self.given.norm(dim=1, keepdim=True)
        self.seen = self.values.new_zeros(3)  # rays, squared residuals, share at the last step
        self._forget()
        self._settle()

    def _forget(self) -> None:
        self.sums = self.values.new_zeros(len(self.values), 6, 7)  # normal equations
        self.seen[:2] = 0

    def _settle(self) -> None:
        """Turn the values into what batches are corrected with."""
        rotation = turned(self.values[:, TURN])
        moved = (rotation @ self.given[..., None])[..., 0] + self.values[:, SHIFT]
        self.moved, self.centres = moved - self.given, moved.float()
        self.rotation, self.shift = rotation.float(), self.values[:, SHIFT].float()

    # --- batches --------------------------------------------------------------------------------

    def __call__(self, batch: RayBatch) -> RayBatch:
        """The batch as its cameras are to be placed by what is known so far."""
        rotation, rays = self.rotation[batch.view], batch.rays
        moved = Rays(
            torch.einsum("nij,nj->ni", rotation, rays.origins) + self.shift[batch.view],
            torch.einsum("nij,nj->ni", rotation, rays.directions),
        )
        if batch.normals is None:
            return replace(batch, rays=moved)
        normals = torch.einsum("nij,nj->ni", rotation, batch.normals)
        return replace(batch, rays=moved, normals=normals)

    @torch.no_grad()
    def learn(self, batch: RayBatch, output: RenderOutput, progress: float) -> None:
        """Take note of what rays saw; now and then, correct all views.

        Args:
            batch: corrected.
            output: what was rendered of it.
            progress: share of the fit that is done.
        """
        if not BEGIN <= progress < self.until:
            return
        share = (progress - BEGIN) / (self.until - BEGIN)
        alpha, rendered = batch.target[:, 3:], output.rgb
        if batch.background is not None and not self.surroundings:
            rendered = rendered - (1 - output.mask)[:, None] * batch.background
        seen = torch.cat([batch.target[:, :3] * alpha, alpha], 1)
        residual = torch.cat([rendered, output.mask[:, None]], 1) - seen
        weight = OUTLIER / residual.abs().clamp(min=OUTLIER)
        wide, narrow = self._slopes(batch, output, share / FINE)
        beside = (weight * residual)[..., None].double()
        normal = narrow.transpose(1, 2) @ (narrow * weight[..., None])
        parts = torch.cat([normal, wide.transpose(1, 2) @ beside], 2)
        self.sums.index_add_(0, batch.view, parts)
        self.seen[:2] += self.seen.new_tensor([len(residual), float((weight * residual**2).sum())])
        enough = float(self.seen[0]) >= RAYS * int(self.learned.sum())
        if enough and share >= float(self.seen[2]) + 1 / STEPS:
            self._step()
            self.seen[2] = share

    def _slopes(
        self, batch: RayBatch, output: RenderOutput, share: float
    ) -> list[Float[Tensor, "n 4 6"]]:
        """Derivatives of the residuals of colours and opacity by turn and move of the camera.

        Returns:
            Those to be multiplied with residuals, and those to be multiplied with each other.
        """
        points = seen_points(batch.rays, output)
        lever = (points - self.centres[batch.view])[:, None]
        motions = self.slopes(batch, points, self.rotation, self.shift, share)
        turns = (torch.linalg.cross(lever.expand_as(motion), motion) for motion in motions)
        return [torch.cat(pair, 2).double() for pair in zip(turns, motions, strict=True)]

    def _step(self) -> None:
        """One damped Gauss-Newton step of all views, each about its camera's centre."""
        rays, noise, _ = self.seen.tolist()
        so_far = torch.cat([self.values[:, TURN], self.moved], 1)
        prior = noise / (4 * rays) / self.expected**2
        normal, right = self.sums[..., :-1], self.sums[..., -1] + prior * so_far
        diagonal = normal.diagonal(dim1=1, dim2=2) * DAMPING + prior
        lhs = (normal + torch.diag_embed(diagonal))[self.learned]
        solved = torch.linalg.solve(lhs, -right[self.learned][..., None])[..., 0]
        change = torch.zeros_like(self.values)
        change[self.learned] = PACE * solved
        change = torch.maximum(torch.minimum(change, self.expected), -self.expected)
        change[:, SHIFT] -= torch.linalg.cross(change[:, TURN], self.given + self.moved)
        self.values += change
        self._hold()
        self._forget()
        self._settle()

    def _hold(self) -> None:
        """Take away what all views have in common: a motion, and a size."""
        values = self.values[self.learned]
        values = values - values.mean(0)
        centres = self.given[self.learned]
        share = (values[:, SHIFT] * centres).sum() / (centres**2).sum().clamp(min=1e-12)
        values[:, SHIFT] -= share * centres
        self.values[self.learned] = values

    # --- what comes of it -----------------------------------------------------------------------

    def corrected(self, views: ViewSet) -> ViewSet:
        """The views with the poses that were found; ``meta`` says what was changed.

        Args:
            views: those that are fitted.
        """
        cameras = views.cameras
        values, c2w = self.values[: len(cameras)].to(cameras.c2w.device), cameras.c2w.double()
        rotation, new = turned(values[:, TURN]), c2w.clone()
        local = self.frame.to_local(c2w[:, :3, 3])
        centres = (rotation @ local[..., None])[..., 0] + values[:, SHIFT]
        new[:, :3, :3], new[:, :3, 3] = rotation @ c2w[:, :3, :3], self.frame.to_world(centres)
        angle = torch.rad2deg(values[:, TURN].norm(dim=1))
        share = (centres - local).norm(dim=1) / local.norm(dim=1)
        told = [
            {"degrees": round(a, 4), "distance": round(b, 5)}
            for a, b in zip(angle.tolist(), share.tolist(), strict=True)
        ]
        normals = views.normals
        if normals is not None:
            normals = torch.einsum("vij,vjhw->vihw", rotation.to(normals), normals)
        moved = replace(cameras, c2w=new.to(cameras.c2w))
        return with_corrections(replace(views, cameras=moved, normals=normals), told)

    def state_dict(self) -> dict[str, Tensor]:
        """What a resumed fit needs."""
        return {name: getattr(self, name).cpu().clone() for name in STATE}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            KeyError, TypeError, ValueError: if it is not of as many views.
        """
        for name in STATE:
            old, new = getattr(self, name), torch.as_tensor(state[name])
            if new.shape != old.shape:
                raise ValueError(f"corrections of {len(new)} views, not of {len(old)}")
            setattr(self, name, new.to(old))
        self._settle()
