"""Image metrics: PSNR, SSIM and the overlap of masks."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  # Wang et al. 2004
SSIM_BOX = 7  # scikit-image's default window
SSIM_K1, SSIM_K2 = 0.01, 0.03


def psnr(
    a: Float[Tensor, "... c h w"],
    b: Float[Tensor, "... c h w"],
    mask: Float[Tensor, "... h w"] | None = None,
) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels together, for values in [0, 1].

    The mean is taken over all pictures before the logarithm; average the results of single pictures
    for the figure that papers print. Equal pictures give infinity.

    Args:
        a: pictures in [0, 1], composited on the same background as ``b``.
        b: pictures in [0, 1].
        mask: weight of each pixel; all ones if absent.
    """
    _same_shape(a, b)
    error = (a.double() - b.double()) ** 2
    if mask is None:
        mean = error.mean()
    else:
        weight = mask.double().unsqueeze(-3).expand_as(error)
        mean = (error * weight).sum() / weight.sum().clamp_min(1e-12)
    return float(-10.0 * torch.log10(mean))


def ssim(
    a: Float[Tensor, "... c h w"],
    b: Float[Tensor, "... c h w"],
    *,
    window: str = "gaussian",
    data_range: float = 1.0,
) -> float:
    """Structural similarity, mean over pixels, channels and pictures; K1 0.01, K2 0.03.

    The border where the window leaves the picture is left out (as scikit-image does).

    Args:
        a: pictures.
        b: pictures.
        window: "gaussian" is that of Wang et al., 11 x 11 with sigma 1.5 and population
            covariance; "box" is scikit-image's default, 7 x 7, uniform, sample covariance.
        data_range: largest minus smallest value that is possible.
    """
    _same_shape(a, b)
    h, w = a.shape[-2:]
    side = {"gaussian": SSIM_WINDOW, "box": SSIM_BOX}[window]
    if min(h, w) < side:
        raise ValueError(f"SSIM needs pictures of at least {side} pixels, got {h} x {w}")
    x, y = (picture.double().reshape(-1, 1, h, w) for picture in (a, b))
    blur = _blur if window == "gaussian" else _box_mean
    unbias = 1.0 if window == "gaussian" else side**2 / (side**2 - 1)
    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    cov = blur(x * y) - mean_x * mean_y
    c1, c2 = (SSIM_K1 * data_range) ** 2, (SSIM_K2 * data_range) ** 2
    likeness = (2 * mean_x * mean_y + c1) * (2 * unbias * cov + c2)
    likeness = likeness / ((mean_x**2 + mean_y**2 + c1) * (unbias * (var_x + var_y) + c2))
    return float(likeness.mean())


def mask_iou(
    a: Float[Tensor, "... h w"], b: Float[Tensor, "... h w"], threshold: float = 0.5
) -> float:
    """Intersection over union of two mask stacks, over all pixels together; 1 if both are empty."""
    _same_shape(a, b)
    first, second = a > threshold, b > threshold
    union = (first | second).sum()
    return float((first & second).sum() / union) if union > 0 else 1.0


def _blur(x: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n 1 h w"]:
    offset = torch.arange(SSIM_WINDOW, dtype=x.dtype, device=x.device) - SSIM_WINDOW // 2
    kernel = torch.exp(-(offset**2) / (2 * SSIM_SIGMA**2))
    kernel = kernel / kernel.sum()
    return conv2d(conv2d(x, kernel[None, None, None]), kernel[None, None, :, None])


def _box_mean(x: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n 1 h w"]:
    return avg_pool2d(x, SSIM_BOX, stride=1)


def _same_shape(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {tuple(a.shape)} and {tuple(b.shape)}")
