"""How pictures change where cameras move a little: slopes of pictures as vectors of space."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from studio.cameras import Rays
from studio.models.sdf.ray_pool import RayBatch
from studio.ops.visual_hull import Frame
from studio.renderers.base import RenderOutput
from studio.views import ViewSet

WIDEST = 1 / 32  # of a picture's longer side: the pixel of the first, most blurred slopes
FINEST = 512  # px: pictures that are larger are looked at in this size at last


def turned(vectors: Float[Tensor, "v 3"]) -> Float[Tensor, "v 3 3"]:
    """Rotation matrices of rotation vectors in radians."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return torch.linalg.matrix_exp(torch.stack(rows, -1).view(-1, 3, 3))


def seen_points(rays: Rays, output: RenderOutput) -> Float[Tensor, "n 3"]:
    """Where rays meet the surface; those that miss it where they are nearest to the cube's centre.

    Args:
        rays: in the geometry's frame.
        output: what was rendered of them.
    """
    nearest = -(rays.origins * rays.directions).sum(1)
    depth = output.mask.new_zeros(len(rays))
    if output.ray_index is not None and output.t is not None:
        depth = depth.index_add(0, output.ray_index, output.weights * output.t)
    elif len(output.depth) == len(rays):
        depth = output.depth
    hit = (output.mask > 0.5) & (depth > 0)
    depth = torch.where(hit, depth / output.mask.clamp(min=0.5), nearest)
    return rays.origins + depth[:, None] * rays.directions


class PictureSlopes:
    """Slopes of the values of pictures by the position of what they show.

    Args:
        views: posed pictures.
        frame: the cube the geometry works in.
        device: where it computes.

    Attributes:
        centres: of the cameras, in the cube's units.
    """

    def __init__(self, views: ViewSet, frame: Frame, device: torch.device) -> None:
        images = views.images.to(device)
        whole = torch.cat([images[:, :3] * images[:, 3:], images[:, 3:]], 1)
        side = max(views.cameras.size)
        self._levels = [max(1, side // FINEST)]
        while self._levels[0] * 2 <= side * WIDEST:
            self._levels.insert(0, 2 * self._levels[0])
        self._pictures = {factor: _blurred(whole, factor) for factor in self._levels}
        cameras = views.cameras.to(device)
        self.centres = frame.to_local(cameras.centres).double()
        self._axes = cameras.c2w[:, :3, :3].transpose(1, 2).contiguous()  # right, down, forward
        self._intrinsics = cameras.intrinsics
        self._flat = None if cameras.ortho_scale is None else cameras._ortho_depth / frame.half

    def __call__(
        self,
        batch: RayBatch,
        points: Float[Tensor, "n 3"],
        rotation: Float[Tensor, "v 3 3"],
        shift: Float[Tensor, "v 3"],
        share: float,
    ) -> tuple[Float[Tensor, "n 4 3"], Float[Tensor, "n 4 3"]]:
        """How much more of each channel (colours times alpha, alpha) is seen of points that move.

        Blurred slopes lead far, but are too gentle for the differences that they are multiplied
        with; their mean product with true slopes is about the square of slopes half as blurred.

        Args:
            batch: rays of moved cameras.
            points: on them, in the cube.
            rotation: of every view's camera about the cube's centre.
            shift: of it after that.
            share: of the way from coarse to fine; 1 and more is fine.

        Returns:
            From the blurred pictures, and from those that are half as much blurred.
        """
        last = len(self._levels) - 1
        level = min(int(share * len(self._levels)), last)
        factors = [self._levels[level], self._levels[min(level + 1, last)]]
        view = batch.view.clamp(max=len(self._axes) - 1)  # what follows the views is never moved
        axes = self._axes[view] @ rotation[batch.view].transpose(1, 2)
        right, down, forward = axes.unbind(1)
        matrix = self._intrinsics[view, :2]
        if self._flat is None:
            ahead = (axes @ batch.rays.directions[..., None])[..., 0]
            place = ahead[:, :2] / ahead[:, 2:]
            depth = ((points - batch.rays.origins) * forward).sum(1).clamp(min=1e-3)
            right, down = right - place[:, :1] * forward, down - place[:, 1:] * forward
        else:
            depth = self._flat[view]
            centres = self.centres[view].to(shift)
            moved = (rotation[batch.view] @ centres[..., None])[..., 0] + shift[batch.view]
            beside = (axes @ (batch.rays.origins - moved)[..., None])[..., 0]
            place = beside[:, :2] / depth[:, None]
        pixel = (matrix[:, :, :2] @ place[..., None])[..., 0] + matrix[:, :, 2]
        inward = matrix[:, :, :2] / depth[:, None, None]
        slopes = (self._at(factor, view, pixel) @ inward for factor in factors)
        wide, narrow = (s[..., :1] * right[:, None] + s[..., 1:] * down[:, None] for s in slopes)
        return wide, narrow

    def _at(
        self, factor: int, view: Int[Tensor, " n"], pixel: Float[Tensor, "n 2"]
    ) -> Float[Tensor, "n 4 2"]:
        """Differences of the blurred pictures along their rows and columns, a pixel."""
        of = self._pictures[factor]
        h, w = of.shape[-2:]
        x, y = (pixel / factor).floor().long().unbind(1)
        x, y = x.clamp(0, w - 1), y.clamp(0, h - 1)
        left, right = (x - 1).clamp(min=0), (x + 1).clamp(max=w - 1)
        above, below = (y - 1).clamp(min=0), (y + 1).clamp(max=h - 1)
        rows = of[view, :, y, right] - of[view, :, y, left]
        columns = of[view, :, below, x] - of[view, :, above, x]
        return torch.stack([rows, columns], -1) / (2 * factor)


def _blurred(pictures: Float[Tensor, "v 4 h w"], factor: int) -> Float[Tensor, "v 4 a b"]:
    """Pictures of pixels that many times as large, a little smoothed."""
    return F.avg_pool2d(F.avg_pool2d(pictures, factor), 3, 1, 1, count_include_pad=False)
