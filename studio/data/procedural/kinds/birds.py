"""Ducks, swans, songbirds, parrots, penguins, owls, hens, flamingos."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import bead, limb
from studio.data.procedural.kinds.animals import INK, body, eyes, fur_colour
from studio.data.procedural.parts import Colour, ellipsoid, rotation
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import hull, spline, tube

BEAK: Colour = (0.95, 0.60, 0.12)


@category
def duck(s: Sculptor) -> str:
    """A bath duck, goose or swan: boat-shaped body, raised tail, flat bill."""
    kind = s.choose("rubber duck", "rubber duck", "duck", "swan")
    white = (0.95, 0.95, 0.93)
    down = fur_colour(
        s, (0.98, 0.80, 0.12), (0.98, 0.80, 0.12), white, (0.5, 0.38, 0.26), chance=0.55
    )
    if kind == "swan" and not s.unusual:
        down = s.choose(white, white, (0.15, 0.14, 0.15))
    bill = s.choose(BEAK, (0.90, 0.35, 0.12), (0.92, 0.75, 0.2))
    long, wide = s.along(0.72, 1.05), s.uniform(0.30, 0.36)
    tall, end = s.uniform(0.26, 0.33), long / 2
    z = tall * 0.9
    body(
        s,
        [
            (-end, z + tall * 0.85, wide * 0.12, 0.03),
            (-end * 0.8, z + tall * 0.35, wide * 0.55, tall * 0.55),
            (-end * 0.3, z, wide, tall * 0.9),
            (end * 0.4, z, wide * 0.98, tall * 0.9),
            (end * 0.85, z + tall * 0.1, wide * 0.66, tall * 0.62),
            (end, z + tall * 0.2, wide * 0.2, tall * 0.25),
        ],
        down,
    )
    wing = s.choose(down, s.shade(down, 0.82), s.shade(down, 0.82))
    part = ellipsoid(
        (long * 0.27, 0.06, tall * 0.50), (-long * 0.08, wide * 0.95, z + tall * 0.2), wing
    )
    s.pair(part.turned(rotation("y", s.uniform(5, 25)), (0, 0, z)))
    r = s.uniform(0.19, 0.24) * (0.72 if kind == "swan" else 1.0)
    if kind == "swan":
        neck = spline(
            [
                (end * 0.75, 0, z + 0.05),
                (end * 1.15, 0, z + 0.35),
                (end * 0.8, 0, z + 0.62),
                (end * 0.85, 0, z + 0.82),
            ],
            8,
        )
        s.add(*tube(neck, list(np.linspace(0.13, 0.085, 9)), down, sides=10))
        at = (end * 0.95, 0.0, z + 0.84)
    else:
        at = (end * 0.62, 0.0, z + tall * 0.75 + r * 0.85)
        s.add(
            limb(
                (end * 0.5, 0, z + tall * 0.4),
                (at[0], 0, at[2] - r * 0.4),
                wide * 0.6,
                r * 0.7,
                down,
            )
        )
    x, _, h = at
    hood = (0.12, 0.36, 0.22) if kind == "duck" and s.chance(0.4) else down
    s.add(ellipsoid((r, r * 0.95, r * 0.97), at, hood))
    s.add(ellipsoid((r * 0.72, r * 0.55, r * 0.16), (x + r * 1.05, 0, h - r * 0.08), bill))
    s.add(
        ellipsoid(
            (r * 0.62, r * 0.5, r * 0.13), (x + r * 1.0, 0, h - r * 0.24), s.shade(bill, 0.85)
        )
    )
    eyes(s, x + r * 0.72, r * 0.52, h + r * 0.32, r * 0.24, white=s.chance(0.6))
    if kind == "duck":
        s.pair(ellipsoid((0.16, 0.1, 0.03), (0.02, wide * 0.5, 0.02), bill))
    return f"a {colour_name(down)} {kind}"


@category
def bird(s: Sculptor) -> str:
    """A songbird, parrot, penguin, owl, chicken or flamingo, on its feet."""
    kind = s.choose("bird", "parrot", "penguin", "owl", "hen", "flamingo")
    coats = {
        "penguin": ((0.14, 0.15, 0.18),),
        "owl": ((0.50, 0.36, 0.22), (0.6, 0.58, 0.55)),
        "hen": ((0.95, 0.94, 0.92), (0.62, 0.34, 0.16)),
        "flamingo": ((0.96, 0.55, 0.60),),
    }
    coat = fur_colour(s, *coats.get(kind, ((0.3, 0.25, 0.2), (0.8, 0.2, 0.15))), chance=0.6)
    belly = s.choose((0.96, 0.95, 0.92), (0.93, 0.80, 0.6), s.shade(coat, 1.2))
    wing = (
        s.choose(s.shade(coat, 0.75), s.partner(coat)) if kind == "parrot" else s.shade(coat, 0.8)
    )
    beak = s.choose(BEAK, (0.92, 0.72, 0.2), (0.3, 0.28, 0.26))
    upright = kind in ("penguin", "owl", "parrot")
    leg = {"flamingo": 0.55, "hen": 0.16, "bird": 0.14}.get(kind, 0.04) * s.uniform(0.85, 1.15)
    size = s.along(0.8, 1.25)
    if upright:
        r, tall = 0.24, 0.36 * size
        s.add(ellipsoid((r, r * 1.05, tall), (0, 0, leg + tall), coat))
        s.add(ellipsoid((r * 0.75, r * 0.82, tall * 0.82), (r * 0.32, 0, leg + tall * 0.92), belly))
        q, head_z = 0.20, leg + tall * 1.85
        x, reach = 0.03, tall * 0.75
        part = ellipsoid((0.12, 0.045, reach), (-0.02, r * 1.03, leg + tall * 1.05), wing)
        s.pair(part.turned(rotation("x", s.uniform(2, 14)), (0, r, leg + tall * 1.7)))
        s.add(
            limb(
                (-r * 0.6, 0, leg + tall * 0.4),
                (-r * (1.6 if kind == "parrot" else 1.1), 0, leg * 0.5 + 0.06),
                0.08,
                0.04,
                wing,
            )
        )
    else:
        long, r = 0.42 * size, 0.21
        z = leg + r * 0.9
        body(
            s,
            [
                (-long, z + 0.08, 0.05, 0.05),
                (-long * 0.5, z + 0.03, r * 0.8, r * 0.78),
                (0.05, z, r, r),
                (long * 0.6, z + 0.05, r * 0.78, r * 0.8),
                (long * 0.85, z + 0.08, r * 0.3, r * 0.3),
            ],
            coat,
        )
        s.add(ellipsoid((long * 0.55, r * 0.75, r * 0.7), (long * 0.12, 0, z - r * 0.25), belly))
        s.pair(
            ellipsoid((long * 0.55, 0.045, r * 0.6), (-long * 0.12, r * 0.95, z + r * 0.2), wing)
        )
        fan = [(-long * 0.7, y, z + 0.05) for y in (-0.06, 0.06)]
        rise = s.uniform(0.22, 0.4) if kind == "hen" else s.uniform(0.0, 0.12)
        fan += [(-long * 1.35, y, z + rise + d) for y in (-0.12, 0.12) for d in (0, 0.03)]
        fan += [(-long * 0.7, y, z + 0.09) for y in (-0.06, 0.06)]
        s.add(hull(np.array(fan), wing))
        q = 0.15 if kind != "flamingo" else 0.095
        if kind == "flamingo":
            neck = spline(
                [
                    (long * 0.6, 0, z + 0.05),
                    (long * 1.05, 0, z + 0.30),
                    (long * 0.7, 0, z + 0.55),
                    (long * 0.9, 0, z + 0.72),
                ],
                8,
            )
            s.add(*tube(neck, list(np.linspace(0.085, 0.05, 9)), coat, sides=8))
            x, head_z = long * 0.98, z + 0.74
        else:
            x, head_z = long * 0.72, z + r * 0.75 + q * 0.8
            s.add(
                limb((long * 0.4, 0, z + 0.05), (x, 0, head_z - q * 0.3), r * 0.65, q * 0.75, coat)
            )
    s.add(ellipsoid((q, q * 1.02, q * 0.98), (x, 0, head_z), coat))
    _beak(s, kind, x, head_z, q, beak, belly)
    foot = s.choose(BEAK, beak)
    y = 0.10 if upright else 0.08
    if leg > 0.1:
        s.pair(*tube([(0.0, y, leg + 0.1), (0.0, y, 0.02)], 0.018, foot, sides=6))
    s.pair(
        *(
            limb((0.0, y, 0.022), (0.13, y + dy, 0.02), 0.022, 0.018, foot)
            for dy in (-0.05, 0.0, 0.05)
        )
    )
    return f"a {colour_name(coat)} {kind}"


def _beak(
    s: Sculptor, kind: str, x: float, z: float, q: float, beak: Colour, belly: Colour
) -> None:
    """Face of a bird: eyes, beak, and what its kind has on its head."""
    if kind == "owl":
        s.pair(
            ellipsoid((q * 0.3, q * 0.48, q * 0.5), (x + q * 0.72, q * 0.44, z + q * 0.12), belly)
        )
        eyes(s, x + q * 1.0, q * 0.42, z + q * 0.14, q * 0.3)
        s.add(
            limb(
                (x + q * 0.9, 0, z - q * 0.05),
                (x + q * 1.1, 0, z - q * 0.4),
                q * 0.14,
                q * 0.04,
                beak,
            )
        )
        s.pair(
            limb(
                (x, q * 0.6, z + q * 0.7),
                (x - q * 0.1, q * 0.8, z + q * 1.25),
                q * 0.25,
                q * 0.06,
                s.shade(belly, 0.7),
            )
        )
        return
    eyes(s, x + q * 0.62, q * 0.62, z + q * 0.28, q * 0.26, white=kind in ("penguin", "parrot"))
    if kind in ("parrot", "flamingo"):
        s.add(
            *tube(
                spline(
                    [
                        (x + q * 0.7, 0, z + q * 0.1),
                        (x + q * 1.5, 0, z - q * 0.05),
                        (x + q * 1.75, 0, z - q * 0.75),
                    ],
                    4,
                ),
                [q * 0.42, q * 0.4, q * 0.33, q * 0.2, q * 0.06],
                INK if kind == "flamingo" else beak,
                sides=8,
            )
        )
    else:
        s.add(
            limb(
                (x + q * 0.75, 0, z - q * 0.05),
                (x + q * 1.65, 0, z - q * 0.2),
                q * 0.3,
                q * 0.05,
                beak,
            )
        )
    if kind == "hen":
        red = (0.82, 0.12, 0.12)
        s.add(
            *(
                bead((q * 0.25, q * 0.12, q * 0.3), (x + q * d, 0, z + q * 1.0), red)
                for d in (-0.4, 0.0, 0.4)
            )
        )
        s.add(bead((q * 0.15, q * 0.18, q * 0.3), (x + q * 0.95, 0, z - q * 0.65), red))
    if kind == "parrot" and s.chance(0.5):
        s.add(
            limb(
                (x - q * 0.1, 0, z + q * 0.9),
                (x - q * 0.8, 0, z + q * 1.6),
                q * 0.2,
                q * 0.08,
                s.choose(beak, belly),
            )
        )
