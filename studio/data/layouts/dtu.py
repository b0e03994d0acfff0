"""The layout of IDR and NeuS (DTU, BlendedMVS): `cameras_sphere.npz`, `image`, `mask`."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from studio.captures.files import leave_out
from studio.captures.shots import Scene, Shot
from studio.data.layouts.base import CaptureConfig, LayoutData, pictures_in
from studio.data.layouts.numbered import numbered, paired
from studio.data.training.arrays import read_arrays
from studio.errors import DataError
from studio.io.paths import existing
from studio.io.picture_files import picture_size
from studio.plugins.ranges import Share
from studio.plugins.registry import register

logger = logging.getLogger(__name__)

FILES = ("cameras_sphere.npz", "cameras_large.npz", "cameras.npz", "cameras_linear_init.npz")


@register("data", "dtu")
class DTUData(LayoutData):
    """DTU as IDR and NeuS lay it out: cameras_sphere.npz, image/, mask/; the object's sphere is 1."""  # noqa: E501

    looks_for = "cameras_sphere.npz (or cameras.npz), image/ and mask/"
    priority = 70
    auto_up = "upright"

    @dataclass
    class Config(CaptureConfig):
        """How the camera file is read."""

        cameras: str | None = None
        """Camera file; null: cameras_sphere.npz, cameras_large.npz, cameras.npz or cameras_linear_init.npz."""  # noqa: E501
        object_cameras: str = "cameras_sphere.npz"
        """File whose scale_mat_0 is the region of the mesh, as NeuS has it; ignored if absent."""
        skew: bool = True
        """Keep the calibration's skew; instant-nsr-pl drops it."""
        pixel_centre: Share = 0.0
        """Where pixel centres lie for the calibration: 0 (OpenCV, NeuS) or 0.5 (instant-nsr-pl)."""

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether there is a camera file and a folder of pictures."""
        return any((root / name).is_file() for name in FILES) and bool(_folder(root, "image"))

    def scene(self, split: str = "train") -> Scene | None:
        """Read the camera file; there are no test views."""
        if split != "train":
            return None
        cfg, root = self.cfg, existing(Path(self.cfg.root))
        path = root / cfg.cameras if cfg.cameras else _camera_file(root)
        pictures = pictures_in(_folder(root, "image") or root / "image")
        masks = pictures_in(_folder(root, "mask") or root / "mask")
        world, scale, numbers = read_projections(path)
        camera_of = paired(root, pictures, numbers, "cameras (world_mat_*)")
        _say_unused(root, [n for i, n in enumerate(numbers) if i not in camera_of], len(numbers))
        mask_of = paired(root, pictures, numbered(masks), "masks", fewer=True) if masks else []
        c2w, intrinsics = decompose(world @ scale)
        intrinsics[:, :2, 2] += 0.5 - cfg.pixel_centre
        if not cfg.skew:
            intrinsics[:, 0, 1] = 0.0
        shots = []
        for k, (picture, i) in enumerate(zip(pictures, camera_of, strict=True)):
            mask = mask_of[k] if masks else None
            if masks and mask is None:
                continue
            shots.append(
                Shot(
                    picture.stem,
                    picture,
                    c2w[i],
                    intrinsics[i],
                    picture_size(picture, upright=False),
                    mask=None if mask is None else masks[mask],
                )
            )
        unmasked = [p.name for p, m in zip(pictures, mask_of, strict=False) if m is None]
        leave_out(root, unmasked, len(pictures), "pictures have no mask")
        bound, region = 1.0, root / cfg.object_cameras
        if region.is_file() and region != path:
            low, high = object_box(scale[0], read_projections(region)[1][0])
            bound = torch.maximum(high, -low).max().item()
        how = f"RGBA pictures, or masks of the same numbers in {root / 'mask'}"
        return Scene(path, shots, bound, to_world=scale[0], how_to_mask=how)


def _folder(root: Path, name: str) -> Path | None:
    return next((root / n for n in (name, f"{name}s", f"{name}_rgb") if (root / n).is_dir()), None)


def _say_unused(root: Path, numbers: list[int], total: int) -> None:
    """Say which cameras have no picture; a few pictures of many cameras are a capture, too."""
    if numbers:
        some = ", ".join(f"world_mat_{n}" for n in numbers[:3])
        more = f" and {len(numbers) - 3} more" if len(numbers) > 3 else ""
        logger.warning(
            "%s: pictures of %d of %d cameras are there; without: %s%s.",
            *(root, total - len(numbers), total, some, more),
        )


def _camera_file(root: Path) -> Path:
    for name in FILES:
        if (root / name).is_file():
            return root / name
    raise DataError(f"{root} has no camera file.", allowed=", ".join(FILES))


def read_projections(
    path: Path,
) -> tuple[Float[Tensor, "v 4 4"], Float[Tensor, "v 4 4"], list[int]]:
    """Read world-to-pixel matrices, those from the unit sphere to the world, and their numbers.

    Raises:
        DataError: if the file is missing or broken.
    """
    arrays = read_arrays(path)
    numbers = sorted(
        int(match[1]) for name in arrays if (match := re.fullmatch(r"world_mat_(\d{1,9})", name))
    )
    if not numbers:
        raise DataError(f"{path} holds no world_mat_0, world_mat_1, ....")
    identity = torch.eye(4, dtype=torch.float64)
    found: tuple[list[Tensor], list[Tensor]] = ([], [])
    for i in numbers:
        for name, matrices in zip((f"world_mat_{i}", f"scale_mat_{i}"), found, strict=True):
            matrix = torch.from_numpy(arrays[name]) if name in arrays else identity
            if matrix.shape != (4, 4) or not torch.isfinite(matrix).all():
                raise DataError(f"{path}: {name} is no finite 4x4 matrix.")
            left = matrix[:3, :3].double()
            if torch.linalg.det(left).abs() <= 1e-12 * left.norm(dim=1).prod():
                raise DataError(
                    f"{path}: {name} is singular, so it is no camera's.",
                    allowed="matrices whose first three rows and columns can be inverted",
                )
            matrices.append(matrix)
    return torch.stack(found[0]), torch.stack(found[1]), numbers


def decompose(
    projections: Float[Tensor, "v 4 4"],
) -> tuple[Float[Tensor, "v 4 4"], Float[Tensor, "v 3 3"]]:
    """Split projections into poses (camera-to-world, OpenCV axes) and intrinsics with skew.

    The triangular factor of an RQ decomposition, with a positive diagonal and its last entry 1.

    Raises:
        DataError: if a projection is singular.
    """
    matrix = projections[:, :3].double()
    left = matrix[:, :, :3]
    if (torch.linalg.det(left).abs() <= 1e-12 * left.norm(dim=2).prod(dim=1)).any():
        raise DataError("a camera's projection matrix is singular.")
    flip = torch.eye(3).double().flip(0)
    # RQ of A from QR of its rows read backwards
    q, r = torch.linalg.qr((flip @ left).transpose(1, 2))
    upper = flip @ r.transpose(1, 2) @ flip
    rotation = flip @ q.transpose(1, 2)
    signs = torch.diagonal(upper, dim1=1, dim2=2).sign()
    upper, rotation = upper * signs[:, None, :], rotation * signs[:, :, None]
    rotation = rotation * torch.linalg.det(rotation).sign()[:, None, None]  # P is known up to sign
    c2w = torch.eye(4).double().repeat(len(matrix), 1, 1)
    c2w[:, :3, :3] = rotation.transpose(1, 2)
    c2w[:, :3, 3:] = -torch.linalg.solve(left, matrix[:, :, 3:])
    return c2w, upper / upper[:, 2:, 2:]


def object_box(
    scale: Float[Tensor, "4 4"], region: Float[Tensor, "4 4"]
) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """Return the corners, in the unit-sphere world of `scale`, of another sphere's cube plus 1 %.

    That is where NeuS extracts its mesh.
    """
    corners = torch.tensor([[-1.01, -1.01, -1.01, 1.0], [1.01, 1.01, 1.01, 1.0]]).double()
    low, high = (torch.linalg.inv(scale.double()) @ region.double() @ corners.T)[:3].T
    return low, high
