"""What lies outside the object's sphere: NeRF++ (Zhang et al. 2020), as NeuS uses it."""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from studio.cameras import Rays
from studio.geometry.neus_networks import embedding_width, positional_embedding


class BackgroundNeRF(nn.Module):
    """Density and colour of a point outside the unit sphere, given as (x/r, 1/r).

    Args:
        hidden: width.
        layers: number of layers before the viewing direction enters.
        skips: layers after which the embedded point is joined on again.
        octaves: of the embedding of points.
        view_octaves: of the embedding of viewing directions.
    """

    def __init__(
        self,
        hidden: int = 256,
        layers: int = 8,
        *,
        skips: Collection[int] = (4,),
        octaves: int = 10,
        view_octaves: int = 4,
    ) -> None:
        super().__init__()
        self.skips, self.octaves, self.view_octaves = frozenset(skips), octaves, view_octaves
        point, view = embedding_width(4, octaves), embedding_width(3, view_octaves)
        widths = [point] + [hidden + point * (i in self.skips) for i in range(layers - 1)]
        self.pts_linears = nn.ModuleList([nn.Linear(width, hidden) for width in widths])
        self.views_linears = nn.ModuleList([nn.Linear(hidden + view, hidden // 2)])
        self.feature_linear = nn.Linear(hidden, hidden)
        self.alpha_linear = nn.Linear(hidden, 1)
        self.rgb_linear = nn.Linear(hidden // 2, 3)

    def forward(
        self, points: Float[Tensor, "n 4"], view_dirs: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Return density and colour before softplus and sigmoid."""
        embedded = positional_embedding(points, self.octaves)
        h = embedded
        for i, layer in enumerate(self.pts_linears):
            h = F.relu(layer(h))
            if i in self.skips:
                h = torch.cat([embedded, h], dim=1)
        density = self.alpha_linear(h)[:, 0]
        view = positional_embedding(view_dirs, self.view_octaves)
        h = F.relu(self.views_linears[0](torch.cat([self.feature_linear(h), view], dim=1)))
        return density, self.rgb_linear(h)

    def render(
        self, rays: Rays, depths: Float[Tensor, "n s"], last_section: float
    ) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n s 3"]]:
        """Return opacity and colour of the sections that begin at ``depths``.

        Args:
            rays: in a frame whose unit sphere holds the object.
            depths: increasing along each ray.
            last_section: length of the last section.
        """
        lengths = torch.cat([depths.diff(dim=1), torch.full_like(depths[:, :1], last_section)], 1)
        middle = (depths + 0.5 * lengths)[..., None]
        points = rays.origins[:, None] + rays.directions[:, None] * middle
        distance = points.norm(dim=-1, keepdim=True).clamp(1, 1e10)
        inverted = torch.cat([points / distance, 1 / distance], dim=-1)
        views = rays.directions[:, None].expand_as(points)
        density, colour = self(inverted.flatten(0, 1), views.flatten(0, 1))
        alpha = 1 - torch.exp(-F.softplus(density).view_as(lengths) * lengths)
        return alpha, torch.sigmoid(colour).view_as(points)


def outside_depths(
    far: Float[Tensor, "n 1"],
    count: int,
    offset: float,
    noise: Float[Tensor, "n s"] | None = None,
) -> Float[Tensor, "n s"]:
    """Depths from the sphere's far side to infinity, even in their inverse.

    Args:
        far: depth at which the ray leaves the sphere.
        count: how many.
        offset: added to every depth.
        noise: uniform in [0, 1): where in its stratum each depth lies.
    """
    share = torch.linspace(1e-3, 1 - 1 / (count + 1), count, dtype=far.dtype, device=far.device)
    share = share.expand(len(far), -1)
    if noise is not None:
        middle = 0.5 * (share[:, 1:] + share[:, :-1])
        lower = torch.cat([share[:, :1], middle], 1)
        upper = torch.cat([middle, share[:, -1:]], 1)
        share = lower + (upper - lower) * noise
    return far / share.flip(1) + offset
