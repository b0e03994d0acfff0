"""Houses and barns; the door is in front (+X)."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.parts import Array, Colour, box, cylinder
from studio.data.procedural.sculptor import Sculptor, category, colour_name, hsv
from studio.data.procedural.solids import hull

GLASS: Colour = (0.20, 0.28, 0.36)
WALLS: tuple[Colour, ...] = ((0.93, 0.91, 0.86), (0.90, 0.84, 0.70), (0.70, 0.36, 0.26),
                             (0.62, 0.60, 0.58), (0.80, 0.70, 0.58))  # fmt: skip
ROOFS: tuple[Colour, ...] = ((0.62, 0.25, 0.18), (0.32, 0.32, 0.35), (0.45, 0.28, 0.18))


def gable(
    s: Sculptor, size: tuple[float, float], at: tuple[float, float, float], rise: float,
    roof: Colour, wall: Colour, *, along: str = "y", eave: float = 0.06, thick: float = 0.045,
) -> None:  # fmt: skip
    """A pitched roof over an (x, y) rectangle; its ridge runs along x or y."""
    deep, wide = size if along == "y" else size[::-1]
    half, z = deep / 2, at[2]
    slope = rise / half
    run = wide / 2 + eave
    slab = [(half + eave, z - slope * eave), (0.0, z + rise)]
    for way in (-1, 1):
        rows = [
            (way * x, y, h + d) for x, h in slab for y in (-run, run) for d in (0.0, thick * 1.3)
        ]
        points = np.array(rows)
        s.add(hull(_laid(points, at, along), roof))
    end = np.array(
        [
            (x, y, h)
            for y in (-wide / 2, wide / 2)
            for x, h in ((-half, z - 0.01), (half, z - 0.01), (0.0, z + rise))
        ]
    )
    s.add(hull(_laid(end, at, along), wall))


def _laid(points: Array, at: tuple[float, float, float], along: str) -> Array:
    """Points of a roof whose ridge runs along y, turned to its direction and moved to its place."""
    laid = points if along == "y" else points[:, [1, 0, 2]]
    return np.asarray(laid + (at[0], at[1], 0.0))


def window(
    s: Sculptor, at: tuple[float, float, float], size: tuple[float, float], side: str,
    frame: Colour, pane: Colour, *, cross: bool = True,
) -> None:  # fmt: skip
    """A framed window on a wall that faces "x" (front or back) or "y" (both sides)."""
    x, y, z = at
    w, h = size
    rim = 0.12 * min(w, h) + 0.012

    def slab(depth: float, across: float, tall: float, dy: float = 0.0, dz: float = 0.0) -> None:
        part = (
            box((depth, across, tall), (x, y + dy, z + dz), frame if depth != 0.034 else pane)
            if side == "x"
            else box((across, depth, tall), (x + dy, y, z + dz), frame if depth != 0.034 else pane)
        )
        (s.pair if y > 1e-6 else s.add)(part)

    slab(0.024, w + 2 * rim, h + 2 * rim)
    slab(0.034, w, h)
    if cross and w > 0.06:
        slab(0.044, 0.012, h)
        slab(0.044, w, 0.012)


@category
def villa(s: Sculptor) -> str:
    """A dwelling house: one to three storeys, wing or garage, porch, dormers, chimney."""
    wall = s.main_or(0.55, *WALLS, saturation=(0.2, 0.6))
    roof = s.choose(*ROOFS, s.partner(wall)) if not s.unusual else s.main_colour()
    s.decorate(wall, "bricks", "planks", "bricks", "grain", chance=0.55)
    s.decorate(roof, "bricks", "bands", "planks", chance=0.6)
    frame = s.choose((0.95, 0.95, 0.93), (0.95, 0.95, 0.93), (0.3, 0.2, 0.14), (0.2, 0.21, 0.22))
    pane = s.choose(GLASS, (0.42, 0.55, 0.62), (0.97, 0.86, 0.5))
    floors = s.choose(1, 2, 2, 3)
    deep, wide = s.uniform(0.6, 0.8), s.along(0.62, 1.15)
    storey = s.uniform(0.26, 0.32)
    tall = floors * storey + 0.04
    s.add(
        box((deep, wide, tall), (0, 0, tall / 2), wall),
        box((deep + 0.04, wide + 0.04, 0.05), (0, 0, 0.025), (0.5, 0.49, 0.47)),
    )
    kind = s.choose("side", "side", "front", "flat", "hip")
    rise = s.uniform(0.24, 0.4)
    if kind == "flat":
        s.add(box((deep + 0.08, wide + 0.08, 0.06), (0, 0, tall + 0.02), roof))
        if s.chance(0.6):
            s.add(
                box((deep * 0.55, wide * 0.5, 0.2), (-deep * 0.1, 0, tall + 0.14), wall),
                box((deep * 0.6, wide * 0.55, 0.04), (-deep * 0.1, 0, tall + 0.25), roof),
            )
    elif kind == "hip":
        low = [
            (x * (deep / 2 + 0.07), y * (wide / 2 + 0.07), tall + d)
            for x in (-1, 1)
            for y in (-1, 1)
            for d in (-0.02, 0.02)
        ]
        ridge = [
            (0.02 * d, y * max(0.05, (wide - deep * 0.7) / 2), tall + rise)
            for y in (-1, 1)
            for d in (-1, 1)
        ]
        s.add(hull(np.array(low + ridge), roof))
    else:
        gable(s, (deep, wide), (0, 0, tall), rise, roof, wall, along="y" if kind == "side" else "x")
    _fronts(s, deep, wide, floors, storey, frame, pane, roof)
    if kind != "flat" and s.chance(0.75):
        y = s.choose(0.0, wide * 0.3)
        stack = box(
            (0.10, 0.10, rise + 0.14),
            (-deep * 0.16, y, tall + (rise + 0.14) / 2),
            s.choose((0.6, 0.3, 0.22), (0.55, 0.54, 0.52)),
        )
        (s.pair if y else s.add)(stack)
    if kind == "side" and s.chance(0.4):
        for y in (0.0,) if wide < 0.8 else (wide * 0.24,):
            x, z = deep * 0.27, tall + rise * 0.25
            parts = [
                box((deep * 0.3, 0.18, 0.2), (x, y, z), wall),
                box((deep * 0.34, 0.24, 0.03), (x, y, z + 0.11), roof),
                box((0.02, 0.12, 0.11), (x + deep * 0.15, y, z + 0.01), pane),
            ]
            (s.pair if y else s.add)(*parts)
    if s.chance(0.3):
        side, h = 0.34, storey * 0.92
        s.pair(
            box((deep * 0.7, side, h), (-0.04, wide / 2 + side / 2, h / 2), wall),
            box((deep * 0.74, side + 0.04, 0.04), (-0.04, wide / 2 + side / 2, h + 0.02), roof),
        )
        s.pair(
            box((0.02, side * 0.72, h * 0.72), (deep * 0.31, wide / 2 + side / 2, h * 0.38), frame)
        )
    shape = "flat roof" if kind == "flat" else "roof"
    return f"a {colour_name(wall)} house with a {colour_name(roof)} {shape}"


def _fronts(
    s: Sculptor,
    deep: float,
    wide: float,
    floors: int,
    storey: float,
    frame: Colour,
    pane: Colour,
    roof: Colour,
) -> None:
    """Door, porch, and windows on all sides."""
    door = s.choose(s.wood(), s.partner(roof), hsv(s.hue, 0.6, 0.45), (0.93, 0.93, 0.9))
    count = 1 if wide < 0.8 else 2
    w, h = s.uniform(0.09, 0.13), s.uniform(0.12, 0.15)
    pitch = wide / (2 * count + 1)
    for floor in range(floors):
        z = floor * storey + storey * 0.58
        for k in range(1, count + 1):
            for x in (deep / 2, -deep / 2):
                window(s, (x, k * pitch, z), (w, h), "x", frame, pane)
        if floor > 0:
            window(s, (deep / 2, 0.0, z), (w, h), "x", frame, pane)
        for x in (-deep * 0.22, deep * 0.22):
            window(s, (x, wide / 2, z), (w, h), "y", frame, pane)
    high = storey * 0.72
    s.add(
        box((0.026, 0.17, high + 0.03), (deep / 2, 0, high / 2 + 0.02), frame),
        box((0.04, 0.13, high), (deep / 2, 0, high / 2), door),
    )
    s.add(box((0.10, 0.24, 0.04), (deep / 2 + 0.05, 0, 0.02), (0.6, 0.59, 0.57)))
    if s.chance(0.45):
        reach = s.uniform(0.14, 0.24)
        s.add(box((reach, 0.36, 0.035), (deep / 2 + reach / 2, 0, storey * 0.95), roof))
        s.pair(
            box((0.03, 0.03, storey * 0.94), (deep / 2 + reach - 0.025, 0.15, storey * 0.47), frame)
        )


@category
def barn(s: Sculptor) -> str:
    """A barn, shed, garage or kennel: wide door in front, gambrel or gable roof."""
    wall = s.main_or(
        0.6, (0.62, 0.14, 0.10), (0.55, 0.38, 0.24), (0.90, 0.88, 0.84), saturation=(0.4, 0.8)
    )
    roof, trim = s.choose(*ROOFS, (0.75, 0.75, 0.74)), (0.95, 0.94, 0.91)
    s.decorate(wall, "planks", "bands", chance=0.7)
    s.decorate(roof, "bands", "stripes", "bricks", chance=0.4)
    kind = s.choose("barn", "barn", "shed", "dog kennel")
    long, wide = s.along(0.6, 1.2), s.uniform(0.6, 0.75)
    tall = s.uniform(0.36, 0.48)
    s.add(box((long, wide, tall), (0, 0, tall / 2), wall))
    if kind == "barn":
        y, z, top = wide * 0.34, tall + 0.2, tall + s.uniform(0.3, 0.36)
        body = [(-wide / 2, tall - 0.01), (wide / 2, tall - 0.01), (y, z), (0, top), (-y, z)]
        ends = (-long / 2 + 0.001, long / 2 - 0.001)
        s.add(hull(np.array([(x, a, b) for a, b in body for x in ends]), wall))
        run = long / 2 + 0.06
        for (a, b), (c, d) in (((wide / 2 + 0.04, tall - 0.06), (y, z)), ((y, z), (0.0, top))):
            rows = [
                (x, p, q + e)
                for x in (-run, run)
                for p, q in ((a, b), (c, d))
                for e in (0.0, 0.045)
            ]
            s.pair(hull(np.array(rows), roof))
    else:
        top = tall + s.uniform(0.2, 0.32)
        gable(s, (long, wide), (0, 0, tall), top - tall, roof, wall, along="x")
    x = long / 2
    if kind == "dog kennel":
        s.add(
            box((0.02, wide * 0.4, tall * 0.6), (x, 0, tall * 0.3), (0.12, 0.1, 0.1)),
            cylinder(wide * 0.2, 0.02, (x, 0, tall * 0.6), (0.12, 0.1, 0.1), axis="x"),
        )
        s.add(box((0.03, wide * 0.45, 0.08), (x, 0, tall + 0.04), trim))
        return f"a {colour_name(wall)} {kind} with a {colour_name(roof)} roof"
    gate = s.choose(wall, s.wood(), trim)
    w, h = wide * s.uniform(0.36, 0.5), tall * 0.84
    s.add(
        box((0.02, w + 0.06, h + 0.03), (x, 0, h / 2), trim),
        box((0.034, w, h), (x, 0, h / 2), s.shade(gate, 0.85)),
        box((0.042, 0.015, h), (x, 0, h / 2), trim),
    )
    for way in (-1, 1):
        rows = [
            (x + d, way * (w * 0.25 + e * (w * 0.22)), h / 2 + e * h * 0.46 + g)
            for d in (0.0, 0.022)
            for e in (-1, 1)
            for g in (-0.012, 0.012)
        ]
        s.add(hull(np.array(rows), trim))
    s.add(
        box((0.02, 0.12, 0.12), (x, 0, tall + 0.1), trim),
        box((0.032, 0.085, 0.085), (x, 0, tall + 0.1), (0.15, 0.14, 0.14)),
    )
    window(s, (0.0, wide / 2, tall * 0.55), (0.12, 0.12), "y", trim, GLASS)
    return f"a {colour_name(wall)} {kind} with a {colour_name(roof)} roof"
