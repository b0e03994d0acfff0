"""Gradients and Laplacians of a field from values around each point."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from studio.ops.progressive import second_differences


def central_differences(
    field: Callable[[Tensor], Tensor],
    points: Float[Tensor, "n 3"],
    epsilon: float,
    *,
    bound: float = 1.0,
    exact: bool = True,
) -> tuple[Float[Tensor, "n f"], Float[Tensor, "n 3"], Float[Tensor, " n"]]:
    """Evaluate a field at points of a cube and its first output at six taps around each.

    Taps stay in the cube. Where that moves one, the gradient is divided by the real spacing and the
    second derivative along that axis counts as 0; the released instant-nsr-pl divides by twice
    ``epsilon`` all the same (``exact=False``).

    Args:
        field: [n, 3] to [n, f]; called once.
        points: where, in [-bound, bound]^3.
        epsilon: distance of the taps.
        bound: half side of the cube.
        exact: treat the faces of the cube rightly.

    Returns:
        The field at the points, the gradient and the Laplacian of its first output.
    """
    count = len(points)
    offsets = epsilon * torch.eye(3, dtype=points.dtype, device=points.device)
    offsets = torch.stack([offsets, -offsets], 1).reshape(6, 3)  # +x, -x, +y, -y, +z, -z
    wanted = points[:, None] + offsets
    taps = wanted.clamp(-bound, bound)
    out = field(torch.cat([points, taps.reshape(-1, 3)]))
    centre, around = out[:count], out[count:, 0].reshape(count, 6)
    spacing = torch.full_like(points, 2 * epsilon)
    second = second_differences(centre[:, 0], around, epsilon)
    if exact:
        cut = (taps != wanted).any(-1).reshape(count, 3, 2).any(-1)
        real = (taps[:, 0::2] - taps[:, 1::2]).diagonal(dim1=1, dim2=2)
        spacing = torch.where(cut, real, spacing)
        second = torch.where(cut, torch.zeros_like(second), second)
    gradient = (around[:, 0::2] - around[:, 1::2]) / spacing
    return centre, gradient, second.sum(-1)
