"""Two-wheelers in metres: bicycle, motor scooter, motorcycle; both wheels stand in the XZ plane."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import bead, limb, rounded
from studio.data.procedural.kinds.car_bodies import CHROME, DARK, TYRE
from studio.data.procedural.parts import Colour, Part, box, cylinder, ellipsoid
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import hull, moved, shell, spline, tube, turned

Point = tuple[float, float, float]


def hoop(radius: float, thick: float, x: float, colour: Colour) -> list[Part]:
    """A tyre in the XZ plane that stands on the ground."""
    t = np.linspace(0, 2 * np.pi, 25)
    centre = radius + thick
    path = np.c_[x + radius * np.cos(t), np.zeros(25), centre + radius * np.sin(t)]
    return tube(path, thick, colour, sides=6)


def mudguard(
    radius: float, width: float, at: tuple[float, float], arc: tuple[int, int], colour: Colour
) -> list[Part]:  # fmt: skip
    """A strip around a wheel at (x, z) from piece to piece of 20 counted from the front upwards."""
    ring = shell(
        [(radius, -width / 2), (radius, width / 2)], [radius - 0.02] * 2, colour, sides=20, arc=arc
    )
    return moved(turned(ring, "x", 90), (at[0], 0.0, at[1]))


@category
def bicycle(s: Sculptor) -> str:
    """A bicycle: diamond or step-through frame, spoked wheels, saddle, handlebar, basket."""
    paint = s.main_or(0.25, DARK, CHROME, (0.94, 0.94, 0.93), saturation=(0.55, 0.95))
    rubber, metal = s.choose(TYRE, TYRE, (0.45, 0.33, 0.22)), s.choose(CHROME, DARK)
    r, thick = s.uniform(0.29, 0.34), s.uniform(0.018, 0.032)
    base = s.along(0.95, 1.12)
    rear, front, z = -base / 2, base / 2, r + thick
    for x in (rear, front):
        s.add(
            *hoop(r, thick, x, rubber), cylinder(0.04, 0.09, (x, 0, z), metal, axis="y", sides=10)
        )
        for k in range(9):
            a = np.pi * k / 9
            dx, dz = 0.98 * r * np.cos(a), 0.98 * r * np.sin(a)
            s.add(limb((x - dx, 0, z - dz), (x + dx, 0, z + dz), 0.004, 0.004, metal))
    crank, seat = (rear + 0.42, 0.0, z - 0.05), (rear + 0.30, 0.0, z + 0.42)
    head, neck = (front - 0.20, 0.0, z + 0.44), (front - 0.15, 0.0, z + 0.30)
    bars: list[tuple[Point, Point]] = [(crank, seat), (crank, neck)]
    step = s.chance(0.4)
    bars.append((neck, (rear + 0.38, 0.0, z + 0.1)) if step else (head, seat))
    s.add(
        *(limb(a, b, 0.019, 0.019, paint) for a, b in bars), limb(neck, head, 0.024, 0.024, paint)
    )
    s.pair(
        limb((rear, 0.05, z), (seat[0], 0.014, seat[2] - 0.03), 0.011, 0.011, paint),
        limb((rear, 0.05, z), (crank[0], 0.03, crank[2]), 0.012, 0.012, paint),
        limb((front, 0.05, z), (neck[0] + 0.01, 0.04, neck[2] - 0.01), 0.014, 0.017, paint),
        limb(
            (crank[0], 0.02, crank[2]), (crank[0] + 0.16, 0.08, crank[2] - 0.03), 0.012, 0.01, metal
        ),
        box((0.09, 0.09, 0.022), (crank[0] + 0.17, 0.13, crank[2] - 0.03), DARK),
    )
    s.add(cylinder(0.10, 0.02, crank, metal, axis="y", sides=18))
    top = seat[2] + s.uniform(0.1, 0.2)
    s.add(limb(seat, (seat[0] - 0.03, 0, top), 0.013, 0.013, CHROME))
    saddle = s.choose(DARK, (0.45, 0.27, 0.14))
    s.add(
        limb((seat[0] - 0.12, 0, top + 0.02), (seat[0] + 0.12, 0, top + 0.01), 0.055, 0.02, saddle)
    )
    s.pair(
        limb(
            (seat[0] - 0.12, 0.03, top + 0.02),
            (seat[0] - 0.02, 0.01, top + 0.02),
            0.045,
            0.03,
            saddle,
        )
    )
    grip = (head[0] - 0.02, 0.0, head[2] + s.uniform(0.08, 0.2))
    s.add(limb(head, grip, 0.014, 0.014, CHROME))
    if s.chance(0.35):
        path = [
            (grip[0], 0, grip[2]),
            (grip[0] + 0.02, 0.2, grip[2]),
            (grip[0] + 0.14, 0.21, grip[2] - 0.01),
            (grip[0] + 0.14, 0.21, grip[2] - 0.12),
            (grip[0] + 0.04, 0.21, grip[2] - 0.14),
        ]
    else:
        back = s.uniform(-0.16, 0.02)
        path = [
            (grip[0], 0, grip[2]),
            (grip[0] + 0.03, 0.14, grip[2] + 0.04),
            (grip[0] + back, 0.29, grip[2] + 0.03),
        ]
    s.pair(
        *tube(spline(path, 8), 0.013, CHROME, sides=6),
        limb(path[-1], (path[-1][0] - 0.08, path[-1][1], path[-1][2]), 0.02, 0.02, DARK),
    )
    extra = ""
    if s.chance(0.5):
        s.add(
            *mudguard(r + thick + 0.035, 0.07, (rear, z), (3, 11), paint),
            *mudguard(r + thick + 0.035, 0.07, (front, z), (2, 8), paint),
        )
    if s.chance(0.3):
        basket = s.wood()
        s.add(
            *moved(
                shell(
                    [(0.11, 0), (0.14, 0.18)],
                    [0.095, 0.125],
                    basket,
                    squareness=4.0,
                    stretch=(1, 1.3),
                ),
                (head[0] + 0.2, 0, head[2] - 0.06),
            ),
            box((0.2, 0.26, 0.02), (head[0] + 0.2, 0, head[2] - 0.05), basket),
        )
        extra = " with a basket"
    return f"a {colour_name(paint)} bicycle{extra}"


@category
def motorcycle(s: Sculptor) -> str:
    """A motorcycle or motor scooter: fat tyres, tank or leg shield, saddle, lamp, exhaust."""
    paint = s.main_or(0.25, DARK, (0.94, 0.94, 0.93), saturation=(0.6, 0.95))
    saddle = s.choose(DARK, (0.42, 0.25, 0.14), DARK)
    lamp, metal = (1.0, 0.97, 0.86), CHROME
    if s.chance(0.45):
        return _scooter(s, paint, saddle)
    r, thick, base = s.uniform(0.22, 0.26), s.uniform(0.06, 0.085), s.along(1.25, 1.6)
    rear, front, z = -base / 2, base / 2, r + thick
    for x in (rear, front):
        s.add(
            *hoop(r, thick, x, TYRE), cylinder(r * 0.5, 0.07, (x, 0, z), metal, axis="y", sides=16)
        )
        for k in range(4):
            a = np.pi * (k + 0.5) / 4
            s.add(
                limb(
                    (x - r * np.cos(a), 0, z - r * np.sin(a)),
                    (x + r * np.cos(a), 0, z + r * np.sin(a)),
                    0.018,
                    0.018,
                    metal,
                )
            )
    head = (front - s.uniform(0.28, 0.4), 0.0, z + 0.52)
    s.pair(
        limb((front, 0.1, z), (head[0] + 0.03, 0.07, head[2]), 0.028, 0.032, metal),
        limb((rear, 0.1, z), (rear + 0.5, 0.09, z + 0.02), 0.028, 0.03, DARK),
    )
    s.add(
        rounded((0.42, 0.26, 0.34), (-0.04, 0, z + 0.06), (0.35, 0.36, 0.38), 0.05),
        cylinder(0.13, 0.24, (0.06, 0, z + 0.26), (0.55, 0.56, 0.58), top_radius=0.1),
        box((0.5, 0.1, 0.08), (0.1, 0, z + 0.36), DARK),
    )
    tank = ellipsoid((0.3, 0.15, 0.14), (head[0] - 0.32, 0, head[2] - 0.03), paint)
    s.add(
        tank,
        rounded((0.62, 0.26, 0.10), (rear + 0.36, 0, z + 0.40), saddle, 0.045),
        limb((rear + 0.0, 0, z + 0.38), (rear + 0.4, 0, z + 0.33), 0.08, 0.12, paint),
    )
    s.add(
        *mudguard(r + thick + 0.04, 0.17, (rear, z), (4, 9), paint),
        *mudguard(r + thick + 0.04, 0.15, (front, z), (3, 8), paint),
    )
    s.add(
        ellipsoid(
            (0.10, 0.12, 0.12), (head[0] + 0.16, 0, head[2] + 0.02), s.choose(paint, metal, DARK)
        ),
        ellipsoid((0.04, 0.10, 0.10), (head[0] + 0.235, 0, head[2] + 0.02), lamp),
    )
    rise = s.uniform(0.05, 0.28)
    path = spline(
        [
            (head[0], 0, head[2] + 0.05),
            (head[0] - 0.02, 0.2, head[2] + 0.06 + rise),
            (head[0] - 0.18, 0.36, head[2] + 0.04 + rise),
        ],
        6,
    )
    s.pair(
        *tube(path, 0.018, metal, sides=6),
        limb(path[-1], path[-1] + (-0.1, 0.02, 0), 0.026, 0.026, DARK),
        bead((0.02, 0.06, 0.045), path[3] + (0, 0.04, 0.12), DARK),
        limb(path[3], path[3] + (0, 0.03, 0.11), 0.009, 0.009, metal),
    )
    s.pair(
        *tube(
            spline(
                [
                    (0.12, 0.14, z + 0.16),
                    (0.1, 0.18, z - 0.12),
                    (-0.1, 0.19, z - 0.14),
                    (rear - 0.08, 0.19, z - 0.06),
                ],
                6,
            ),
            [0.03, 0.03, 0.03, 0.04, 0.05, 0.05, 0.045],
            metal,
        )
    )
    s.add(rounded((0.06, 0.16, 0.07), (rear - 0.2, 0, z + 0.3), (0.75, 0.06, 0.06), 0.02))
    if s.chance(0.35):
        s.add(
            limb(
                (head[0] + 0.12, 0, head[2] + 0.08),
                (head[0] + 0.0, 0, head[2] + 0.3),
                0.15,
                0.09,
                paint,
            )
        )
    return f"a {colour_name(paint)} motorcycle"


def _scooter(s: Sculptor, paint: Colour, saddle: Colour) -> str:
    """Small wheels, a leg shield in front, a round body under the saddle."""
    r, thick, base = 0.15, 0.05, s.along(1.05, 1.3)
    rear, front, z = -base / 2, base / 2, 0.2
    for x in (rear, front):
        s.add(
            *hoop(r, thick, x, TYRE),
            cylinder(r * 0.75, 0.06, (x, 0, z), CHROME, axis="y", sides=16),
        )
    head = (front - 0.17, 0.0, 0.98)
    s.add(
        limb((front, 0, z + 0.05), head, 0.045, 0.04, paint),
        limb((front - 0.04, 0, z + 0.17), (front + 0.02, 0, z + 0.15), 0.12, 0.13, paint),
    )
    shield = np.array(
        [
            (front - 0.14 - d + 0.02 * t, way * y, h)
            for d in (0.0, 0.04)
            for way in (-1, 1)
            for t, y, h in ((0, 0.20, 0.36), (-1, 0.24, 0.55), (-4, 0.14, 0.86))
        ]
    )
    s.add(
        hull(shield, paint),
        rounded((base * 0.52, 0.34, 0.06), (0.04, 0, 0.27), s.choose(paint, DARK), 0.025),
    )
    s.pair(ellipsoid((0.33, 0.13, 0.2), (rear + 0.12, 0.12, 0.45), paint))
    s.add(
        rounded((0.46, 0.24, 0.36), (rear + 0.16, 0, 0.45), paint, 0.1),
        rounded((0.58, 0.27, 0.10), (rear + 0.18, 0, 0.69), saddle, 0.048),
    )
    s.pair(
        *tube(
            [
                (head[0], 0, head[2]),
                (head[0] - 0.04, 0.2, head[2] + 0.05),
                (head[0] - 0.1, 0.33, head[2] + 0.04),
            ],
            0.03,
            s.choose(paint, CHROME),
        ),
        limb(
            (head[0] - 0.1, 0.33, head[2] + 0.04),
            (head[0] - 0.14, 0.42, head[2] + 0.03),
            0.026,
            0.024,
            DARK,
        ),
    )
    s.add(
        ellipsoid((0.10, 0.12, 0.1), (head[0] + 0.04, 0, head[2] + 0.05), paint),
        ellipsoid((0.03, 0.08, 0.07), (head[0] + 0.125, 0, head[2] + 0.05), (1.0, 0.97, 0.86)),
    )
    s.pair(
        limb(
            (head[0] - 0.02, 0.2, head[2] + 0.05),
            (head[0] - 0.02, 0.26, head[2] + 0.24),
            0.01,
            0.01,
            CHROME,
        ),
        bead((0.015, 0.06, 0.045), (head[0] - 0.02, 0.27, head[2] + 0.27), CHROME),
    )
    s.add(
        rounded((0.05, 0.12, 0.08), (rear - 0.16, 0, 0.52), (0.75, 0.06, 0.06), 0.02),
        box((0.02, 0.16, 0.1), (rear - 0.17, 0, 0.38), (0.93, 0.93, 0.9)),
    )
    if s.chance(0.3):
        s.add(
            rounded(
                (0.28, 0.3, 0.24),
                (rear - 0.16, 0, 0.84),
                s.choose(paint, DARK, s.partner(paint)),
                0.04,
            )
        )
    return f"a {colour_name(paint)} motor scooter"
