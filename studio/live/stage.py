"""What a browser shows of a source, and the few things that can be changed there (viser)."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from studio.live.drawing import (
    UNSHADED,
    axes,
    colours,
    cube_edges,
    placed,
    quaternion,
    scene_points,
    small,
)
from studio.live.frusta import plates
from studio.live.looking import Looking
from studio.live.sight import Sight, Source
from studio.views import ViewSet

CUBE_COLOUR = (90, 140, 220)
THUMB = 160  # px, longer side of a picture on its frustum
MOST_POINTS = 200_000
NEWEST, NOTHING = "newest", "none"
MESH, FIT = "finished mesh", "surface of the fit"


class Stage:
    """The scene and the controls of one server; the cube of the object has side 1 there.

    Controls note only that something is wanted: `update` alone draws, in one thread.

    Attributes:
        wanted: set when somebody has touched a control.

    Args:
        server: a viser server.
        source: what is shown.
        dark: whether the page begins dark.
    """

    def __init__(self, server: Any, source: Source, *, dark: bool = False) -> None:
        self.server, self.source = server, source
        self.wanted = threading.Event()
        self._sight, self._scale = Sight(), 1.0
        self._plates: list[Any] = []
        self._frusta: Any = None
        self._cloud: Any = None
        self._shown: tuple[Any, ...] = (None, 1.0)
        self._mesh: Any = None
        self._box: Any = None
        server.scene.set_up_direction("+z")
        server.scene.configure_default_lights(cast_shadow=False)
        server.initial_camera.position, server.initial_camera.look_at = (1.6, -2.3, 1.3), (0, 0, 0)
        server.gui.set_panel_label(source.title)
        self._words = server.gui.add_markdown("reading ...")
        # on a phone, panels begin folded into a line below the words
        with server.gui.add_panel().add_tab("Controls"):
            self._make_controls(dark)

    def _make_controls(self, dark: bool) -> None:
        gui = self.server.gui
        self._object = gui.add_dropdown("object", (MESH, FIT, NOTHING), initial_value=MESH)
        self._step = gui.add_dropdown("step", (NEWEST,), initial_value=NEWEST)
        self._cube = gui.add_checkbox("object cube", True)
        self._points = gui.add_checkbox("sparse points", True)
        self._point_size = gui.add_slider("point size", 0.001, 0.03, 0.001, 0.005)
        self._cameras = gui.add_checkbox("cameras", True)
        self._pictures = gui.add_checkbox("pictures", True)
        self._size = gui.add_slider("frustum size", 0.02, 1.0, 0.02, 0.2)
        self._through = gui.add_dropdown("look through", (NOTHING,), initial_value=NOTHING)
        self._opacity = gui.add_slider("picture opacity", 0.0, 1.0, 0.05, 0.5)
        self._dark = gui.add_checkbox("dark", dark)
        self._dark.on_update(lambda _: self._paint())
        self._paint()
        for control in vars(self).values():
            if hasattr(control, "on_update"):
                control.on_update(lambda _: self.wanted.set())
        self._looking = Looking(self.server, self._opacity, self.wanted)
        self._through.on_update(self._chosen)

    def _paint(self) -> None:
        """Light or dark, as the switch says."""
        dark = self._dark.value
        self.server.gui.configure_theme(show_share_button=False, show_logo=False, dark_mode=dark)

    def _chosen(self, event: Any) -> None:
        if event.client is not None:  # somebody's choice, not what a click has set
            names = list(self._through.options)
            self._looking.ask(event.client, names.index(self._through.value) - 1)

    # --- drawing --------------------------------------------------------------------------------

    def update(self) -> None:
        """Draw what is new, and what the controls ask for."""
        self.wanted.clear()
        sight = self.source.look()
        before, self._sight = self._sight, sight
        if sight.words != before.words:
            self._words.content = sight.words
        with self.server.atomic():
            if sight.views is not None and sight.views is not before.views:
                self._draw_cameras(sight.views)
            if sight.points is not None and sight.points is not before.points:
                self._draw_points()
            if sight.poses != before.poses:
                self._frusta = None  # their colours tell
            self._offer_steps()
            self._adjust()
        if sight.views is not None and self._looking.follow(sight.views, self._scale):
            at = self._looking.at
            self._through.value = NOTHING if at is None else self._through.options[at + 1]
            self._adjust()
        self._draw_object()

    def _draw_cameras(self, views: ViewSet) -> None:
        self._scale = 0.5 / views.bound
        scene = self.server.scene
        self._box = scene.add_line_segments(
            "/cube", cube_edges(), CUBE_COLOUR, thickness=1.5, thickness_units="screen"
        )
        for old in self._plates:
            old.remove()
        self._plates = []
        cameras = views.cameras.to("cpu")
        for i, (turn, (width, height)) in enumerate(
            zip(axes(cameras), plates(cameras, 1.0).sides, strict=True)
        ):
            thumb = small(views.images[i], THUMB)
            plate = scene.add_image(
                f"/pictures/{i}", thumb, width, height, wxyz=quaternion(turn), **UNSHADED
            )
            plate.on_click(self._clicked(i))
            self._plates.append(plate)
        self._frusta = None
        self._through.options = (NOTHING, *(views.name(i) for i in range(len(views))))

    def _clicked(self, i: int) -> Any:
        def clicked(event: Any) -> None:
            self._looking.ask(event.client, i)

        return clicked

    def _draw_frusta(self, views: ViewSet) -> None:
        """Pyramids of the size that is wanted, the pictures on their bases."""
        size = float(self._size.value)
        cameras = views.cameras.to("cpu").scaled(self._scale)
        where, unit = plates(cameras, size), plates(views.cameras.to("cpu"), 1.0)
        for plate, centre, side, full in zip(
            self._plates, where.centres, where.sides, unit.sides, strict=True
        ):
            plate.position = tuple(centre)
            plate.scale = (float(side[0] / full[0]), float(side[1] / full[1]), 1.0)
        lines = where.lines()
        tints = colours(views, self._sight.poses)[:, None, None]
        self._frusta = self.server.scene.add_line_segments(
            "/cameras",
            lines.reshape(-1, 2, 3).astype(np.float32),
            np.broadcast_to(tints, lines.shape).reshape(-1, 2, 3),
            thickness=2.0,
            thickness_units="screen",
        )
        self._drawn_size = size

    def _draw_points(self) -> None:
        assert self._sight.points is not None
        place = scene_points(self._sight.points, self._scale, MOST_POINTS)
        self._cloud = self.server.scene.add_point_cloud(
            "/points", place, (60, 60, 140), point_size=float(self._point_size.value)
        )

    def _offer_steps(self) -> None:
        names = (NEWEST, *reversed(self._sight.steps))
        if names != tuple(self._step.options):
            self._step.options = names

    def _draw_object(self) -> None:
        """The mesh that is wanted; before it is finished, the surface of the fit stands in."""
        wanted, steps, surface = self._object.value, self._sight.steps, None
        if wanted == MESH:
            surface = self._sight.result
        if steps and (wanted == FIT or (wanted == MESH and surface is None)):
            asked = self._step.value
            surface = self.source.surface(asked if asked in steps else steps[-1])
        if (surface, self._scale) == self._shown:
            return
        self._shown = (surface, self._scale)
        if self._mesh is not None:
            self._mesh.remove()
            self._mesh = None
        if surface is not None:
            where = placed(surface, self._scale)
            self._mesh = self.server.scene.add_glb("/object", surface.glb, **where, **UNSHADED)

    def _adjust(self) -> None:
        """Show, hide and size things as the controls say."""
        views = self._sight.views
        if views is None:
            return
        if self._frusta is None or self._size.value != self._drawn_size:
            self._draw_frusta(views)
        outside = self._looking.at is None  # seen through a camera, frusta would stand in the way
        _show(self._frusta, self._cameras.value and outside)
        for plate in self._plates:
            _show(plate, self._cameras.value and self._pictures.value and outside)
        _show(self._box, self._cube.value)
        if self._cloud is not None:
            _show(self._cloud, self._points.value)
            if self._cloud.point_size != self._point_size.value:
                self._cloud.point_size = float(self._point_size.value)
        for control in (self._points, self._point_size):
            _show(control, self._cloud is not None)
        _show(self._object, bool(self._sight.steps or self._sight.result))
        _show(self._step, bool(self._sight.steps))
        _show(self._opacity, not outside)


def _show(handle: Any, visible: bool) -> None:
    if handle.visible != visible:
        handle.visible = visible
