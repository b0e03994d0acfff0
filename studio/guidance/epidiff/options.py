"""Options of EpiDiff, and what those left empty become."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar

from studio.guidance.ddim import Spacing
from studio.guidance.epidiff.network import BlockOptions
from studio.guidance.precision import LatentSamplingOptions
from studio.guidance.zero123.network import FourthNumber
from studio.guidance.zero123.options import Zero123Config
from studio.plugins.ranges import CountOrZero, Elevation, Fixed, Range, Share, Size

T = TypeVar("T")

SETTINGS: dict[str, dict[str, Any]] = {
    "right": {
        "neighbour_features": "gather",
        "ray_axes": "image",
        "align_corners": False,
        "use_residual": True,
        "near_distance": "sphere",
        "frame": "condition",
        "pose_sign": "zero123",
        "picture_input": "zero123",
        "condition_latents": "mode",
        "condition_drop": "object",
        "rig": "exact",
    },
    "released": {
        "neighbour_features": "own",
        "ray_axes": "swapped",
        "align_corners": True,
        "use_residual": False,
        "near_distance": "plane",
        "frame": "world",
        "pose_sign": "epidiff",
        "picture_input": "processor",
        "condition_latents": "sample",
        "condition_drop": "batch",
        "rig": "truncated",
        "fourth_number": "zero",
    },
}
"""What options left empty become."""

RELEASED: dict[str, Any] = {
    "settings": "released",
    **SETTINGS["released"],
    "insert_stages": ["mid", "up"],
    "insert_up_layers": [0, 1, 2, 3],
    "depth": 2,
    "k_near_views": 16,
    "ray_start": 0.5,
    "ray_end": 2.8,
    "timestep_spacing": "leading",
}
"""What the released blocks were made with, where it differs from the defaults."""
RELEASED_BASE: dict[str, Any] = {
    "size": "full",
    "resolution": 256,
    "prediction_type": "epsilon",
    "train_clip": False,
    "timestep_spacing": "leading",
}
"""The same of the Zero-1-to-3 model (Stable-Zero123) that they sit in."""


@dataclass
class EpiDiffConfig(LatentSamplingOptions):
    """Options of EpiDiff; the defaults are the nano model's. Empty ones follow `settings`."""

    weights: str = ""
    """Folder of trained blocks, the authors' .ckpt, or either on the hub (owner/name, owner/name:path); empty: untrained blocks."""  # noqa: E501
    base: str = ""
    """Zero-1-to-3 model that the blocks sit in: folder, .ckpt or owner/name; empty: fresh random weights. The authors' .ckpt holds it: nothing but options is read from a base beside that."""  # noqa: E501
    allow_pickle: bool = False
    """Open a .ckpt that cannot be read safely, running whatever code it holds."""
    allow_download: bool = False
    """Fetch from the hub where an option names a repository (owner/name) that is not in its cache."""  # noqa: E501
    variant: str = ""
    """Which file of a part's weights: fp16 for model.fp16.safetensors; empty: the plain one, or what there is."""  # noqa: E501
    zero123: dict[str, Any] = field(default_factory=dict)
    """Options of that Zero-1-to-3 model, over those in its folder."""
    settings: Fixed[Literal["right", "released"]] = "right"
    """right (the paper's mathematics) or released (what the published weights need)."""
    neighbour_features: Fixed[Literal["gather", "own"] | None] = None
    """Features sampled: gather (the near views', right) or own (released)."""
    ray_axes: Fixed[Literal["image", "swapped"] | None] = None
    """Picture axes of the rays: image (right) or swapped (released)."""
    align_corners: Fixed[bool | None] = None
    """Bilinear sampling of feature maps: false (right) or true (released)."""
    use_residual: Fixed[bool | None] = None
    """Add the block's output (right) or put it in the feature's place (released: false)."""
    near_distance: Fixed[Literal["sphere", "plane"] | None] = None
    """Nearness of views: sphere (right) or plane (released; azimuths do not wrap around)."""
    frame: Fixed[Literal["condition", "world"] | None] = None
    """Azimuth 0 of the ray embeddings: the condition's (right) or the world's (released)."""
    pose_sign: Fixed[Literal["zero123", "epidiff"] | None] = None
    """Sign of the elevation given to the base: zero123 (right) or epidiff (released)."""
    picture_input: Fixed[Literal["zero123", "processor"] | None] = None
    """Resizing of the condition picture: zero123 (right) or processor (released; 8 bit)."""
    condition_latents: Fixed[Literal["mode", "sample"] | None] = None
    """VAE latents of the condition: mode (right) or sample (released)."""
    condition_drop: Literal["object", "batch"] | None = None
    """Dropped in training: object (latents and token of each, right) or batch (released)."""
    fourth_number: Fixed[FourthNumber | None] = None
    """Last pose number: the base's (right), zero (released script), abs_elevation (trained)."""
    rig: Literal["exact", "truncated"] | None = None
    """Azimuths of the default rig: exact (right) or truncated to whole degrees (released)."""
    insert_stages: Fixed[list[Literal["down", "mid", "up"]]] = field(
        default_factory=lambda: ["mid", "up"]
    )
    """Where epipolar blocks go: down, mid, up."""
    insert_up_layers: Fixed[list[Annotated[int, Range(0, 16)]]] = field(
        default_factory=lambda: [0, 1]
    )
    """Up blocks that get one, counted from the deepest (released: 0 to 3)."""
    depth: Fixed[Annotated[int, Range(1, 64)]] = 1
    """Transformer blocks per epipolar block (released: 2)."""
    use_resnet: Fixed[bool] = True
    """A residual convolution block in every epipolar block."""
    pos_encs: Fixed[list[Literal["abs", "ref"]]] = field(default_factory=lambda: ["abs"])
    """Ray embeddings: abs (of the view itself), ref (of the near view)."""
    head_width: Fixed[Annotated[int, Range(1, 1024)]] = 64
    """Channels per attention head."""
    ray_chunk: CountOrZero = 0
    """Rays handled at once when sampling; 0: all. Lower it when memory is short."""
    arithmetic: Literal["fast", "reference"] = "fast"
    """fast, or reference: the released code's order of operations, 1.6 times slower."""
    k_near_views: Fixed[Annotated[int, Range(1, 1000)]] = 5
    """Near views per view, itself included (released: 16)."""
    add_global_k: Fixed[Annotated[int, Range(0, 1000)]] = 0
    """Additional near views: the last ones, for every view."""
    ray_start: Fixed[Size] = 1.0
    """First sample on a ray, distance from the camera (released: 0.5)."""
    ray_end: Fixed[Size] = 2.0
    """Last sample on a ray (released: 2.8)."""
    n_samples: Fixed[Annotated[int, Range(1, 1024)]] = 8
    """Samples per ray."""
    disparity_space_sampling: Fixed[bool] = False
    """Space the samples evenly in 1/distance."""
    views: Annotated[int, Range(1, 1000)] = 16
    """Views of the default rig."""
    rig_elevation_deg: Elevation = 30.0
    """Elevation of the default rig."""
    condition_dropout: Share = 0.1
    """Probability that the condition is dropped in training."""
    gradient_checkpointing: bool = False
    """Trade time for memory in training."""
    train_unet: bool = False
    """Also train the base's UNet, at 0.01 of the learning rate."""
    steps: Annotated[int, Range(1, 100_000)] = 50
    """Sampling steps."""
    guidance_scale: Annotated[float, Range(0, 1000)] = 3.0
    """Classifier-free guidance; 0 ignores the condition, 1 skips the unconditional pass."""
    timestep_spacing: Spacing | None = None
    """Choice of timesteps: leading (released) or trailing; empty: the base's own."""
    batched_guidance: bool = True
    """Both halves of classifier-free guidance at once; false halves the memory."""


def block_options(cfg: EpiDiffConfig, time_width: int) -> BlockOptions:
    """Return what the epipolar blocks read; `time_width` is that of the UNet's time embedding."""
    return BlockOptions(
        cfg.depth,
        cfg.use_resnet,
        tuple(p for p in ("abs", "ref") if p in cfg.pos_encs),
        filled(cfg.neighbour_features),
        cfg.head_width,
        time_width,
        cfg.ray_chunk,
        cfg.arithmetic,
    )


def filled(option: T | None) -> T:
    """Return the value of an option that may be left empty, once `with_base` has filled it.

    Raises:
        ValueError: if it has not.
    """
    if option is None:
        raise ValueError("an option is empty: `with_base` fills them")
    return option


def with_base(cfg: EpiDiffConfig, base: Zero123Config) -> EpiDiffConfig:
    """Fill the options left empty from the settings and the base's options."""
    defaults = {
        "fourth_number": base.fourth_number,
        "timestep_spacing": base.timestep_spacing,
        **SETTINGS[cfg.settings],
    }
    empty = {k: v for k, v in defaults.items() if getattr(cfg, k) is None}
    return replace(cfg, **empty)
