"""The layout of IDR and NeuS (DTU, BlendedMVS): `cameras_sphere.npz`, `image`, `mask`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.data.layouts import CaptureConfig, LayoutData, existing, pictures_in
from studio.errors import DataError
from studio.picture_files import picture_size
from studio.registry import register
from studio.shots import Scene, Shot

FILES = ("cameras_sphere.npz", "cameras_large.npz", "cameras.npz", "cameras_linear_init.npz")


@register("data", "dtu")
class DTUData(LayoutData):
    """DTU as IDR and NeuS lay it out: cameras_sphere.npz, image/, mask/; the object's sphere is 1."""  # noqa: E501

    looks_for = "cameras_sphere.npz (or cameras.npz), image/ and mask/"
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
        pixel_centre: float = 0.0
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
        world, scale = read_projections(path, len(pictures))
        if masks and len(masks) != len(pictures):
            raise DataError(f"{root}: {len(pictures)} pictures, but {len(masks)} masks.")
        c2w, intrinsics = decompose(world @ scale)
        intrinsics[:, :2, 2] += 0.5 - cfg.pixel_centre
        if not cfg.skew:
            intrinsics[:, 0, 1] = 0.0
        shots = [
            Shot(
                p.stem, p, c2w[i], intrinsics[i], picture_size(p), mask=masks[i] if masks else None
            )
            for i, p in enumerate(pictures)
        ]
        bound, region = 1.0, root / cfg.object_cameras
        if region.is_file() and region != path:
            low, high = object_box(scale[0], read_projections(region, 1)[1][0])
            bound = torch.maximum(high, -low).max().item()
        how = f"RGBA pictures, or as many masks in {root / 'mask'}"
        return Scene(path, shots, bound, to_world=scale[0], how_to_mask=how)


def _folder(root: Path, name: str) -> Path | None:
    return next((root / n for n in (name, f"{name}s", f"{name}_rgb") if (root / n).is_dir()), None)


def _camera_file(root: Path) -> Path:
    for name in FILES:
        if (root / name).is_file():
            return root / name
    raise DataError(f"{root} has no camera file.", allowed=", ".join(FILES))


def read_projections(
    path: Path, count: int
) -> tuple[Float[Tensor, "v 4 4"], Float[Tensor, "v 4 4"]]:
    """Read world-to-pixel matrices and those from the unit sphere to the world.

    Raises:
        DataError: if the file is missing or broken or holds fewer cameras than there are pictures.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            world = [file[f"world_mat_{i}"] for i in range(count)]
            scale = [file.get(f"scale_mat_{i}", np.eye(4)) for i in range(count)]
        matrices = [torch.from_numpy(np.stack(m).astype(np.float64)) for m in (world, scale)]
    except KeyError as error:
        raise DataError(f"{path}: {error.args[0]}", hint=f"There are {count} pictures.") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"camera file {path} cannot be read: {error}.") from error
    if any(m.shape != (count, 4, 4) or not torch.isfinite(m).all() for m in matrices):
        raise DataError(f"{path} holds no finite 4x4 matrices.")
    return matrices[0], matrices[1]


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
    if (torch.linalg.det(left).abs() < 1e-12).any():
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
