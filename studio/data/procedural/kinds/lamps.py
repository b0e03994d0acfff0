"""Lamps: on a table, on the floor, in the hand; what leans or shines, leans to the front."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import bead
from studio.data.procedural.kinds.vessels import BRASS, CERAMIC, STEEL, smooth
from studio.data.procedural.parts import Colour, Part, box, cylinder
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import arch, lathe, moved, shell, tube, turned

BLACK: Colour = (0.12, 0.12, 0.13)
CREAM: tuple[Colour, ...] = ((0.96, 0.92, 0.80), (0.97, 0.95, 0.90), (0.93, 0.86, 0.70))
GLOW: Colour = (1.0, 0.95, 0.75)


def shade(radius: float, tall: float, colour: Colour, style: str) -> list[Part]:
    """A hollow lampshade that stands on z = 0, with its lamp."""
    top = {"drum": 0.92, "cone": 0.5, "bell": 0.45, "empire": 0.68}[style] * radius
    bend = -0.12 if style == "bell" else 0.0
    middle = (radius + top) / 2 + bend * radius
    outer = [(radius, 0.0), (middle, tall * 0.5), (top, tall)]
    light = (min(1.0, colour[0] * 1.1 + 0.08), min(1.0, colour[1] * 1.08 + 0.06), colour[2])
    parts = shell(outer, [r - 0.014 for r, _ in outer], colour, lining=light)
    parts.append(bead((0.055, 0.055, 0.07), (0, 0, tall * 0.5), GLOW))
    return parts


def shade_style(s: Sculptor) -> tuple[str, Colour]:
    """Outline and colour of a shade."""
    colour = s.main_or(0.4, *CREAM, saturation=(0.25, 0.85))
    s.decorate(colour, "stripes", "dots", "grain", "checks", "gradient", "bands", chance=0.5)
    return s.choose("drum", "drum", "empire", "empire", "cone", "bell"), colour


def foot(s: Sculptor, tall: float, colour: Colour) -> None:
    """What carries a table lamp's shade: vase, column, ball, turned wood, plate and rod, tripod."""
    kind = s.choose("vase", "vase", "balls", "column", "rod", "tripod")
    r = s.uniform(0.12, 0.20)
    if kind == "vase":
        belly = s.uniform(0.25, 0.55)
        s.add(
            *lathe(
                smooth(
                    [
                        (r * 0.7, 0),
                        (r * 0.75, 0.03),
                        (r, tall * belly),
                        (r * 0.4, tall * 0.82),
                        (0.03, tall),
                    ],
                    10,
                ),
                colour,
            )
        )
    elif kind == "balls":
        count = s.choose(2, 3)
        s.add(*lathe([(r * 1.0, 0), (r * 1.0, 0.03), (0.06, 0.05)], colour))
        each = (tall - 0.05) / count
        for k in range(count):
            wide = r * (0.95 - 0.2 * k / count)
            s.add(*lathe([(wide * np.sin(t) + 0.01, 0.05 + each * (k + 0.5 - 0.5 * np.cos(t)))
                          for t in np.linspace(0.15, 2.99, 7)], colour))  # fmt: skip
    elif kind == "column":
        square = s.choose(2.0, 4.0)
        rows = [
            (r * 0.95, 0),
            (r * 0.95, 0.05),
            (r * 0.55, 0.08),
            (r * 0.5, tall * 0.9),
            (r * 0.6, tall),
        ]
        s.add(*lathe(rows, colour, squareness=square))
    elif kind == "rod":
        s.add(*lathe([(r * 1.05, 0), (r * 1.05, 0.025), (r * 0.9, 0.035)], colour))
        s.add(cylinder(0.02, tall, (0, 0, tall / 2), colour, sides=12))
    else:
        tripod(s, tall, r * 1.5, 0.02, colour)
    s.add(cylinder(0.014, 0.2, (0, 0, tall + 0.05), BRASS, sides=10))


def tripod(s: Sculptor, tall: float, reach: float, thick: float, colour: Colour) -> None:
    """Three legs that meet at the top, one of them in front."""
    leg = tube([(reach, 0, 0), (0.015, 0, tall)], thick, colour, sides=6)
    for angle in (0, 120, 240):
        s.add(*turned(leg, "z", angle))
    s.add(cylinder(0.04, 0.05, (0, 0, tall - 0.01), colour, sides=12))


