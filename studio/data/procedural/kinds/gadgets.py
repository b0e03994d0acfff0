"""Machines for the home: camera, radio, toaster, telephone; lens or dial in front."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import bead, limb, rounded
from studio.data.procedural.parts import Colour, box, cylinder
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import arch, hull, lathe, moved, shell, tube, turned

BLACK: Colour = (0.11, 0.11, 0.12)
SILVER: Colour = (0.75, 0.76, 0.78)
WHITE: Colour = (0.94, 0.94, 0.93)
SHELLS: tuple[Colour, ...] = (BLACK, WHITE, SILVER, (0.35, 0.36, 0.38), (0.55, 0.34, 0.18))


@category
def camera(s: Sculptor) -> str:
    """A camera: compact, reflex with a long lens, or instant; dials, finder, flash."""
    skin = s.main_or(
        0.5, BLACK, BLACK, (0.3, 0.2, 0.13), (0.85, 0.82, 0.74), saturation=(0.4, 0.85)
    )
    top = s.choose(skin, SILVER, SILVER, BLACK)
    s.decorate(skin, "grain", chance=0.5)
    wide, tall, deep = s.uniform(0.85, 1.0), s.uniform(0.5, 0.62), s.uniform(0.26, 0.34)
    kind = s.choose("camera", "camera", "reflex camera", "instant camera")
    if kind == "instant camera":
        tall, deep = wide * 0.85, wide * 0.5
    s.add(rounded((deep, wide, tall), (0, 0, tall / 2), skin, 0.07))
    s.add(rounded((deep * 1.01, wide * 1.005, tall * 0.26), (0, 0, tall * 0.885), top, 0.06))
    r, out = s.uniform(0.19, 0.24), s.along(0.10, 0.45)
    z = tall * 0.44
    ring = s.choose(BLACK, BLACK, SILVER)
    rows = [
        (r, 0.0),
        (r, out * 0.4),
        (r * 0.92, out * 0.45),
        (r * 0.92, out),
        (r * 0.82, out + 0.01),
    ]
    colours = [ring, s.choose(SILVER, ring), s.choose(ring, top), ring]
    s.add(*moved(turned(lathe(rows, colours), "y", 90), (deep / 2 - 0.02, 0, z)))
    x = deep / 2 + out
    s.add(
        cylinder(r * 0.72, 0.02, (x - 0.01, 0, z), (0.16, 0.2, 0.3), axis="x"),
        cylinder(r * 0.4, 0.024, (x - 0.01, 0, z), (0.30, 0.38, 0.55), axis="x"),
    )
    if kind == "reflex camera":
        s.add(rounded((deep * 0.9, wide * 0.32, 0.2), (0.02, 0, tall + 0.05), top, 0.05))
        s.pair(cylinder(0.07, 0.07, (-0.02, wide * 0.32, tall + 0.03), BLACK, sides=16))
    else:
        s.add(rounded((0.03, 0.2, 0.10), (deep / 2, 0, tall * 0.87), (0.85, 0.9, 0.95), 0.012))
        s.pair(
            rounded(
                (0.03, 0.11, 0.10),
                (deep / 2, wide * 0.33, tall * 0.87),
                s.choose((0.2, 0.24, 0.3), BLACK),
                0.012,
            ),
            cylinder(
                0.06,
                0.05,
                (0, wide * 0.3, tall + 0.02),
                s.choose(SILVER, (0.8, 0.2, 0.15)),
                sides=16,
            ),
        )
    if kind == "instant camera":
        s.add(
            box((deep * 1.02, wide * 0.9, 0.05), (0.02, 0, 0.08), BLACK),
            box((0.014, 0.06, tall * 0.5), (deep / 2, 0, tall * 0.2), s.main_colour()),
        )
    s.add(box((0.01, wide * 0.5, tall * 0.42), (-deep / 2, 0, tall * 0.42), (0.15, 0.17, 0.2)))
    if s.chance(0.3):
        s.add(
            *tube(
                arch((0, -wide / 2, tall * 0.8), (0, wide / 2, tall * 0.8), (-0.05, 0, 0.42), 12),
                0.016,
                s.choose(BLACK, (0.5, 0.32, 0.18)),
                sides=6,
            )
        )
    return f"a {colour_name(skin)} {kind}"


@category
def radio(s: Sculptor) -> str:
    """A radio, loudspeaker, toaster or record player-like box with knobs and a grille."""
    skin = s.main_or(0.35, *SHELLS, saturation=(0.4, 0.85))
    s.decorate(skin, "wood", "grain", chance=0.25)
    kind = s.choose("radio", "radio", "loudspeaker", "toaster", "microwave")
    metal, dark = (
        s.choose(SILVER, (0.8, 0.64, 0.3)),
        s.choose(BLACK, (0.3, 0.24, 0.18), (0.85, 0.80, 0.68)),
    )
    if kind == "loudspeaker":
        wide, tall, deep = s.uniform(0.4, 0.5), s.along(0.6, 1.0), 0.4
        s.add(rounded((deep, wide, tall), (0, 0, tall / 2), skin, 0.03))
        big = wide * 0.38
        for r, z in ((big, big * 1.25), (big * 0.5, tall - big * 0.8)):
            s.add(
                *moved(
                    turned(shell([(r, 0), (r, 0.03)], [r * 0.86, r * 0.82], metal), "y", 90),
                    (deep / 2 - 0.01, 0, z),
                )
            )
            s.add(
                cylinder(r * 0.88, 0.012, (deep / 2, 0, z), BLACK, axis="x", top_radius=r * 0.8),
                bead((0.04, r * 0.35, r * 0.35), (deep / 2, 0, z), (0.3, 0.3, 0.32)),
            )
        return f"a {colour_name(skin)} loudspeaker"
    if kind == "toaster":
        wide, tall, deep = s.uniform(0.44, 0.56), s.uniform(0.4, 0.5), s.along(0.6, 0.95)
        s.add(
            rounded((deep, wide, tall), (0, 0, tall / 2 + 0.04), skin, 0.11),
            box((deep * 0.94, wide * 0.94, 0.06), (0, 0, 0.04), BLACK),
        )
        s.pair(
            box((deep * 0.72, 0.07, 0.02), (0, 0.1, tall + 0.04), BLACK),
            rounded((deep * 0.6, 0.05, 0.3), (0, 0.1, tall + 0.02), (0.82, 0.58, 0.3), 0.02),
        )
        s.add(
            box((0.02, 0.03, tall * 0.5), (deep / 2, 0, tall * 0.55), BLACK),
            rounded((0.08, 0.12, 0.04), (deep / 2 + 0.03, 0, tall * 0.72), BLACK, 0.015),
            cylinder(0.05, 0.04, (deep / 2 + 0.01, 0, tall * 0.25), metal, axis="x", sides=14),
        )
        return f"a {colour_name(skin)} toaster with toast"
    wide, tall, deep = s.along(0.75, 1.15), s.uniform(0.42, 0.58), s.uniform(0.24, 0.34)
    front = deep / 2
    if kind == "microwave":
        deep = 0.5
        front = 0.25
        s.add(
            rounded((deep, wide, tall), (0, 0, tall / 2 + 0.02), skin, 0.025),
            rounded((0.02, wide * 0.72, tall * 0.76), (front, 0, tall * 0.54), BLACK, 0.008),
            box((0.026, wide * 0.56, tall * 0.54), (front, 0, tall * 0.54), (0.2, 0.23, 0.27)),
        )
        s.pair(
            box((0.022, 0.06, tall * 0.7), (front, wide * 0.43, tall * 0.54), s.shade(skin, 0.7)),
            cylinder(0.025, 0.04, (front, wide * 0.43, tall * 0.4), metal, axis="x", sides=12),
        )
        s.add(
            rounded((0.06, wide * 0.6, 0.03), (front + 0.03, 0, tall * 0.12 + 0.03), metal, 0.012)
        )
        return f"a {colour_name(skin)} microwave oven"
    s.add(rounded((deep, wide, tall), (0, 0, tall / 2), skin, s.uniform(0.03, 0.12)))
    grille = s.choose("bars", "round", "panel")
    if grille == "round":
        r = tall * 0.32
        s.pair(
            cylinder(r, 0.02, (front, wide * 0.27, tall * 0.45), metal, axis="x"),
            cylinder(r * 0.86, 0.03, (front, wide * 0.27, tall * 0.45), dark, axis="x"),
            cylinder(r * 0.3, 0.04, (front, wide * 0.27, tall * 0.45), metal, axis="x", sides=14),
        )
        s.add(box((0.016, wide * 0.16, tall * 0.3), (front, 0, tall * 0.5), BLACK))
    else:
        s.add(rounded((0.02, wide * 0.86, tall * 0.48), (front, 0, tall * 0.36), dark, 0.008))
        if grille == "bars":
            s.add(
                *(
                    box((0.03, wide * 0.86, 0.018), (front, 0, tall * t), metal)
                    for t in np.linspace(0.16, 0.56, 6)
                )
            )
    s.add(
        box((0.02, wide * 0.5, tall * 0.16), (front, 0, tall * 0.80), (0.95, 0.90, 0.75)),
        box((0.03, 0.012, tall * 0.16), (front, 0, tall * 0.80), (0.8, 0.15, 0.1)),
    )
    s.pair(
        cylinder(tall * 0.09, 0.06, (front, wide * 0.36, tall * 0.80), metal, axis="x", sides=16)
    )
    if s.chance(0.6):
        s.add(
            *tube(
                arch(
                    (0, -wide * 0.4, tall - 0.03),
                    (0, wide * 0.4, tall - 0.03),
                    (0, 0, s.uniform(0.14, 0.2)),
                    10,
                ),
                0.025,
                s.choose(metal, BLACK, skin),
            )
        )
    s.pair(cylinder(0.03, 0.04, (0, wide * 0.36, -0.01), BLACK, sides=10))
    return f"a {colour_name(skin)} radio"


@category
def telephone(s: Sculptor) -> str:
    """An old telephone with a dial, a typewriter or a cash till."""
    skin = s.main_or(0.4, BLACK, (0.75, 0.1, 0.1), (0.88, 0.85, 0.76), saturation=(0.5, 0.9))
    metal = s.choose(SILVER, (0.8, 0.64, 0.3))
    wide, deep, tall = s.along(0.55, 0.8), s.uniform(0.5, 0.6), s.uniform(0.26, 0.34)
    base = np.array(
        [
            (x, way * y, z)
            for way in (-1, 1)
            for x, y, z in (
                (deep / 2, wide / 2, 0.0),
                (-deep / 2, wide / 2, 0.0),
                (deep / 2, wide / 2, 0.07),
                (-deep / 2, wide / 2, 0.1),
                (0.02, wide * 0.34, tall),
                (-deep * 0.36, wide * 0.36, tall),
            )
        ]
    )
    s.add(hull(base, skin))
    slope = np.rad2deg(np.arctan2(tall - 0.07, deep / 2 - 0.02))
    at = (deep * 0.27, 0.0, (tall + 0.07) / 2)
    dial = [
        *lathe([(0.17, 0), (0.16, 0.03)], metal),
        *lathe([(0.07, 0.02), (0.065, 0.045)], s.choose(skin, WHITE), sides=16),
    ]
    for k in range(10):
        a = 2 * np.pi * (k + 0.5) / 10
        dial.append(
            cylinder(0.026, 0.02, (0.115 * np.cos(a), 0.115 * np.sin(a), 0.026), BLACK, sides=10)
        )
    s.add(*moved(turned(dial, "y", slope), at))
    s.pair(
        limb(
            (-deep * 0.2, wide * 0.2, tall - 0.02),
            (-deep * 0.2, wide * 0.2, tall + 0.07),
            0.05,
            0.035,
            skin,
        )
    )
    z, half = tall + 0.11, wide * 0.52
    bar = arch((-deep * 0.2, -half, z), (-deep * 0.2, half, z), (0, 0, 0.07), 8)
    s.add(*tube(bar, 0.042, s.choose(skin, BLACK)))
    s.pair(
        *lathe(
            [(0.11, -0.06), (0.095, 0.0), (0.05, 0.05)],
            s.choose(skin, BLACK),
            at=(-deep * 0.2, half, z),
            sides=16,
        )
    )
    return f"a {colour_name(skin)} telephone"
