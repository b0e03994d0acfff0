"""Camera conditioning of SPAD's network: rays, epipolar masks, camera vectors."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from studio.cameras import Cameras
from studio.guidance.spad.attention import CameraConditioning
from studio.guidance.spad.epipolar import camera_vectors, epipolar_mask, plucker
from studio.guidance.spad.options import SpadConfig
from studio.rigs import Rig

REMEMBERED = 256 * 2**20
"""Bytes of masks of camera pairs that are kept."""


def ring(cfg: SpadConfig) -> Rig:
    """Return the default views: a ring around objects that fill the cube."""
    lens = cfg.rig_elevation_deg, cfg.radius, cfg.fov_deg
    even = Rig.ring(cfg.views, *lens, frame="azimuth", bound=cfg.bound)
    return replace(even, extent=2 * cfg.bound)


class ConditioningMaker:
    """Makes conditioning and camera numbers, and remembers the masks of pairs of cameras.

    Args:
        cfg: what the model was trained with.
        side: of the latents.
    """

    def __init__(self, cfg: SpadConfig, side: int) -> None:
        self.cfg, self.side = cfg, side
        self._pairs: dict[tuple[bytes, bytes], Bool[Tensor, "p p"] | None] = {}

    def of(self, objects: list[Cameras], device: torch.device | str = "cpu") -> CameraConditioning:
        """Return the conditioning of objects with as many views each, in full precision."""
        with torch.autocast("cpu", enabled=False):
            return self._of(objects, device)

    def _of(self, objects: list[Cameras], device: torch.device | str) -> CameraConditioning:
        rays = torch.stack([plucker(c, self.side) for c in objects])
        mask = None
        if self.cfg.epipolar:
            mask = torch.stack([self.mask(c) for c in objects]).to(device)
        return CameraConditioning(rays.to(device), mask, self.cfg.mask_resample)

    def numbers(self, objects: list[Cameras]) -> Float[Tensor, "n v k"]:
        """Return the numbers that the camera projection reads."""
        kinds = {
            "absolute": self.cfg.absolute_cameras,
            "intrinsics": self.cfg.camera_intrinsics,
        }
        with torch.autocast("cpu", enabled=False):
            return torch.stack([camera_vectors(c, **kinds) for c in objects])

    def mask(self, cameras: Cameras) -> Bool[Tensor, "t t"]:
        """Return `epipolar_mask` at the latents' size, put together from those of camera pairs.

        Training draws few views out of many: the pairs repeat, the sets do not.
        """
        v, p = len(cameras), self.side**2
        keys = [
            torch.cat([c.flatten(), k.flatten()]).cpu().numpy().tobytes()
            for c, k in zip(cameras.c2w, cameras.intrinsics, strict=True)
        ]
        pairs = [(a, b) for a in range(v) for b in range(v) if a != b]
        known = {(a, b): self._pairs.get((keys[a], keys[b])) for a, b in pairs}
        if pairs and all(block is None for block in known.values()):  # at once is quicker
            whole = epipolar_mask(cameras, self.side).cpu().reshape(v, p, v, p)
            known = {(a, b): whole[a, :, b].clone() for a, b in pairs}
        out = torch.ones(v, p, v, p, dtype=torch.bool)
        for (a, b), block in known.items():
            if block is None:
                two = epipolar_mask(cameras[[a, b]], self.side).cpu()
                block = known[a, b] = two[:p, p:].clone()
            out[a, :, b] = block
        if (len(self._pairs) + len(pairs)) * p * p > REMEMBERED:
            self._pairs.clear()
        self._pairs.update({(keys[a], keys[b]): block for (a, b), block in known.items()})
        return out.reshape(v * p, v * p)