@category
def table_lamp(s: Sculptor) -> str:
    """A lamp with a shade on a foot, or a jointed desk lamp that bends to the front."""
    if s.chance(0.35):
        return _desk_lamp(s)
    style, cloth = shade_style(s)
    stand = s.choose(s.wood(), s.choose(*CERAMIC), s.choose(BRASS, STEEL, BLACK), s.partner(cloth))
    s.decorate(stand, "marble", "bands", "dots", "wood", chance=0.3)
    tall, radius = s.along(0.32, 0.72), s.uniform(0.24, 0.34)
    foot(s, tall, stand)
    high = s.uniform(0.24, 0.38)
    s.add(*moved(shade(radius, high, cloth, style), (0, 0, tall + s.uniform(0.0, 0.04))))
    return f"a table lamp with a {colour_name(cloth)} shade"


def _desk_lamp(s: Sculptor) -> str:
    """A foot, two arms with joints, and a cone that shines down in front."""
    paint = s.main_or(0.4, BLACK, (0.93, 0.93, 0.91), STEEL, saturation=(0.5, 0.95))
    arm = s.choose(paint, STEEL, BLACK, BRASS)
    s.add(*lathe([(0.20, 0), (0.20, 0.03), (0.16, 0.05), (0.04, 0.06)], paint))
    low, high = s.along(0.35, 0.6), s.uniform(0.3, 0.48)
    back, ahead = np.deg2rad(s.uniform(8, 38)), np.deg2rad(s.uniform(25, 70))
    elbow = (-low * np.sin(back), 0.0, 0.05 + low * np.cos(back))
    end = (elbow[0] + high * np.sin(ahead), 0.0, elbow[2] + high * np.cos(ahead))
    pair = s.chance(0.4)
    for y in (-0.03, 0.03) if pair else (0.0,):
        s.add(*tube([(0, y, 0.05), (elbow[0], y, elbow[2])], 0.014, arm, sides=6))
        s.add(*tube([(elbow[0], y, elbow[2]), (end[0], y, end[2])], 0.014, arm, sides=6))
    for at in ((0.0, 0.0, 0.06), elbow, end):
        s.add(cylinder(0.035, 0.10, at, arm, axis="y", sides=12))
    r, tall, tilt = s.uniform(0.13, 0.18), s.uniform(0.18, 0.26), s.uniform(15, 55)
    rows = [(r, 0.0), (r * s.uniform(0.75, 0.9), tall * 0.45), (r * 0.42, tall * 0.85)]
    head = shell(rows, [q - 0.015 for q, _ in rows], paint, lining=(0.96, 0.95, 0.90))
    head += lathe([(r * 0.42, tall * 0.85), (r * 0.36, tall * 1.08), (r * 0.2, tall * 1.15)], paint)
    head.append(bead((0.06, 0.06, 0.06), (0, 0, tall * 0.25), GLOW))
    head = moved(turned(moved(head, (0, 0, -tall * 1.0)), "y", -tilt), end)
    s.add(*head)
    return f"a {colour_name(paint)} desk lamp"


