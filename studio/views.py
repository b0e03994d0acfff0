"""`ViewSet`, what guidance returns and geometry reads, and `Condition`, what guidance is asked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import CANONICAL_FOV_DEG, CANONICAL_RADIUS, Cameras, orbit_cameras
from studio.captures.transforms import read_transforms
from studio.captures.transforms_writer import write_transforms
from studio.errors import ConfigError, DataError
from studio.io.images import object_box, resize
from studio.mesh import Mesh

KINDS = ("image", "images", "text", "mesh")
"""What a condition may hold: a picture, posed pictures, a text, a shape."""
FINEST = 1536  # px on the longer side of an object: more than a texture can hold


@dataclass(frozen=True)
class ViewSet:
    """V posed pictures of one object.

    Attributes:
        images: RGBA with straight alpha in [0, 1].
        cameras: one per picture, of the pictures' size.
        bound: half the side of the axis-aligned cube around the origin that holds the object.
        meta: provenance (method, seed, timings, ...), plain JSON values.
        names: file names without suffix, one per view; numbered where empty.
        normals: unit surface normals in the world, zero where unknown.
    """

    images: Float[Tensor, "v 4 h w"]
    cameras: Cameras
    bound: float = 0.5
    meta: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    normals: Float[Tensor, "v 3 h w"] | None = None

    def __post_init__(self) -> None:
        """Check that pictures and cameras belong together.

        Raises:
            DataError: if they do not.
        """
        v, c, h, w = self.images.shape
        if c != 4 or v != len(self.cameras) or (h, w) != tuple(self.cameras.size):
            raise DataError(
                f"pictures {tuple(self.images.shape)} do not match {len(self.cameras)} cameras "
                f"of size {self.cameras.size}.",
                allowed="[V, 4, H, W] RGBA pictures and V cameras of size (H, W)",
            )
        if self.normals is not None and self.normals.shape != (v, 3, h, w):
            raise DataError(
                f"normals {tuple(self.normals.shape)} do not match the {v} pictures.",
                allowed="[V, 3, H, W]",
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def mask(self) -> Float[Tensor, "v h w"]:
        """Coverage of the object in [0, 1]."""
        return self.images[:, 3]

    @property
    def object_share(self) -> Float[Tensor, " v"]:
        """Share of each picture that shows the object, in [0, 1]."""
        return (self.mask > 0.5).float().mean((1, 2))

    @property
    def to_world(self) -> Float[Tensor, "4 4"]:
        """Similarity, in float64, from the views' world to that of the capture's files.

        Its translation may be huge (ECEF); `studio.export.world` keeps it apart.
        """
        given = self.meta.get("to_world")
        unchanged = torch.eye(4, dtype=torch.float64)
        return unchanged if given is None else torch.tensor(given, dtype=torch.float64)

    def rgb_on(self, background: float = 1.0) -> Float[Tensor, "v 3 h w"]:
        """Return the pictures composited on a grey level (1 = white), in [0, 1]."""
        alpha = self.images[:, 3:]
        return self.images[:, :3] * alpha + background * (1 - alpha)

    def name(self, i: int) -> str:
        """What a view is called: its file, else its number."""
        return self.names[i] if self.names else f"{i:03d}"

    def select(self, index: list[int]) -> ViewSet:
        """Return the views at these positions."""
        names = tuple(self.names[i] for i in index) if self.names else ()
        normals = None if self.normals is None else self.normals[index]
        return replace(
            self,
            images=self.images[index],
            cameras=self.cameras[index],
            names=names,
            normals=normals,
        )

    def save(self, folder: Path | str) -> Path:
        """Write `transforms.json`, RGBA PNGs and normals, as nerfstudio and instant-ngp read it."""
        return write_transforms(self, Path(folder))

    @classmethod
    def load(
        cls, folder: Path | str, split: str | None = None, *, bound: float | None = None
    ) -> ViewSet:
        """Read a folder written by `save` or any supported `transforms.json` flavour.

        Args:
            folder: see `studio.captures.transforms.read_transforms`.
            split: see there.
            bound: see there.
        """
        return cls(**read_transforms(Path(folder), split, bound=bound))


@dataclass(frozen=True)
class Original:
    """A picture as it was given, cut out, and the square of it that guidance is shown.

    Attributes:
        image: RGBA with straight alpha in [0, 1], at the file's resolution.
        left: left edge of the square in pixels; it may lie beside the picture.
        top: its upper edge.
        side: its side in pixels.
    """

    image: Float[Tensor, "4 h w"]
    left: float
    top: float
    side: float

    def trimmed(self, finest: int = FINEST) -> Original:
        """Return the part around the object, reduced to ``finest`` pixels on its longer side."""
        if not bool((self.image[3] > 0.5).any()):
            return self
        x0, y0, x1, y1 = object_box(self.image)
        x0, y0 = max(x0 - 2, 0), max(y0 - 2, 0)
        part = self.image[:, y0 : y1 + 2, x0 : x1 + 2]
        scale = min(1.0, finest / max(part.shape[1:]))
        if scale < 1:
            height, width = (max(1, round(n * scale)) for n in part.shape[1:])
            part, scale = resize(part, height, width), height / part.shape[1]
        return Original(
            part.clone(), (self.left - x0) * scale, (self.top - y0) * scale, self.side * scale
        )

    def posed(self, prepared: Cameras, bound: float = 0.5) -> ViewSet:
        """Return the picture with its camera.

        Args:
            prepared: camera of the square, as guidance is shown it, at any resolution.
            bound: of the views it belongs to.
        """
        h, w = self.image.shape[1:]
        intrinsics = prepared.intrinsics.clone()
        intrinsics[:, :2] *= self.side / prepared.size[0]
        intrinsics[:, :2, 2] += intrinsics.new_tensor([self.left, self.top])
        ortho = prepared.ortho_scale
        cameras = Cameras(
            prepared.c2w, intrinsics, (h, w), None if ortho is None else ortho * h / self.side
        )
        return ViewSet(self.image[None], cameras, bound)


@dataclass(frozen=True)
class Condition:
    """What a guidance is asked with: a picture, several posed pictures, a text, a mesh, or several.

    Attributes:
        image: one picture, RGBA with straight alpha in [0, 1].
        views: several posed pictures.
        text: a prompt.
        mesh: a shape to be shown, alone or beside a picture or a text that says how it looks.
        elevation_deg: elevation of the camera that took `image`; None if it is unknown.
        azimuth_deg: world azimuth at which that camera is placed.
        originals: the pictures as they were given, in the order of `views`; may be empty.
        meta: where it came from, plain JSON values.
    """

    image: Float[Tensor, "4 h w"] | None = None
    views: ViewSet | None = None
    text: str | None = None
    mesh: Mesh | None = None
    elevation_deg: float | None = 30.0
    azimuth_deg: float = 0.0
    originals: tuple[Original, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What is given, in the words of `KINDS`."""
        given = (self.image, self.views, self.text, self.mesh)
        return tuple(kind for kind, value in zip(KINDS, given, strict=True) if value is not None)

    @property
    def known_elevation_deg(self) -> float:
        """Elevation of the camera that took `image`.

        Raises:
            ConfigError: if it is unknown.
        """
        if self.elevation_deg is None:
            raise ConfigError(
                "the elevation of the picture's camera is not known, and the guidance needs it.",
                hint="Add data.elevation_deg=<degrees>; 0 is level with the object.",
            )
        return self.elevation_deg

    def camera(
        self,
        radius: float = CANONICAL_RADIUS,
        fov_deg: float = CANONICAL_FOV_DEG,
        size: int | tuple[int, int] = 256,
    ) -> Cameras:
        """Return the camera that took `image`, looking at the origin.

        Args:
            radius: its distance.
            fov_deg: its vertical field of view.
            size: picture side, or (height, width), in pixels.

        Raises:
            ConfigError: if its elevation is unknown.
        """
        return orbit_cameras([self.azimuth_deg], self.known_elevation_deg, radius, fov_deg, size)
