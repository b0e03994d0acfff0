"""`ViewContract`: what a guidance takes, from where it looks, and what its images are like."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from studio.cameras import Cameras
from studio.errors import ConfigError
from studio.rigs import Rig, same_cameras
from studio.views import KINDS, Condition

_log = logging.getLogger(__name__)

DATA_TYPES = {"image": "single-image", "images": "posed-images", "text": "text"}
"""Data plugins that make a condition of a kind."""


@dataclass(frozen=True)
class ViewContract:
    """What a model was trained for.

    Attributes:
        inputs: the conditions that it takes, any one of them: "image", "images", "text", "mesh", or
            several at once, such as "image+mesh".
        rig: the views that it makes unless it is asked for others.
        resolution: side of the views in pixels.
        input_resolution: side at which it is shown the input; 0: that of the views.
        needs_elevation: whether it must be told the elevation of the input's camera.
        places_input: whether the input's camera stands where the condition says; false for a method
            that turns what it is shown to a front of its own.
        background: grey level behind the objects in its pictures, 0 to 1; None: white, more or
            less, which is measured.
    """

    inputs: tuple[str, ...] = ("image",)
    rig: Rig = Rig.ring(16, 30.0)
    resolution: int = 256
    input_resolution: int = 0
    needs_elevation: bool = True
    places_input: bool = True
    background: float | None = None

    def __post_init__(self) -> None:
        """Check the words.

        Raises:
            ConfigError: if an input is no kind of condition.
        """
        kinds = {kind for way in self.inputs for kind in way.split("+")}
        if not kinds or not kinds <= set(KINDS):
            raise ConfigError(
                f"a contract's inputs are {self.inputs}.",
                allowed=f"{', '.join(KINDS)}, or several of them joined by '+'",
            )

    @property
    def views(self) -> int:
        """How many views the rig has."""
        return len(self.rig)

    def cameras(self, condition: Condition | None = None) -> Cameras:
        """Return the rig's cameras for a condition: turned, or tilted, with its camera.

        Args:
            condition: what is asked for; None: a camera at azimuth 0.
        """
        if condition is None:
            return self.rig.cameras(self.resolution)
        pose = condition.azimuth_deg, condition.elevation_deg
        return self.rig.cameras(self.resolution, *pose)

    def targets(self, condition: Condition, cameras: Cameras | None) -> Cameras:
        """Return the cameras to make views for, of the contract's resolution.

        Args:
            condition: what is asked for.
            cameras: that the caller wants; None: the rig.

        Raises:
            ConfigError: if the rig is fixed and other cameras are wanted.
        """
        own = self.cameras(condition)
        if cameras is None:
            return own
        if self.rig.fixed and not same_cameras(own, cameras):
            names = f" ({', '.join(self.rig.names)})" if self.rig.names else ""
            raise ConfigError(
                f"other cameras are asked for than the {len(own)} that this method knows{names}.",
                allowed="those of its rig; leave the cameras out and it takes them",
            )
        return cameras.resized(self.resolution, self.resolution)

    def check(self, condition: Condition, cameras: Cameras | None, guidance: str) -> None:
        """Refuse what the method cannot do, before anything is computed.

        Args:
            condition: what is asked for.
            cameras: that are wanted; None: the rig.
            guidance: name of the method, for messages.

        Raises:
            ConfigError: naming what it takes.
        """
        given = set(condition.kinds)
        ways = [set(way.split("+")) for way in self.inputs]
        used = set().union(*(way for way in ways if way <= given))
        if not used or "mesh" in given - used:
            raise ConfigError(
                f"guidance '{guidance}' cannot start from {' and '.join(sorted(given))}.",
                allowed=" or ".join(way.replace("+", " and ") for way in self.inputs) + self._types,
            )
        if self.needs_elevation and condition.image is not None and condition.elevation_deg is None:
            raise ConfigError(
                f"guidance '{guidance}' has to know the elevation of the picture's camera.",
                hint="Add data.elevation_deg=<degrees>; 0 is level with the object.",
            )
        self.targets(condition, cameras)
        side = 0 if condition.image is None else condition.image.shape[-1]
        if 0 < side < self.input_resolution:
            _log.warning(
                "guidance '%s' is shown the picture at %d px and it is prepared at %d: "
                "data.resolution=%d keeps its detail",
                guidance,
                self.input_resolution,
                side,
                self.input_resolution,
            )

    @property
    def _types(self) -> str:
        """The data plugins that make such conditions, in brackets."""
        named = [DATA_TYPES[way] for way in self.inputs if way in DATA_TYPES]
        return f" (data_type: {', '.join(named)})" if named else ""
