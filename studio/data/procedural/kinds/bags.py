"""Backpacks, handbags and suitcases; the pocket or clasp is in front."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import rounded
from studio.data.procedural.kinds.wear import LEATHERS
from studio.data.procedural.parts import box
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import arch, chain, hull, spline, tube


@category
def backpack(s: Sculptor) -> str:
    """A backpack: rounded sack, pocket in front, side pockets, straps behind, a grip on top."""
    cloth = s.main_or(0.3, *LEATHERS, saturation=(0.4, 0.95))
    second = s.choose(cloth, s.partner(cloth), s.partner(cloth))
    s.decorate(cloth, "grain", "dots", "checks", "stripes", "label", chance=0.5)
    tall, wide, deep = s.along(0.75, 1.2), s.uniform(0.54, 0.68), s.uniform(0.30, 0.40)
    s.add(rounded((deep, wide, tall), (0, 0, tall / 2), cloth, deep * s.uniform(0.35, 0.48)))
    pocket, front = tall * s.uniform(0.36, 0.5), s.uniform(0.10, 0.18)
    z = pocket / 2 + 0.04
    s.add(rounded((front * 2, wide * 0.8, pocket), (deep / 2, 0, z), second, front * 0.7))
    zip_ = s.choose((0.12, 0.12, 0.12), (0.9, 0.88, 0.8), s.partner(second))
    s.add(
        *tube(
            arch(
                (deep / 2 + front * 0.72, -wide * 0.33, z + pocket * 0.30),
                (deep / 2 + front * 0.72, wide * 0.33, z + pocket * 0.30),
                (0, 0, pocket * 0.14),
                6,
            ),
            0.014,
            zip_,
            sides=6,
        )
    )
    if s.chance(0.5):
        flap = tall * s.uniform(0.2, 0.3)
        s.add(
            rounded(
                (deep * 1.12, wide * 1.02, flap), (0.02, 0, tall - flap * 0.42), second, deep * 0.3
            )
        )
        s.pair(box((0.02, 0.05, tall * 0.3), (deep / 2 + 0.03, wide * 0.2, tall * 0.68), zip_))
    else:
        bow = arch(
            (deep * 0.40, -wide * 0.42, tall * 0.66),
            (deep * 0.40, wide * 0.42, tall * 0.66),
            (-deep * 0.2, 0, tall * 0.3),
            8,
        )
        s.add(*tube(bow, 0.016, zip_, sides=6))
    if s.chance(0.6):
        side = tall * s.uniform(0.28, 0.4)
        s.pair(rounded((deep * 0.7, 0.14, side), (0, wide / 2, side / 2 + 0.05), second, 0.05))
    strap = s.choose(second, (0.14, 0.14, 0.15))
    path = spline(
        [
            (-deep * 0.4, wide * 0.2, tall * 0.93),
            (-deep * 0.62, wide * 0.24, tall * 0.8),
            (-deep * 0.72, wide * 0.27, tall * 0.5),
            (-deep * 0.42, wide * 0.36, tall * 0.12),
        ],
        7,
    )
    s.pair(*tube(path, 0.03, strap, sides=6, flat=1.6))
    s.add(
        *tube(
            arch(
                (-deep * 0.1, -0.07, tall - 0.02), (-deep * 0.1, 0.07, tall - 0.02), (0, 0, 0.09), 6
            ),
            0.02,
            strap,
            sides=6,
        )
    )
    return f"a {colour_name(cloth)} backpack"


@category
def handbag(s: Sculptor) -> str:
    """A handbag, tote or suitcase: tapered body, two loops or a grip, flap, clasp in front."""
    leather = s.main_or(0.4, *LEATHERS, saturation=(0.4, 0.95))
    s.decorate(leather, "grain", "checks", "dots", "stripes", chance=0.35)
    trim = s.choose(leather, s.partner(leather), LEATHERS[1], LEATHERS[0])
    kind = s.choose("handbag", "handbag", "tote bag", "suitcase")
    metal = s.choose((0.82, 0.66, 0.30), (0.75, 0.76, 0.78))
    wide, tall = s.along(0.62, 1.0), s.uniform(0.5, 0.68)
    deep = s.uniform(0.24, 0.34)
    if kind == "suitcase":
        s.add(rounded((deep, wide, tall), (0, 0, tall / 2 + 0.03), leather, 0.06))
        s.add(box((0.02, wide * 0.98, tall * 0.98), (0, 0, tall / 2 + 0.03), trim))
        s.pair(
            rounded((deep * 1.03, 0.07, tall * 1.03), (0, wide * 0.3, tall / 2 + 0.03), trim, 0.03)
        )
        s.pair(box((0.03, 0.05, 0.08), (deep / 2 + 0.015, wide * 0.3, tall * 0.6), metal))
        s.add(
            *tube(
                arch((0, -0.13, tall + 0.02), (0, 0.13, tall + 0.02), (0, 0, 0.12), 8), 0.022, trim
            )
        )
        return f"a {colour_name(leather)} suitcase"
    half, slim = wide / 2, s.uniform(0.35, 0.65)
    rings = []
    for z, f, d in (
        (0.0, 0.97, 0.92),
        (0.04, 1.0, 1.0),
        (tall * 0.6, 0.95, 0.5 + slim / 2),
        (tall, 0.86, slim),
    ):
        w, e = half * f, deep / 2 * d
        rings.append([(x, y, z) for x, y in _soft(e, w)])
    s.add(*chain(np.array(rings), leather))
    if kind == "handbag" and s.chance(0.7):
        drop = tall * s.uniform(0.35, 0.55)
        top = deep / 2 * slim
        low = deep / 2 * (1 - (1 - slim) * (1 - drop / tall)) + 0.015
        rows = [(-top * 0.9, way * half * 0.87, tall + 0.012) for way in (-1, 1)]
        rows += [(top + 0.012, way * half * 0.87, tall + 0.012) for way in (-1, 1)]
        rows += [(low + 0.012, way * half * s.choose(0.6, 0.6), tall - drop) for way in (-1, 1)]
        rows += [(top - 0.03, way * half * 0.85, tall - 0.03) for way in (-1, 1)]
        s.add(hull(np.array(rows), trim))
        s.add(rounded((0.05, 0.09, 0.06), (low + 0.012, 0, tall - drop + 0.04), metal, 0.015))
    else:
        s.add(box((deep * slim * 0.8, wide * 0.8, 0.012), (0, 0, tall), (0.15, 0.13, 0.12)))
        s.add(
            rounded((0.03, 0.16, 0.08), (deep / 2 * (0.5 + slim / 2), 0, tall * 0.6), metal, 0.012)
        )
    reach, out = s.uniform(0.2, 0.42), half * s.uniform(0.4, 0.6)
    for x in (deep / 2 * slim * 0.8, -deep / 2 * slim * 0.8):
        bow = arch((x, -out, tall - 0.05), (x, out, tall - 0.05), (0, 0, reach), 10)
        s.add(*tube(bow, 0.018, trim, sides=6))
        s.add(
            *(
                rounded((0.03, 0.06, 0.1), (x * 1.1, way * out, tall - 0.05), trim, 0.012)
                for way in (-1, 1)
            )
        )
    return f"a {colour_name(leather)} {kind}"


def _soft(e: float, w: float) -> list[tuple[float, float]]:
    """Rounded rectangle, counter-clockwise, of half sizes e (x) and w (y)."""
    cut = 0.45 * e
    quarter = [(e, w - cut), (e - cut * 0.3, w - cut * 0.3), (e - cut, w)]
    left = [(-x, y) for x, y in quarter[::-1]]
    half = quarter + left
    return half + [(-x, -y) for x, y in half]
