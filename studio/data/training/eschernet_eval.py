"""EscherNet's evaluation as a data plugin: references, target cameras and the true views."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from studio.cameras import Cameras
from studio.data.base import ConditionData
from studio.data.training.eschernet_eval_frames import EvalConfig, EvalObject, Frames
from studio.data.training.eschernet_eval_sets import read_object
from studio.data.training.exr import read_exr
from studio.data.training.views_files import read_rgba8, whitened
from studio.data.training.views_release import resized_8bit
from studio.errors import about
from studio.io.images import read_rgba, resize
from studio.plugins.registry import register
from studio.views import Condition, ViewSet

BICUBIC_TRUTH = ("GSO25", "GSO3D", "GSO100", "NeRF")  # official: references are bilinear


@register("data", "eschernet-eval")
class EscherNetEvalData(ConditionData):
    """EscherNet's evaluation sets (GSO, NeRF-synthetic, RTMV, ...): one object's given and wanted views."""  # noqa: E501

    Config = EvalConfig

    def __init__(self, cfg: EvalConfig) -> None:
        """Check the options; the folder is read when something of it is asked for."""
        self.cfg = cfg

    @cached_property
    def object(self) -> EvalObject:
        """Cameras and files of the object."""
        return read_object(self.cfg)

    @property
    def measured(self) -> tuple[int, ...]:
        """Positions of the target views that figures are taken over."""
        return self.object.measured

    def condition(self) -> Condition:
        """Read the reference views.

        Raises:
            DataError: if a file is missing or broken.
        """
        cfg, thing = self.cfg, self.object
        views = self._views(thing.references, Image.Resampling.BILINEAR)
        meta = {"root": cfg.root, "type": cfg.type, "references": list(thing.chosen)}
        return Condition(views=views, meta=meta)

    def targets(self) -> Cameras:
        """Return the cameras of the wanted views."""
        return self._cameras(self.object.targets)

    def ground_truth(self) -> ViewSet | None:
        """Read the true views of the target cameras; None where the set has none."""
        frames, kind = self.object.targets, Image.Resampling.BILINEAR
        if not frames.pictures or not any(path.is_file() for path in frames.pictures):
            return None
        if self.cfg.type in BICUBIC_TRUTH:
            kind = Image.Resampling.BICUBIC
        return self._views(frames, kind)

    def _cameras(self, frames: Frames) -> Cameras:
        side = self.cfg.resolution
        scale = torch.tensor([side, side, 1.0], dtype=torch.float64)[:, None]
        with about(self.cfg.root):  # finite numbers may be infinite in float32
            return Cameras(frames.c2w.float(), (frames.intrinsics * scale).float(), (side, side))

    def _views(self, frames: Frames, kind: Image.Resampling) -> ViewSet:
        cfg = self.cfg
        read = released_rgba if cfg.compositing == "released" else rgba
        images = torch.stack([read(path, cfg.resolution, kind) for path in frames.pictures])
        meta = {"source": cfg.root, "type": cfg.type}
        names = tuple(f"{i:03d}" for i in range(len(frames)))
        return ViewSet(images, self._cameras(frames), self.object.bound, meta, names)


def rgba(path: Path, size: int, kind: Image.Resampling) -> Float[Tensor, "4 size size"]:
    """Read a picture, averaged over each new pixel; EXR values are cut at 1 and opaque."""
    if path.suffix == ".exr":
        values = torch.from_numpy(read_exr(path)).permute(2, 0, 1).clamp(0, 1)
        picture = torch.cat([values[:3], torch.ones_like(values[:1])])
    else:
        picture = read_rgba(path)
    return picture if picture.shape[1:] == (size, size) else resize(picture, size, size)


def released_rgba(path: Path, size: int, kind: Image.Resampling) -> Float[Tensor, "4 size size"]:
    """Read a picture as the authors do, on white and opaque; EXR values above 1 wrap around."""
    if path.suffix == ".exr":
        scaled = np.nan_to_num(read_exr(path)[..., :3] * np.float32(255))
        pixels = (scaled.astype(np.int64) & 255).astype(np.uint8)
    else:
        pixels = whitened(read_rgba8(path))
    rgb = resized_8bit(pixels, size, kind)
    return torch.cat([rgb, torch.ones_like(rgb[:1])])
