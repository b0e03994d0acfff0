"""The tools of makers of objects: random draws, colours, patterns, closed parts.

The training data of the nano models: chunky closed parts, a clear front (+X), left-right symmetric
about the XZ plane, standing on -Z, centred, longest side of the bounding box 1 (a little less
where the canonical camera would otherwise cut corners off).

Seeds below :data:`TEST_SEED` are for training, the rest for testing. Training never shows a main
colour in the hue band :data:`HELD_OUT_HUE`, nor a body proportion in :data:`HELD_OUT_STRETCH`; of
the test objects a third have a held-out hue, a third a held-out proportion, a third neither.
"""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.data.procedural.parts import Array, Colour, Part, rotation
from studio.data.procedural.surfaces import Paint, draw_paint

if TYPE_CHECKING:
    from studio.mesh import Mesh

TEST_SEED = 1_000_000
"""First seed of the test split."""
HELD_OUT_HUE = (0.46, 0.56)
"""Cyan to azure, in turns of the colour wheel: no main colour of a training object."""
HELD_OUT_STRETCH = (0.40, 0.55)
"""Band of the proportion parameter in [0, 1] (long or tall for its kind) that training skips."""
HUE_WARP = ((0.0, 0.30, 0.52, 0.80, 0.90, 1.0), (-0.05, 0.17, 0.40, 0.70, 0.82, 0.95))
"""Draws hues more evenly to the eye: fewer greens and purples than an even draw has."""
MAX_REACH = 0.585
"""Bounding sphere of the bulkiest objects; the canonical camera (distance 1.5) sees radius 0.62."""


@dataclass(frozen=True)
class ProceduralObject:
    """A normalised object made of closed convex parts."""

    category: str
    seed: int
    parts: tuple[Part, ...]
    caption: str
    hue: float
    """Hue of the main colour in [0, 1)."""
    stretch: float
    """Proportion parameter in [0, 1]."""
    paints: Mapping[Colour, Paint] = field(default_factory=dict)
    """Patterns of the parts of these colours; seen in photos alone."""
    yaw_deg: float = 0.0
    """How far the object is turned counter-clockwise, seen from above, away from facing +X."""

    def turned(self, yaw_deg: float) -> ProceduralObject:
        """The same object, turned further about +Z."""
        return replace(self, yaw_deg=self.yaw_deg + yaw_deg)

    @cached_property
    def arrays(self) -> tuple[Array, Array, Array, Array]:
        """Vertices [N, 3], faces [M, 3], colours [N, 3] and shading normals [N, 3] (N = 3 M)."""
        corners = np.concatenate([part.corners for part in self.parts]).reshape(-1, 3)
        normals = np.concatenate([part.normals for part in self.parts]).reshape(-1, 3)
        counts = [3 * len(part.corners) for part in self.parts]
        colours = np.repeat(np.array([part.colour for part in self.parts]), counts, axis=0)
        tint = surface_tint(corners, normals)[:, None]
        faces = np.arange(len(corners)).reshape(-1, 3)
        turn = rotation("z", self.yaw_deg).astype(np.float32)
        return (
            corners.astype(np.float32) @ turn.T,
            faces,
            np.clip(colours * tint, 0, 1).astype(np.float32),
            normals.astype(np.float32) @ turn.T,
        )

    def occupancy(self, points: Array) -> Array:
        """[P] bool: which of the [P, 3] world points are inside any part."""
        points = np.asarray(points, float) @ rotation("z", self.yaw_deg)
        inside = np.zeros(len(points), bool)
        for part in self.parts:
            low, high = part.corners.min((0, 1)), part.corners.max((0, 1))
            near = np.flatnonzero(~inside & np.all((points >= low) & (points <= high), axis=-1))
            inside[near] = part.contains(points[near])
        return inside

    def mesh(self) -> Mesh:
        """All parts as one mesh with vertex colours; parts overlap, each is closed."""
        from studio.mesh import Mesh

        vertices, faces, colours, normals = self.arrays
        return Mesh(vertices=vertices, faces=faces, colours=colours, normals=normals)


def surface_tint(corners: Array, normals: Array) -> Array:
    """Paint that belongs to the object: sides a little darker than front and back, feet darker.

    It tells the faces of a plain box apart although the light only knows up from down.
    """
    side = 1.0 - 0.10 * np.abs(normals[:, 1])
    back = 1.0 - 0.05 * np.maximum(-normals[:, 0], 0.0)
    low, high = corners[:, 2].min(), corners[:, 2].max()
    height = (corners[:, 2] - low) / (high - low)
    tint: Array = side * back * (0.86 + 0.14 * np.minimum(height / 0.5, 1.0))
    return tint


