"""Fruit, pumpkins and mushrooms."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import bead, limb
from studio.data.procedural.kinds.vessels import smooth
from studio.data.procedural.parts import ellipsoid
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import arch, hull, lathe, moved, tube, turned

STEM, LEAF = (0.36, 0.24, 0.12), (0.28, 0.52, 0.16)


def leaf(s: Sculptor, at: tuple[float, float, float], long: float) -> None:
    """A leaf that lies to the front of a stem."""
    x, y, z = at
    rows = [
        (x, y, z),
        (x + long * 0.5, y + long * 0.24, z + long * 0.2),
        (x + long * 0.5, y - long * 0.24, z + long * 0.2),
        (x + long, y, z + long * 0.12),
    ]
    s.add(hull(np.array(rows + [(a, b, c - 0.018) for a, b, c in rows]), LEAF))


@category
def fruit(s: Sculptor) -> str:
    """An apple, pear, orange, lemon, strawberry, pineapple, banana or melon."""
    kind = s.choose(
        "apple", "apple", "pear", "orange", "lemon", "strawberry", "pineapple", "banana", "melon"
    )
    natural = {
        "apple": ((0.80, 0.12, 0.10), (0.55, 0.72, 0.18), (0.90, 0.72, 0.2)),
        "pear": ((0.72, 0.75, 0.22), (0.82, 0.66, 0.2)),
        "orange": ((0.96, 0.55, 0.08),),
        "lemon": ((0.97, 0.85, 0.15),),
        "strawberry": ((0.85, 0.12, 0.14),),
        "pineapple": ((0.85, 0.60, 0.15),),
        "banana": ((0.97, 0.83, 0.2), (0.75, 0.78, 0.25)),
        "melon": ((0.22, 0.45, 0.16), (0.82, 0.78, 0.5)),
    }[kind]
    skin = s.main_or(0.75, *natural, saturation=(0.55, 0.9))
    s.decorate(
        skin, "gradient", "dots" if kind in ("strawberry", "apple") else "gradient", chance=0.5
    )
    r, k = 0.42, s.along(0.82, 1.2)
    if kind == "banana":
        bend, fat = s.uniform(0.25, 0.38), s.uniform(0.10, 0.13)
        path = arch((-0.5, 0, 0.32), (0.5, 0, 0.32), (0, 0, -bend), 12)
        radii = [fat * f for f in (0.25, 0.42, 0.78, 0.95, 1, 1, 1, 1, 0.98, 0.9, 0.7, 0.4, 0.22)]
        s.add(*tube(path, radii, skin, sides=6))
        end = path[0]
        s.add(
            limb(end, (end[0] + 0.01, 0, end[2] + 0.10), 0.03, 0.028, STEM),
            bead((0.03, 0.025, 0.03), path[-1], (0.15, 0.12, 0.08)),
        )
        return f"a {colour_name(skin)} banana"
    if kind == "apple":
        rows = [
            (0.2, 0.0),
            (0.33, 0.08),
            (r, 0.36 * k),
            (0.40, 0.55 * k),
            (0.27, 0.70 * k),
            (0.12, 0.71 * k),
        ]
        s.add(*lathe(smooth(rows, 12), skin))
        top = 0.70 * k
    elif kind == "pear":
        s.add(
            *lathe(
                smooth(
                    [
                        (0.14, 0),
                        (0.32, 0.06),
                        (0.4, 0.3 * k),
                        (0.3, 0.55 * k),
                        (0.19, 0.78 * k),
                        (0.14, 0.9 * k),
                        (0.03, 0.96 * k),
                    ],
                    13,
                ),
                skin,
            )
        )
        top = 0.94 * k
    elif kind in ("orange", "melon"):
        s.add(ellipsoid((r * (k if kind == "melon" else 1.0), r, r * 0.96), (0, 0, r * 0.96), skin))
        top = r * 1.9
        if kind == "melon" and s.chance(0.7):
            stripe = s.shade(skin, 0.6)
            for a in np.linspace(-70, 70, 7):
                rib = [
                    (r * k * 1.01 * np.sin(t), 0, r * 0.98 * np.cos(t))
                    for t in np.linspace(-1.4, 1.4, 9)
                ]
                s.add(*moved(turned(tube(rib, 0.022, stripe, sides=6), "x", a), (0, 0, r * 0.96)))
    elif kind == "lemon":
        s.add(ellipsoid((r * k, r * 0.72, r * 0.72), (0, 0, r * 0.72), skin))
        s.add(
            limb((r * k * 0.88, 0, r * 0.72), (r * k * 1.12, 0, r * 0.72), 0.10, 0.045, skin),
            bead((0.07, 0.06, 0.06), (-r * k * 0.97, 0, r * 0.72), STEM),
        )
        return f"a {colour_name(skin)} lemon"
    elif kind == "strawberry":
        s.add(
            *lathe(
                smooth(
                    [
                        (0.03, 0),
                        (0.16, 0.12),
                        (0.32, 0.42 * k),
                        (0.34, 0.6 * k),
                        (0.16, 0.72 * k),
                        (0.03, 0.73 * k),
                    ],
                    11,
                ),
                skin,
            )
        )
        top = 0.71 * k
        for a in range(6):
            tip = (0.3 * np.cos(np.pi * a / 3), 0.3 * np.sin(np.pi * a / 3), top - 0.03)
            s.add(limb((0, 0, top), tip, 0.05, 0.02, LEAF))
        for row, z in ((0.2, 0.2), (0.3, 0.4), (0.34, 0.56)):
            for a in range(8):
                t = 2 * np.pi * (a + 0.5) / 8
                s.add(
                    bead(
                        (0.016, 0.016, 0.022),
                        (row * np.cos(t), row * np.sin(t), z * k),
                        (0.97, 0.85, 0.45),
                    )
                )
    else:
        body_top = 0.75 * k
        s.add(
            *lathe(
                smooth(
                    [
                        (0.2, 0),
                        (0.3, 0.08),
                        (0.34, body_top * 0.5),
                        (0.28, body_top * 0.88),
                        (0.14, body_top),
                    ],
                    9,
                ),
                skin,
            )
        )
        for z in np.linspace(0.12, body_top - 0.1, 5):
            q = 0.335 - 0.18 * abs(z / body_top - 0.5) ** 1.5
            for a in range(10):
                t = 2 * np.pi * (a + 0.5) / 10
                s.add(
                    bead(
                        (0.028, 0.028, 0.045),
                        (q * np.cos(t), q * np.sin(t), z),
                        s.shade(skin, 0.65),
                    )
                )
        for ring, (count, out, up) in enumerate(
            ((6, 0.30, 0.22), (6, 0.20, 0.36), (4, 0.08, 0.46))
        ):
            for a in range(count):
                t = 2 * np.pi * (a + 0.5 * (ring % 2)) / count
                s.add(
                    limb(
                        (0.05 * np.cos(t), 0.05 * np.sin(t), body_top),
                        (out * np.cos(t), out * np.sin(t), body_top + up),
                        0.05,
                        0.012,
                        LEAF,
                    )
                )
        return f"a {colour_name(skin)} pineapple"
    lean = s.uniform(-0.08, 0.08)
    s.add(
        *tube(
            [(0, 0, top - 0.08), (0, 0, top + 0.04), (lean, 0, top + 0.16)],
            0.022,
            STEM if kind != "strawberry" else LEAF,
            sides=6,
        )
    )
    if kind in ("apple", "pear", "orange") and s.chance(0.6):
        leaf(s, (0.0, 0, top + 0.06), s.uniform(0.2, 0.3))
    return f"a {colour_name(skin)} {kind}"


@category
def pumpkin(s: Sculptor) -> str:
    """A ribbed pumpkin, at times with a carved face, or a mushroom."""
    skin = s.main_or(
        0.7, (0.92, 0.48, 0.10), (0.85, 0.55, 0.2), (0.5, 0.55, 0.3), saturation=(0.5, 0.9)
    )
    if s.chance(0.3):
        cap = s.main_or(0.5, (0.80, 0.12, 0.10), (0.6, 0.4, 0.22), saturation=(0.5, 0.9))
        white, tall = (0.95, 0.92, 0.84), s.along(0.4, 0.75)
        s.add(*lathe(smooth([(0.16, 0), (0.15, 0.1), (0.11, tall * 0.6), (0.12, tall)], 6), white))
        r, dome = s.uniform(0.32, 0.45), s.uniform(0.24, 0.36)
        s.add(
            *lathe(
                [
                    (r * 0.75, tall - 0.04),
                    (r, tall),
                    *((r * np.cos(t), tall + dome * np.sin(t)) for t in np.linspace(0.25, 1.5, 6)),
                ],
                [(0.9, 0.85, 0.74), *[cap] * 6],
            )
        )
        for a, t in (
            (0.0, 0.75),
            (1.05, 0.55),
            (-1.05, 0.55),
            (2.1, 0.7),
            (-2.1, 0.7),
            (3.14, 0.6),
            (0.0, 1.45),
        ):
            q = r * np.cos(t)
            s.add(
                bead(
                    (0.05, 0.05, 0.03),
                    (q * np.cos(a), q * np.sin(a), tall + dome * np.sin(t)),
                    white,
                )
            )
        return f"a {colour_name(cap)} mushroom with white spots"
    k, lobes = s.along(0.55, 1.0), s.choose(8, 10, 12)
    r = 0.36
    for a in range(lobes):
        t = 2 * np.pi * (a + 0.5) / lobes
        s.add(ellipsoid((0.20, 0.20, r * k), (0.24 * np.cos(t), 0.24 * np.sin(t), r * k), skin))
    top = 2 * r * k
    s.add(
        *tube(
            [(0, 0, top - 0.12), (0, 0, top + 0.06), (s.uniform(-0.1, 0.1), 0, top + 0.16)],
            [0.07, 0.05, 0.045],
            s.choose(STEM, (0.4, 0.42, 0.18)),
            sides=6,
        )
    )
    if s.chance(0.4):
        glow, z = s.choose((0.12, 0.08, 0.05), (1.0, 0.85, 0.35)), r * k
        eye = np.array(
            [
                (x, y, z + h * k)
                for x in (0.2, 0.40)
                for y, h in ((0.06, 0.06), (0.17, 0.06), (0.11, 0.17))
            ]
        )
        s.pair(hull(eye, glow))
        mouth = np.array(
            [
                (x, way * y, z + h * k)
                for x in (0.2, 0.41)
                for way in (-1, 1)
                for y, h in ((0.19, -0.02), (0.1, -0.14), (0.16, -0.1))
            ]
        )
        s.add(hull(mouth, glow))
        return f"a {colour_name(skin)} pumpkin with a face"
    return f"a {colour_name(skin)} pumpkin"
