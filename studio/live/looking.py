"""Looking through one of the cameras, its picture laid over the view."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from studio.io.images import to_uint8
from studio.live.drawing import UNSHADED, faded, quaternion
from studio.live.frusta import Eye, eye_of, laid_over
from studio.views import ViewSet

SETTLING = 1.0  # seconds until a browser has taken a camera over
TURNED, SHIFTED = 0.035, 0.05  # radians, sides of the cube: more, and the camera has been left
STILL = 0.002  # of both: more, and the view springs back
NEAR, FOV = 0.01, np.radians(60.0)


class Looking:
    """Who looks through which camera; one at a time.

    Attributes:
        at: the view's position; None where nobody looks through a camera.

    Args:
        server: a viser server.
        opacity: the control that says how opaque the picture is.
        wanted: set when something is to be done.
    """

    def __init__(self, server: Any, opacity: Any, wanted: threading.Event) -> None:
        self.at: int | None = None
        self._server, self._opacity, self._wanted = server, opacity, wanted
        self._asked: tuple[Any, int] | None = None
        self._client: Any = None
        self._eye: Eye | None = None
        self._since, self._window = 0.0, 0.0
        self._pose: tuple[np.ndarray, np.ndarray] | None = None
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        self._laid: Any = None
        self._drawn: tuple[Any, ...] = ()

    def ask(self, client: Any, at: int) -> None:
        """Somebody wants to look through a camera; -1: through none."""
        self._asked = (client, at)
        self._wanted.set()

    def follow(self, views: ViewSet, scale: float) -> bool:
        """Do what was asked for, and see whether the camera was left since.

        Args:
            views: the cameras.
            scale: of the scene to their world.

        Returns:
            Whether `at` has changed.
        """
        before = self.at
        if self._asked is not None:
            (client, at), self._asked = self._asked, None
            self._uncover()
            if 0 <= at < len(views):
                self._enter(client, views, at, scale)
            else:
                self._leave(back=True)
        elif self.at is not None and self._moved():
            self._leave(back=False)
        if self.at is not None:
            self._lay_over(views, scale)
        return self.at != before

    def _enter(self, client: Any, views: ViewSet, at: int, scale: float) -> None:
        if client is not self._client:
            client.camera.on_update(lambda _: self._wanted.set())
        self.at, self._client = at, client
        self._window, self._since = client.camera.aspect, time.monotonic()
        self._pose = self._last = None
        self._eye = eye = eye_of(views.cameras[[at]].to("cpu").scaled(scale), self._window)
        with client.atomic():
            client.camera.near, client.camera.fov = eye.near, eye.fov
            client.camera.up_direction = -eye.rotation[:, 1]
            client.camera.position = eye.position
            client.camera.look_at = eye.target

    def _moved(self) -> bool:
        """Whether the client has gone, or has turned or moved away.

        As elsewhere, whoever turns the view leaves the camera; a hand that has only trembled while
        it clicked gets the camera's view back.
        """
        if self._client.client_id not in self._server.get_clients():
            return True
        camera = self._client.camera
        if time.monotonic() - self._since < SETTLING:
            return False
        pose = (np.array(camera.wxyz), np.array(camera.position))
        if self._pose is None:
            self._pose = pose
        if abs(camera.aspect / self._window - 1) > 0.01:  # the window's shape: fit it anew
            assert self.at is not None
            self.ask(self._client, self.at)
        turned, shifted = apart(pose, self._pose)
        if turned > TURNED or shifted > SHIFTED:
            return True
        if max(turned, shifted) > STILL and max(apart(pose, self._last or self._pose)) == 0.0:
            self.ask(self._client, self.at or 0)
        self._last = pose
        return False

    def _leave(self, back: bool) -> None:
        """Look through no camera any more; `back` to a usual view, at the same size."""
        self._uncover()
        if self.at is None or self._eye is None:
            return
        camera, eye, self.at = self._client.camera, self._eye, None
        if self._client.client_id not in self._server.get_clients():
            return
        with self._client.atomic():
            camera.near = NEAR
            camera.up_direction = (0.0, 0.0, 1.0)
            if back or eye.near > NEAR:
                away = np.array(camera.position) - np.array(camera.look_at)
                target = np.array(camera.look_at)
                camera.position = target + away * (np.tan(camera.fov / 2) / np.tan(FOV / 2))
                camera.look_at, camera.fov = target, FOV

    def _uncover(self) -> None:
        """Take the picture away."""
        if self._laid is not None:
            self._laid.remove()
        self._laid, self._drawn = None, ()

    def _lay_over(self, views: ViewSet, scale: float) -> None:
        """Lay the picture over the view, as opaque as the control says."""
        assert self.at is not None and self._eye is not None
        wanted = (self.at, id(views), float(self._opacity.value), self._since)
        if wanted == self._drawn:
            return
        self._drawn = wanted
        camera = views.cameras[[self.at]].to("cpu").scaled(scale)
        middle, (width, height) = laid_over(camera, self._eye)
        picture = faded(to_uint8(views.images[self.at]), float(self._opacity.value))
        turn = quaternion(self._eye.rotation)
        self._laid = self._client.scene.add_image(
            "/over", picture, width, height, wxyz=turn, position=tuple(middle), **UNSHADED
        )


def apart(
    pose: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]
) -> tuple[float, float]:
    """Angle in radians and distance between two poses: unit quaternion and position."""
    cosine = min(1.0, abs(float(pose[0] @ other[0])))
    return 2 * float(np.arccos(cosine)), float(np.linalg.norm(pose[1] - other[1]))
