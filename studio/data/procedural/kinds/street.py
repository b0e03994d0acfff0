"""Things of street and garden: hydrant, cone, dustbin, mailbox, bird house, plants in pots."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import bead, limb, rounded
from studio.data.procedural.kinds.vessels import CERAMIC, vessel
from studio.data.procedural.parts import Colour, box, cylinder, ellipsoid
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import chain, hull, lathe, shell, tube

BLACK: Colour = (0.12, 0.12, 0.13)
BRASS: Colour = (0.82, 0.65, 0.28)
SILVER: Colour = (0.74, 0.75, 0.77)
WHITE: Colour = (0.94, 0.94, 0.92)


@category
def hydrant(s: Sculptor) -> str:
    """A fire hydrant, bollard, dustbin or traffic cone."""
    kind = s.choose("fire hydrant", "fire hydrant", "traffic cone", "dustbin")
    paint = s.main_or(
        0.4,
        (0.80, 0.12, 0.1) if kind != "traffic cone" else (0.95, 0.42, 0.08),
        saturation=(0.6, 0.95),
    )
    trim = s.choose(paint, WHITE, (0.97, 0.8, 0.15), SILVER)
    if kind == "traffic cone":
        tall, r = s.along(0.6, 1.1), 0.24
        rows = [(r * (1 - 0.82 * t), 0.05 + tall * t) for t in (0.0, 0.3, 0.5, 0.65, 0.8, 1.0)]
        s.add(
            rounded((0.62, 0.62, 0.06), (0, 0, 0.03), s.choose(paint, BLACK), 0.02),
            *lathe(rows, [paint, WHITE, paint, WHITE, paint]),
        )
        return f"a {colour_name(paint)} traffic cone"
    if kind == "dustbin":
        tall, r = s.along(0.7, 1.1), 0.3
        s.add(
            *lathe([(r * 0.84, 0), (r * 0.92, tall * 0.5), (r, tall)], paint),
            *lathe(
                [
                    (r * 1.06, tall),
                    (r * 1.06, tall + 0.05),
                    (r * 0.8, tall + 0.12),
                    (0.06, tall + 0.17),
                ],
                trim,
            ),
        )
        s.add(
            *tube(
                [
                    (0, -0.09, tall + 0.15),
                    (0, -0.08, tall + 0.22),
                    (0, 0.08, tall + 0.22),
                    (0, 0.09, tall + 0.15),
                ],
                0.02,
                BLACK,
                sides=6,
            )
        )
        s.pair(
            *tube(
                [
                    (-0.08, r * 0.95, tall * 0.75),
                    (-0.07, r + 0.06, tall * 0.75),
                    (0.07, r + 0.06, tall * 0.75),
                    (0.08, r * 0.95, tall * 0.75),
                ],
                0.016,
                BLACK,
                sides=6,
            )
        )
        s.add(box((0.02, 0.16, 0.2), (r * 0.93, 0, tall * 0.5), trim))
        return f"a {colour_name(paint)} dustbin"
    tall, r = s.along(0.5, 0.8), s.uniform(0.15, 0.19)
    s.add(
        *lathe([(r * 1.5, 0), (r * 1.5, 0.06), (r * 1.1, 0.09)], trim),
        *lathe([(r, 0.08), (r * 0.94, tall)], paint),
        *lathe([(r * 1.25, tall), (r * 1.25, tall + 0.05)], trim),
    )
    dome = s.uniform(0.14, 0.2)
    s.add(
        *lathe(
            [
                (r * 1.12 * np.cos(t), tall + 0.05 + dome * np.sin(t))
                for t in np.linspace(0, 1.4, 6)
            ],
            trim,
        )
    )
    s.add(*lathe([(0.05, tall + dome + 0.03), (0.045, tall + dome + 0.1)], trim, sides=6))
    z = tall * 0.72
    s.pair(
        cylinder(0.085, 0.14, (0, r + 0.03, z), paint, axis="y", sides=16),
        cylinder(0.105, 0.05, (0, r + 0.10, z), trim, axis="y", sides=8),
        cylinder(0.03, 0.05, (0, r + 0.14, z), trim, axis="y", sides=6),
    )
    s.add(
        cylinder(0.105, 0.14, (r + 0.03, 0, z * 0.86), paint, axis="x", sides=18),
        cylinder(0.125, 0.05, (r + 0.10, 0, z * 0.86), trim, axis="x", sides=8),
        cylinder(0.035, 0.05, (r + 0.14, 0, z * 0.86), trim, axis="x", sides=6),
    )
    return f"a {colour_name(paint)} fire hydrant"


@category
def mailbox(s: Sculptor) -> str:
    """A letter box: pillar box, tunnel on a post, wall box on legs, or a bird house."""
    paint = s.main_or(0.35, (0.78, 0.1, 0.1), (0.15, 0.3, 0.6), SILVER, saturation=(0.5, 0.9))
    trim, post = s.choose(paint, BLACK, WHITE), s.choose(s.wood(), s.wood(), WHITE, BLACK)
    kind = s.choose("mailbox", "mailbox", "pillar box", "bird house")
    tall = s.along(0.45, 0.95)
    if kind == "pillar box":
        r, high = 0.24, tall + 0.3
        s.add(
            *lathe([(r * 1.1, 0), (r * 1.1, 0.1)], BLACK),
            *lathe([(r, 0.1), (r, high)], paint),
            *lathe(
                [
                    (r * 1.14, high),
                    (r * 1.14, high + 0.05),
                    (r * 0.9, high + 0.11),
                    (0.03, high + 0.16),
                ],
                trim,
            ),
        )
        s.add(
            box((0.04, 0.24, 0.04), (r * 0.96, 0, high - 0.12), BLACK),
            box((0.05, 0.16, 0.18), (r * 0.95, 0, high - 0.34), WHITE),
        )
        return f"a {colour_name(paint)} pillar box"
    s.add(box((0.09, 0.09, tall), (0, 0, tall / 2), post))
    if kind == "bird house":
        s.add(
            box((0.3, 0.32, 0.34), (0, 0, tall + 0.17), paint),
            cylinder(0.06, 0.02, (0.15, 0, tall + 0.22), BLACK, axis="x", sides=16),
            limb((0.15, 0, tall + 0.1), (0.24, 0, tall + 0.1), 0.014, 0.014, post),
        )
        roof = s.partner(paint)
        rows = [
            (x, y, tall + z + d)
            for x in (-0.21, 0.23)
            for y, z in ((0.0, 0.52), (0.24, 0.3))
            for d in (0.0, 0.03)
        ]
        s.pair(hull(np.array(rows), roof))
        s.add(
            hull(
                np.array(
                    [
                        (x, y, tall + z)
                        for x in (-0.15, 0.15)
                        for y, z in ((-0.16, 0.33), (0.16, 0.33), (0, 0.5))
                    ]
                ),
                paint,
            )
        )
        return f"a {colour_name(paint)} bird house"
    long, r = s.uniform(0.5, 0.62), s.uniform(0.13, 0.17)
    arc = [(r * np.cos(t), tall + 0.16 + r * np.sin(t)) for t in np.linspace(0, np.pi, 9)] + [
        (-r, tall),
        (r, tall),
    ]
    s.add(hull(np.array([(x, y, z) for x in (-long / 2, long / 2) for y, z in arc]), paint))
    face = np.array(
        [
            (x, y * 1.04, tall + (z - tall) * 1.02)
            for x in (long / 2 - 0.01, long / 2 + 0.015)
            for y, z in arc
        ]
    )
    s.add(
        hull(face, s.choose(paint, trim, SILVER)),
        rounded((0.04, 0.06, 0.03), (long / 2 + 0.02, 0, tall + r * 1.6), BLACK, 0.01),
        box((0.3, 0.24, 0.03), (0, 0, tall - 0.01), post),
    )
    flag = s.choose((0.85, 0.12, 0.1), s.partner(paint))
    s.pair(
        box((0.02, 0.02, 0.2), (-0.05, r + 0.012, tall + 0.22), flag),
        box((0.1, 0.02, 0.07), (-0.01, r + 0.012, tall + 0.3), flag),
    )
    return f"a {colour_name(paint)} mailbox on a post"


@category
def potted_plant(s: Sculptor) -> str:
    """A plant in a pot: cactus, palm, bush, leaves, flowers, little tree."""
    pot = s.main_or(0.45, (0.72, 0.40, 0.26), *CERAMIC, saturation=(0.3, 0.85))
    s.decorate(pot, "bands", "dots", "stripes", "checks", "gradient", chance=0.5)
    green = s.choose((0.25, 0.5, 0.2), (0.35, 0.58, 0.25), (0.2, 0.42, 0.26), (0.5, 0.62, 0.28))
    r, tall = s.uniform(0.22, 0.28), s.uniform(0.26, 0.4)
    foot = r * s.uniform(0.62, 0.9)
    outer = [(foot, 0), ((foot + r) / 2, tall * 0.5), (r, tall)]
    s.add(*vessel(outer, 0.03, pot, content=((0.25, 0.17, 0.11), tall * 0.88), sides=20))
    if s.chance(0.5):
        s.add(*shell([(r * 1.1, tall * 0.82), (r * 1.1, tall)], [r * 0.92] * 2, pot, sides=20))
    kind = s.choose("cactus", "cactus", "palm", "bush", "leaves", "flowers", "tree")
    z, high = tall * 0.85, s.along(0.4, 0.85)
    if kind == "cactus":
        q = s.uniform(0.10, 0.14)
        s.add(limb((0, 0, z), (0, 0, z + high), q * 0.9, q, green))
        for k in range(8):
            a = np.pi * (k + 0.5) / 4
            s.add(
                limb(
                    (q * 0.82 * np.cos(a), q * 0.82 * np.sin(a), z),
                    (q * 0.9 * np.cos(a), q * 0.9 * np.sin(a), z + high),
                    0.022,
                    0.022,
                    s.shade(green, 1.2),
                )
            )
        if s.chance(0.75):
            up, out = z + high * s.uniform(0.35, 0.5), q + 0.16
            s.pair(
                limb((0, q * 0.5, up), (0, out, up), q * 0.52, q * 0.52, green),
                limb((0, out, up), (0, out, up + high * 0.35), q * 0.52, q * 0.5, green),
            )
        if s.chance(0.5):
            s.add(
                bead(
                    (0.06, 0.06, 0.05),
                    (0, 0, z + high + q),
                    s.choose((0.95, 0.4, 0.55), (0.98, 0.8, 0.2)),
                )
            )
    elif kind in ("bush", "tree"):
        trunk = z if kind == "bush" else z + high * 0.55
        if kind == "tree":
            s.add(limb((0, 0, z), (0, 0, trunk + 0.1), 0.035, 0.028, (0.4, 0.27, 0.16)))
        q = s.uniform(0.24, 0.32)
        s.add(ellipsoid((q, q, q), (0, 0, trunk + q * 0.8), green))
        for k in range(6):
            a, b = np.pi * (k + 0.5) / 6, s.uniform(-0.4, 0.9)
            s.pair(
                bead(
                    (q * 0.5, q * 0.5, q * 0.48),
                    (
                        q * 0.75 * np.cos(a) * np.cos(b),
                        q * 0.75 * np.sin(a) * np.cos(b),
                        trunk + q * (0.8 + 0.75 * np.sin(b)),
                    ),
                    s.shade(green, s.uniform(0.85, 1.15)),
                )
            )
        if s.chance(0.4):
            fruit = s.choose((0.95, 0.5, 0.1), (0.85, 0.15, 0.15), (0.98, 0.85, 0.2))
            for a in (0.3, 1.2, 2.2, 2.9):
                s.pair(
                    bead(
                        (0.05, 0.05, 0.05),
                        (
                            q * 1.12 * np.cos(a),
                            q * 1.12 * np.sin(a),
                            trunk + q * s.uniform(0.5, 1.2),
                        ),
                        fruit,
                    )
                )
    else:
        count, bloom = (
            s.choose(5, 6, 7),
            s.choose((0.9, 0.2, 0.3), (0.98, 0.8, 0.2), (0.95, 0.6, 0.75), WHITE),
        )
        top = z + high * 0.8 if kind == "palm" else z
        if kind == "palm":
            s.add(*tube([(0, 0, z), (0, 0, top)], [0.05, 0.035], (0.45, 0.32, 0.2)))
        for k in range(count):
            a = np.pi * (k + 0.5) / count
            reach, rise = (
                s.uniform(0.26, 0.4),
                high * s.uniform(0.3, 0.9) if kind != "palm" else s.uniform(0.05, 0.25),
            )
            c, d = np.cos(a), np.sin(a)
            path = np.array(
                [
                    (0.03 * c, 0.03 * d, top),
                    (reach * 0.4 * c, reach * 0.4 * d + 0.004, top + rise * 0.8),
                    (reach * c, reach * d + 0.008, top + (rise if kind != "palm" else -0.05)),
                ]
            )
            if kind == "flowers":
                s.pair(*tube(path, 0.012, green, sides=6))
                s.pair(
                    bead((0.075, 0.075, 0.05), path[-1], bloom),
                    bead((0.035, 0.035, 0.035), path[-1] + (0, 0, 0.04), (0.95, 0.75, 0.2)),
                )
            else:
                side = np.array([-d, c, 0.0])
                widths = (0.02, 0.075 if kind == "leaves" else 0.05, 0.008)
                rings = np.array(
                    [
                        [p + side * w, p + (0, 0, 0.012), p - side * w, p - (0, 0, 0.012)]
                        for p, w in zip(path, widths, strict=True)
                    ]
                )
                s.pair(*chain(rings, s.shade(green, s.uniform(0.85, 1.15))))
        if kind == "leaves":
            s.add(limb((0, 0, z), (0, 0, z + high * 0.9), 0.05, 0.01, green))
    noun = {
        "cactus": "cactus",
        "palm": "palm",
        "bush": "bush",
        "leaves": "house plant",
        "flowers": "flowers",
        "tree": "little tree",
    }[kind]
    article = "" if kind == "flowers" else "a "
    return f"{article}{noun} in a {colour_name(pot)} pot"
