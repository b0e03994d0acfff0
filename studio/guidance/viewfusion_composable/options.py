"""Options of composable ViewFusion."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from studio.errors import ConfigError
from studio.guidance.noise_schedules import NoiseScheduleName, NoiseScheduleOptions, Variance
from studio.guidance.precision import SamplingOptions
from studio.plugins.ranges import (
    CountOrZero,
    Elevation,
    Factor,
    FieldOfView,
    Fixed,
    Length,
    Pixels,
    Range,
    Share,
    Size,
    Width,
)

RELEASED: dict[str, Any] = {
    "patch": 1,
    "inner_channel": 64,
    "channel_mults": [1, 2, 3, 5],
    "attn_res": [16],
    "res_blocks": 3,
    "norm_groups": 32,
    "prediction_type": "epsilon",
    "clip_low": -1.0,
    "sampler": "ancestral",
    "steps": 0,
}
"""What the authors' model was made with and samples with, where it differs from the defaults."""
Multiples = Annotated[list[Annotated[int, Range(1, 256)]], Length(1, 12)]


@dataclass
class ViewFusionComposableConfig(NoiseScheduleOptions, SamplingOptions):
    """Options of composable ViewFusion; the defaults are the nano model's."""

    weights: str = ""
    """Folder of `save_pretrained`, the authors' .pt, or either on the hub (owner/name, owner/name:path); empty: fresh random weights."""  # noqa: E501
    allow_pickle: bool = False
    """Open a .pt that cannot be read safely, running whatever code it holds."""
    allow_download: bool = False
    """Fetch from the hub where an option names a repository (owner/name) that is not in its cache."""  # noqa: E501
    variant: str = ""
    """Which file of a part's weights: fp16 for model.fp16.safetensors; empty: the plain one, or what there is."""  # noqa: E501
    resolution: Fixed[Pixels] = 64
    """Picture side in pixels; `attn_res` counts from it."""
    patch: Fixed[Annotated[int, Range(1, 256)]] = 4
    """Side of the pixel blocks that the U-Net takes for one position (released: 1)."""
    inner_channel: Fixed[Width] = 32
    """Channels of the U-Net's finest level (released: 64)."""
    channel_mults: Fixed[Multiples] = field(default_factory=lambda: [1, 2, 4])
    """Channels of every level as multiples of `inner_channel` (released: 1, 2, 3, 5)."""
    attn_res: Fixed[list[Annotated[int, Range(1, 8192)]]] = field(default_factory=lambda: [8])
    """Sides of the feature maps with attention; the middle always has it (released: 16)."""
    res_blocks: Fixed[Annotated[int, Range(1, 64)]] = 1
    """Residual blocks of a level (released: 3)."""
    norm_groups: Fixed[Width] = 8
    """Groups of every GroupNorm; no file of weights tells it (released: 32)."""
    dropout: Annotated[float, Range(0, 0.99)] = 0.0
    """Dropout in the residual blocks."""
    predict_weights: Fixed[bool] = True
    """Six output channels, estimate and logits of the weights; false: the estimate alone."""
    prediction_type: Fixed[Literal["epsilon", "sample"]] = "sample"
    """What each view estimates: epsilon (the noise, released) or sample (the clean picture)."""
    min_snr_gamma: Factor = 5.0
    """Of "sample": largest weight of a squared error, which else is the SNR, at least 1."""
    relative: Fixed[bool] = False
    """Every view comes with the first one, and angles are counted from the first one's."""
    weighting_train: bool = True
    """Compose by the softmax of the logits in training; false: the mean over views."""
    weighting_inference: bool = True
    """The same in sampling."""
    beta_schedule: Fixed[NoiseScheduleName] = "linear"
    """Noise schedule: linear, quad, warmup10, warmup50, const, jsd, cosine, or a plugin."""
    train_timesteps: Fixed[Annotated[int, Range(2, 100_000)]] = 2000
    """Length of the training chain."""
    beta_start: Fixed[Variance] = 1e-6
    """First variance of the noise schedule."""
    beta_end: Fixed[Variance] = 1e-2
    """Last variance of the noise schedule."""
    cosine_s: Fixed[Share] = 8e-3
    """Offset of the cosine schedule, which keeps its first variances from vanishing."""
    gradient_checkpointing: bool = False
    """Trade time for memory in training."""
    max_views: Annotated[int, Range(1, 1000)] = 6
    """Most views of a training sample; their number is drawn from 1 to here."""
    sampler: Literal["ancestral", "ddim"] = "ddim"
    """ddim (no fresh noise) or ancestral (DDPM; the paper's over all steps)."""
    steps: Annotated[int, Range(0, 100_000)] = 10
    """Sampling steps, evenly spaced; 0: the whole training chain (released)."""
    clip_low: Annotated[float, Range(-1, 0.99)] = 0.0
    """Lowest value of an estimated clean picture; the highest is 1 (released: -1)."""
    autoregressive: bool = False
    """Make one target after the other, each from the inputs and all those made before."""
    view_batch: Annotated[int, Range(1, 1000)] = 24
    """Targets denoised at once; lower it when memory is short."""
    capture: CountOrZero = 0
    """Moments of the denoising that are kept as pictures, with the weights; 0: none."""
    views: Annotated[int, Range(1, 1000)] = 24
    """Views of the default ring; view i stands at angle i * 360 / views."""
    rig_elevation_deg: Elevation = 30.0
    """Elevation of the ring."""
    rig_radius: Size = 2.732
    """Distance of the ring's cameras, the object's longest side being 1."""
    rig_fov_deg: FieldOfView = 30.0
    """Vertical field of view of the ring's cameras."""
    clockwise: Fixed[bool] = True
    """Angles grow clockwise seen from above (the NMR renderings: view i at azimuth -15 i)."""


def checked(cfg: ViewFusionComposableConfig) -> ViewFusionComposableConfig:
    """Return the options as they are.

    Raises:
        ConfigError: if they contradict each other.
    """
    if not cfg.predict_weights and (cfg.weighting_train or cfg.weighting_inference):
        raise ConfigError(
            "predict_weights is false with weighting on.",
            allowed="weighting_train: false and weighting_inference: false",
        )
    factor = cfg.patch * 2 ** (len(cfg.channel_mults) - 1)
    if cfg.resolution % factor:
        raise ConfigError(
            f"resolution is {cfg.resolution}, patch {cfg.patch}, with {len(cfg.channel_mults)} "
            "levels.",
            allowed=f"a resolution that is a multiple of {factor}",
        )
    return cfg
