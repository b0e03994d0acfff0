"""Density of a signed distance field in the manner of VolSDF (Yariv et al. 2021)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def volsdf_density(
    sdf: Float[Tensor, " p"], inv_std: Float[Tensor, ""], *, limit: float = 80.0
) -> Float[Tensor, " p"]:
    """Density: a Laplace distribution of the SDF, cumulated, times its sharpness.

    Args:
        sdf: negative inside.
        inv_std: sharpness, 1 / beta; deep inside the density tends to it.
        limit: largest sharpness that is used (threestudio: 80).
    """
    sharpness = inv_std.clamp(0, limit)
    return sharpness * (0.5 - 0.5 * torch.sign(sdf) * -torch.expm1(-sdf.abs() * sharpness))
