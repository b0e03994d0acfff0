"""More that drives: steam train, fire engine and heavy trucks, tractor."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import limb, rounded, wheel
from studio.data.procedural.kinds.car_bodies import CHROME, DARK, GLASS, TYRE, WHITE
from studio.data.procedural.parts import box, cylinder, ellipsoid
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import hull, lathe, moved, tube, turned


@category
def train(s: Sculptor) -> str:
    """A steam engine, tram-like railcar or toy train with a wagon of blocks."""
    paint = s.main_or(0.2, DARK, (0.2, 0.3, 0.22), saturation=(0.5, 0.95))
    accent = s.partner(paint)
    metal = s.choose(CHROME, (0.80, 0.64, 0.30), accent)
    long, wide, r = s.along(0.9, 1.4), 0.42, s.uniform(0.15, 0.18)
    end, deck = long / 2, 0.2
    cab = s.uniform(0.28, 0.36)
    tall = s.uniform(0.42, 0.52)
    s.add(
        box((long, wide * 0.8, 0.07), (0, 0, deck), DARK),
        box((long, wide, 0.03), (0, 0, deck + 0.04), accent),
    )
    boiler = long - cab - 0.05
    z = deck + 0.05 + r
    s.add(cylinder(r, boiler, (-end + cab + boiler / 2, 0, z), paint, axis="x", sides=22))
    for t in (0.15, 0.5, 0.85):
        s.add(cylinder(r * 1.03, 0.025, (-end + cab + boiler * t, 0, z), metal, axis="x", sides=22))
    nose = end - 0.05
    s.add(
        cylinder(r * 1.02, 0.03, (nose, 0, z), DARK, axis="x", sides=22),
        cylinder(r * 0.55, 0.04, (nose + 0.01, 0, z), accent, axis="x", sides=16),
    )
    s.add(
        cylinder(0.05, 0.06, (nose + 0.02, 0, z + r * 1.0), (1.0, 0.95, 0.75), axis="x", sides=14)
    )
    stack = s.uniform(0.14, 0.24)
    s.add(
        *lathe(
            [(r * 0.34, 0), (r * 0.30, stack * 0.7), (r * s.uniform(0.4, 0.62), stack)],
            DARK if s.chance(0.5) else accent,
            at=(nose - 0.14, 0, z + r * 0.9),
            sides=16,
        )
    )
    s.add(
        *lathe(
            [(r * 0.32, 0), (r * 0.32, 0.05), (r * 0.2, 0.1)],
            metal,
            at=(-end + cab + boiler * 0.45, 0, z + r * 0.92),
            sides=16,
        )
    )
    s.add(
        rounded((cab, wide, tall), (-end + cab / 2, 0, deck + 0.05 + tall / 2), paint, 0.02),
        rounded(
            (cab + 0.12, wide + 0.08, 0.05), (-end + cab / 2, 0, deck + 0.06 + tall), accent, 0.022
        ),
        box(
            (cab * 0.6, wide + 0.012, tall * 0.36),
            (-end + cab / 2, 0, deck + 0.05 + tall * 0.68),
            GLASS,
        ),
        box(
            (cab + 0.012, wide * 0.6, tall * 0.24),
            (-end + cab / 2, 0, deck + 0.05 + tall * 0.74),
            GLASS,
        ),
    )
    shield = [(end - 0.02, way * wide * 0.42, deck - 0.01) for way in (-1, 1)] + [
        (end - 0.02, way * wide * 0.42, 0.05) for way in (-1, 1)
    ]
    shield += [(end + 0.10, way * 0.06, 0.05) for way in (-1, 1)]
    s.add(hull(np.array(shield), s.choose(accent, (0.75, 0.1, 0.1))))
    s.pair(cylinder(0.035, 0.06, (end + 0.03, wide * 0.32, deck), CHROME, axis="x", sides=12))
    big, small = s.uniform(0.11, 0.14), 0.075
    rim = s.choose((0.75, 0.1, 0.1), accent, CHROME)
    spots = [(-end + 0.16, big), (-end + 0.16 + 2.15 * big, big)] + [
        (end - 0.12 - d, small) for d in (0.0, 0.18)
    ]
    for x, q in spots:
        s.pair(*wheel(q, 0.05, (x, wide * 0.42, q), DARK, rim, spokes=6, rim_share=0.8))
    y = wide * 0.46
    s.pair(
        *tube(
            [(spots[0][0], y, big * 0.8), (spots[1][0] + 0.14, y, big * 0.8)],
            0.012,
            CHROME,
            sides=6,
        )
    )
    s.pair(rounded((0.14, 0.06, 0.09), (spots[1][0] + 0.2, wide * 0.42, big * 0.9), accent, 0.015))
    return f"a {colour_name(paint)} steam train"


@category
def fire_engine(s: Sculptor) -> str:
    """A fire engine, crane or dumper truck with a modern cab."""
    kind = s.choose("fire engine", "fire engine", "tipper truck", "mixer truck")
    paint = s.main_or(
        0.75 if kind == "fire engine" else 0.2, (0.80, 0.08, 0.07), saturation=(0.6, 0.95)
    )
    accent = s.choose(WHITE, (0.95, 0.80, 0.15), s.partner(paint))
    long, wide, tall = s.along(1.25, 1.75), 0.56, s.uniform(0.52, 0.60)
    end, low = long / 2, 0.13
    cab = s.uniform(0.36, 0.48)
    front = end - cab / 2
    s.add(box((long - 0.02, wide * 0.85, 0.09), (0, 0, low + 0.03), DARK))
    s.add(rounded((cab, wide, tall), (front, 0, low + tall / 2), paint, 0.05))
    s.add(
        rounded((0.08, wide * 0.86, tall * 0.40), (end - 0.035, 0, low + tall * 0.68), GLASS, 0.03)
    )
    s.add(
        rounded(
            (cab * 0.62, wide + 0.012, tall * 0.34),
            (front + 0.02, 0, low + tall * 0.70),
            GLASS,
            0.02,
        )
    )
    s.add(
        rounded(
            (0.07, wide * 1.0, 0.10), (end, 0, low + 0.03), s.choose(accent, DARK, CHROME), 0.02
        ),
        box((0.03, wide * 0.5, 0.07), (end, 0, low + tall * 0.3), DARK),
    )
    s.pair(
        rounded(
            (0.05, 0.10, 0.06),
            (end - 0.005, wide * 0.36, low + tall * 0.28),
            (1.0, 0.97, 0.85),
            0.02,
        ),
        rounded((0.05, 0.05, 0.14), (end - 0.06, wide / 2 + 0.06, low + tall * 0.7), DARK, 0.02),
    )
    bed, middle = long - cab - 0.05, -end + (long - cab - 0.05) / 2
    if kind == "fire engine":
        high = s.uniform(0.44, 0.54)
        s.add(rounded((bed, wide, high), (middle, 0, low + high / 2 + 0.02), paint, 0.025))
        s.pair(
            *(
                box(
                    (bed * 0.26, 0.014, high * 0.5),
                    (middle + bed * t, wide / 2, low + high * 0.58),
                    (0.72, 0.73, 0.75),
                )
                for t in (-0.3, 0.0, 0.3)
            )
        )
        s.add(box((long * 0.96, wide + 0.014, 0.05), (-0.01, 0, low + 0.10), accent))
        s.pair(
            rounded(
                (0.07, 0.16, 0.06),
                (front + 0.06, wide * 0.26, low + tall + 0.02),
                (0.15, 0.35, 0.9),
                0.025,
            )
        )
        ladder, z = long * 0.86, low + high + 0.10
        rails = [box((ladder, 0.025, 0.04), (-0.06, way * 0.12, z), CHROME) for way in (-1, 1)]
        rails += [
            box((0.02, 0.24, 0.02), (-0.06 - ladder / 2 + ladder * (k + 0.5) / 10, 0, z), CHROME)
            for k in range(10)
        ]
        s.add(*turned(rails, "y", -s.choose(0, 4, 12), (-end, 0, z)))
        s.add(
            cylinder(0.1, 0.09, (-end + 0.2, 0, z - 0.06), accent),
            box((0.1, 0.3, 0.05), (end - cab - 0.1, 0, z - 0.05), DARK),
        )
    elif kind == "tipper truck":
        tub = s.choose(accent, s.partner(paint), (0.55, 0.56, 0.58))
        high, wall = s.uniform(0.28, 0.38), 0.03
        floor = [
            box((bed, wide, wall), (middle, 0, low + 0.12), tub),
            box((wall, wide, high + 0.08), (middle + bed / 2, 0, low + 0.14 + high / 2), tub),
            box((wall, wide, high * 0.8), (middle - bed / 2, 0, low + 0.12 + high * 0.4), tub),
        ]
        floor += [
            box(
                (bed, wall, high), (middle, way * (wide / 2 - wall / 2), low + 0.12 + high / 2), tub
            )
            for way in (-1, 1)
        ]
        load = s.choose((0.55, 0.42, 0.26), (0.45, 0.45, 0.46), (0.85, 0.75, 0.5))
        floor.append(
            ellipsoid((bed * 0.46, wide * 0.44, high * 0.75), (middle, 0, low + 0.2), load)
        )
        s.add(*turned(floor, "y", s.choose(0, 0, -18), (-end, 0, low + 0.12)))
    else:
        drum = s.choose(accent, WHITE, s.partner(paint))
        rows = [
            (0.13, -bed / 2),
            (0.25, -bed * 0.1),
            (0.27, bed * 0.1),
            (0.2, bed * 0.36),
            (0.16, bed * 0.42),
        ]
        s.add(
            *moved(
                turned(lathe(rows, [drum, accent, drum, accent]), "y", 78), (middle, 0, low + 0.36)
            )
        )
        s.add(box((bed * 0.9, wide * 0.7, 0.1), (middle, 0, low + 0.1), DARK))
        s.pair(
            limb(
                (-end + 0.12, wide * 0.3, low + 0.1),
                (-end + 0.1, wide * 0.25, low + 0.42),
                0.025,
                0.025,
                paint,
            )
        )
    radius = s.uniform(0.125, 0.15)
    for x in (front + 0.02, -end + 0.22, -end + 0.24 + 2.05 * radius):
        s.pair(
            cylinder(radius * 1.15, 0.03, (x, wide / 2 - 0.01, radius), DARK, axis="y", sides=18)
        )
        s.pair(
            *wheel(
                radius,
                0.12,
                (x, wide / 2 - 0.04, radius),
                TYRE,
                s.choose(CHROME, CHROME, accent),
                spokes=0,
            )
        )
    return f"a {colour_name(paint)} {kind}"


@category
def tractor(s: Sculptor) -> str:
    """A tractor: big wheels behind, bonnet with a grille, cab, exhaust."""
    paint = s.main_or(0.4, (0.2, 0.5, 0.18), (0.8, 0.12, 0.1), saturation=(0.6, 0.95))
    rim = s.choose((0.96, 0.80, 0.15), WHITE, s.partner(paint))
    big, small = s.uniform(0.28, 0.34), s.uniform(0.15, 0.2)
    axle = s.along(0.5, 0.78)
    rear, fore = -axle / 2, axle / 2
    z = big * 0.9
    bonnet = axle * 0.85
    s.add(rounded((bonnet, 0.26, 0.24), (fore - bonnet / 2 + 0.16, 0, z + 0.12), paint, 0.05))
    s.add(
        box((0.03, 0.2, 0.18), (fore + 0.155, 0, z + 0.11), DARK),
        box((axle + 0.1, 0.16, 0.12), (0, 0, z - 0.04), DARK),
    )
    s.pair(rounded((0.03, 0.06, 0.05), (fore + 0.165, 0.09, z + 0.2), (1.0, 0.97, 0.85), 0.012))
    s.pair(*(box((0.10, 0.01, 0.03), (fore - 0.1 - d, 0.13, z + 0.12), DARK) for d in (0.0, 0.14)))
    s.pair(
        *wheel(big, 0.17, (rear, 0.26, big), TYRE, rim, spokes=0, rim_share=0.58),
        *wheel(small, 0.12, (fore, 0.24, small), TYRE, rim, spokes=0, rim_share=0.58),
    )
    for k in range(12):
        a = 2 * np.pi * k / 12
        lug = box(
            (0.05, 0.17, 0.05),
            (rear + big * 0.98 * np.cos(a), 0.26, big + big * 0.98 * np.sin(a)),
            TYRE,
        )
        if lug.corners[..., 2].min() > -0.0:
            s.pair(lug)
    cab, top = s.uniform(0.34, 0.4), z + s.uniform(0.48, 0.6)
    x = rear + 0.06
    if s.chance(0.7):
        s.add(
            box((cab, 0.36, 0.14), (x, 0, z + 0.06), paint),
            rounded((cab + 0.08, 0.46, 0.05), (x, 0, top), s.choose(paint, rim), 0.02),
        )
        s.add(box((cab - 0.04, 0.34, top - z - 0.12), (x, 0, (top + z) / 2 + 0.06), GLASS))
        s.pair(
            *(
                box((0.03, 0.03, top - z - 0.1), (x + d, 0.17, (top + z) / 2 + 0.05), paint)
                for d in (-cab / 2 + 0.015, cab / 2 - 0.015)
            )
        )
    else:
        s.add(
            rounded((0.2, 0.24, 0.05), (x - 0.04, 0, z + 0.18), DARK, 0.02),
            rounded((0.05, 0.24, 0.2), (x - 0.14, 0, z + 0.28), DARK, 0.02),
        )
        s.add(limb((x + 0.2, 0, z + 0.15), (x + 0.12, 0, z + 0.34), 0.015, 0.015, DARK))
        s.add(
            *moved(
                turned(lathe([(0.1, 0), (0.1, 0.02)], DARK, sides=16), "y", -30),
                (x + 0.12, 0, z + 0.33),
            )
        )
    guard = [
        (rear + big * 1.06 * np.cos(a), z + 0.0 + big * 1.1 * np.sin(a))
        for a in np.linspace(0.2, 2.3, 7)
    ]
    for (x0, z0), (x1, z1) in zip(guard, guard[1:], strict=False):
        rows = [
            (q, y, h + d)
            for q, h in ((x0, z0), (x1, z1))
            for y in (0.19, 0.36)
            for d in (0.0, 0.02)
        ]
        s.pair(hull(np.array(rows), paint))
    s.add(cylinder(0.02, 0.22, (fore - 0.05, 0, z + 0.33), DARK, sides=10))
    return f"a {colour_name(paint)} tractor"
