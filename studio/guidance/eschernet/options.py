"""Options of EscherNet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from studio.errors import ConfigError
from studio.guidance.diffusion import ScheduleOptions
from studio.guidance.eschernet.cape import KINDS

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
class EscherNetConfig(ScheduleOptions):
    """Options of EscherNet; the defaults are the nano model's."""

    weights: str = ""
    """Folder (ours or a released one), file of its networks, or either on the hub (owner/name, owner/name:path); empty: fresh random weights of `size`."""  # noqa: E501
    cape: str = ""
    """Camera encoding: 6dof or 4dof; empty: what our folder of weights says, else 6dof. Released checkpoints do not tell: name it."""  # noqa: E501
    positions: float = 1.5
    """Strength of pixel positions in queries and keys, for networks too small to learn places; 0: none (released)."""  # noqa: E501
    allow_download: bool = False
    """Fetch from the hub where an option names a repository (owner/name) that is not in its cache."""  # noqa: E501
    variant: str = ""
    """Which file of a part's weights: fp16 for model.fp16.safetensors; empty: the plain one, or what there is."""  # noqa: E501
    allow_pickle: bool = False
    """Open .bin weights that cannot be read safely, running whatever code they hold."""
    size: str = "nano"
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
    resolution: int = 64
    """Picture side in pixels."""
    azimuths: int = 16
    """Views of the default rig at each elevation, evenly spaced from azimuth 0."""
    elevations_deg: list[float] = field(default_factory=lambda: [30.0])
    """Elevations of the default rig; all azimuths of the first, then of the second, ..."""
    scale_cameras: bool = False
    """Scale the world so that the farthest reference camera stands at 1.5, the nearest of the training distances (1.5 to 2.2)."""  # noqa: E501
    vary_references: bool = True
    """Train every step with a random number of the batch's references; false: always with all (released: 3)."""  # noqa: E501
    encoder_lr_scale: float = 1.0
    """Learning rate of the picture encoder relative to the UNet's."""
    gradient_checkpointing: bool = False
    """Trade time for memory in training."""
    condition_dropout: float = 0.1
    """Probability that an object's reference tokens are dropped; its cameras never are."""
    steps: int = 10
    """Sampling steps (released: 50)."""
    guidance_scale: float = 1.0
    """Classifier-free guidance; 1 skips the unconditional pass (released: 3)."""
    timestep_spacing: str = "trailing"
    """Choice of timesteps: leading (released), trailing or zero123."""
    group: int = 0
    """Views made jointly; 0: all. Groups bound memory and time, which grow with the square of the number, but views of different groups do not see each other and agree less."""  # noqa: E501
    batched_guidance: bool = True
    """Run both passes of the guidance in one batch; false: one after the other, in half the memory."""  # noqa: E501


def checked(cfg: EscherNetConfig) -> EscherNetConfig:
    """Return the options if they describe a model.

    Raises:
        ConfigError: if there is no such camera encoding, or if a rig or a group is empty.
    """
    if cfg.cape not in KINDS:
        raise ConfigError(f"cape is {cfg.cape!r}.", allowed=", ".join(KINDS))
    if min(cfg.azimuths, len(cfg.elevations_deg)) < 1 or cfg.group < 0:
        raise ConfigError(
            f"azimuths={cfg.azimuths} elevations_deg={cfg.elevations_deg} group={cfg.group}.",
            allowed="1 or more azimuths and elevations; group of 1 or more views, 0 for all",
        )
    return cfg
