"""Soft furniture in metres: sofa and armchair with real cushions, bed."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import rounded
from studio.data.procedural.kinds.seats import BLACK, LEATHERS, STEEL, pad
from studio.data.procedural.parts import Colour, box, cylinder
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import chain, lathe, moved, tube, turned


@category
def sofa(s: Sculptor) -> str:
    """A sofa, couch or armchair: seat and back cushions, arms of several kinds, slim feet."""
    cloth = s.main_or(
        0.45, *LEATHERS, (0.75, 0.70, 0.62), (0.55, 0.50, 0.45), saturation=(0.3, 0.8)
    )
    s.decorate(cloth, "grain", "grain", "stripes", "checks", "dots", chance=0.6)
    inner = s.along(0.50, 2.0)
    count = max(1, round(inner / s.uniform(0.55, 0.75)))
    if s.chance(0.18):
        return _tub_chair(s, cloth)
    arm, deep = s.uniform(0.10, 0.24), s.uniform(0.82, 0.98)
    foot, seat = s.uniform(0.06, 0.16), s.uniform(0.40, 0.46)
    back, arm_top = s.uniform(0.74, 0.92), seat + s.uniform(0.12, 0.24)
    wide, thick = inner + 2 * arm, s.uniform(0.16, 0.22)
    base = seat - 0.15
    rear = -deep / 2 + thick / 2
    s.add(rounded((deep - 0.04, wide - 0.04, base - foot), (0, 0, (base + foot) / 2), cloth, 0.03))
    lean = s.uniform(3, 9)
    frame = rounded((thick, wide - 0.02, back - foot), (rear, 0, (back + foot) / 2), cloth, 0.06)
    s.add(*turned([frame], "y", -lean, (rear, 0, foot)))
    style = s.choose("square", "square", "rolled", "sloped", "none")
    y = wide / 2 - arm / 2
    if style in ("square", "sloped"):
        size = (deep - 0.02, arm, arm_top - foot)
        slab = rounded(size, (0, y, (arm_top + foot) / 2), cloth, min(0.06, arm * 0.4))
        s.pair(*(turned([slab], "x", -6, (0, y, foot)) if style == "sloped" else [slab]))
    elif style == "rolled":
        r = arm * 0.55
        s.pair(
            rounded(
                (deep - 0.04, arm * 0.8, arm_top - foot - r),
                (0, y, (arm_top + foot - r) / 2),
                cloth,
                0.03,
            )
        )
        s.pair(cylinder(r, deep - 0.02, (0, y + 0.02, arm_top - r), cloth, axis="x", sides=18))
    width = inner if style != "none" else wide - 0.02
    second = s.partner(cloth) if s.chance(0.2) else s.shade(cloth, s.choose(1.0, 1.0, 1.06))
    each = width / count
    tall = back - seat - s.uniform(-0.04, 0.06)
    soft = s.uniform(0.16, 0.2)
    for k in range(count):
        middle = -width / 2 + (k + 0.5) * each
        x = (deep - thick) / 2 - deep / 2 + thick + 0.02
        s.add(
            pad(
                (deep - thick - 0.02, each - 0.012, soft),
                (x, middle, seat - soft / 2 + 0.03),
                second,
            )
        )
        rest = pad(
            (0.19, each - 0.02, tall),
            (rear + thick / 2 + 0.06, middle, seat + 0.02 + tall / 2),
            second,
        )
        s.add(*turned([rest], "y", -lean - 4, (rear + thick / 2, 0, seat)))
    metal = s.choose(s.wood(), BLACK, STEEL, s.wood())
    if foot > 0.08:
        for fx in (-deep / 2 + 0.1, deep / 2 - 0.1):
            s.pair(
                cylinder(
                    0.016,
                    foot + 0.02,
                    (fx, wide / 2 - 0.1, foot / 2),
                    metal,
                    top_radius=0.026,
                    sides=10,
                )
            )
    else:
        s.add(box((deep - 0.12, wide - 0.12, foot), (0, 0, foot / 2), metal))
    extra = ""
    if s.chance(0.35):
        pillow = s.partner(second)
        s.decorate(pillow, "stripes", "dots", "checks", "grain", chance=0.6)
        where = (rear + thick / 2 + 0.22, max(0.0, width / 2 - 0.24), seat + 0.22)
        pair = where[1] > 0.2
        throw = pad((0.13, 0.40, 0.38), where if pair else (where[0], 0.0, where[2]), pillow)
        (s.pair if pair else s.add)(*turned([throw], "y", -22, where))
        extra = " with " + (
            f"{colour_name(pillow)} pillows" if pair else f"a {colour_name(pillow)} pillow"
        )
    noun = "armchair" if count == 1 else s.choose("sofa", "couch")
    return f"a {colour_name(cloth)} {noun}{extra}"


def _tub_chair(s: Sculptor, cloth: Colour) -> str:
    """A round armchair whose back and arms are one curve."""
    r, seat, foot = s.uniform(0.36, 0.44), s.uniform(0.40, 0.46), s.uniform(0.08, 0.18)
    back = s.uniform(0.70, 0.90)
    s.add(*lathe([(r * 0.9, foot), (r * 0.95, foot + 0.03), (r * 0.95, seat - 0.12)], cloth))
    s.add(
        *lathe(
            [
                (r * 0.78, seat - 0.14),
                (r * 0.84, seat - 0.08),
                (r * 0.84, seat - 0.03),
                (r * 0.74, seat),
            ],
            s.choose(cloth, s.partner(cloth)),
        )
    )
    thick = s.uniform(0.09, 0.14)
    drop = s.uniform(0.3, 0.9)
    rings = []
    for angle in np.linspace(-125, 125, 15):
        top = back - (back - seat - 0.1) * drop * abs(angle / 125) ** 1.5
        rows = [
            (r - thick, foot + 0.02),
            (r, foot),
            (r * 1.06, (foot + top) / 2),
            (r * 1.08, top - 0.04),
            (r * 1.05 - thick / 3, top),
            (r * 1.03 - thick * 0.7, top - 0.02),
            (r - thick, top - 0.08),
        ]
        way = np.deg2rad(180 + angle)
        rings.append([(q * np.cos(way), q * np.sin(way), z) for q, z in rows])
    s.add(*chain(np.array(rings), cloth))
    metal = s.choose(s.wood(), BLACK, STEEL)
    for x in (-r * 0.55, r * 0.55):
        s.pair(
            *tube(
                [(x, r * 0.55, foot + 0.02), (x * 1.2, r * 0.66, 0)], [0.022, 0.014], metal, sides=8
            )
        )
    return f"a {colour_name(cloth)} tub chair"


@category
def bed(s: Sculptor) -> str:
    """A bed: frame, mattress, duvet, pillows, a headboard behind (-X)."""
    duvet = s.main_or(0.25, (0.94, 0.93, 0.91), (0.6, 0.6, 0.62), saturation=(0.3, 0.85))
    s.decorate(duvet, "stripes", "dots", "checks", "grain", chance=0.6)
    frame = s.choose(s.wood(), s.wood(), (0.93, 0.92, 0.90), s.partner(duvet))
    long, wide = 2.0, s.along(0.85, 1.9)
    low, base = s.uniform(0.10, 0.2), s.uniform(0.14, 0.22)
    thick = s.uniform(0.18, 0.26)
    top = low + base + thick * 0.7
    s.add(box((long + 0.06, wide + 0.08, base), (0, 0, low + base / 2), frame))
    s.add(rounded((long, wide, thick), (0, 0, low + base + thick * 0.3), (0.95, 0.94, 0.92), 0.06))
    cover = long * s.uniform(0.62, 0.8)
    s.add(
        rounded(
            (cover, wide + 0.06, thick + 0.06),
            (long / 2 - cover / 2 + 0.03, 0, top - thick / 2 + 0.03),
            duvet,
            0.07,
        )
    )
    fold = s.partner(duvet)
    s.add(rounded((0.28, wide + 0.07, 0.08), (long / 2 - cover + 0.1, 0, top + 0.03), fold, 0.038))
    high = s.uniform(0.75, 1.15)
    soft = s.chance(0.4)
    if soft:
        s.add(
            rounded(
                (0.10, wide + 0.1, high), (-long / 2 - 0.06, 0, high / 2), s.partner(duvet), 0.045
            )
        )
    elif s.chance(0.6):
        s.add(rounded((0.06, wide + 0.1, high), (-long / 2 - 0.05, 0, high / 2), frame, 0.02))
    else:
        for y in np.linspace(-wide / 2, wide / 2, int(wide / 0.14)):
            s.add(box((0.03, 0.03, high), (-long / 2 - 0.04, y, high / 2), frame))
        s.add(box((0.05, wide + 0.1, 0.07), (-long / 2 - 0.04, 0, high), frame))
    s.pair(
        *(
            box((0.07, 0.07, low + 0.02), (x, wide / 2 - 0.04, low / 2), frame)
            for x in (-0.94, 0.96)
        )
    )
    if s.chance(0.5):
        s.add(
            rounded(
                (0.06, wide + 0.1, low + base + 0.15),
                (long / 2 + 0.05, 0, (low + base + 0.15) / 2),
                frame,
                0.02,
            )
        )
    pillow = s.choose((0.96, 0.95, 0.93), (0.96, 0.95, 0.93), s.partner(duvet))
    each = (0.36, 0.62, 0.16)
    shape = pad(each, (0, 0, 0), pillow)
    tilt = turned([shape], "y", -20)
    if wide > 1.3:
        s.pair(*moved(tilt, (-long / 2 + 0.26, wide / 4, top + 0.10)))
    else:
        s.add(*moved(tilt, (-long / 2 + 0.26, 0, top + 0.10)))
    return f"a {colour_name(frame)} bed with a {colour_name(duvet)} blanket"
