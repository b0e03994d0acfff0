"""House and mug: walls with openings, and a wall with bands."""

from __future__ import annotations

from studio.data.procedural.parts import (
    Colour,
    Part,
    box,
    cylinder,
    ellipsoid,
    prism,
    rotation,
    taper,
)
from studio.data.procedural.sculptor import Sculptor, category, colour_name, hsv, lighten

GLASS: Colour = (0.16, 0.22, 0.30)


@category
def house(s: Sculptor) -> str:
    """A house: walls, gable or hipped roof, door, windows, chimney."""
    roof = s.main_colour((0.5, 0.85))
    wall = s.choose(
        hsv(s.uniform(0.07, 0.15), s.uniform(0.08, 0.35), s.uniform(0.85, 0.98)),
        s.partner(roof),
        hsv(s.uniform(0.02, 0.07), s.uniform(0.35, 0.55), s.uniform(0.6, 0.85)),
    )
    wall = lighten(wall, 0.6)
    s.decorate(wall, "bricks", "planks", "bricks", "grain", chance=0.6)
    s.decorate(roof, "bricks", "planks", "stripes", chance=0.5)
    frame = hsv(0.12, s.uniform(0.02, 0.12), 0.97)
    door = s.choose(s.partner(roof), s.wood(), hsv(s.hue, 0.7, 0.45))
    pane = s.choose(GLASS, (0.30, 0.42, 0.55), (0.98, 0.86, 0.45))
    deep, wide = s.uniform(0.62, 0.85), s.uniform(0.72, 0.95)
    tall = s.along(0.48, 0.98)
    rise = s.uniform(0.26, 0.40)
    eave = 0.06
    base = hsv(0.1, 0.08, s.uniform(0.4, 0.6))
    s.add(
        box((deep, wide, tall), (0, 0, tall / 2), wall),
        box((deep + 0.06, wide + 0.06, 0.09), (0, 0, 0.045), base),
    )
    kind = s.choose("gable", "hip", "side")
    thick = 0.09
    if kind == "hip":
        low = (deep + 2 * eave, wide + 2 * eave)
        s.add(
            box((low[0], low[1], thick), (0, 0, tall + thick / 2), roof),
            taper(low, (0.12, wide * 0.45), rise, (0, 0, tall + thick + rise / 2), roof),
        )
    else:
        _gable(s, kind, deep, wide, tall, rise, eave, thick, roof, wall)
    _openings(s, deep, wide, tall, frame, door, pane)
    if s.chance(0.75):
        x, y = -deep * 0.22, 0.0
        brick = hsv(0.03, s.uniform(0.4, 0.6), s.uniform(0.45, 0.7))
        height = rise + 0.12
        s.add(
            box((0.14, 0.14, height), (x, y, tall + height / 2), brick),
            box((0.18, 0.18, 0.06), (x, y, tall + height), base),
        )
    return f"a {colour_name(wall)} house with a {colour_name(roof)} roof"


def _gable(
    s: Sculptor, kind: str, deep: float, wide: float, tall: float, rise: float, eave: float,
    thick: float, roof: Colour, wall: Colour,
) -> None:  # fmt: skip
    """Two sloping slabs over a wall triangle; "gable" has its triangle at the front."""
    span, run = (wide, deep) if kind == "gable" else (deep, wide)
    half = span / 2
    slope = rise / half
    drop = slope * eave
    ridge = [(half + eave, tall - drop), (0.0, tall + rise), (0.0, tall + rise + thick * 1.3),
             (half + eave, tall - drop + thick * 1.3)]  # fmt: skip
    slab = prism(ridge, run + 2 * eave, roof)
    gable = prism(
        [(-half, tall - 0.01), (half, tall - 0.01), (0.0, tall + rise)], run - 0.001, wall
    )
    other = slab.turned(rotation("z", 180))
    turn = rotation("z", 90) if kind == "gable" else rotation("z", 0)
    s.add(slab.turned(turn), other.turned(turn), gable.turned(turn))


