"""`Cameras`: the one carrier of poses, in one convention, and the rigs built from it.

World: right-handed, +Z up; azimuth from +X, counter-clockwise seen from above; elevation from the
XY plane, positive upwards. Camera: OpenCV axes (x right, y down, z forward). Pixel centres lie at
half-integers. Angles in public arguments are in degrees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from studio.errors import CameraError
from studio.similarity import posed_in, scaled_poses

CANONICAL_RADIUS = 1.5  # official: EpiDiff, Zero-1-to-3 and SyncDreamer renderings
CANONICAL_FOV_DEG = math.degrees(0.8575560548920328)  # lens 35 mm on a 32 mm sensor
NEAR_POLE_DEG = 0.1  # closer to straight up or down the origin's direction does not say what is up


@dataclass(frozen=True)
class Rays:
    """World-space rays with unit directions."""

    origins: Float[Tensor, "n 3"]
    directions: Float[Tensor, "n 3"]

    def __len__(self) -> int:
        return len(self.origins)


@dataclass(frozen=True)
class Cameras:
    """V posed cameras of one picture size.

    Attributes:
        c2w: camera-to-world matrices, OpenCV axes.
        intrinsics: in pixels, pixel centres at half-integers.
        size: picture (height, width).
        ortho_scale: world units per picture height of orthographic cameras, None for perspective.
            Their intrinsics give the principal point and the shape of a pixel, fy / fx.
    """

    c2w: Float[Tensor, "v 4 4"]
    intrinsics: Float[Tensor, "v 3 3"]
    size: tuple[int, int]
    ortho_scale: Float[Tensor, "v"] | None = None

    def __post_init__(self) -> None:
        """Check shapes.

        Raises:
            CameraError: if shapes disagree or a value is not finite.
        """
        v = len(self.c2w)
        if self.c2w.shape != (v, 4, 4) or self.intrinsics.shape != (v, 3, 3):
            raise CameraError(
                f"c2w {tuple(self.c2w.shape)} and intrinsics {tuple(self.intrinsics.shape)} "
                "do not belong together.",
                allowed="[V, 4, 4] and [V, 3, 3]",
            )
        if not (torch.isfinite(self.c2w).all() and torch.isfinite(self.intrinsics).all()):
            raise CameraError("a camera matrix holds a NaN or an infinite value.")
        if self.ortho_scale is not None and (
            self.ortho_scale.shape != (v,)
            or not ((self.ortho_scale > 0) & torch.isfinite(self.ortho_scale)).all()
        ):
            raise CameraError(
                f"ortho_scale is {self.ortho_scale.tolist()}.",
                allowed=f"{v} positive finite numbers, one per camera",
            )

    def __len__(self) -> int:
        return len(self.c2w)

    def __getitem__(self, index: slice | Sequence[int] | Tensor) -> Cameras:
        """Select cameras by slice, list or index tensor."""
        scale = None if self.ortho_scale is None else self.ortho_scale[index]
        return Cameras(self.c2w[index], self.intrinsics[index], self.size, scale)

    @property
    def w2c(self) -> Float[Tensor, "v 4 4"]:
        """World-to-camera matrices, OpenCV axes."""
        rotation = self.c2w[:, :3, :3].transpose(1, 2)
        bottom = self.c2w[:, 3:]
        translation = -rotation @ self.c2w[:, :3, 3:]
        return torch.cat([torch.cat([rotation, translation], dim=2), bottom], dim=1)

    @property
    def centres(self) -> Float[Tensor, "v 3"]:
        """Camera centres in the world."""
        return self.c2w[:, :3, 3]

    def to(self, device: torch.device | str) -> Cameras:
        """Move all tensors to a device."""
        scale = None if self.ortho_scale is None else self.ortho_scale.to(device)
        return Cameras(self.c2w.to(device), self.intrinsics.to(device), self.size, scale)

    def resized(self, height: int, width: int) -> Cameras:
        """Return the same cameras for pictures of another size."""
        scale = self.intrinsics.new_tensor([width / self.size[1], height / self.size[0], 1.0])
        return replace(self, intrinsics=self.intrinsics * scale[:, None], size=(height, width))

    def rays(self, pixels: Float[Tensor, "v n 2"] | None = None) -> Rays:
        """Return rays through pixel positions (x, y), by default all pixel centres row by row.

        Returns:
            V * N rays, camera by camera.
        """
        if pixels is None:
            pixels = pixel_grid(self.size).to(self.c2w).expand(len(self), -1, -1)
        homogeneous = torch.cat([pixels, torch.ones_like(pixels[..., :1])], dim=-1)
        local = homogeneous @ torch.linalg.inv(self.intrinsics).transpose(1, 2)
        rotation = self.c2w[:, :3, :3].transpose(1, 2)
        centres = self.centres[:, None].expand(-1, local.shape[1], -1)
        if self.ortho_scale is None:
            directions = torch.nn.functional.normalize(local @ rotation, dim=-1)
            return Rays(centres.reshape(-1, 3), directions.reshape(-1, 3))
        shift = local * local.new_tensor([1.0, 1.0, 0.0]) * self._ortho_depth[:, None, None]
        forward = self.c2w[:, None, :3, 2].expand_as(centres)
        return Rays((centres + shift @ rotation).reshape(-1, 3), forward.reshape(-1, 3))

    @property
    def _ortho_depth(self) -> Float[Tensor, "v"]:
        """Depth at which a pinhole of the same intrinsics sees a picture of the same height."""
        assert self.ortho_scale is not None
        return self.ortho_scale / self.size[0] * self.intrinsics[:, 1, 1]

    def project(
        self, points: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, "v n 2"], Float[Tensor, "v n"]]:
        """Project world points: pixel positions (x, y) and depths along the viewing axis."""
        w2c = self.w2c
        local = points @ w2c[:, :3, :3].transpose(1, 2) + w2c[:, None, :3, 3]
        depth = local[..., 2]
        if self.ortho_scale is not None:
            flat = local[..., :2] / self._ortho_depth[:, None, None]
            local = torch.cat([flat, torch.ones_like(flat[..., :1])], dim=-1)
            return (local @ self.intrinsics.transpose(1, 2))[..., :2], depth
        image = local @ self.intrinsics.transpose(1, 2)
        safe = torch.where(depth.abs() < 1e-8, torch.full_like(depth, 1e-8), depth)
        return image[..., :2] / safe[..., None], depth

    def placed(self, to_world: Float[Tensor, "4 4"]) -> Cameras:
        """Return the cameras in a new world, from which the similarity leads to the present one."""
        c2w, size = posed_in(self.c2w, to_world)
        scale = None if self.ortho_scale is None else self.ortho_scale / size
        return replace(self, c2w=c2w, ortho_scale=scale)

    def scaled(self, factor: float) -> Cameras:
        """Return the cameras in a world that is `factor` times as large."""
        scale = None if self.ortho_scale is None else self.ortho_scale * factor
        return replace(self, c2w=scaled_poses(self.c2w, factor), ortho_scale=scale)

    def with_pixel_centres(self, centre: float) -> Cameras:
        """Read the intrinsics as made for pixel centres at this fraction of a pixel.

        0 is the convention of OpenCV's calibration and of NeuS, 0.5 ours, which changes nothing.
        """
        intrinsics = self.intrinsics.clone()
        intrinsics[:, :2, 2] += 0.5 - centre
        return replace(self, intrinsics=intrinsics)

    def between(self, i: int, j: int, share: float) -> Cameras:
        """Return one camera on the way from camera `i` (share 0) to `j` (1).

        As NeuS renders it: world-to-camera rotations turn evenly about one axis, translations move
        on a straight line, intrinsics are those of camera `i`.
        """
        w2c = self.w2c[[i, j]].double()
        turn = w2c[1, :3, :3] @ w2c[0, :3, :3].T
        axis = torch.stack(
            [turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]
        )
        angle = torch.atan2(axis.norm(), torch.trace(turn) - 1)
        axis = torch.nn.functional.normalize(axis, dim=0) * angle * share
        zero = torch.zeros_like(angle)
        skew = torch.stack(
            [zero, -axis[2], axis[1], axis[2], zero, -axis[0], -axis[1], axis[0], zero]
        ).reshape(3, 3)
        rotation = torch.linalg.matrix_exp(skew) @ w2c[0, :3, :3]
        shift = torch.lerp(w2c[0, :3, 3], w2c[1, :3, 3], share)
        c2w = torch.eye(4, dtype=torch.float64)
        c2w[:3, :3], c2w[:3, 3] = rotation.T, -rotation.T @ shift
        return replace(self[[i]], c2w=c2w[None].to(self.c2w))

    def clip_matrices(self, near: float, far: float) -> Float[Tensor, "v 4 4"]:
        """Return world-to-clip matrices for rasterisers of OpenGL's cube, first row at the top.

        Perspective cameras only. The clip cube's y is that of the picture, growing downwards.
        """
        h, w = self.size
        k = self.intrinsics
        clip = k.new_zeros(len(self), 4, 4)
        clip[:, 0, 0], clip[:, 0, 1] = 2 * k[:, 0, 0] / w, 2 * k[:, 0, 1] / w
        clip[:, 0, 2] = 2 * k[:, 0, 2] / w - 1
        clip[:, 1, 1], clip[:, 1, 2] = 2 * k[:, 1, 1] / h, 2 * k[:, 1, 2] / h - 1
        clip[:, 2, 2], clip[:, 2, 3] = (far + near) / (far - near), -2 * far * near / (far - near)
        clip[:, 3, 2] = 1.0
        return clip @ self.w2c

    def spherical(self) -> tuple[Float[Tensor, "v"], Float[Tensor, "v"], Float[Tensor, "v"]]:
        """Return azimuth and elevation in degrees and the distance of every camera centre."""
        x, y, z = self.centres.unbind(-1)
        radius = self.centres.norm(dim=-1)
        return (
            torch.rad2deg(torch.atan2(y, x)) % 360.0,
            torch.rad2deg(torch.asin((z / radius).clamp(-1, 1))),
            radius,
        )


def opengl_to_opencv(c2w: Float[Tensor, "... 4 4"]) -> Float[Tensor, "... 4 4"]:
    """Turn camera axes (x right, y up, looking along -z) into OpenCV's; its own inverse."""
    return c2w * c2w.new_tensor([1.0, -1.0, -1.0, 1.0])


