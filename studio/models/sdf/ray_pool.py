"""The rays a fit is shown: all those that can meet the object, and batches of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from studio.cameras import Rays
from studio.errors import DataError
from studio.ops.random import step_generator
from studio.ops.visual_hull import Frame
from studio.views import ViewSet

BACKGROUNDS = ("random", "white", "black", "none")
SOURCES = ("all", "one-view")


@dataclass(frozen=True)
class RayBatch:
    """N rays of a training step and what they have to see.

    Attributes:
        rays: in the geometry's frame.
        target: RGBA with straight alpha in [0, 1].
        background: colour behind each ray; None where colours are not composited.
        view: view that each ray belongs to.
        normals: unit normals of the views, where they carry some.
    """

    rays: Rays
    target: Float[Tensor, "n 4"]
    background: Float[Tensor, "n 3"] | None
    view: Int[Tensor, " n"]
    normals: Float[Tensor, "n 3"] | None = None

    @property
    def mask(self) -> Float[Tensor, " n"]:
        """Coverage by the object in [0, 1]."""
        return self.target[:, 3]

    @property
    def colours(self) -> Float[Tensor, "n 3"]:
        """Colours over the background (black where there is none)."""
        alpha = self.target[:, 3:]
        colours = self.target[:, :3] * alpha
        return colours if self.background is None else colours + self.background * (1 - alpha)


def pixel_side(views: ViewSet, frame: Frame) -> float:
    """Side of a pixel at the centre of the cube, in units of half the cube: median of the views."""
    cameras = views.cameras
    if cameras.ortho_scale is not None:
        sides = cameras.ortho_scale / cameras.size[0]
    else:
        forward = cameras.c2w[:, :3, 2]
        depth = ((frame.centre.to(forward) - cameras.centres) * forward).sum(-1)
        sides = depth.abs() / cameras.intrinsics[:, 1, 1]
    return float(sides.median()) / frame.half


class RayPool:
    """Every ray of some views that can meet the object.

    Args:
        views: posed pictures.
        frame: the cube the geometry works in.
        meets: tells which rays of the frame can meet the object.
        device: where batches are wanted.
        background: behind the training rays: random (per ray), white, black, or none.
        rays_from: where the rays of a step come from: all views, or one-view (NeuS).
        foreground: least share of rays from the masks.
        without: views to leave out.
        originals: single pictures of any size from which the views were generated.
        original_weight: how many views each of these counts as.

    Raises:
        DataError: if no ray meets the object's cube.
    """

    def __init__(
        self,
        views: ViewSet,
        frame: Frame,
        meets: Callable[[Rays], Bool[Tensor, " n"]],
        device: torch.device,
        *,
        background: str = "random",
        rays_from: str = "all",
        foreground: float = 0.0,
        without: Sequence[int] = (),
        originals: Sequence[ViewSet] = (),
        original_weight: float = 10.0,
    ) -> None:
        self.background, self.rays_from, self.share = background, rays_from, foreground
        origins, directions, targets, normals, counts = [], [], [], [], []
        shown = [views.select([i]) for i in range(len(views))]
        for i, view in enumerate([*shown, *originals]):
            world = view.cameras.rays()
            local = Rays(frame.to_local(world.origins).to(device), world.directions.to(device))
            met = meets(local) & (i not in without)
            origins.append(local.origins[met])
            directions.append(local.directions[met])
            targets.append(view.images[0].reshape(4, -1).T.to(device)[met])
            if views.normals is not None:
                known = (
                    torch.zeros_like(view.images[:, :3]) if view.normals is None else view.normals
                )
                normals.append(known[0].reshape(3, -1).T.to(device)[met])
            counts.append(len(origins[-1]))
        self.rays = Rays(torch.cat(origins), torch.cat(directions))
        self.target = torch.cat(targets)
        self.normals = torch.cat(normals) if normals else None
        if len(self.rays) == 0:
            raise DataError(
                f"no ray of the {len(views)} views meets the object's cube (bound {views.bound}).",
                hint="check the camera convention, the object's position and the bound",
            )
        self.offsets = torch.tensor([0, *counts]).cumsum(0)
        self.view = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        self.first_given = int(self.offsets[len(views)])
        weight = original_weight * sum(count > 0 for count in counts[len(views) :])
        rest = sum(count > 0 for count in counts[: len(views)])
        self.given_share = weight / max(weight + rest, 1)
        self.inside = (self.target[:, 3].cpu() > 0.5).nonzero()[:, 0]
        self.inside_views = self.inside[self.inside < self.first_given]

    def __len__(self) -> int:
        return len(self.rays)

    def batch(self, count: int, *, seed: int, step: int) -> RayBatch:
        """Return ``count`` random rays, a function of (seed, step)."""
        generator = step_generator(seed, step)
        low, high, inside = self._range(seed, step)
        index = low + torch.randint(high - low, (count,), generator=generator)
        wanted = round(self.share * count)
        if wanted and len(inside):
            chosen = torch.randint(len(inside), (wanted,), generator=generator)
            index[:wanted] = inside[chosen]
        if given := self._given(count):
            some = torch.randint(len(self) - self.first_given, (given,), generator=generator)
            index[count - given :] = self.first_given + some
        behind = self._background(count, generator)
        view, device = self.view.index_select(0, index), self.target.device
        index = index.to(device)
        rays = (part.index_select(0, index) for part in (self.rays.origins, self.rays.directions))
        return RayBatch(
            Rays(*rays),
            self.target.index_select(0, index),
            behind if behind is None else behind.to(device),
            view.to(device),
            None if self.normals is None else self.normals.index_select(0, index),
        )

    def _given(self, count: int) -> int:
        """How many rays of a step come from given pictures; views in turn include these."""
        return 0 if self.rays_from == "one-view" else round(self.given_share * count)

    def _range(self, seed: int, step: int) -> tuple[int, int, Tensor]:
        """First ray, end, and rays on the object, of those that a step may use."""
        if self.rays_from == "all":
            return 0, self.first_given, self.inside_views
        useful = self.offsets.diff().nonzero()[:, 0]
        generator = step_generator(seed, step // len(useful), stream=5)
        order = torch.randperm(len(useful), generator=generator)
        view = useful[order[step % len(useful)]]
        low, high = int(self.offsets[view]), int(self.offsets[view + 1])
        return low, high, self.inside[(self.inside >= low) & (self.inside < high)]

    def _background(self, count: int, generator: torch.Generator) -> Float[Tensor, "n 3"] | None:
        if self.background == "random":
            return torch.rand(count, 3, generator=generator)
        if self.background == "none":
            return None
        return torch.full((count, 3), float(self.background == "white"))