def _openings(
    s: Sculptor, deep: float, wide: float, tall: float, frame: Colour, door: Colour, pane: Colour
) -> None:
    """Door and windows on the four walls."""
    front = deep / 2
    high = min(0.36, tall * 0.72)
    s.add(
        box((0.05, 0.24, high + 0.03), (front, 0, (high + 0.03) / 2), frame),
        box((0.08, 0.18, high), (front, 0, high / 2), door),
        box((0.16, 0.28, 0.10), (front + 0.06, 0, 0.05), (0.6, 0.6, 0.6)),
    )
    size, rows = 0.17, [tall * 0.5] if tall < 0.62 else [0.25, tall - 0.19]
    for z in rows:
        y = wide * 0.31
        s.pair(*_window((front, y, z), size, frame, pane, "x"))
        s.pair(*_window((-front, y, z), size, frame, pane, "x"))
        for x in (-deep * 0.24, deep * 0.24):
            s.pair(*_window((x, wide / 2, z), size, frame, pane, "y"))
    if len(rows) > 1:
        s.add(*_window((front, 0, rows[-1]), size, frame, pane, "x"))


def _window(
    centre: tuple[float, float, float], size: float, frame: Colour, pane: Colour,
    facing: str,
) -> list[Part]:  # fmt: skip
    """A frame and a pane in a wall that faces along "x" or "y"."""
    outer, inner = size + 0.05, size - 0.03
    if facing == "x":
        return [box((0.04, outer, outer), centre, frame), box((0.06, inner, inner), centre, pane)]
    return [box((outer, 0.04, outer), centre, frame), box((inner, 0.06, inner), centre, pane)]


@category
def mug(s: Sculptor) -> str:
    """A full mug: body with bands, rim, drink and a handle at the back."""
    glaze = s.main_colour((0.35, 0.9))
    band = s.partner(glaze)
    s.decorate(glaze, "label", "dots", "stripes", "bands", "checks", "gradient", chance=0.5)
    radius, tall = s.uniform(0.34, 0.42), s.along(0.65, 1.05)
    flare = s.uniform(0.86, 1.0)
    foot = radius * flare

    def at(z: float) -> float:
        return foot + (radius - foot) * z / tall

    s.add(cylinder(foot, tall, (0, 0, tall / 2), glaze, top_radius=radius, sides=32))
    for low, high in [(0.0, 0.10), (0.38, 0.62)] if s.chance(0.6) else [(0.25, 0.36), (0.60, 0.71)]:
        a, b = low * tall, high * tall
        s.add(
            cylinder(
                at(a) + 0.012, b - a, (0, 0, (a + b) / 2), band, top_radius=at(b) + 0.012, sides=32
            )
        )
    drink = s.choose((0.28, 0.16, 0.09), (0.62, 0.40, 0.22), (0.93, 0.88, 0.78))
    wall = 0.08
    for k in range(16):
        width = 2 * radius * 0.2 * 1.02
        rim = box((wall, width, 0.10), (radius - wall / 2 + 0.005, 0, tall + 0.03), glaze)
        s.add(rim.turned(rotation("z", (k + 0.5) * 22.5)))
    s.add(cylinder(radius - wall * 0.6, 0.03, (0, 0, tall + 0.005), drink, sides=28))
    size, thick = tall * s.uniform(0.24, 0.30), s.uniform(0.10, 0.13)
    centre = (-radius * 0.95, 0.0, tall * 0.52)
    for k in range(9):
        angle = 90 + 180 * k / 8
        step = box((thick, thick, size * 0.50), (centre[0] + size, 0, centre[2]), glaze, bevel=0.02)
        s.add(step.turned(rotation("y", -angle), centre))
    heart = s.partner(band)
    s.add(ellipsoid((0.05, 0.12, 0.12), (at(tall * 0.5) - 0.005, 0, tall * 0.5), heart))
    return f"a {colour_name(glaze)} mug with {colour_name(band)} bands"