opencv_to_opengl = opengl_to_opencv


def pixel_grid(size: tuple[int, int], centre: float = 0.5) -> Float[Tensor, "1 n 2"]:
    """Positions (x, y) of all pixels row by row, `centre` from each pixel's top left corner."""
    y, x = torch.meshgrid(
        torch.arange(size[0]) + centre, torch.arange(size[1]) + centre, indexing="ij"
    )
    return torch.stack([x, y], dim=-1).reshape(1, -1, 2)


def pinhole_intrinsics(fov_deg: float, size: tuple[int, int]) -> Float[Tensor, "3 3"]:
    """Return pixel intrinsics of a camera with this vertical field of view, centred."""
    h, w = size
    focal = 0.5 * h / math.tan(0.5 * math.radians(fov_deg))
    return torch.tensor([[focal, 0.0, w / 2], [0.0, focal, h / 2], [0.0, 0.0, 1.0]])


def look_at(
    centres: Float[Tensor, "v 3"], target: Float[Tensor, "3"] | None = None
) -> Float[Tensor, "v 4 4"]:
    """Return OpenCV camera-to-world matrices that look at `target` (the origin) with +Z up.

    Raises:
        CameraError: if a camera looks within 0.1 degrees of straight up or down.
    """
    target = torch.zeros(3) if target is None else target
    forward = torch.nn.functional.normalize(target.double() - centres.double(), dim=-1)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(forward)
    right = torch.linalg.cross(forward, up, dim=-1)
    if (right.norm(dim=-1) < math.sin(math.radians(NEAR_POLE_DEG))).any():
        raise CameraError(
            "a camera looks straight up or down, where 'up' is undefined.",
            allowed="elevations between -89.9 and 89.9 degrees",
        )
    right = torch.nn.functional.normalize(right, dim=-1)
    down = torch.linalg.cross(forward, right, dim=-1)
    c2w = torch.eye(4, dtype=torch.float64).repeat(len(centres), 1, 1)
    c2w[:, :3, 0], c2w[:, :3, 1], c2w[:, :3, 2] = right, down, forward
    c2w[:, :3, 3] = centres
    return c2w.float()


