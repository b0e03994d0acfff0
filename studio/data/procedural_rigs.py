"""The cameras that procedural objects are rendered from."""

from __future__ import annotations

from dataclasses import dataclass

from studio.cameras import CANONICAL_FOV_DEG, CANONICAL_RADIUS, Cameras, orbit_cameras


@dataclass(frozen=True)
class Rig:
    """Cameras around an object that faces +X, looking at its centre.

    Attributes:
        views: azimuths, evenly spaced.
        elevations: in degrees, of every azimuth's cameras.
        radius: distance, the object's longest side being 1.
        fov_deg: vertical field of view.
        clockwise: azimuth k is -k * 360 / views degrees instead of +k * 360 / views.
    """

    views: int = 16
    elevations: tuple[float, ...] = (30.0,)
    radius: float = CANONICAL_RADIUS
    fov_deg: float = CANONICAL_FOV_DEG
    clockwise: bool = False

    @property
    def step_deg(self) -> float:
        """Signed azimuth from one camera to the next."""
        return (-360.0 if self.clockwise else 360.0) / self.views

    def cameras(self, size: int) -> Cameras:
        """Return the cameras for pictures of a side in pixels: azimuth outer, elevation inner."""
        azimuth = [k * self.step_deg for k in range(self.views) for _ in self.elevations]
        elevation = list(self.elevations) * self.views
        return orbit_cameras(azimuth, elevation, self.radius, self.fov_deg, size)


RIGS = {
    "ele30": Rig(),
    "epidiff96": Rig(elevations=(-10.0, 0.0, 10.0, 20.0, 30.0, 40.0)),
    "nmr24": Rig(24, radius=2.732, fov_deg=30.0, clockwise=True),
}
"""The canonical ring, EpiDiff's six rings, and the ring of the NMR renderings of ShapeNet."""


def rig_cameras(rig: str, size: int) -> Cameras:
    """Cameras of a rig by name, for pictures of a side in pixels."""
    return RIGS[rig].cameras(size)
