"""Treasure chests, barrels, crates and gift boxes."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import bead, rounded
from studio.data.procedural.kinds.seats import BLACK, frame_colour
from studio.data.procedural.parts import Colour, box, cylinder
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import hull, lathe, tube

BRASS: Colour = (0.80, 0.64, 0.30)


@category
def chest(s: Sculptor) -> str:
    """A treasure chest, barrel, crate or gift box."""
    wood = frame_colour(s, 0.55)
    s.decorate(wood, "planks", "wood", chance=0.5)
    iron = s.choose((0.25, 0.25, 0.27), BRASS, s.partner(wood), (0.5, 0.5, 0.52))
    kind = s.choose("treasure chest", "barrel", "barrel", "crate", "gift box")
    if kind == "barrel":
        tall, r = s.along(0.75, 1.15), s.uniform(0.34, 0.42)
        end = r * s.uniform(0.78, 0.88)
        rows = [(r - (r - end) * (2 * t - 1) ** 2, tall * t) for t in np.linspace(0, 1, 8)]
        s.add(
            *lathe(rows, wood, sides=20),
            *lathe([(end * 0.88, tall - 0.01), (end * 0.88, tall + 0.006)], s.shade(wood, 0.75)),
        )
        for t in (0.05, 0.28, 0.72, 0.95):
            q = [r - (r - end) * (2 * u - 1) ** 2 + 0.01 for u in (t - 0.035, t + 0.035)]
            s.add(*lathe([(q[0], tall * (t - 0.035)), (q[1], tall * (t + 0.035))], iron, sides=20))
        s.add(cylinder(0.04, 0.05, (r, 0, tall * 0.5), s.shade(wood, 0.5), axis="x", sides=10))
        return f"a {colour_name(wood)} barrel"
    wide, deep, tall = s.along(0.7, 1.1), s.uniform(0.5, 0.65), s.uniform(0.36, 0.5)
    if kind == "gift box":
        paper, bow = s.main_colour(), iron if iron[0] > 0.3 else (0.85, 0.15, 0.2)
        s.decorate(paper, "dots", "stripes", "checks", chance=0.5)
        s.add(
            box((deep, wide * 0.7, tall), (0, 0, tall / 2), paper),
            box((deep + 0.04, wide * 0.7 + 0.04, 0.09), (0, 0, tall), paper),
        )
        s.add(
            box((deep + 0.05, 0.09, tall + 0.06), (0, 0, tall / 2 + 0.03), bow),
            box((0.09, wide * 0.7 + 0.05, tall + 0.06), (0, 0, tall / 2 + 0.03), bow),
        )
        loop = [
            (0.0, 0.02, 0.0),
            (0.03, 0.16, 0.10),
            (0.0, 0.22, 0.05),
            (-0.02, 0.14, 0.0),
            (0.0, 0.02, 0.0),
        ]
        s.pair(*tube([(x, y, tall + 0.07 + z) for x, y, z in loop], 0.028, bow, sides=6))
        s.add(bead((0.05, 0.05, 0.045), (0, 0, tall + 0.08), bow))
        return f"a {colour_name(paper)} gift box with a {colour_name(bow)} bow"
    if kind == "crate":
        plank, tall = s.uniform(0.09, 0.12), tall * 1.3
        boards = int(tall / plank)
        for k in range(boards):
            z = tall * (k + 0.5) / boards
            s.add(box((deep - 0.05, wide - 0.05, tall / boards - 0.014), (0, 0, z), wood))
        dark = s.shade(wood, 0.85)
        for x in (-deep / 2 + 0.03, deep / 2 - 0.03):
            s.pair(box((0.07, 0.07, tall), (x, wide / 2 - 0.03, tall / 2), dark))
            s.add(*(box((0.06, wide, 0.07), (x, 0, z), dark) for z in (0.035, tall - 0.035)))
        s.pair(
            *(box((deep, 0.06, 0.07), (0, wide / 2 - 0.03, z), dark) for z in (0.035, tall - 0.035))
        )
        rows_ = [
            (deep / 2 - 0.02 + d, w * (wide / 2 - 0.08), tall / 2 + w * (tall / 2 - 0.08) + e)
            for d in (0, 0.02)
            for w in (-1, 1)
            for e in (-0.04, 0.04)
        ]
        other = [(x, -y, z) for x, y, z in rows_]
        s.add(hull(np.array(rows_), dark), hull(np.array(other), dark))
        return f"a {colour_name(wood)} crate"
    s.add(box((deep, wide, tall), (0, 0, tall / 2), wood))
    arc = [
        (deep / 2 * np.cos(t), tall + 0.02 + deep * 0.42 * np.sin(t))
        for t in np.linspace(0, np.pi, 9)
    ]
    for half, colour, grow in ((wide / 2, wood, 0.0), (wide / 2 + 0.012, iron, 0.012)):
        spans = (
            [(-half, half)]
            if colour == wood
            else [(-half, -half + 0.07), (half - 0.07, half), (-0.035, 0.035)]
        )
        for a, b in spans:
            s.add(
                hull(
                    np.array([(x * (1 + 2 * grow), y, z + grow) for x, z in arc for y in (a, b)]),
                    colour,
                )
            )
            if colour == iron:
                s.add(box((deep + 0.024, b - a, tall), (0, (a + b) / 2, tall / 2), iron))
    s.add(
        box((deep + 0.02, wide + 0.02, 0.05), (0, 0, tall), iron),
        rounded((0.05, 0.12, 0.14), (deep / 2 + 0.01, 0, tall), BRASS, 0.02),
        box((0.06, 0.025, 0.04), (deep / 2 + 0.012, 0, tall - 0.02), BLACK),
    )
    return f"a {colour_name(wood)} treasure chest"
