"""Clocks and instruments: dial or strings in front."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import bead, limb, rounded
from studio.data.procedural.parts import Colour, box, cylinder, rotation
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import hull, lathe, moved, shell, spline, tube, turned

BLACK: Colour = (0.12, 0.12, 0.13)
BRASS: Colour = (0.82, 0.65, 0.28)
SILVER: Colour = (0.74, 0.75, 0.77)
WHITE: Colour = (0.94, 0.94, 0.92)


@category
def clock(s: Sculptor) -> str:
    """A clock: alarm clock with bells, mantel clock, grandfather clock, hourglass."""
    case = s.main_or(0.45, s.wood(), BLACK, WHITE, BRASS, saturation=(0.4, 0.9))
    dial, hand = s.choose(WHITE, (0.96, 0.92, 0.8), BLACK), BLACK
    hand = WHITE if dial == BLACK else BLACK
    metal = s.choose(BRASS, SILVER)
    kind = s.choose("alarm clock", "alarm clock", "mantel clock", "grandfather clock")
    r = s.uniform(0.3, 0.38)
    if kind == "alarm clock":
        deep, z = s.along(0.18, 0.34), r + 0.10
        s.add(
            *moved(
                turned(
                    lathe(
                        [
                            (r * 0.8, -deep / 2),
                            (r, -deep * 0.3),
                            (r, deep * 0.4),
                            (r * 0.94, deep / 2),
                        ],
                        case,
                        sides=28,
                    ),
                    "y",
                    90,
                ),
                (0, 0, z),
            )
        )
        x = deep / 2
        s.pair(limb((0, r * 0.6, 0.14), (0, r * 0.75, 0.025), 0.03, 0.025, metal))
        if s.chance(0.75):
            bell = lathe([(0.12, 0), (0.11, 0.05), (0.04, 0.1)], metal, sides=16)
            s.pair(*moved(turned(bell, "x", -28), (0, r * 0.52, z + r * 0.88)))
            s.add(
                *tube(
                    [
                        (0, -0.1, z + r),
                        (0, -0.07, z + r + 0.2),
                        (0, 0.07, z + r + 0.2),
                        (0, 0.1, z + r),
                    ],
                    0.014,
                    metal,
                    sides=6,
                )
            )
    elif kind == "mantel clock":
        deep, z, x = 0.24, r + 0.14, 0.12
        wide = r * s.along(2.3, 3.2)
        s.add(
            box((deep + 0.08, wide + 0.08, 0.08), (0, 0, 0.04), case),
            box((deep, wide, r + 0.1), (0, 0, 0.08 + (r + 0.1) / 2), case),
        )
        s.add(cylinder(r * 1.12, deep, (0, 0, z), case, axis="x", sides=28))
    else:
        deep, r = 0.26, 0.16
        high = s.along(1.0, 1.5)
        z, x = high - 0.2, deep / 2
        s.add(
            box((deep + 0.06, 0.46, 0.2), (0, 0, 0.1), case),
            box((deep, 0.36, high - 0.5), (0, 0, high / 2 - 0.1), case),
            box((deep + 0.04, 0.46, 0.4), (0, 0, z), case),
            rounded((deep + 0.1, 0.52, 0.05), (0, 0, z + 0.22), case, 0.02),
        )
        s.add(
            box((0.02, 0.22, high - 0.66), (x - 0.005, 0, high / 2 - 0.1), (0.2, 0.16, 0.12)),
            cylinder(0.06, 0.03, (x, 0, high * 0.32), metal, axis="x", sides=16),
            box((0.03, 0.014, high * 0.3), (x - 0.004, 0, high * 0.47), metal),
        )
        x = deep / 2 + 0.02
        s.pair(bead((0.03, 0.03, 0.05), (0, 0.2, z + 0.27), metal))
    s.add(
        *moved(
            turned(
                shell([(r * 0.98, -0.02), (r * 0.95, 0.03)], [r * 0.84] * 2, metal, sides=28),
                "y",
                90,
            ),
            (x, 0, z),
        ),
        cylinder(r * 0.88, 0.02, (x, 0, z), dial, axis="x", sides=28),
    )
    for k in range(12):
        tick = box(
            (0.01, r * 0.05, r * (0.16 if k % 3 == 0 else 0.09)), (x + 0.008, 0, z + r * 0.72), hand
        )
        s.add(tick.turned(rotation("x", 30 * k), (x, 0, z)))
    s.add(
        box((0.012, r * 0.07, r * 0.5), (x + 0.012, 0, z + r * 0.22), hand),
        box((0.012, r * 0.05, r * 0.62), (x + 0.016, 0, z - r * 0.26), hand),
        bead((0.014, 0.03, 0.03), (x + 0.015, 0, z), s.choose(metal, (0.8, 0.15, 0.1))),
    )
    return f"a {colour_name(case)} {kind}"


@category
def guitar(s: Sculptor) -> str:
    """A guitar, ukulele or violin, upright, strings to the front; or a drum."""
    wood = s.main_or(
        0.6, s.wood(), (0.85, 0.58, 0.28), BLACK, (0.62, 0.16, 0.1), saturation=(0.5, 0.9)
    )
    s.decorate(wood, "wood", "gradient", chance=0.5)
    kind = s.choose("guitar", "guitar", "electric guitar", "violin", "drum")
    if kind == "drum":
        r, tall, rim = 0.36, s.along(0.36, 0.7), s.choose(SILVER, BRASS, WHITE)
        s.add(
            cylinder(r, tall, (0, 0, tall / 2), wood, sides=28),
            *lathe([(r * 1.04, 0), (r * 1.04, 0.05)], rim),
            *lathe([(r * 1.04, tall - 0.05), (r * 1.04, tall)], rim),
            cylinder(r * 0.96, 0.02, (0, 0, tall + 0.005), WHITE, sides=28),
        )
        for k in range(5):
            a, b = np.pi * (k + 0.5) / 5, np.pi * (k + 1.0) / 5
            s.pair(
                *tube(
                    [
                        (r * np.cos(a), r * np.sin(a), tall - 0.04),
                        (r * np.cos(b), r * np.sin(b), 0.04),
                    ],
                    0.014,
                    rim,
                    sides=6,
                )
            )
        s.pair(
            limb(
                (0.16, 0.06, tall + 0.03), (-0.22, 0.2, tall + 0.05), 0.03, 0.016, (0.85, 0.66, 0.4)
            )
        )
        return f"a {colour_name(wood)} drum"
    size = s.along(0.8, 1.15)
    deep = {"guitar": 0.12, "electric guitar": 0.06, "violin": 0.08}[kind]
    low, mid, up = (0.23, 0.13, 0.17) if kind != "violin" else (0.17, 0.10, 0.135)
    line = [
        (0.0, low * 0.45),
        (0.04, low * 0.85),
        (0.16, low),
        (0.27, low * 0.86),
        (0.36, mid),
        (0.45, up * 0.9),
        (0.53, up),
        (0.60, up * 0.7),
        (0.62, up * 0.35),
    ]
    curve = spline([(w * size, z * size) for z, w in line], 16)
    dark = s.choose(wood, s.shade(wood, 0.55))
    for (w0, z0), (w1, z1) in zip(curve, curve[1:], strict=False):
        s.add(
            hull(
                np.array(
                    [
                        (x, y, z)
                        for x in (-deep / 2, deep / 2 - 0.006)
                        for y, z in ((-w0, z0), (w0, z0), (-w1, z1), (w1, z1))
                    ]
                ),
                dark,
            )
        )
        s.add(
            hull(
                np.array(
                    [
                        (x, y * 0.97, z)
                        for x in (deep / 2 - 0.01, deep / 2)
                        for y, z in ((-w0, z0), (w0, z0), (-w1, z1), (w1, z1))
                    ]
                ),
                wood,
            )
        )
    x, top = deep / 2, 0.60 * size
    neck = size * (0.5 if kind != "violin" else 0.36)
    board = s.choose(BLACK, (0.3, 0.18, 0.1))
    s.add(
        box(
            (0.04, 0.065, neck),
            (x - 0.012, 0, top + neck / 2 - 0.03),
            s.choose(board, (0.6, 0.4, 0.2)),
        ),
        box((0.02, 0.06, neck + 0.12 * size), (x + 0.01, 0, top + neck / 2 - 0.08 * size), board),
    )
    head = top + neck - 0.02
    s.add(
        hull(
            np.array(
                [
                    (x - 0.02 + d, way * y, z)
                    for d in (-0.015, 0.015)
                    for way in (-1, 1)
                    for y, z in ((0.035, head - 0.02), (0.06, head + 0.04), (0.05, head + 0.15))
                ]
            ),
            s.choose(dark, wood),
        )
    )
    s.pair(
        *(
            limb(
                (x - 0.02, 0.05, head + d),
                (x - 0.02, 0.085, head + d),
                0.012,
                0.014,
                s.choose(SILVER, WHITE),
            )
            for d in (0.05, 0.09, 0.13)
        )
    )
    if kind == "guitar":
        s.add(
            cylinder(0.075 * size, 0.012, (x, 0, 0.40 * size), BLACK, axis="x"),
            box((0.025, 0.16 * size, 0.03), (x + 0.008, 0, 0.17 * size), board),
        )
    elif kind == "electric guitar":
        s.add(
            *(
                rounded(
                    (0.02, 0.10, 0.035), (x + 0.006, 0, z * size), s.choose(BLACK, SILVER), 0.008
                )
                for z in (0.26, 0.36)
            ),
            box((0.03, 0.1, 0.04), (x + 0.008, 0, 0.15 * size), SILVER),
        )
        s.pair(
            hull(
                np.array(
                    [
                        (x + d, y * size, z * size)
                        for d in (0.0, 0.008)
                        for y, z in ((0.06, 0.2), (0.15, 0.12), (0.15, 0.22), (0.07, 0.44))
                    ]
                ),
                WHITE,
            )
        )
    else:
        s.add(
            box((0.06, 0.1, 0.014), (x + 0.02, 0, 0.24 * size), (0.85, 0.7, 0.45)),
            hull(
                np.array(
                    [
                        (x + d, way * y, z * size)
                        for d in (0.0, 0.02)
                        for way in (-1, 1)
                        for y, z in ((0.015, 0.2), (0.035, 0.04))
                    ]
                ),
                BLACK,
            ),
        )
        s.pair(box((0.006, 0.012, 0.12 * size), (x + 0.001, 0.07, 0.27 * size), BLACK))
    s.pair(
        *(
            box(
                (0.006, 0.004, top + neck - 0.16 * size),
                (x + 0.026, y, (top + neck + 0.16 * size) / 2),
                SILVER,
            )
            for y in (0.008, 0.022)
        )
    )
    s.add(
        box((0.10, 0.2, 0.02), (-0.02, 0, -0.008), BLACK),
        box((0.02, 0.2, 0.1), (deep / 2 + 0.02, 0, 0.03), BLACK),
    )
    return f"a {colour_name(wood)} {kind}"