def spherical_to_cartesian(
    azimuth_deg: Float[Tensor, "v"], elevation_deg: Float[Tensor, "v"], radius: Float[Tensor, "v"]
) -> Float[Tensor, "v 3"]:
    """Return world positions of azimuth and elevation (degrees) at a distance from the origin."""
    a, e = torch.deg2rad(azimuth_deg.double()), torch.deg2rad(elevation_deg.double())
    unit = torch.stack([e.cos() * a.cos(), e.cos() * a.sin(), e.sin()], dim=-1)
    return (radius.double()[:, None] * unit).float()


def orbit_cameras(
    azimuth_deg: Sequence[float],
    elevation_deg: float | Sequence[float],
    radius: float = CANONICAL_RADIUS,
    fov_deg: float = CANONICAL_FOV_DEG,
    size: int | tuple[int, int] = 256,
    ortho_scale: float | None = None,
) -> Cameras:
    """Place cameras around the origin, looking at it.

    Args:
        azimuth_deg: one angle per camera.
        elevation_deg: one for all, or one per camera. At a pole the picture's "up" is what it comes
            to on the way there along the camera's azimuth.
        radius: distance to the origin in world units.
        fov_deg: vertical field of view; without meaning for orthographic cameras.
        size: picture side, or (height, width), in pixels.
        ortho_scale: world units per picture height of orthographic cameras; None: perspective.

    Raises:
        CameraError: if there is no angle, or an elevation lies beyond a pole.
    """
    if not len(azimuth_deg):
        raise CameraError("no view is asked for.", allowed="1 view or more")
    azimuth = torch.tensor([float(a) for a in azimuth_deg])
    elevation = torch.as_tensor(elevation_deg, dtype=torch.float32).expand(len(azimuth))
    if elevation.abs().max() > 90:
        worst = float(elevation[elevation.abs().argmax()])
        raise CameraError(f"an elevation is {worst:g} degrees.", allowed="-90 to 90")
    hw = (size, size) if isinstance(size, int) else size
    centres = spherical_to_cartesian(azimuth, elevation, torch.full((len(azimuth),), radius))
    c2w = _at_angles(azimuth, elevation, centres)
    steep = elevation.abs() > 90 - NEAR_POLE_DEG
    c2w[~steep] = look_at(centres[~steep])
    if ortho_scale is None:
        return Cameras(c2w, pinhole_intrinsics(fov_deg, hw).repeat(len(c2w), 1, 1), hw)
    (h, w), count = hw, len(c2w)
    flat = torch.tensor([[h / 2, 0.0, w / 2], [0.0, h / 2, h / 2], [0.0, 0.0, 1.0]])
    return Cameras(c2w, flat.repeat(count, 1, 1), hw, torch.full((count,), float(ortho_scale)))


def _at_angles(
    azimuth_deg: Float[Tensor, "v"],
    elevation_deg: Float[Tensor, "v"],
    centres: Float[Tensor, "v 3"],
) -> Float[Tensor, "v 4 4"]:
    """Camera-to-world matrices that look back along these angles, poles included."""
    a, e = torch.deg2rad(azimuth_deg.double()), torch.deg2rad(elevation_deg.double())
    c2w = torch.eye(4, dtype=torch.float64).repeat(len(a), 1, 1)
    right = torch.stack([-a.sin(), a.cos(), torch.zeros_like(a)], dim=-1)
    forward = -torch.stack([e.cos() * a.cos(), e.cos() * a.sin(), e.sin()], dim=-1)
    c2w[:, :3, 0], c2w[:, :3, 2] = right, forward
    c2w[:, :3, 1] = torch.linalg.cross(forward, right, dim=-1)
    c2w[:, :3, 3] = centres
    return c2w.float()