@category
def floor_lamp(s: Sculptor) -> str:
    """A standard lamp: straight, on a tripod, or an arc that hangs to the front."""
    style, cloth = shade_style(s)
    metal = s.choose(BRASS, STEEL, BLACK, BLACK, s.wood())
    kind = s.choose("straight", "straight", "tripod", "arc")
    tall, radius, high = s.along(1.0, 1.6), s.uniform(0.2, 0.3), s.uniform(0.22, 0.34)
    if kind == "tripod":
        tripod(s, tall, s.uniform(0.26, 0.36), s.uniform(0.018, 0.028), s.choose(metal, s.wood()))
    else:
        s.add(*lathe([(0.20, 0), (0.20, 0.03), (0.05, 0.05)], metal))
    if kind == "arc":
        reach, rise = s.uniform(0.5, 0.8), s.uniform(0.2, 0.35)
        quarter = arch(
            (0, 0, tall * 0.62), (reach * 2, 0, tall * 0.62), (0, 0, tall * 0.38 + rise), 16
        )[:11]
        s.add(*tube([(0, 0, 0.03), *quarter], 0.018, metal, sides=8))
        x, _, z = quarter[-1]
        s.add(*moved(shade(radius * 0.9, high * 0.8, cloth, style), (x, 0, z - high * 0.8)))
        return f"an arc lamp with a {colour_name(cloth)} shade"
    s.add(cylinder(0.016, tall, (0, 0, tall / 2), metal, sides=10))
    s.add(*moved(shade(radius, high, cloth, style), (0, 0, tall - high * 0.3)))
    if s.chance(0.3):
        z = tall * s.uniform(0.55, 0.65)
        s.add(*tube([(0, 0, z), (0.14, 0, z + 0.08), (0.2, 0, z + 0.05)], 0.012, metal, sides=6))
        small = shade(0.08, 0.1, cloth, "cone")
        s.add(*moved(small, (0.22, 0, z - 0.05)))
    return f"a floor lamp with a {colour_name(cloth)} shade"


@category
def lantern(s: Sculptor) -> str:
    """A lantern: framed panes or a round storm lamp around a light, a ring on top."""
    metal = s.main_or(0.45, BLACK, BRASS, STEEL, (0.35, 0.22, 0.14), saturation=(0.5, 0.9))
    pane = s.choose((0.98, 0.88, 0.60), (0.72, 0.80, 0.82), (0.96, 0.93, 0.82))
    tall, half = s.along(0.5, 0.85), s.uniform(0.2, 0.26)
    round_ = s.chance(0.4)
    if round_:
        belly = s.uniform(0.75, 1.0)
        s.add(*lathe([(half, 0), (half, 0.10), (half * 0.8, 0.14)], metal))
        s.add(*lathe(smooth([(half * 0.55, 0.13), (half * belly, 0.13 + tall * 0.4),
                             (half * 0.55, 0.13 + tall * 0.8)], 8), pane))  # fmt: skip
        s.pair(
            *tube(
                [
                    (0, half * 0.95, 0.05),
                    (0, half * 1.15, tall * 0.5),
                    (0, half * 0.6, tall + 0.12),
                ],
                0.02,
                metal,
                sides=6,
            )
        )
        s.add(*lathe([(half * 0.75, 0.12 + tall * 0.78), (half * 0.6, 0.2 + tall * 0.82),
                      (half * 0.35, 0.22 + tall * 0.9)], metal))  # fmt: skip
        s.add(cylinder(0.04, 0.07, (half, 0, 0.08), BRASS, axis="x", sides=10))
        top = 0.2 + tall * 0.85
    else:
        s.add(box((half * 2.2, half * 2.2, 0.05), (0, 0, 0.025), metal))
        s.add(box((half * 1.8, half * 1.8, tall), (0, 0, 0.05 + tall / 2), pane))
        bar = s.uniform(0.03, 0.05)
        for x in (-half * 0.93, half * 0.93):
            s.pair(box((bar, bar, tall), (x, half * 0.93, 0.05 + tall / 2), metal))
        if s.chance(0.5):
            s.add(box((half * 1.84, half * 1.84, 0.02), (0, 0, 0.05 + tall * 0.5), metal))
        s.add(bead((0.05, 0.05, 0.09), (half * 0.87, 0, 0.05 + tall * 0.35), (1.0, 0.72, 0.25)))
        s.add(box((half * 2.1, half * 2.1, 0.05), (0, 0, 0.05 + tall), metal))
        roof = tall + 0.07
        s.add(*lathe([(half * 1.45, roof), (half * 0.4, roof + 0.16)], metal, sides=4))
        s.add(cylinder(0.05, 0.08, (0, 0, roof + 0.18), metal, sides=12))
        top = roof + 0.16
    ring = arch((0, -0.09, top), (0, 0.09, top), (0, 0, s.uniform(0.14, 0.24)), 10)
    s.add(*tube(ring, 0.018, metal, sides=6))
    return f"a {colour_name(metal)} {'storm lantern' if round_ else 'lantern'}"
