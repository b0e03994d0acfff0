"""Lighthouse, castle, windmill, tent; the entrance is in front (+X)."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import bead, limb
from studio.data.procedural.kinds.buildings import GLASS, ROOFS, WALLS
from studio.data.procedural.parts import Colour, Part, box, cylinder, rotation
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import hull, lathe, moved, shell, tube

STONES: tuple[Colour, ...] = ((0.62, 0.60, 0.57), (0.72, 0.66, 0.55), (0.5, 0.5, 0.52))
DARK: Colour = (0.12, 0.11, 0.11)


@category
def lighthouse(s: Sculptor) -> str:
    """A banded tower with a gallery and a lamp room, or a water tower."""
    paint = s.main_or(0.3, (0.80, 0.14, 0.12), (0.15, 0.16, 0.2), saturation=(0.55, 0.9))
    white = s.choose((0.95, 0.94, 0.92), (0.95, 0.94, 0.92), s.partner(paint))
    tall, r = s.along(0.75, 1.35), s.uniform(0.17, 0.22)
    top = r * s.uniform(0.58, 0.75)
    bands = s.choose(1, 3, 4, 5, 6)
    zs = np.linspace(0, tall, bands + 1)
    first = s.choose(0, 1)
    colours = [paint if bands == 1 or (k + first) % 2 == 0 else white for k in range(bands)]
    s.add(*lathe([(r + (top - r) * z / tall, z) for z in zs], colours))
    s.add(*lathe([(r * 1.15, -0.02), (r * 1.12, 0.03)], (0.5, 0.49, 0.47)))
    deck = top * 1.45
    s.add(*lathe([(top * 1.05, tall - 0.03), (deck, tall), (deck, tall + 0.02)], DARK))
    rail = [
        (deck * 0.96 * np.cos(a), deck * 0.96 * np.sin(a))
        for a in np.linspace(0, 2 * np.pi, 13)[:-1] + np.pi / 12
    ]
    s.add(*(box((0.012, 0.012, 0.08), (x, y, tall + 0.05), DARK) for x, y in rail))
    s.add(
        *shell([(deck * 0.98, tall + 0.08), (deck * 0.98, tall + 0.095)], [deck * 0.92] * 2, DARK)
    )
    lamp, roof = top * 0.72, s.choose(paint, paint, DARK)
    s.add(cylinder(lamp, 0.15, (0, 0, tall + 0.09), s.choose((1.0, 0.93, 0.6), (0.6, 0.72, 0.78))))
    s.add(
        *(
            box((0.014, 0.014, 0.15), (lamp * np.cos(a), lamp * np.sin(a), tall + 0.09), DARK)
            for a in np.pi / 8 + np.arange(8) * np.pi / 4
        )
    )
    s.add(*lathe([(lamp * 1.2, tall + 0.16), (lamp * 0.8, tall + 0.22), (0.02, tall + 0.29)], roof))
    s.add(bead((0.02, 0.02, 0.03), (0, 0, tall + 0.3), DARK))
    s.add(box((0.05, 0.10, 0.16), (r * 0.98, 0, 0.08), s.wood()))
    for z in (tall * 0.35, tall * 0.6, tall * 0.82):
        q = r + (top - r) * z / tall
        s.add(box((0.05, 0.05, 0.08), (q - 0.015, 0, z), DARK))
    if s.chance(0.35):
        hut = s.uniform(0.24, 0.3)
        s.add(box((hut, 0.3, 0.18), (-r - hut / 2 + 0.06, 0, 0.09), white))
        rows = [
            (-r - hut + 0.02 + d * (hut + 0.06), y, z)
            for d in (0, 1)
            for y, z in ((-0.18, 0.17), (0.18, 0.17), (0.0, 0.3))
        ]
        s.add(hull(np.array(rows), paint))
    return (
        f"a {colour_name(paint)} and {colour_name(white)} lighthouse"
        if bands > 1
        else f"a {colour_name(paint)} lighthouse"
    )


@category
def castle(s: Sculptor) -> str:
    """A castle: corner towers with battlements or cones, walls, keep, gate, flags."""
    stone = s.main_or(0.65, *STONES, saturation=(0.2, 0.55))
    roof = s.choose(*ROOFS[:2], s.partner(stone), s.main_colour())
    s.decorate(stone, "bricks", chance=0.6)
    half, tall = s.uniform(0.36, 0.44), s.uniform(0.26, 0.36)
    r, high = s.uniform(0.10, 0.13), tall + s.along(0.06, 0.36)
    cone = s.chance(0.6)
    for x in (-half, half):
        s.pair(*moved(_tower(r, high, stone, roof, cone), (x, half, 0)))
        _wall(s, (x, 0.0), (0.08, 2 * half), tall, stone)
    for y in (-half, half):
        _wall(s, (0.0, y), (2 * half, 0.08), tall, stone)
    keep, up = s.uniform(0.16, 0.24), high + s.uniform(0.05, 0.3)
    if s.chance(0.6):
        s.add(box((2 * keep, 2 * keep, up), (-0.05, 0, up / 2), stone))
        for x in (-1, 0, 1):
            for y in (-1, 0, 1):
                if x or y:
                    s.add(
                        box(
                            (keep * 0.4, keep * 0.4, 0.07),
                            (-0.05 + x * keep * 0.82, y * keep * 0.82, up + 0.03),
                            stone,
                        )
                    )
        s.add(
            box((2 * keep + 0.01, 0.05, 0.1), (-0.05, 0, up * 0.75), DARK),
            box((0.05, 2 * keep + 0.01, 0.1), (-0.05, 0, up * 0.75), DARK),
        )
        pole = (-0.05, up + 0.06)
    else:
        s.add(*moved(_tower(keep, up, stone, roof, True), (-0.05, 0, 0)))
        pole = (-0.05, up + keep * 2.2)
    s.add(limb((pole[0], 0, pole[1]), (pole[0], 0, pole[1] + 0.22), 0.01, 0.008, DARK))
    flag = s.main_colour()
    s.add(box((0.14, 0.012, 0.08), (pole[0] - 0.07, 0, pole[1] + 0.18), flag))
    gate, wide = tall * 1.08, 0.22
    s.add(
        box((0.14, wide, gate), (half + 0.01, 0, gate / 2), stone),
        box((0.15, wide * 0.55, gate * 0.5), (half + 0.015, 0, gate * 0.25), s.wood()),
    )
    s.add(cylinder(wide * 0.275, 0.15, (half + 0.015, 0, gate * 0.5), DARK, axis="x", sides=16))
    s.add(
        *(
            box((0.14, wide * 0.2, 0.06), (half + 0.01, wide * t, gate + 0.03), stone)
            for t in (-0.4, 0.0, 0.4)
        )
    )
    return f"a {colour_name(stone)} castle" + (f" with {colour_name(roof)} roofs" if cone else "")


def _tower(r: float, tall: float, stone: Colour, roof: Colour, cone: bool) -> list[Part]:
    """A round tower at the origin."""
    parts = lathe(
        [
            (r * 1.06, 0),
            (r, tall * 0.2),
            (r, tall),
            (r * 1.15, tall + 0.04),
            (r * 1.15, tall + 0.1),
        ],
        stone,
        sides=16,
    )
    if cone:
        return parts + lathe(
            [(r * 1.28, tall + 0.09), (r * 0.65, tall + r * 1.6), (0.008, tall + r * 2.9)],
            roof,
            sides=16,
        )
    for k in range(8):
        merlon = box((r * 0.3, r * 0.44, 0.07), (r * 1.0, 0, tall + 0.12), stone)
        parts.append(merlon.turned(rotation("z", 22.5 + 45 * k)))
    return parts


def _wall(
    s: Sculptor, at: tuple[float, float], size: tuple[float, float], tall: float, stone: Colour
) -> None:
    """A curtain wall with battlements."""
    s.add(box((*size, tall), (*at, tall / 2), stone))
    along = 0 if size[0] > size[1] else 1
    for t in np.linspace(-0.36, 0.36, 6):
        where = [at[0], at[1]]
        where[along] += t * size[along]
        block = [size[0], size[1]]
        block[along] *= 0.075
        s.add(box((block[0], block[1], 0.06), (where[0], where[1], tall + 0.03), stone))


@category
def windmill(s: Sculptor) -> str:
    """A windmill: tapered tower, cap, four sails in front; or a wind turbine."""
    wall = s.main_or(0.55, *WALLS, saturation=(0.3, 0.7))
    cap = s.choose(*ROOFS, s.partner(wall))
    s.decorate(wall, "bricks", "planks", "bands", chance=0.5)
    tall, r = s.along(0.65, 1.05), s.uniform(0.22, 0.28)
    sides, top = s.choose(8, 8, 20), r * s.uniform(0.55, 0.7)
    s.add(*lathe([(r, 0), ((r + top) / 2, tall * 0.5), (top, tall)], wall, sides=sides))
    s.add(
        *lathe(
            [
                (top * 1.12, tall - 0.01),
                (top * 1.05, tall + 0.08),
                (top * 0.6, tall + 0.18),
                (0.02, tall + 0.24),
            ],
            cap,
            sides=sides,
        )
    )
    z, x = tall + 0.04, top + 0.12
    s.add(cylinder(0.035, 0.3, (x - 0.12, 0, z), s.wood(), axis="x", sides=10))
    reach, turn = s.uniform(0.42, 0.56), s.choose(0, 45)
    cloth, spar = s.choose((0.94, 0.92, 0.86), (0.94, 0.92, 0.86), s.partner(wall)), s.wood()
    for k in range(4):
        sail = [
            box((0.02, 0.03, reach), (x, 0, z + reach / 2), spar),
            box((0.012, 0.13, reach * 0.68), (x, 0, z + reach * 0.62), cloth),
        ]
        sail += [
            box((0.02, 0.14, 0.012), (x, 0, z + reach * t), spar) for t in (0.3, 0.52, 0.74, 0.96)
        ]
        s.add(*(part.turned(rotation("x", turn + 90 * k), (x, 0, z)) for part in sail))
    s.add(bead((0.04, 0.04, 0.04), (x + 0.01, 0, z), spar))
    s.add(box((0.06, 0.13, 0.2), (r * 0.95, 0, 0.10), s.wood()))
    for h in (tall * 0.4, tall * 0.68):
        q = r + (top - r) * h / tall
        s.add(box((0.05, 0.08, 0.09), (q - 0.02, 0, h), GLASS))
        s.pair(box((0.08, 0.05, 0.09), (0, q * 0.97 - 0.015, h), GLASS))
    if s.chance(0.5):
        deck = tall * 0.3
        q = r + (top - r) * 0.3
        s.add(
            *lathe(
                [(q * 1.05, deck - 0.03), (q * 1.35, deck), (q * 1.35, deck + 0.015)],
                spar,
                sides=sides,
            )
        )
    return f"a {colour_name(wall)} windmill with a {colour_name(cap)} cap"


@category
def tent(s: Sculptor) -> str:
    """A ridge tent, dome tent, tepee or marquee."""
    cloth = s.main_or(
        0.3, (0.85, 0.80, 0.66), (0.45, 0.5, 0.3), (0.95, 0.94, 0.9), saturation=(0.4, 0.9)
    )
    second = s.partner(cloth)
    s.decorate(cloth, "stripes", "bands", "grain", "gradient", chance=0.4)
    kind = s.choose("ridge tent", "dome tent", "tepee", "marquee")
    long = s.along(0.7, 1.2)
    if kind == "ridge tent":
        half, tall = s.uniform(0.3, 0.4), s.uniform(0.42, 0.55)
        rows = [(x, y, 0.0) for x in (-long / 2, long / 2) for y in (-half, half)] + [
            (x, 0.0, tall) for x in (-long / 2 + 0.05, long / 2 - 0.02)
        ]
        s.add(hull(np.array(rows), cloth))
        door = [(long / 2 + 0.002, y * half * 0.42, 0.0) for y in (-1, 1)] + [
            (long / 2 - 0.017, 0, tall * 0.86)
        ]
        s.add(hull(np.array(door + [(x - 0.05, y, z) for x, y, z in door]), DARK))
        s.pair(
            hull(
                np.array(
                    [
                        (long / 2 + d, y, z)
                        for d in (-0.03, 0.015)
                        for y, z in (
                            (half * 0.44, 0.0),
                            (half * 0.78, 0.0),
                            (half * 0.16, tall * 0.66),
                        )
                    ]
                ),
                second,
            )
        )
        s.pair(
            *tube(
                [(long / 2 - 0.1, half, 0.03), (long / 2 - 0.05, half + 0.14, 0.01)],
                0.008,
                DARK,
                sides=6,
            )
        )
        s.add(
            limb(
                (long / 2 - 0.02, 0, tall * 0.9),
                (long / 2 - 0.02, 0, tall + 0.05),
                0.012,
                0.012,
                (0.6, 0.6, 0.6),
            )
        )
    elif kind == "dome tent":
        r, tall = 0.45, s.uniform(0.36, 0.5)
        s.add(
            *lathe(
                [(r * np.cos(t), tall * np.sin(t)) for t in np.linspace(0.0, 1.5, 8)],
                cloth,
                stretch=(long * 0.8, 1.0),
                sides=12,
            )
        )
        for a in (45, 135):
            path = [
                (
                    r * 1.01 * np.cos(t) * np.cos(np.deg2rad(a)) * long * 0.8,
                    r * 1.01 * np.cos(t) * np.sin(np.deg2rad(a)),
                    tall * 1.01 * np.sin(t),
                )
                for t in np.linspace(0, np.pi, 11)
            ]
            s.add(*tube(path, 0.016, second, sides=6))
        x = r * long * 0.8
        rows = [(x * 1.0 - 0.02, y, 0.0) for y in (-0.18, 0.18)] + [
            (x * f - 0.02, y, tall * h)
            for f, y, h in ((0.9, -0.14, 0.45), (0.9, 0.14, 0.45), (0.80, 0, 0.64))
        ]
        s.add(hull(np.array([(q + d, y, z) for q, y, z in rows for d in (0.0, 0.05)]), second))
    elif kind == "tepee":
        r, tall = s.uniform(0.36, 0.44), long * 0.95
        s.add(*lathe([(r, 0), (r * 0.55, tall * 0.48), (0.05, tall)], cloth, sides=12))
        s.add(
            *lathe(
                [(r * 0.70 + 0.006, tall * 0.32), (r * 0.60 + 0.006, tall * 0.43)], second, sides=12
            )
        )
        for a in (30, 150, 270, 330, 210, 90):
            c, q = np.cos(np.deg2rad(a)), np.sin(np.deg2rad(a))
            s.add(
                limb(
                    (0.03 * c, 0.03 * q, tall * 0.96),
                    (-0.08 * c, -0.08 * q, tall * 1.16),
                    0.012,
                    0.01,
                    (0.45, 0.3, 0.18),
                )
            )
        c = np.cos(np.pi / 12)
        rows = [(r * c + 0.006, y, 0.0) for y in (-0.11, 0.11)] + [
            (r * c * 0.62 + 0.02, y, tall * 0.42) for y in (-0.015, 0.015)
        ]
        s.add(hull(np.array([(x - d, y, z) for x, y, z in rows for d in (0.0, 0.06)]), DARK))
    else:
        half, tall = 0.4, 0.42
        for x in (-long / 2, long / 2):
            s.pair(cylinder(0.018, tall, (x, half, tall / 2), (0.85, 0.85, 0.84), sides=10))
        s.add(
            hull(
                np.array(
                    [(x * long / 2 * 1.06, y * half * 1.06, tall) for x in (-1, 1) for y in (-1, 1)]
                    + [
                        (0.0, 0.0, tall + 0.32),
                        *[
                            (x * long / 2 * 1.06, y * half * 1.06, tall + 0.03)
                            for x in (-1, 1)
                            for y in (-1, 1)
                        ],
                    ]
                ),
                cloth,
            )
        )
        s.add(box((long * 1.06, half * 2.12, 0.07), (0, 0, tall - 0.02), second))
        s.add(box((0.012, half * 2, tall), (-long / 2, 0, tall / 2), cloth))
    return f"a {colour_name(cloth)} {kind}"
