"""Options of SPAD."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from studio.cameras import CANONICAL_FOV_DEG, CANONICAL_RADIUS
from studio.guidance.ddim import Spacing
from studio.guidance.diffusion import DiffusionOptions
from studio.guidance.spad.epipolar import FOV_DEG, POLAR_DEG, RADIUS
from studio.guidance.spad.text import NANO_WORDS
from studio.plugins.ranges import Elevation, Factor, FieldOfView, Fixed, Pixels, Range, Share, Size

_RELEASED: dict[str, Any] = {
    "size": "full",
    "resolution": 256,
    "views": 8,
    "rig_elevation_deg": 90.0 - POLAR_DEG,
    "radius": RADIUS,
    "fov_deg": FOV_DEG,
    "bound": 1.0,
    "prompt_prefix": "[tdv] ",
    "train_text": False,
    "prediction_type": "epsilon",
    "mask_resample": "flat",
    "projection_lr_scale": 10.0,
    "steps": 100,
    "cfg_scale": 7.5,
    "timestep_spacing": "ldm",
}
RELEASED: dict[str, dict[str, Any]] = {
    "two-views": {**_RELEASED, "absolute_cameras": False, "camera_intrinsics": False},
    "four-views": {**_RELEASED, "absolute_cameras": True, "camera_intrinsics": True},
}
"""What the two released models were made with, where it differs from the defaults."""


@dataclass
class SpadConfig(DiffusionOptions):
    """Options of SPAD; the defaults are the nano model's."""

    weights: str = ""
    """Folder, released .ckpt, or either on the hub (owner/name, owner/name:path); empty: fresh random weights of `size`."""  # noqa: E501
    ema: bool = True
    """Of a released .ckpt take the UNet's running averages, not its last weights."""
    allow_pickle: bool = False
    """Open a .ckpt that cannot be read safely, running whatever code it holds."""
    allow_download: bool = False
    """Fetch from the hub where an option names a repository (owner/name) that is not in its cache."""  # noqa: E501
    variant: str = ""
    """Which file of a part's weights: fp16 for model.fp16.safetensors; empty: the plain one, or what there is."""  # noqa: E501
    unet_start: str = ""
    """Folder of a plain diffusers UNet that training starts from, as the authors do."""
    vae_weights: str = ""
    """Folder of a trained AutoencoderKL; replaces `vae`."""
    text_start: str = ""
    """Folder of a CLIPTextModel that training starts from; replaces `text`."""
    tokenizer: str = "openai/clip-vit-large-patch14"
    """Folder or hub repository of CLIP's tokenizer, at full size."""
    words: list[str] = field(default_factory=lambda: list(NANO_WORDS))
    """Words that a fresh nano model can learn; a text tower of its own learns them."""
    size: Literal["nano", "full"] = "nano"
    """Widths that `unet`, `vae` and `text` start from: nano or full (the released model)."""
    unet: dict[str, Any] = field(default_factory=dict)
    """Changes to the arguments of diffusers' UNet2DConditionModel."""
    vae: dict[str, Any] = field(default_factory=dict)
    """Changes to the arguments of diffusers' AutoencoderKL."""
    text: dict[str, Any] = field(default_factory=dict)
    """Changes to the arguments of transformers' CLIPTextConfig."""
    resolution: Fixed[Pixels] = 64
    """Picture side in pixels."""
    views: Annotated[int, Range(1, 1000)] = 4
    """Views of the default rig, made together: 2, 4, 8 or any other number."""
    rig_elevation_deg: Fixed[Elevation] = 30.0
    """Elevation of the default rig (released: 45)."""
    radius: Fixed[Size] = CANONICAL_RADIUS
    """Camera distance of the default rig (released: 3.5)."""
    fov_deg: Fixed[FieldOfView] = CANONICAL_FOV_DEG
    """Field of view of the default rig (released: 40.27)."""
    bound: Fixed[Size] = 0.5
    """Half the side of the cube that holds the objects (released: not published; about 1)."""
    absolute_cameras: Fixed[bool] = True
    """Camera numbers: absolute (released: four views) or first view minus each (two views)."""
    camera_intrinsics: Fixed[bool] = False
    """Also tell the focal lengths and the principal point (released: four views)."""
    epipolar: Fixed[bool] = True
    """Restrict joint attention to epipolar lines; false: every token sees every other."""
    mask_resample: Fixed[Literal["flat", "spatial"]] = "spatial"
    """Mask of coarser levels: spatial (their own lines) or flat (released weights need it)."""
    float32_attention: bool = True
    """Joint attention in float32 even under autocast (released)."""
    prompt_prefix: Fixed[str] = ""
    """Put before every prompt (released: "[tdv] ")."""
    train_text: bool = True
    """Train the text tower with the UNet (released: false)."""
    gradient_checkpointing: bool = False
    """Trade time for memory in training."""
    text_dropout: Share = 0.1
    """Probability that an object's text is left out in training (not published)."""
    projection_lr_scale: Factor = 1.0
    """Learning rate of the camera projection relative to the UNet's (released: 10)."""
    steps: Annotated[int, Range(1, 100_000)] = 25
    """Requested sampling steps (released: 100)."""
    cfg_scale: Annotated[float, Range(0, 1000)] = 3.0
    """Classifier-free guidance; 0 ignores the text, 1 skips a pass (released: 7.5, 3 to 9)."""
    timestep_spacing: Spacing = "trailing"
    """Choice of timesteps: ldm (released), leading or trailing."""
    blob_sigma: Factor = 0.5
    """Size of the dark spot sampling starts from (0.2 to 0.7); 0: pure noise."""
    image_conditioning: Literal["none", "fixed", "noised"] = "none"
    """A picture of view 0 beside the text: none, fixed (clean in every step; the stronger one) or noised (to each step's level). No weights were trained for it."""  # noqa: E501
    batched_guidance: bool = True
    """Both halves of classifier-free guidance at once; false halves the memory."""