class Sculptor:
    """Collects parts, with the random draws and colours of one object."""

    def __init__(self, category: str, seed: int) -> None:
        self.random = np.random.default_rng([zlib.crc32(category.encode()), seed])
        self.surface_random = np.random.default_rng([zlib.crc32(category.encode()), seed, 1])
        self.paints: dict[Colour, Paint] = {}
        self.parts: list[Part] = []
        self.words: list[str] = []
        kind = int(self.random.integers(3)) if seed >= TEST_SEED else 2
        self.unusual = kind == 0
        self.hue = self._draw(HELD_OUT_HUE, (0.0, 1.0), inside=kind == 0, warp=HUE_WARP)
        self.stretch = self._draw(HELD_OUT_STRETCH, (0.0, 1.0), inside=kind == 1)

    def _draw(
        self,
        band: tuple[float, float],
        span: tuple[float, float],
        *,
        inside: bool,
        warp: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    ) -> float:
        """A number from ``span``, inside or outside ``band``."""
        if inside:
            return self.uniform(*band)
        while True:
            value = self.uniform(*span)
            value = float(np.interp(value, *warp)) % 1.0 if warp else value
            if not band[0] <= value <= band[1]:
                return value

    def uniform(self, low: float, high: float) -> float:
        """A random number."""
        return float(self.random.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """A biased coin."""
        return bool(self.random.uniform() < probability)

    def choose(self, *options: Any) -> Any:
        """One of the options."""
        return options[int(self.random.integers(len(options)))]

    def along(self, low: float, high: float) -> float:
        """The length that belongs to the object's proportion parameter."""
        return low + (high - low) * self.stretch

    def add(self, *parts: Part) -> None:
        """Add parts as they are."""
        self.parts.extend(parts)

    def pair(self, *parts: Part) -> None:
        """Add parts and their mirror images across the XZ plane."""
        for part in parts:
            self.parts += [part, part.mirrored()]

    def main_colour(self, saturation: tuple[float, float] = (0.5, 0.9)) -> Colour:
        """The object's own colour; its hue obeys the held-out band."""
        return hsv(self.hue, self.uniform(*saturation), self.uniform(0.68, 0.96))

    def main_or(
        self, chance: float, *others: Colour, saturation: tuple[float, float] = (0.5, 0.9)
    ) -> Colour:
        """The object's own colour, often deeper, or with a probability one of a few usual ones.

        An object whose hue is held out always shows it.
        """
        main = self.shade(self.main_colour(saturation), self.choose(1.0, 1.0, 0.85, 0.65))
        other = self.choose(*others) if others else main
        return other if self.chance(chance) and not self.unusual else main

    def partner(self, main: Colour) -> Colour:
        """A second colour that goes with the main one."""
        hue, saturation, value = colorsys.rgb_to_hsv(*main)
        scheme = self.choose("cream", "light", "dark", "opposite", "neighbour")
        if scheme == "cream":
            return hsv(self.uniform(0.09, 0.13), self.uniform(0.08, 0.25), 0.96)
        if scheme == "light":
            return hsv(hue, 0.28 * saturation, min(1.0, value + 0.2))
        if scheme == "dark":
            return hsv(hue + self.uniform(-0.03, 0.03), min(1.0, saturation + 0.1), 0.5 * value)
        turn = 0.5 if scheme == "opposite" else self.choose(-0.11, 0.11)
        return hsv(
            hue + turn + self.uniform(-0.03, 0.03), 0.8 * saturation, self.uniform(0.6, 0.95)
        )

    def shade(self, colour: Colour, factor: float) -> Colour:
        """The colour times a factor, clipped to [0, 1]."""
        red, green, blue = (min(1.0, factor * channel) for channel in colour)
        return red, green, blue

    def wood(self) -> Colour:
        """A brown between pine and walnut, with its grain."""
        brown = hsv(self.uniform(0.05, 0.10), self.uniform(0.4, 0.65), self.uniform(0.35, 0.8))
        self.decorate(brown, "wood", "wood", "planks", chance=0.85)
        return brown

    def decorate(self, colour: Colour, *kinds: str, chance: float = 0.5) -> None:
        """Give all parts of exactly this colour a pattern, with a probability.

        The draws come from a stream of their own: shapes and colours stay as they are without it.

        Args:
            colour: of the parts.
            kinds: names of `studio.data.procedural.surfaces.PATTERNS` to choose among.
            chance: probability that there is one.
        """
        if self.surface_random.uniform() < chance:
            self.paints[colour] = draw_paint(self.surface_random, colour, kinds)

    def finish(self, category: str, seed: int, caption: str) -> ProceduralObject:
        """Centre the object; scale it so that its longest side is 1 and the rig sees all of it."""
        corners = np.concatenate([part.corners.reshape(-1, 3) for part in self.parts])
        low, high = corners.min(0), corners.max(0)
        centre = (low + high) / 2
        reach = float(np.linalg.norm(corners - centre, axis=-1).max())
        scale = min(1.0 / float((high - low).max()), MAX_REACH / reach)
        parts = tuple(
            Part((part.corners - centre) * scale, part.normals, part.colour) for part in self.parts
        )
        return ProceduralObject(category, seed, parts, caption, self.hue, self.stretch, self.paints)


Maker = Callable[[Sculptor], str]
"""Adds the parts of one object and returns its caption."""

MAKERS: dict[str, Maker] = {}


def category(function: Maker) -> Maker:
    """Register a maker under its function name."""
    MAKERS[function.__name__] = function
    return function


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Colour from hue (any real, in turns), saturation and value, clipped to [0, 1]."""
    s, v = min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0)
    return colorsys.hsv_to_rgb(hue % 1.0, s, v)


def lighten(colour: Colour, least: float) -> Colour:
    """The colour, with its HSV value raised to at least ``least``."""
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    return hsv(hue, saturation, max(value, least))


def colour_name(colour: Iterable[float]) -> str:
    """A plain English word for a colour."""
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    if value < 0.2:
        return "black"
    if saturation < 0.15:
        return "white" if value > 0.85 else "grey"
    if 0.03 <= hue < 0.12 and value < 0.65:
        return "brown"
    edges = [
        (0.03, "red"), (0.11, "orange"), (0.18, "yellow"), (0.42, "green"), (0.53, "turquoise"),
        (0.70, "blue"), (0.80, "purple"), (0.94, "pink"), (1.01, "red"),
    ]  # fmt: skip
    return next(name for edge, name in edges if hue < edge)
