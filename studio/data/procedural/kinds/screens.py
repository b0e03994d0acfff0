"""Televisions, laptops, tablets and phones; the screen is in front."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import bead, limb, rounded
from studio.data.procedural.parts import Colour, box, cylinder
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import moved, tube, turned

BLACK: Colour = (0.11, 0.11, 0.12)
SILVER: Colour = (0.75, 0.76, 0.78)
WHITE: Colour = (0.94, 0.94, 0.93)
SCREENS: tuple[Colour, ...] = (
    (0.10, 0.12, 0.15),
    (0.22, 0.45, 0.72),
    (0.16, 0.30, 0.34),
    (0.62, 0.74, 0.85),
)


def picture(s: Sculptor, x: float, size: tuple[float, float], z: float) -> None:
    """What a lit screen at the plane x shows: bars, a window or hills; or nothing."""
    kind, (w, h) = s.choose("bars", "window", "hills", "none"), size
    one, two = s.choose(WHITE, s.main_colour()), s.main_colour()
    if kind == "bars":
        s.add(
            *(box((0.006, w * 0.6, h * 0.07), (x, 0, z + h * t), one) for t in (-0.25, -0.05, 0.15))
        )
    elif kind == "window":
        s.add(
            box((0.006, w * 0.6, h * 0.6), (x, 0, z), one),
            box((0.010, w * 0.6, h * 0.1), (x, 0, z + h * 0.26), two),
        )
    elif kind == "hills":
        s.add(
            box((0.006, w * 0.98, h * 0.3), (x, 0, z - h * 0.34), two),
            cylinder(h * 0.12, 0.006, (x, 0, z + h * 0.15), (1.0, 0.9, 0.5), axis="x", sides=14),
        )


@category
def television(s: Sculptor) -> str:
    """A television or monitor: flat on a foot, or an old set on legs with an aerial."""
    lit = s.choose(*SCREENS) if not s.unusual else s.main_colour()
    if s.chance(0.5):
        frame = s.choose(BLACK, BLACK, WHITE, SILVER)
        wide, rim = s.along(0.8, 1.15), s.uniform(0.02, 0.04)
        tall = wide * s.uniform(0.55, 0.66)
        z = tall / 2 + s.uniform(0.08, 0.2)
        s.add(
            rounded((0.06, wide, tall), (0, 0, z), frame, 0.015),
            box((0.02, wide - 2 * rim, tall - 2 * rim), (0.024, 0, z + 0.005), lit),
        )
        picture(s, 0.034, (wide - 2 * rim, tall - 2 * rim), z)
        s.add(
            rounded((0.08, wide * 0.5, tall * 0.5), (-0.05, 0, z - 0.05), s.shade(frame, 0.8), 0.03)
        )
        if s.chance(0.5):
            s.add(
                rounded((0.26, wide * 0.36, 0.03), (0, 0, 0.015), frame, 0.01),
                limb((-0.04, 0, 0.03), (-0.05, 0, z - tall * 0.3), 0.03, 0.03, frame),
            )
        else:
            s.pair(
                *tube(
                    [(0.12, wide * 0.32, 0.01), (0, wide * 0.3, z - tall * 0.48)],
                    0.016,
                    frame,
                    sides=6,
                ),
                *tube(
                    [(-0.14, wide * 0.32, 0.01), (0, wide * 0.3, z - tall * 0.48)],
                    0.016,
                    frame,
                    sides=6,
                ),
            )
        return f"a {colour_name(frame)} flat television"
    skin = s.main_or(0.5, (0.5, 0.32, 0.18), BLACK, (0.85, 0.82, 0.75), saturation=(0.4, 0.85))
    s.decorate(skin, "wood", chance=0.3)
    wide, tall, deep = s.along(0.75, 1.0), s.uniform(0.62, 0.75), s.uniform(0.4, 0.55)
    foot = s.uniform(0.04, 0.3)
    z = foot + tall / 2
    s.add(
        rounded((deep, wide, tall), (0, 0, z), skin, 0.05),
        rounded((deep * 0.4, wide * 0.6, tall * 0.6), (-deep * 0.55, 0, z - 0.03), BLACK, 0.05),
    )
    s.add(
        rounded(
            (0.03, wide * 0.88, tall * 0.68),
            (deep / 2, 0, z + tall * 0.09),
            s.choose(BLACK, SILVER, (0.9, 0.86, 0.78)),
            0.012,
        ),
        rounded((0.05, wide * 0.76, tall * 0.56), (deep / 2, 0, z + tall * 0.09), lit, 0.022),
    )
    picture(s, deep / 2 + 0.024, (wide * 0.7, tall * 0.5), z + tall * 0.09)
    s.pair(
        cylinder(0.045, 0.05, (deep / 2, wide * 0.3, z - tall * 0.38), SILVER, axis="x", sides=14)
    )
    s.add(box((0.014, wide * 0.34, 0.09), (deep / 2, 0, z - tall * 0.38), s.shade(skin, 0.6)))
    if foot > 0.1:
        for x in (-deep * 0.35, deep * 0.35):
            s.pair(
                *tube(
                    [(x * 0.9, wide * 0.38, foot + 0.02), (x * 1.1, wide * 0.44, 0)],
                    [0.03, 0.016],
                    s.wood(),
                    sides=6,
                )
            )
    else:
        s.pair(box((deep * 0.7, 0.06, foot + 0.01), (0, wide * 0.36, foot / 2), BLACK))
    if s.chance(0.6):
        top = foot + tall
        s.add(bead((0.07, 0.07, 0.05), (-0.05, 0, top), BLACK))
        s.pair(
            limb(
                (-0.05, 0.02, top), (-0.05, s.uniform(0.15, 0.35), top + 0.34), 0.01, 0.008, SILVER
            )
        )
    return f"an old {colour_name(skin)} television"


@category
def laptop(s: Sculptor) -> str:
    """An open laptop, a tablet or phone on a stand, or a desk computer."""
    skin = s.main_or(0.6, SILVER, SILVER, BLACK, WHITE, saturation=(0.35, 0.8))
    lit = s.choose(*SCREENS[1:]) if s.chance(0.8) else SCREENS[0]
    kind = s.choose("laptop", "laptop", "laptop", "phone", "tablet")
    if kind != "laptop":
        tall, wide = (1.0, s.along(0.44, 0.56)) if kind == "phone" else (0.95, s.along(0.66, 0.8))
        lean = s.uniform(5, 22)
        body = [
            rounded((0.06, wide, tall), (0, 0, tall / 2), skin, 0.028),
            box((0.012, wide * 0.9, tall * 0.86), (0.027, 0, tall / 2), lit),
        ]
        body += [
            box((0.01, wide * 0.16, 0.02), (0.03, 0, tall * 0.955), BLACK),
            cylinder(0.03, 0.01, (0.03, 0, tall * 0.035 + 0.01), BLACK, axis="x", sides=14),
        ]
        icons = [s.main_colour(), (0.95, 0.75, 0.2), (0.3, 0.7, 0.35), WHITE, (0.85, 0.25, 0.25)]
        for row in range(s.choose(0, 3, 4)):
            for y in (-0.28, 0.0, 0.28):
                body.append(
                    box(
                        (0.008, wide * 0.18, wide * 0.18),
                        (0.034, y * wide, tall * (0.82 - 0.15 * row)),
                        icons[(row + int(abs(y) * 10)) % 5],
                    )
                )
        body.append(
            rounded(
                (0.03, wide * 0.22, wide * 0.26), (-0.03, 0, tall * 0.84), s.shade(skin, 0.75), 0.01
            )
        )
        s.add(*turned(body, "y", -lean))
        s.add(box((0.3, wide * 0.4, 0.02), (-0.04, 0, 0.01), BLACK))
        s.add(
            limb(
                (-0.16, 0, 0.02),
                (-tall * 0.45 * np.sin(np.deg2rad(lean)) - 0.03, 0, tall * 0.42),
                0.02,
                0.02,
                BLACK,
            )
        )
        return f"a {colour_name(skin)} {kind}"
    wide, deep = s.along(0.85, 1.05), s.uniform(0.58, 0.68)
    s.add(rounded((deep, wide, 0.045), (0, 0, 0.0225), skin, 0.02))
    keys = s.choose(BLACK, (0.25, 0.26, 0.28), WHITE)
    for row in range(5):
        x = -deep * 0.36 + row * deep * 0.105
        if row < 4:
            s.add(
                *(
                    box((deep * 0.085, wide * 0.066, 0.012), (x, y * wide, 0.048), keys)
                    for y in np.linspace(-0.40, 0.40, 11)
                )
            )
        else:
            s.add(box((deep * 0.085, wide * 0.4, 0.012), (x, 0, 0.048), keys))
    s.add(box((deep * 0.24, wide * 0.26, 0.006), (deep * 0.33, 0, 0.046), s.shade(skin, 0.85)))
    tall, lean = deep * s.uniform(0.92, 1.02), s.uniform(8, 38)
    lid = [
        rounded((0.03, wide, tall), (0, 0, tall / 2), skin, 0.013),
        box((0.012, wide * 0.94, tall * 0.88), (0.011, 0, tall * 0.52), BLACK),
        box((0.016, wide * 0.90, tall * 0.80), (0.011, 0, tall * 0.53), lit),
    ]
    before = len(s.parts)
    picture(s, 0.021, (wide * 0.88, tall * 0.78), tall * 0.53)
    lid += s.parts[before:]
    del s.parts[before:]
    lid.append(
        cylinder(
            tall * 0.07,
            0.008,
            (-0.016, 0, tall * 0.52),
            s.choose(WHITE, s.shade(skin, 0.7)),
            axis="x",
            sides=14,
        )
    )
    s.add(*turned(moved(lid, (-deep / 2 + 0.01, 0, 0.04)), "y", -lean, (-deep / 2 + 0.01, 0, 0.04)))
    return f"a {colour_name(skin)} laptop"
