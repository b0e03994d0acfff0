"""Planes and helicopters: lofted hulls, tapered wings, glazed cabins."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import limb, rounded, wheel
from studio.data.procedural.kinds.car_bodies import CHROME, DARK, GLASS, TYRE, WHITE
from studio.data.procedural.parts import Colour, Part, box, cylinder, ellipsoid, rotation
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import chain, hull, lathe, moved, oval, spline, tube, turned


def fuselage(
    s: Sculptor, line: list[tuple[float, float, float, float]], colour: Colour, steps: int = 10
) -> None:
    """A hull along X through (x, z of the middle, half-width, half-height)."""
    ring = oval(14)
    curve = spline(line, steps)
    rings = [np.c_[np.full(14, x), w * ring[:, 0], z + h * ring[:, 1]] for x, z, w, h in curve]
    s.add(*chain(np.array(rings), colour))


def blade(
    root: tuple[float, float, float], tip: tuple[float, float, float], chord: tuple[float, float],
    thick: float, colour: Colour, *, upright: bool = False,
) -> Part:  # fmt: skip
    """A wing between the middles of its two ends; ``chord`` is its length along X there."""
    rows = []
    for (x, y, z), c in ((root, chord[0]), (tip, chord[1])):
        for dx, d in (
            (c / 2, 0.0),
            (c * 0.2, thick / 2),
            (-c * 0.2, thick / 2 * 0.8),
            (-c / 2, 0.0),
        ):
            for way in (-1, 1):
                rows.append((x + dx, y + way * d, z) if upright else (x + dx, y, z + way * d))
    return hull(np.unique(np.array(rows).round(9), axis=0), colour)


@category
def plane(s: Sculptor) -> str:
    """An airliner, propeller plane or jet fighter with the wheels out or on its belly."""
    paint = s.main_or(0.35, WHITE, WHITE, CHROME, saturation=(0.5, 0.95))
    accent = s.main_colour() if paint in (WHITE, CHROME) else s.choose(WHITE, s.partner(paint))
    kind = s.choose("airliner", "propeller plane", "propeller plane", "jet fighter")
    r = s.uniform(0.065, 0.085)
    z, span = 0.2, s.along(0.75, 1.15)
    if kind == "airliner":
        fuselage(
            s,
            [
                (-0.5, z + 0.05, r * 0.15, r * 0.2),
                (-0.3, z + 0.02, r * 0.75, r * 0.8),
                (0.0, z, r, r),
                (0.3, z, r, r),
                (0.44, z - 0.005, r * 0.7, r * 0.7),
                (0.5, z - 0.015, r * 0.12, r * 0.12),
            ],
            paint,
        )
        sweep = s.uniform(0.18, 0.28)
        s.pair(
            blade(
                (0.05, r * 0.5, z - r * 0.5),
                (0.05 - sweep, span / 2, z + 0.02),
                (0.22, 0.07),
                0.026,
                s.choose(paint, (0.75, 0.76, 0.78)),
            )
        )
        s.pair(
            blade(
                (-0.42, 0.01, z + 0.06), (-0.49, span * 0.19, z + 0.08), (0.12, 0.05), 0.016, paint
            )
        )
        s.add(
            blade(
                (-0.41, 0, z + r * 0.6),
                (-0.50, 0, z + 0.24),
                (0.16, 0.08),
                0.018,
                accent,
                upright=True,
            )
        )
        engine = lathe(
            [(0.026, -0.06), (0.033, -0.01), (0.033, 0.05), (0.028, 0.06)], accent, sides=14
        )
        for out in (0.3, 0.55) if s.chance(0.3) else (0.36,):
            y = span / 2 * out
            s.pair(*moved(turned(engine, "y", 90), (0.10 - sweep * out, y, z - 0.055)))
        s.add(box((0.72, r * 2.02, 0.016), (0.02, 0, z + r * 0.25), s.choose(GLASS, accent)))
        s.add(rounded((0.05, r * 1.1, 0.03), (0.445, 0, z + r * 0.42), GLASS, 0.012))
    elif kind == "propeller plane":
        r *= 1.25
        fuselage(
            s,
            [
                (-0.45, z + 0.03, 0.012, 0.03),
                (-0.15, z, r * 0.72, r * 0.85),
                (0.12, z, r, r),
                (0.34, z, r * 0.9, r * 0.88),
            ],
            paint,
            8,
        )
        cowl = lathe([(r * 0.9, 0), (r * 0.85, 0.04), (r * 0.6, 0.07)], accent)
        s.add(*moved(turned(cowl, "y", 90), (0.33, 0, z)))
        high = s.chance(0.4)
        level = z + r * 0.95 if high else z - r * 0.45
        double = s.chance(0.3)
        wing = s.choose(paint, accent)
        levels = (z + r * 1.9, z - r * 0.55) if double else (level,)
        for h in levels:
            s.add(blade((0.12, 0, h), (0.10, span / 2, h + 0.02), (0.21, 0.16), 0.03, wing))
            s.add(blade((0.12, 0, h), (0.10, -span / 2, h + 0.02), (0.21, 0.16), 0.03, wing))
        if double:
            wood = s.wood()
            for x, f in ((0.07, 0.12), (0.16, 0.12), (0.07, 0.38), (0.16, 0.38)):
                s.pair(
                    limb((x, span * f, levels[-1]), (x, span * f, levels[0]), 0.008, 0.008, wood)
                )
        s.pair(blade((-0.39, 0, z + 0.03), (-0.40, 0.17, z + 0.03), (0.13, 0.09), 0.018, wing))
        s.add(
            blade(
                (-0.39, 0, z + 0.02), (-0.43, 0, z + 0.2), (0.15, 0.09), 0.018, accent, upright=True
            )
        )
        s.add(ellipsoid((0.11, r * 0.62, r * 0.75), (0.06, 0, z + r * 0.72), GLASS))
        s.add(
            *moved(
                turned(
                    lathe([(0.035, 0), (0.03, 0.04), (0.005, 0.08)], s.partner(accent), sides=12),
                    "y",
                    90,
                ),
                (0.39, 0, z),
            )
        )
        s.pair(rounded((0.012, 0.22, 0.034), (0.42, 0.10, z), DARK, 0.006))
        s.pair(*moved(wheel(0.055, 0.035, (0, 0, 0), TYRE, CHROME, spokes=0), (0.16, 0.13, 0.055)))
        s.pair(limb((0.14, 0.05, z - r * 0.7), (0.16, 0.12, 0.06), 0.012, 0.012, CHROME))
        s.add(cylinder(0.025, 0.02, (-0.38, 0, 0.12), TYRE, axis="y", sides=12))
        s.add(limb((-0.36, 0, z), (-0.38, 0, 0.12), 0.012, 0.01, CHROME))
    else:
        fuselage(
            s,
            [
                (-0.45, z, r * 0.75, r * 0.6),
                (-0.1, z, r * 1.1, r * 0.8),
                (0.15, z, r * 0.85, r * 0.75),
                (0.36, z, r * 0.45, r * 0.42),
                (0.55, z - 0.01, 0.006, 0.006),
            ],
            paint,
        )
        s.pair(blade((-0.12, r * 0.6, z), (-0.27, span * 0.36, z), (0.42, 0.12), 0.024, paint))
        s.pair(blade((-0.42, r * 0.5, z), (-0.50, span * 0.2, z), (0.15, 0.07), 0.016, paint))
        for way in (0.0,) if s.chance(0.5) else (-0.055, 0.055):
            s.add(
                blade(
                    (-0.34, way, z + r * 0.4),
                    (-0.46, way * 1.6, z + 0.2),
                    (0.2, 0.09),
                    0.016,
                    accent,
                    upright=True,
                )
            )
        s.add(ellipsoid((0.12, r * 0.5, r * 0.55), (0.2, 0, z + r * 0.55), GLASS))
        s.pair(
            *moved(
                turned(lathe([(0.042, -0.03), (0.034, 0.05)], DARK, sides=14), "y", -90),
                (-0.45, 0.035, z),
            )
        )
        s.pair(
            limb((-0.2, span * 0.2, z - 0.03), (0.0, span * 0.2, z - 0.03), 0.016, 0.012, accent)
        )
    return f"a {colour_name(paint)} {kind}"


@category
def helicopter(s: Sculptor) -> str:
    """A helicopter: glazed cabin, tail boom, rotors, skids."""
    paint = s.main_or(0.2, WHITE, (0.3, 0.36, 0.25), saturation=(0.5, 0.95))
    accent = s.partner(paint)
    r, z = s.uniform(0.15, 0.19), 0.28
    boom = s.along(0.35, 0.62)
    fuselage(
        s,
        [
            (-0.25, z + 0.06, r * 0.35, r * 0.4),
            (-0.1, z + 0.02, r * 0.85, r * 0.92),
            (0.1, z, r, r),
            (0.24, z - 0.02, r * 0.8, r * 0.8),
            (0.33, z - 0.05, r * 0.3, r * 0.35),
        ],
        paint,
    )
    s.add(ellipsoid((0.19, r * 0.90, r * 0.80), (0.17, 0, z + 0.03), GLASS))
    s.pair(rounded((0.14, 0.03, 0.13), (0.0, r * 0.95, z + 0.05), GLASS, 0.012))
    s.add(limb((-0.15, 0, z + 0.08), (-0.2 - boom, 0, z + 0.14), r * 0.42, 0.03, paint))
    s.add(
        blade(
            (-0.2 - boom, 0, z + 0.1),
            (-0.28 - boom, 0, z + 0.28),
            (0.12, 0.07),
            0.03,
            accent,
            upright=True,
        )
    )
    s.pair(
        blade(
            (-0.12 - boom, 0, z + 0.13), (-0.14 - boom, 0.12, z + 0.13), (0.08, 0.06), 0.016, accent
        )
    )
    s.pair(
        box((0.16, 0.01, 0.025), (-0.24 - boom, 0.035, z + 0.2), DARK),
        box((0.025, 0.01, 0.16), (-0.24 - boom, 0.035, z + 0.2), DARK),
    )
    s.add(
        rounded((0.24, r * 0.9, 0.08), (-0.02, 0, z + r * 0.98), accent, 0.03),
        cylinder(0.02, 0.10, (0, 0, z + r + 0.07), CHROME),
    )
    reach, top = s.uniform(0.42, 0.56), z + r + 0.11
    turn = s.choose(0, 45) if s.chance(0.6) else 90
    for k in range(4 if turn != 90 else 2):
        s.add(
            box((reach, 0.05, 0.014), (reach / 2, 0, top), DARK).turned(
                rotation("z", turn + k * (90 if turn != 90 else 180))
            )
        )
    s.add(cylinder(0.045, 0.04, (0, 0, top), DARK, sides=12))
    y = r * 0.95
    s.pair(*tube([(0.28, y, 0.045), (0.24, y, 0.015), (-0.2, y, 0.015)], 0.014, CHROME, sides=6))
    s.pair(
        *(limb((x, r * 0.5, z - r * 0.7), (x, y, 0.02), 0.012, 0.012, CHROME) for x in (0.14, -0.1))
    )
    return f"a {colour_name(paint)} helicopter"
