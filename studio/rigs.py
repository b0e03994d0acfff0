"""`Rig`: where the cameras of a set of views stand around an object, and the rigs that are known.

A rig is angles and a lens; `Rig.cameras` makes cameras of a picture size from it. What a guidance
makes, what captures without a camera file show and what training data are rendered from are rigs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import CANONICAL_FOV_DEG, CANONICAL_RADIUS, Cameras, orbit_cameras
from studio.errors import CameraError

Frame = Literal["world", "azimuth", "input"]
Measure = Literal["side", "diagonal", "sphere"]
SAME_DEG, SAME_SHARE = 0.5, 0.01  # up to which directions and lengths of two cameras count as equal


@dataclass(frozen=True)
class Rig:
    """Cameras around the origin that look at it.

    Attributes:
        azimuth_deg: one per view.
        elevation_deg: one per view, -90 to 90.
        radius: distance of the cameras in world units.
        fov_deg: vertical field of view; without meaning where `ortho_scale` is given.
        ortho_scale: world units per picture height of orthographic cameras; None: perspective.
        frame: what the angles count from. "world": azimuth 0 is +X, whatever was given. "azimuth":
            azimuth 0 is the input camera's, elevations are the world's. "input": both angles are
            the input camera's, the whole rig is tilted with it.
        measure: what of the object is `extent` long: the longest "side" of its box, the "diagonal"
            of its box, or the diameter of the "sphere" around its box's centre.
        extent: its length in world units.
        bound: half the side of the cube around the origin that holds the object.
        fixed: the method knows no other cameras than these.
        names: of the views; may be empty.
    """

    azimuth_deg: tuple[float, ...]
    elevation_deg: tuple[float, ...]
    radius: float = CANONICAL_RADIUS
    fov_deg: float = CANONICAL_FOV_DEG
    ortho_scale: float | None = None
    frame: Frame = "world"
    measure: Measure = "side"
    extent: float = 1.0
    bound: float = 0.5
    fixed: bool = False
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            CameraError: if they do not belong together or place no camera.
        """
        views = len(self.azimuth_deg)
        if not views or len(self.elevation_deg) != views or len(self.names) not in (0, views):
            raise CameraError(
                f"a rig has {views} azimuths, {len(self.elevation_deg)} elevations and "
                f"{len(self.names)} names.",
                allowed="an azimuth and an elevation a view, 1 view or more, names for all or none",
            )
        for name, kinds in (("frame", Frame), ("measure", Measure)):
            if getattr(self, name) not in get_args(kinds):
                raise CameraError(
                    f"a rig's {name} is {getattr(self, name)!r}.",
                    allowed=", ".join(get_args(kinds)),
                )
        lengths = [self.radius, self.extent, self.bound]
        lengths += [] if self.ortho_scale is None else [self.ortho_scale]
        if not all(0 < value < math.inf for value in lengths) or not 0 < self.fov_deg < 180:
            raise CameraError(
                f"a rig has radius {self.radius}, extent {self.extent}, bound {self.bound}, "
                f"ortho_scale {self.ortho_scale} and fov_deg {self.fov_deg}.",
                allowed="positive finite lengths, a field of view between 0 and 180 degrees",
            )

    @classmethod
    def ring(
        cls,
        views: int = 16,
        elevation_deg: float = 30.0,
        radius: float = CANONICAL_RADIUS,
        fov_deg: float = CANONICAL_FOV_DEG,
        *,
        clockwise: bool = False,
        frame: Frame = "world",
        bound: float = 0.5,
    ) -> Rig:
        """Return evenly spaced views at one elevation, the first at azimuth 0.

        Args:
            views: how many.
            elevation_deg: of all.
            radius: see `Rig`.
            fov_deg: see `Rig`.
            clockwise: view k is at azimuth -k * 360 / views instead of +k * 360 / views.
            frame: see `Rig`.
            bound: see `Rig`.
        """
        turn = -360.0 if clockwise else 360.0
        azimuths = tuple(k * turn / views for k in range(views))
        elevations = (float(elevation_deg),) * views
        return cls(azimuths, elevations, radius, fov_deg, frame=frame, bound=bound)

    def __len__(self) -> int:
        return len(self.azimuth_deg)

    def cameras(
        self,
        size: int | tuple[int, int],
        azimuth_deg: float = 0.0,
        elevation_deg: float | None = 0.0,
    ) -> Cameras:
        """Return the cameras, in the rig's order.

        Args:
            size: picture side, or (height, width), in pixels.
            azimuth_deg: of the input's camera in the world; "world" rigs do not ask.
            elevation_deg: of the input's camera, None if unknown; only "input" rigs ask. Unknown it
                counts as 0: the object leans in the world as it does in the input.
        """
        azimuths = self.azimuth_deg
        if self.frame == "azimuth":
            azimuths = tuple(azimuth_deg + a for a in azimuths)
        lens = (self.radius, self.fov_deg, size, self.ortho_scale)
        cameras = orbit_cameras(azimuths, self.elevation_deg, *lens)
        if self.frame != "input":
            return cameras
        c2w = tilt(azimuth_deg, elevation_deg or 0.0) @ cameras.c2w.double()
        return replace(cameras, c2w=c2w.float())

    def input_camera(
        self, size: int | tuple[int, int], azimuth_deg: float, elevation_deg: float | None
    ) -> Cameras | None:
        """Return the input's camera, with the rig's distance and lens.

        None where its elevation is unknown, unless the rig is tilted with it.

        Args:
            size: of the input, see `cameras`.
            azimuth_deg: of the input's camera.
            elevation_deg: of the input's camera, None if unknown.
        """
        if elevation_deg is None and self.frame != "input":
            return None
        lens = (self.radius, self.fov_deg, size, self.ortho_scale)
        return orbit_cameras([azimuth_deg], elevation_deg or 0.0, *lens)

    def at_elevation(self, elevation_deg: float) -> Rig:
        """Return the rig with all views at one elevation."""
        return replace(self, elevation_deg=(float(elevation_deg),) * len(self))

    @property
    def azimuths(self) -> tuple[float, ...]:
        """The different azimuths, in the order of the views."""
        return tuple(dict.fromkeys(self.azimuth_deg))

    @property
    def elevations(self) -> tuple[float, ...]:
        """The different elevations, in the order of the views."""
        return tuple(dict.fromkeys(self.elevation_deg))

    @property
    def step_deg(self) -> float:
        """Signed azimuth from the first direction to the next; a whole turn where there is one."""
        return self.azimuths[1] - self.azimuths[0] if len(self.azimuths) > 1 else 360.0

    def placed(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Return the points of an object as the rig shows it: its box centred, its size right."""
        low, high = points.amin(0), points.amax(0)
        centred, side = points - (low + high) / 2, high - low
        lengths = {
            "side": side.max(),
            "diagonal": side.norm(),
            "sphere": 2 * centred.norm(dim=1).max(),
        }
        return centred * (self.extent / lengths[self.measure])


def tilt(azimuth_deg: float, elevation_deg: float) -> Float[Tensor, "4 4"]:
    """Return the rotation (float64) that takes azimuth 0, elevation 0 to the input's camera.

    +Z becomes the input's up axis.
    """
    a, e = math.radians(azimuth_deg), math.radians(elevation_deg)
    ca, sa, ce, se = math.cos(a), math.sin(a), math.cos(e), math.sin(e)
    rows = [[ca * ce, -sa, -ca * se, 0], [sa * ce, ca, -sa * se, 0], [se, 0, ce, 0], [0, 0, 0, 1]]
    return torch.tensor(rows, dtype=torch.float64)


def same_cameras(a: Cameras, b: Cameras) -> bool:
    """Whether cameras show the same, whatever their picture size: poses, lens, in this order.

    Where an orthographic camera stands along its viewing axis makes no difference.
    """
    flat = a.ortho_scale is not None
    if len(a) != len(b) or flat != (b.ortho_scale is not None):
        return False
    turned = torch.einsum("vij,vij->v", a.c2w[:, :3, :3].double(), b.c2w[:, :3, :3].double())
    if (turned < 1 + 2 * math.cos(math.radians(SAME_DEG))).any():  # trace of a rotation
        return False
    apart, reach = (a.centres - b.centres).double(), a.centres.norm(dim=1)
    if a.ortho_scale is not None and b.ortho_scale is not None:
        axis = a.c2w[:, :3, 2].double()
        apart, reach = apart - (apart * axis).sum(1, keepdim=True) * axis, a.ortho_scale
        if ((a.ortho_scale - b.ortho_scale).abs() > SAME_SHARE * a.ortho_scale).any():
            return False
    elif (_lens(a) - _lens(b)).abs().max() > SAME_SHARE:
        return False
    return bool((apart.norm(dim=1) <= SAME_SHARE * reach).all())


def _lens(cameras: Cameras) -> Float[Tensor, "v 2 3"]:
    """Focal lengths and principal points over the picture's sides."""
    h, w = cameras.size
    return cameras.intrinsics[:, :2] / cameras.intrinsics.new_tensor([[w], [h]])


_CORNERS = ("front", "front_right", "right", "back", "left", "front_left")

RIGS = {
    "ele30": Rig.ring(),
    "epidiff96": Rig(
        tuple(k * 22.5 for k in range(16) for _ in range(6)),
        (-10.0, 0.0, 10.0, 20.0, 30.0, 40.0) * 16,
    ),
    "nmr24": Rig.ring(24, radius=2.732, fov_deg=30.0, clockwise=True),
    "syncdreamer-16": Rig.ring(16, bound=0.6),
    "spin-36": Rig.ring(36, bound=0.6),
    "mvadapter": Rig(
        tuple(a - 90.0 for a in (0, 45, 90, 180, 270, 315)),
        (0.0,) * 6,
        1.8,
        ortho_scale=1.1,
        fixed=True,
        names=_CORNERS,
    ),
    "mvadapter-geometry": Rig(
        tuple(a - 90.0 for a in (0, 90, 180, 270, 180, 180)),
        (0.0, 0.0, 0.0, 0.0, 89.99, -89.99),
        1.8,
        ortho_scale=1.1,
        fixed=True,
        names=("front", "right", "back", "left", "top", "bottom"),
    ),
    "zero123plus-v1.1": Rig(
        (30.0, 90.0, 150.0, 210.0, 270.0, 330.0),
        (30.0, -20.0) * 3,
        frame="azimuth",
        fixed=True,
    ),
    "zero123plus-v1.2": Rig(
        (30.0, 90.0, 150.0, 210.0, 270.0, 330.0),
        (20.0, -10.0) * 3,
        0.5 / math.tan(math.radians(15)),
        30.0,
        frame="azimuth",
        measure="sphere",
        fixed=True,
    ),
    "wonder3d": Rig(
        (0.0, 45.0, 90.0, 180.0, 270.0, 315.0),
        (0.0,) * 6,
        1.3,
        ortho_scale=1.35,
        frame="input",
        measure="diagonal",
        fixed=True,
        names=_CORNERS,
    ),
}
"""Rigs that pictures or methods are known for.

ele30: the canonical ring. epidiff96: EpiDiff's six rings, all elevations of an azimuth together.
nmr24: the NMR renderings of ShapeNet. syncdreamer-16, spin-36: SyncDreamer's and ViewFusion's
pictures. mvadapter: MV-Adapter's six views, whose front is seen from -Y; mvadapter-geometry: those
that texture a mesh. zero123plus: six tiles, row by row. wonder3d: its six, as they were trained.
"""
