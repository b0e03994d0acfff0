"""Skyscrapers, blocks of flats and churches; the door is in front (+X)."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import limb
from studio.data.procedural.kinds.buildings import GLASS, ROOFS, WALLS, gable
from studio.data.procedural.parts import box, cylinder
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import lathe


@category
def skyscraper(s: Sculptor) -> str:
    """An office tower or block of flats: bands of windows or bays, setbacks, roof works, lobby."""
    wall = s.main_or(
        0.6,
        (0.75, 0.76, 0.78),
        (0.85, 0.82, 0.76),
        (0.55, 0.42, 0.34),
        (0.35, 0.38, 0.42),
        saturation=(0.2, 0.65),
    )
    pane = s.choose(GLASS, (0.30, 0.45, 0.58), (0.16, 0.2, 0.24), (0.5, 0.6, 0.65))
    tall, steps = s.along(1.0, 2.2), s.choose(1, 1, 2, 3)
    deep, wide = s.uniform(0.42, 0.6), s.uniform(0.42, 0.7)
    style = s.choose("bands", "bays", "grid")
    z = 0.16
    for step in range(steps):
        d, w = deep * (1 - 0.22 * step), wide * (1 - 0.22 * step)
        high = (tall - 0.16) * ({1: (1.0,), 2: (0.62, 0.38), 3: (0.48, 0.3, 0.22)}[steps][step])
        s.add(box((d, w, high), (0, 0, z + high / 2), pane if style != "grid" else wall))
        floors = max(3, int(high / s.uniform(0.085, 0.12)))
        if style == "bands":
            for k in range(floors + 1):
                s.add(
                    box(
                        (d + 0.02, w + 0.02, high / floors * 0.42),
                        (0, 0, z + high * k / floors),
                        wall,
                    )
                )
        elif style == "bays":
            for n, side in ((max(3, int(w / 0.1)), "x"), (max(3, int(d / 0.1)), "y")):
                for k in range(n + 1):
                    t = (k / n - 0.5) * ((w if side == "x" else d) - 0.03)
                    size = (
                        (d + 0.024, 0.03, high + 0.01)
                        if side == "x"
                        else (0.03, w + 0.024, high + 0.01)
                    )
                    s.add(
                        box(
                            size,
                            (0, t, z + high / 2) if side == "x" else (t, 0, z + high / 2),
                            wall,
                        )
                    )
        else:
            n, m = max(3, int(w / 0.11)), max(3, int(d / 0.11))
            for k in range(floors):
                h = z + high * (k + 0.5) / floors
                s.add(
                    *(
                        box(
                            (d + 0.016, w / n * 0.55, high / floors * 0.55),
                            (0, w * ((i + 0.5) / n - 0.5), h),
                            pane,
                        )
                        for i in range(n)
                    )
                )
                s.add(
                    *(
                        box(
                            (d / m * 0.55, w + 0.016, high / floors * 0.55),
                            (d * ((i + 0.5) / m - 0.5), 0, h),
                            pane,
                        )
                        for i in range(m)
                    )
                )
        z += high
        s.add(box((d + 0.03, w + 0.03, 0.03), (0, 0, z), wall))
    s.add(box((deep * 1.03, wide * 1.03, 0.16), (0, 0, 0.08), s.choose(wall, (0.45, 0.44, 0.43))))
    s.add(
        box((0.04, wide * 0.6, 0.10), (deep * 0.51, 0, 0.06), pane),
        box((0.14, wide * 0.7, 0.025), (deep * 0.56, 0, 0.13), (0.3, 0.3, 0.32)),
    )
    top = s.choose("box", "mast", "spire", "none")
    if top == "box":
        s.add(box((0.16, 0.2, 0.08), (-0.04, 0, z + 0.05), (0.5, 0.5, 0.5)))
    elif top == "mast":
        s.add(limb((0, 0, z), (0, 0, z + 0.3), 0.012, 0.006, (0.8, 0.2, 0.15)))
    elif top == "spire":
        side = deep * (1 - 0.22 * (steps - 1)) * 0.6
        s.add(*lathe([(side, z), (side * 0.55, z + 0.14), (0.015, z + 0.38)], wall, sides=4))
    return f"a {colour_name(wall)} {'skyscraper' if tall > 1.4 else 'block of flats'}"


@category
def church(s: Sculptor) -> str:
    """A church or chapel: nave, tower with a spire or cap, arched windows, a cross."""
    wall = s.main_or(0.75, *WALLS, saturation=(0.15, 0.5))
    roof = s.choose(*ROOFS, (0.25, 0.45, 0.42)) if not s.unusual else s.main_colour()
    s.decorate(wall, "bricks", "planks", "grain", chance=0.5)
    s.decorate(roof, "bricks", "bands", chance=0.4)
    dark, frame = s.choose(GLASS, (0.45, 0.3, 0.5)), (0.93, 0.92, 0.88)
    long, wide, tall = s.along(0.7, 1.15), s.uniform(0.4, 0.5), s.uniform(0.34, 0.44)
    rise = s.uniform(0.26, 0.36)
    s.add(box((long, wide, tall), (-0.1, 0, tall / 2), wall))
    gable(s, (long, wide), (-0.1, 0, tall), rise, roof, wall, along="x", eave=0.04)
    front, side = -0.1 + long / 2, s.uniform(0.22, 0.28)
    high = tall + rise + s.uniform(0.05, 0.25)
    x = front + side * 0.3
    s.add(
        box((side, side, high), (x, 0, high / 2), wall),
        box((side + 0.03, side + 0.03, 0.03), (x, 0, high), frame),
    )
    if s.chance(0.7):
        point = s.uniform(0.35, 0.6)
        s.add(
            *lathe(
                [(side * 0.74, high), (side * 0.4, high + point * 0.4), (0.012, high + point)],
                roof,
                at=(x, 0, 0),
                sides=s.choose(4, 8),
            )
        )
    else:
        point = 0.22
        s.add(
            *lathe(
                [
                    (side * 0.5, high),
                    (side * 0.62, high + 0.08),
                    (side * 0.4, high + 0.16),
                    (0.02, high + point),
                ],
                roof,
                at=(x, 0, 0),
                sides=14,
            )
        )
    gold = s.choose((0.85, 0.68, 0.25), (0.3, 0.3, 0.32))
    top = high + point
    s.add(
        box((0.018, 0.018, 0.14), (x, 0, top + 0.06), gold),
        box((0.018, 0.08, 0.018), (x, 0, top + 0.08), gold),
    )
    for t in np.linspace(-0.34, 0.24, 3):
        s.pair(
            box((0.08, 0.02, 0.16), (-0.1 + t * long, wide / 2, tall * 0.5), dark),
            cylinder(
                0.04, 0.02, (-0.1 + t * long, wide / 2, tall * 0.5 + 0.08), dark, axis="y", sides=14
            ),
        )
    s.add(
        box((0.02, 0.12, 0.2), (x + side / 2, 0, 0.10), s.wood()),
        cylinder(0.06, 0.02, (x + side / 2, 0, 0.2), dark, axis="x", sides=16),
    )
    s.add(
        cylinder(0.055, 0.02, (x + side / 2, 0, high * 0.62), frame, axis="x", sides=18),
        cylinder(0.006, 0.03, (x + side / 2, 0, high * 0.62), (0.1, 0.1, 0.1), axis="x", sides=6),
    )
    s.add(
        box((side + 0.012, 0.08, 0.12), (x, 0, high * 0.86), dark),
        box((0.08, side + 0.012, 0.12), (x, 0, high * 0.86), dark),
    )
    return f"a {colour_name(wall)} church with a {colour_name(roof)} roof"
