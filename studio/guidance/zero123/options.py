"""Options of Zero-1-to-3."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from studio.errors import ConfigError
from studio.guidance.ddim import Spacing
from studio.guidance.diffusion import DiffusionOptions
from studio.guidance.zero123.network import FourthNumber, PictureTokens
from studio.plugins.ranges import Elevation, Factor, Fixed, Pixels, Range, Share

RELEASED: dict[str, Any] = {
    "size": "full",
    "resolution": 256,
    "train_clip": False,
    "prediction_type": "epsilon",
    "null_token": "released",
    "projection_lr_scale": 10.0,
    "steps": 75,
    "eta": 1.0,
    "timestep_spacing": "zero123",
}
"""What the released models were made with, where it differs from the defaults."""


@dataclass
class Zero123Config(DiffusionOptions):
    """Options of Zero-1-to-3; the defaults are the nano model's."""

    weights: str = ""
    """Folder, released .ckpt, or either on the hub (owner/name, owner/name:path); empty: fresh random weights of `size`."""  # noqa: E501
    start: str = ""
    """Training starts from this picture-conditioned Stable Diffusion .ckpt, or from the networks
    (not the VAE) in a folder of Zero-1-to-3 whose options may differ; no `weights` then."""
    ema: bool = True
    """Of a released .ckpt take the UNet's running averages, not its last weights."""
    allow_pickle: bool = False
    """Open a .ckpt that cannot be read safely, running whatever code it holds."""
    allow_download: bool = False
    """Fetch from the hub where an option names a repository (owner/name) that is not in its cache."""  # noqa: E501
    variant: str = ""
    """Which file of a part's weights: fp16 for model.fp16.safetensors; empty: the plain one, or what there is."""  # noqa: E501
    size: Literal["nano", "full"] = "nano"
    """Widths that `unet`, `vae` and `clip` start from: nano or full (the released model)."""
    unet: dict[str, Any] = field(default_factory=dict)
    """Changes to the arguments of diffusers' UNet2DConditionModel."""
    vae: dict[str, Any] = field(default_factory=dict)
    """Changes to the arguments of diffusers' AutoencoderKL."""
    clip: dict[str, Any] = field(default_factory=dict)
    """Changes to the arguments of transformers' CLIPVisionConfig."""
    vae_weights: str = ""
    """Folder of a trained AutoencoderKL; replaces `vae`."""
    resolution: Fixed[Pixels] = 64
    """Picture side in pixels."""
    views: Annotated[int, Range(1, 1000)] = 16
    """Views of the default rig."""
    rig_elevation_deg: Elevation = 30.0
    """Elevation of the default rig."""
    train_clip: bool = True
    """Train the CLIP tower with the UNet (released model: false)."""
    gradient_checkpointing: bool = False
    """Trade time for memory in training."""
    condition_dropout: Share = 0.05
    """p: text only, both, latents only are each dropped with this probability."""
    null_token: Fixed[Literal["right", "released"]] = "right"
    """Token of a dropped condition in training: right (zeros, as in sampling) or released."""
    scale_condition: Fixed[bool] = False
    """Multiply the condition's latents by the VAE's scaling factor, too."""
    fourth_number: Fixed[FourthNumber] = "distance"
    """Last pose number: distance, polar (Stable-Zero123), abs_elevation or zero."""
    picture_tokens: Fixed[PictureTokens] = "one"
    """What of the picture the UNet attends to: one embedding (the paper), or patches, too."""
    projection_lr_scale: Factor = 1.0
    """Learning rate of the camera projection relative to the UNet's (released: 10)."""
    steps: Annotated[int, Range(1, 100_000)] = 25
    """Requested sampling steps (released: 75)."""
    guidance_scale: Annotated[float, Range(0, 1000)] = 3.0
    """Classifier-free guidance; 0 ignores the condition, 1 skips the unconditional pass."""
    eta: Share = 0.0
    """Fresh noise while sampling: 0 none (DDIM), 1 as DDPM (released)."""
    timestep_spacing: Spacing = "trailing"
    """Choice of timesteps: zero123 (released), leading or trailing."""
    view_batch: Annotated[int, Range(1, 1000)] = 16
    """Views denoised at once; lower it when memory is short."""

    def __post_init__(self) -> None:
        """Check what belongs together."""
        if self.weights and self.start:
            raise ConfigError("weights is given, and so is start.", allowed="one of them")
