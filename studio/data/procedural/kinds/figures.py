"""Dolls and figures, a snowman."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import bead, limb, rounded
from studio.data.procedural.kinds.animals import INK, eyes
from studio.data.procedural.kinds.vessels import smooth
from studio.data.procedural.parts import Colour, box, cylinder, ellipsoid
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import hull, lathe, moved

SKIN: tuple[Colour, ...] = (
    (0.95, 0.78, 0.64),
    (0.86, 0.64, 0.48),
    (0.58, 0.39, 0.27),
    (0.36, 0.24, 0.17),
)
HAIR: tuple[Colour, ...] = (
    (0.16, 0.11, 0.08),
    (0.42, 0.25, 0.12),
    (0.85, 0.65, 0.28),
    (0.65, 0.27, 0.1),
    (0.75, 0.74, 0.72),
)
WHITE: Colour = (0.95, 0.95, 0.94)


@category
def figure(s: Sculptor) -> str:
    """A doll or figure: child, builder, astronaut, snowman or a figure of plastic blocks."""
    kind = s.choose("doll", "doll", "boy", "builder", "astronaut", "snowman", "block figure")
    shirt = s.main_or(0.15, WHITE, saturation=(0.5, 0.9))
    s.decorate(shirt, "stripes", "dots", "checks", "label", chance=0.4)
    skin, hair, trousers = (
        s.choose(*SKIN),
        s.choose(*HAIR),
        s.choose(s.partner(shirt), (0.2, 0.26, 0.42), (0.3, 0.22, 0.16)),
    )
    if kind == "snowman":
        return _snowman(s, shirt)
    if kind == "block figure":
        return _block_figure(s, shirt, trousers)
    tall = s.along(0.26, 0.44)
    r, shoulder, hip = s.uniform(0.13, 0.19), s.uniform(0.12, 0.15), s.uniform(0.10, 0.13)
    shoe, suit = s.choose(INK, (0.4, 0.24, 0.13), s.partner(trousers)), kind == "astronaut"
    if suit:
        trousers, r = shirt, max(r, 0.17)
    low = tall + 0.04
    s.pair(
        limb(
            (0, hip * 0.55, low),
            (0, hip * 0.62, 0.08),
            0.075 if suit else 0.06,
            0.055 if suit else 0.042,
            trousers if kind != "doll" else skin,
        )
    )
    s.pair(limb((-0.01, hip * 0.62, 0.035), (0.07, hip * 0.64, 0.032), 0.04, 0.036, shoe))
    top = low + 0.30
    s.add(
        *lathe(
            smooth(
                [
                    (hip * 1.02, low - 0.03),
                    (hip, low + 0.06),
                    (shoulder * 1.0, top - 0.08),
                    (shoulder * 0.55, top),
                ],
                7,
            ),
            shirt,
            stretch=(0.72, 1.0),
            sides=18,
        )
    )
    if kind == "doll":
        flare = s.uniform(0.19, 0.28)
        s.add(
            *lathe(
                [(flare, low * 0.48), (flare * 0.78, low * 0.8), (hip * 0.95, low + 0.08)],
                s.choose(shirt, s.partner(shirt)),
                stretch=(0.9, 1.0),
            )
        )
    hand = (
        s.uniform(-0.02, 0.10),
        shoulder + s.uniform(0.06, 0.16),
        low - 0.0 + s.uniform(-0.04, 0.1),
    )
    elbow = (hand[0] * 0.3 - 0.02, hand[1] * 0.6 + shoulder * 0.5, (hand[2] + top) / 2 - 0.02)
    sleeve = s.choose(shirt, skin) if not suit else shirt
    s.pair(
        limb((0, shoulder * 0.88, top - 0.07), elbow, 0.052, 0.042, shirt),
        limb(elbow, hand, 0.042, 0.034, sleeve),
        bead((0.042, 0.036, 0.042), hand, skin if not suit else s.partner(shirt)),
    )
    z = top + r * 0.95
    s.add(
        cylinder(0.045, 0.08, (0, 0, top), skin, sides=12),
        ellipsoid((r * 0.95, r * 0.92, r), (0, 0, z), skin),
    )
    eyes(s, r * 0.86, r * 0.36, z + r * 0.08, r * 0.14)
    s.add(
        bead((0.018, 0.016, 0.018), (r * 0.97, 0, z - r * 0.12), s.shade(skin, 0.9)),
        bead((0.012, r * 0.22, r * 0.05), (r * 0.84, 0, z - r * 0.42), (0.75, 0.25, 0.25)),
    )
    if suit:
        s.add(
            ellipsoid((r * 1.25, r * 1.25, r * 1.25), (-r * 0.08, 0, z), shirt),
            ellipsoid(
                (r * 0.62, r * 0.92, r * 0.72), (r * 0.72, 0, z + r * 0.05), (0.75, 0.55, 0.2)
            ),
        )
        s.add(
            rounded((0.12, 0.24, 0.26), (-shoulder * 0.9, 0, top - 0.1), s.partner(shirt), 0.03),
            box((0.03, 0.12, 0.08), (shoulder * 0.66, 0, top - 0.14), s.partner(shirt)),
        )
        return f"a {colour_name(shirt)} astronaut figure"
    if kind == "builder":
        hat = s.choose((0.97, 0.78, 0.12), s.partner(shirt), WHITE)
        s.add(
            *moved(
                lathe(
                    [(r * 1.06, 0), (r * 0.98, r * 0.4), (r * 0.5, r * 0.8), (0.02, r * 0.86)],
                    hat,
                    sides=18,
                ),
                (-0.01, 0, z + r * 0.3),
            )
        )
        s.add(
            *moved(lathe([(r * 1.28, 0), (r * 1.26, 0.02)], hat, sides=18), (0.02, 0, z + r * 0.3))
        )
        s.pair(box((shoulder * 1.0, 0.04, 0.16), (0.035, 0.06, top - 0.12), (0.95, 0.5, 0.1)))
        return f"a builder figure with a {colour_name(hat)} helmet"
    s.add(ellipsoid((r * 0.98, r * 1.0, r * 0.92), (-r * 0.16, 0, z + r * 0.18), hair))
    if kind == "doll":
        style = s.choose("tails", "long", "bun")
        if style == "tails":
            s.pair(
                limb(
                    (-r * 0.1, r * 0.95, z + r * 0.3),
                    (-r * 0.2, r * 1.35, z - r * 0.7),
                    r * 0.25,
                    r * 0.14,
                    hair,
                )
            )
        elif style == "long":
            s.add(limb((-r * 0.4, 0, z), (-r * 0.55, 0, top - 0.12), r * 0.78, r * 0.6, hair))
        else:
            s.add(bead((r * 0.4, r * 0.4, r * 0.4), (-r * 0.5, 0, z + r * 1.0), hair))
        return f"a doll in a {colour_name(shirt)} dress"
    return f"a figure in a {colour_name(shirt)} shirt"


def _snowman(s: Sculptor, scarf: Colour) -> str:
    """Balls of snow, a carrot, a hat, a scarf, arms of twigs."""
    snow, size = (0.95, 0.96, 0.97), s.along(0.8, 1.15)
    z, radii = 0.0, [0.30, 0.23 * size, 0.18 * size]
    tops = []
    for q in radii:
        s.add(ellipsoid((q, q, q * 0.94), (0, 0, z + q * 0.86), snow))
        tops.append(z + q * 0.86)
        z += q * 1.5
    x, h, q = radii[2], tops[2], radii[2]
    eyes(s, x * 0.88, x * 0.38, h + x * 0.28, x * 0.16)
    s.add(limb((x * 0.9, 0, h), (x * 1.9, 0, h - 0.02), 0.045, 0.01, (0.95, 0.5, 0.12)))
    s.add(
        *(
            bead(
                (0.025, 0.028, 0.028),
                (radii[1] * np.sqrt(1 - t * t) * 0.99, 0, tops[1] + radii[1] * t),
                INK,
            )
            for t in (-0.25, 0.15, 0.5)
        )
    )
    neck = (tops[1] + tops[2]) / 2 + 0.02
    s.add(*lathe([(q * 0.86, neck - 0.05), (q * 1.0, neck), (q * 0.84, neck + 0.05)], scarf))
    s.add(limb((q * 0.86, 0, neck), (q * 1.05, 0, neck - 0.22), 0.045, 0.05, scarf))
    hat = s.choose(INK, s.partner(scarf))
    s.add(
        *lathe([(q * 1.25, 0), (q * 1.25, 0.025)], hat, at=(0, 0, h + q * 0.66)),
        *lathe([(q * 0.8, 0.02), (q * 0.78, q * 1.1)], hat, at=(0, 0, h + q * 0.66)),
    )
    s.add(*lathe([(q * 0.83, 0.03), (q * 0.82, 0.09)], scarf, at=(0, 0, h + q * 0.66)))
    s.pair(
        limb(
            (0, radii[1] * 0.9, tops[1] + 0.06),
            (0.05, radii[1] + 0.28, tops[1] + 0.24),
            0.018,
            0.012,
            (0.36, 0.24, 0.14),
        )
    )
    return f"a snowman with a {colour_name(scarf)} scarf"


def _block_figure(s: Sculptor, shirt: Colour, trousers: Colour) -> str:
    """A little figure of plastic: trapezoid chest, claw hands, cylinder head."""
    yellow, hair = s.choose((0.97, 0.80, 0.18), *SKIN[:3]), s.choose(*HAIR, s.partner(shirt))
    leg = s.along(0.26, 0.38)
    s.pair(
        rounded((0.17, 0.155, leg), (0, 0.085, leg / 2), trousers, 0.012),
        box((0.2, 0.155, 0.07), (0.015, 0.085, 0.035), trousers),
    )
    s.add(rounded((0.17, 0.33, 0.07), (0, 0, leg + 0.03), trousers, 0.012))
    chest = np.array(
        [
            (x, way * y, z)
            for x in (-0.085, 0.085)
            for way in (-1, 1)
            for y, z in ((0.165, leg + 0.06), (0.125, leg + 0.36))
        ]
    )
    s.add(hull(chest, shirt))
    top = leg + 0.36
    hand = s.uniform(0.02, 0.14)
    s.pair(
        limb((0, 0.16, top - 0.06), (0.02, 0.215, top - 0.18), 0.055, 0.05, shirt),
        limb((0.02, 0.215, top - 0.18), (hand, 0.22, top - 0.27), 0.05, 0.045, shirt),
        bead((0.05, 0.042, 0.05), (hand + 0.02, 0.22, top - 0.31), yellow),
    )
    s.add(
        cylinder(0.06, 0.05, (0, 0, top + 0.015), yellow),
        *lathe(
            [(0.105, top + 0.03), (0.12, top + 0.05), (0.12, top + 0.2), (0.10, top + 0.23)],
            yellow,
            sides=20,
        ),
    )
    eyes(s, 0.117, 0.045, top + 0.15, 0.028)
    s.add(bead((0.012, 0.04, 0.01), (0.114, 0, top + 0.09), INK))
    s.add(
        ellipsoid((0.135, 0.138, 0.10), (-0.02, 0, top + 0.215), hair),
        box((0.06, 0.25, 0.13), (-0.10, 0, top + 0.15), hair),
    )
    if s.chance(0.5):
        s.add(box((0.012, 0.14, 0.12), (0.086, 0, top - 0.16), s.partner(shirt)))
    return f"a toy figure in a {colour_name(shirt)} shirt"
