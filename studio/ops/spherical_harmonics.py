"""Real spherical harmonics of directions, as tiny-cuda-nn and instant-ngp encode them."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def spherical_harmonics(
    directions: Float[Tensor, "n 3"], degree: int = 4
) -> Float[Tensor, "n degree*degree"]:
    """Values of all real harmonics below ``degree``, orthonormal on the sphere.

    The order is l^2 + l + m. The Condon-Shortley phase is included, so those of odd m, such as the
    first-order y and x, are negated: (0.2821, -0.4886 y, 0.4886 z, -0.4886 x, 1.0925 xy, ...).

    Args:
        directions: unit vectors (tiny-cuda-nn itself takes (d + 1) / 2).
        degree: number of bands; 4 gives 16 values.
    """
    x, y, z = directions.unbind(-1)
    values = [torch.empty_like(x)] * degree**2
    cosine, sine = torch.ones_like(x), torch.zeros_like(x)  # of (x + iy)^m
    first = 1.0  # Legendre's P_m^m without the power of the sine: (-1)^m (2m - 1)!!
    for m in range(degree):
        before, legendre = torch.zeros_like(z), torch.full_like(z, first)
        for l in range(m, degree):  # noqa: E741 - the usual name of a band
            share = math.factorial(l - m) / math.factorial(l + m)
            scale = math.sqrt((2 * l + 1) / (4 * math.pi) * share * (1 if m == 0 else 2))
            values[l * l + l - m] = scale * legendre * sine
            values[l * l + l + m] = scale * legendre * cosine
            following = ((2 * l + 1) * z * legendre - (l + m) * before) / (l + 1 - m)
            before, legendre = legendre, following
        cosine, sine = x * cosine - y * sine, y * cosine + x * sine
        first *= -(2 * m + 1)
    return torch.stack(values, -1)
