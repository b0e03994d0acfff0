"""Options of EscherNet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from studio.errors import ConfigError
from studio.guidance.ddim import Spacing
from studio.guidance.diffusion import DiffusionOptions
from studio.guidance.eschernet.cape import KINDS
from studio.plugins.ranges import (
    CountOrZero,
    Elevation,
    Factor,
    Fixed,
    Length,
    Pixels,
    Range,
    Share,
)

RELEASED: dict[str, Any] = {
    "size": "full",
    "resolution": 256,
    "azimuths": 12,
    "elevations_deg": [30.0, 15.0, 0.0],
    "vary_references": False,
    "positions": 0.0,
    "prediction_type": "epsilon",
    "steps": 50,
    "guidance_scale": 3.0,
    "timestep_spacing": "leading",
}
"""What the released models were made with, where it differs from the defaults."""


@dataclass
class EscherNetConfig(DiffusionOptions):
    """Options of EscherNet; the defaults are the nano model's."""

    weights: str = ""
    """Folder (ours or a released one), file of its networks, or either on the hub (owner/name, owner/name:path); empty: fresh random weights of `size`."""  # noqa: E501
    cape: Fixed[Literal["", "6dof", "4dof"]] = ""
    """Camera encoding: 6dof or 4dof; empty: what our folder of weights says, else 6dof. Released checkpoints do not tell: name it."""  # noqa: E501
    positions: Fixed[Factor] = 1.5
    """Strength of pixel positions in queries and keys, for networks too small to learn places; 0: none (released)."""  # noqa: E501
    allow_download: bool = False
    """Fetch from the hub where an option names a repository (owner/name) that is not in its cache."""  # noqa: E501
    variant: str = ""
    """Which file of a part's weights: fp16 for model.fp16.safetensors; empty: the plain one, or what there is."""  # noqa: E501
    allow_pickle: bool = False
    """Open .bin weights that cannot be read safely, running whatever code they hold."""
    size: Literal["nano", "full"] = "nano"
    """Widths that `unet`, `vae` and `encoder` start from: nano or full (the released model)."""
    unet: dict[str, Any] = field(default_factory=dict)
    """Changes to the arguments of diffusers' UNet2DConditionModel."""
    vae: dict[str, Any] = field(default_factory=dict)
    """Changes to the arguments of diffusers' AutoencoderKL."""
    encoder: dict[str, Any] = field(default_factory=dict)
    """Changes to the arguments of transformers' ConvNextV2Config; image_size is the side pictures are brought to."""  # noqa: E501
    vae_weights: str = ""
    """Folder of a trained AutoencoderKL; replaces `vae`."""
    unet_start: str = ""
    """Folder of another UNet (Stable Diffusion's, say) whose tensors training starts from where names and shapes agree."""  # noqa: E501
    encoder_start: str = ""
    """Folder of a ConvNeXt V2 that training starts from, in the same way."""
    resolution: Fixed[Pixels] = 64
    """Picture side in pixels."""
    azimuths: Annotated[int, Range(1, 1000)] = 16
    """Views of the default rig at each elevation, evenly spaced from azimuth 0."""
    elevations_deg: Annotated[list[Elevation], Length(1, 1000)] = field(
        default_factory=lambda: [30.0]
    )
    """Elevations of the default rig; all azimuths of the first, then of the second, ..."""
    scale_cameras: bool = False
    """Scale the world so that the farthest reference camera stands at 1.5, the nearest of the training distances (1.5 to 2.2)."""  # noqa: E501
    vary_references: bool = True
    """Train every step with a random number of the batch's references; false: always with all (released: 3)."""  # noqa: E501
    encoder_lr_scale: Factor = 1.0
    """Learning rate of the picture encoder relative to the UNet's."""
    gradient_checkpointing: bool = False
    """Trade time for memory in training."""
    condition_dropout: Share = 0.1
    """Probability that an object's reference tokens are dropped; its cameras never are."""
    steps: Annotated[int, Range(1, 100_000)] = 10
    """Sampling steps (released: 50)."""
    guidance_scale: Annotated[float, Range(0, 1000)] = 1.0
    """Classifier-free guidance; 0 ignores the condition, 1 skips a pass (released: 3)."""
    timestep_spacing: Spacing = "trailing"
    """Choice of timesteps: leading (released), trailing or zero123."""
    group: CountOrZero = 0
    """Views made jointly; 0: all. Groups bound memory and time, which grow with the square of the number, but views of different groups do not see each other and agree less."""  # noqa: E501
    batched_guidance: bool = True
    """Run both passes of the guidance in one batch; false: one after the other, in half the memory."""  # noqa: E501


def checked(cfg: EscherNetConfig) -> EscherNetConfig:
    """Return the options if they describe a model.

    Raises:
        ConfigError: if neither they nor the weights say which camera encoding.
    """
    if not cfg.cape:
        raise ConfigError("cape is empty.", allowed=", ".join(KINDS))
    return cfg
