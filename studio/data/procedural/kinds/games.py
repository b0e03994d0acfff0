"""Turned and round things: chess pieces, pins, tops, bells, trophies, balls, globes."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import bead
from studio.data.procedural.kinds.animals import INK
from studio.data.procedural.kinds.toys import WHITE, gaudy
from studio.data.procedural.kinds.vessels import smooth
from studio.data.procedural.parts import box, ellipsoid, rotation
from studio.data.procedural.sculptor import Sculptor, category, colour_name, hsv
from studio.data.procedural.solids import arch, hull, lathe, shell, tube


@category
def chess_piece(s: Sculptor) -> str:
    """A turned thing: chess piece, bowling pin, spinning top, bell or trophy cup."""
    kind = s.choose(
        "pawn", "bishop", "queen", "rook", "bowling pin", "spinning top", "trophy", "trophy", "bell"
    )
    paint = s.main_or(0.5, s.wood(), WHITE, INK, (0.85, 0.68, 0.25), saturation=(0.5, 0.9))
    band = s.choose((0.85, 0.15, 0.15), s.partner(paint))
    k = s.along(0.85, 1.3)
    if kind == "trophy":
        metal = s.main_or(
            0.75, (0.87, 0.68, 0.22), (0.75, 0.76, 0.78), (0.72, 0.44, 0.24), saturation=(0.5, 0.8)
        )
        base = s.choose(INK, s.wood(), WHITE)
        s.add(
            box((0.34, 0.34, 0.16), (0, 0, 0.08), base),
            box((0.012, 0.2, 0.08), (0.17, 0, 0.08), metal),
        )
        rows = smooth(
            [
                (0.13, 0.16),
                (0.05, 0.22),
                (0.04, 0.34),
                (0.20, 0.42),
                (0.27, 0.62 * k),
                (0.26, 0.8 * k),
            ],
            11,
        )
        s.add(
            *lathe(rows, metal),
            *lathe([(0.28, 0.78 * k), (0.28, 0.81 * k)], metal),
            *lathe([(0.24, 0.8 * k), (0.24, 0.812 * k)], s.shade(metal, 0.6)),
        )
        s.pair(*tube(arch((0, 0.24, 0.74 * k), (0, 0.17, 0.46), (0, 0.19, 0), 8), 0.025, metal))
        s.add(bead((0.02, 0.07, 0.07), (0.265, 0, 0.64 * k), s.choose(metal, band)))
        return f"a {'golden' if metal[0] > 0.8 and metal[2] < 0.4 else colour_name(metal)} trophy"
    if kind == "spinning top":
        spin = [
            (0.02, 0),
            (0.1, 0.1),
            (0.36, 0.3 * k),
            (0.36, 0.36 * k),
            (0.12, 0.5 * k),
            (0.05, 0.54 * k),
            (0.04, 0.75 * k),
            (0.07, 0.79 * k),
        ]
        s.add(*lathe(spin, [INK, paint, band, paint, band, paint, paint]))
    elif kind == "bell":
        rows = smooth(
            [(0.4, 0), (0.34, 0.06), (0.25, 0.3 * k), (0.2, 0.45 * k), (0.05, 0.52 * k)], 10
        )
        s.add(
            *lathe(rows, paint),
            *lathe([(0.355, 0.06), (0.335, 0.11)], band),
            *lathe(
                smooth([(0.045, 0.5 * k), (0.06, 0.62 * k), (0.05, 0.78 * k), (0.02, 0.86 * k)], 6),
                s.choose(s.wood(), band),
            ),
        )
    elif kind == "bowling pin":
        paint = paint if s.unusual else s.choose(WHITE, WHITE, paint)
        rows = smooth(
            [
                (0.12, 0),
                (0.15, 0.05),
                (0.24, 0.34 * k),
                (0.10, 0.68 * k),
                (0.125, 0.84 * k),
                (0.09, 0.94 * k),
                (0.02, 0.98 * k),
            ],
            16,
        )
        s.add(*lathe(rows, paint))
        s.add(
            *lathe([(0.118, 0.63 * k), (0.107, 0.66 * k)], band),
            *lathe([(0.107, 0.70 * k), (0.115, 0.73 * k)], band),
        )
    else:
        body = [(0.26, 0), (0.28, 0.06), (0.22, 0.10), (0.2, 0.14), (0.12, 0.3 * k), (0.1, 0.5 * k)]
        top = 0.5 * k
        s.add(
            *lathe(smooth(body, 12), paint), *lathe([(0.16, top - 0.01), (0.16, top + 0.02)], paint)
        )
        if kind == "pawn":
            s.add(ellipsoid((0.145, 0.145, 0.145), (0, 0, top + 0.13), paint))
        elif kind == "bishop":
            s.add(
                *lathe(
                    smooth(
                        [(0.08, top), (0.14, top + 0.12), (0.1, top + 0.24), (0.02, top + 0.33)], 8
                    ),
                    paint,
                ),
                bead((0.04, 0.04, 0.04), (0, 0, top + 0.35), paint),
                box((0.16, 0.03, 0.03), (0.1, 0, top + 0.2), INK),
            )
        elif kind == "queen":
            s.add(
                *lathe(smooth([(0.09, top), (0.12, top + 0.12), (0.19, top + 0.3)], 6), paint),
                bead((0.06, 0.06, 0.06), (0, 0, top + 0.33), paint),
            )
            s.add(
                *(
                    bead(
                        (0.035, 0.035, 0.05),
                        (0.165 * np.cos(a), 0.165 * np.sin(a), top + 0.31),
                        paint,
                    )
                    for a in np.arange(8) * np.pi / 4 + np.pi / 8
                )
            )
        else:
            s.add(*lathe([(0.12, top), (0.17, top + 0.08), (0.17, top + 0.18)], paint))
            merlon = box((0.08, 0.09, 0.07), (0.13, 0, top + 0.21), paint)
            s.add(*(merlon.turned(rotation("z", 60 * a)) for a in range(6)))
        return f"a {colour_name(paint)} chess {kind}"
    return f"a {colour_name(paint)} {kind}"


@category
def ball(s: Sculptor) -> str:
    """A ball with panels, a globe on its stand, or a balloon."""
    paint, second = (
        s.main_or(0.15, WHITE, saturation=(0.5, 0.9)),
        s.choose(WHITE, s.partner(WHITE), s.partner(hsv(s.hue, 0.7, 0.8))),
    )
    s.decorate(paint, "stripes", "dots", "checks", "marble", chance=0.4)
    kind = s.choose("beach ball", "football", "basketball", "globe", "globe")
    r = 0.4
    if kind == "globe":
        z, metal, land = (
            s.along(0.5, 0.66),
            s.choose((0.8, 0.64, 0.3), INK, s.wood()),
            (0.35, 0.58, 0.25),
        )
        sea = paint if s.unusual or s.chance(0.5) else (0.2, 0.42, 0.72)
        s.add(
            *lathe([(0.24, 0), (0.24, 0.03), (0.05, 0.08), (0.035, z - r)], metal),
            ellipsoid((r, r, r), (0, 0, z + 0.04), sea),
        )
        for a, b, q in (
            (0.2, 0.4, 0.2),
            (0.9, 0.1, 0.16),
            (1.9, 0.5, 0.22),
            (2.6, -0.3, 0.16),
            (0.5, -0.5, 0.13),
        ):
            d = np.array([np.cos(a) * np.cos(b), np.sin(a) * np.cos(b), np.sin(b)])
            q *= 1.7
            centre = d * (r - q * 0.86) + (0, 0, z + 0.04)
            s.pair(
                ellipsoid((q, q, q), (float(centre[0]), float(centre[1]), float(centre[2])), land)
            )
        path = [
            (-(r + 0.05) * np.cos(t), 0, z + 0.04 + (r + 0.05) * np.sin(t))
            for t in np.linspace(-np.pi / 2, np.pi / 2, 11)
        ]
        s.add(*tube(path, 0.022, metal, sides=6))
        return "a globe on a stand"
    if kind == "beach ball":
        gores = [paint, second, gaudy(s, 1), second]
        rows = [(r * np.sin(a), r - r * np.cos(a)) for a in np.linspace(0.06, np.pi - 0.06, 12)]
        for k in range(-6, 6):
            colour = gores[abs(2 * k + 1) // 2 % 4]
            s.add(*shell(rows, [0.9 * q for q, _ in rows], colour, arc=(2 * k + 1, 2 * k + 3)))
        s.add(*lathe([(0.07, 2 * r - 0.03), (0.06, 2 * r + 0.01)], WHITE, sides=14))
        return f"a {colour_name(paint)} and {colour_name(second)} beach ball"
    s.add(ellipsoid((r, r, r), (0, 0, r), paint))
    seam = INK
    if kind == "basketball":
        t = np.linspace(0, 2 * np.pi, 21)
        s.add(
            *tube(np.c_[r * np.cos(t), r * np.sin(t), np.full(21, r)], 0.012, seam, sides=6),
            *tube(np.c_[r * np.cos(t), np.zeros(21), r + r * np.sin(t)], 0.012, seam, sides=6),
        )
        q = r * 0.8
        s.pair(
            *tube(
                np.c_[q * np.cos(t), np.full(21, r * 0.6), r + q * np.sin(t)], 0.012, seam, sides=6
            )
        )
    else:
        dark = s.choose(INK, INK, second)
        g = (1 + 5**0.5) / 2
        points = np.array(
            [[0, a, b * g] for a in (-1, 1) for b in (-1, 1)]
            + [[a, b * g, 0] for a in (-1, 1) for b in (-1, 1)]
            + [[b * g, 0, a] for a in (-1, 1) for b in (-1, 1)],
            float,
        )
        for d in points / np.linalg.norm(points, axis=1, keepdims=True):
            if d[1] < -1e-9:
                continue
            u = np.cross(d, (0.0, 1.0, 0.0) if abs(d[1]) < 0.9 else (1.0, 0.0, 0.0))
            u /= np.linalg.norm(u)
            v = np.cross(d, u)
            rim = [
                d * r * f + r * 0.32 * (u * np.cos(a) + v * np.sin(a))
                for a in np.arange(5) * 2 * np.pi / 5
                for f in (0.90, 0.97)
            ]
            patch = np.array([*rim, d * r * 1.01]) + (0, 0, r)
            if d[1] > 1e-9:
                s.pair(hull(patch, dark))
            else:
                s.add(hull(np.concatenate([patch, patch * (1, -1, 1)]), dark))
    return f"a {colour_name(paint)} {kind}"
