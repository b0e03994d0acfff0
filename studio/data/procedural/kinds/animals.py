"""Four-legged animals with the outlines of their kinds: dog, cat, horse, cow, pig, lion ..."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from studio.data.procedural.bodies import bead, limb
from studio.data.procedural.parts import Colour, cylinder, ellipsoid
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import Points, chain, spline, tube

INK: Colour = (0.08, 0.07, 0.08)
FURS: tuple[Colour, ...] = (
    (0.62, 0.42, 0.22), (0.40, 0.25, 0.14), (0.85, 0.68, 0.42), (0.95, 0.93, 0.88),
    (0.18, 0.16, 0.16), (0.52, 0.50, 0.50),
)  # fmt: skip
"""Fox, chestnut, sand, white, black, grey."""


def body(
    s: Sculptor, line: list[tuple[float, float, float, float]], colour: Colour, sides: int = 12
) -> None:
    """A round trunk along X.

    Args:
        s: the sculptor.
        line: (x, z of the middle, half-width, half-height), from tail to chest.
        colour: of it.
        sides: of each cross-section.
    """
    curve = spline(line, 2 * (len(line) - 1))
    angle = (np.arange(sides) + 0.5) * (2 * np.pi / sides)
    rings = [
        np.c_[np.full(sides, x), w * np.cos(angle), z + h * np.sin(angle)] for x, z, w, h in curve
    ]
    s.add(*chain(np.array(rings), colour))


def eyes(s: Sculptor, x: float, y: float, z: float, r: float, *, white: bool = False) -> None:
    """A pair of eyes that look ahead."""
    if white:
        s.pair(bead((r * 0.8, r, r * 1.1), (x, y, z), (0.97, 0.97, 0.96)))
    s.pair(bead((r * 0.6, r * 0.62, r * 0.7), (x + (r * 0.5 if white else 0), y, z), INK))


def fur_colour(s: Sculptor, *natural: Colour, chance: float = 0.6) -> Colour:
    """A natural coat, or the colour of a toy."""
    return s.main_or(chance, *natural, saturation=(0.3, 0.85))


@dataclass(frozen=True)
class Walker:
    """Measures of a four-legged animal whose trunk is about one long."""

    leg: float
    """Length of the legs below the belly."""
    thick: float
    """Radius of the legs at the top."""
    girth: float
    """Half-height of the trunk."""
    neck: tuple[float, float]
    """Length and rise in degrees of the neck."""
    head: tuple[float, float, float]
    """Radius of the skull, length of the muzzle, its thickness as a share of the skull's."""


KINDS: dict[str, Walker] = {
    "dog": Walker(0.42, 0.085, 0.19, (0.26, 52), (0.145, 0.17, 0.55)),
    "cat": Walker(0.34, 0.065, 0.16, (0.16, 55), (0.145, 0.06, 0.60)),
    "horse": Walker(0.62, 0.085, 0.21, (0.52, 55), (0.115, 0.30, 0.72)),
    "cow": Walker(0.40, 0.085, 0.26, (0.26, 25), (0.145, 0.20, 0.80)),
    "pig": Walker(0.22, 0.085, 0.27, (0.12, 10), (0.185, 0.15, 0.50)),
    "sheep": Walker(0.30, 0.055, 0.28, (0.22, 38), (0.12, 0.14, 0.65)),
    "lion": Walker(0.42, 0.090, 0.20, (0.22, 40), (0.16, 0.13, 0.62)),
    "zebra": Walker(0.56, 0.080, 0.21, (0.42, 55), (0.115, 0.26, 0.72)),
    "goat": Walker(0.42, 0.060, 0.20, (0.28, 50), (0.12, 0.17, 0.60)),
    "fox": Walker(0.34, 0.06, 0.16, (0.2, 40), (0.135, 0.18, 0.38)),
}
COATS: dict[str, tuple[Colour, ...]] = {
    "cow": ((0.95, 0.94, 0.92), (0.45, 0.28, 0.16), (0.2, 0.18, 0.17)),
    "pig": ((0.93, 0.68, 0.66), (0.90, 0.60, 0.60), (0.80, 0.55, 0.50)),
    "sheep": ((0.95, 0.93, 0.88), (0.90, 0.86, 0.78)),
    "lion": ((0.82, 0.62, 0.34), (0.78, 0.56, 0.28)),
    "zebra": ((0.95, 0.94, 0.92),),
    "fox": ((0.85, 0.42, 0.14), (0.78, 0.36, 0.12)),
}  # fmt: skip


@category
def four_legged(s: Sculptor) -> str:
    """A dog, cat, horse, cow, pig, sheep, lion, zebra, goat or fox."""
    kind = s.choose("dog", "dog", "cat", "cat", "horse", "horse", *list(KINDS)[3:])
    m = KINDS[kind]
    fur = fur_colour(s, *COATS.get(kind, FURS), chance=0.75)
    light = s.choose(fur, (0.95, 0.92, 0.86), s.shade(fur, 0.6))
    long = s.along(0.85, 1.2)
    leg, girth = m.leg * s.uniform(0.85, 1.12), m.girth * s.uniform(0.9, 1.12)
    thick, z = m.thick * s.uniform(0.9, 1.15), leg + girth * 0.9
    wool = kind == "sheep"
    end, wide = long / 2, girth * s.uniform(0.82, 0.95)
    slim = 0.80 if kind in ("dog", "cat", "fox", "lion") else 0.95
    body(
        s,
        [
            (-end, z + girth * 0.1, wide * 0.35, girth * 0.4),
            (-end * 0.88, z + 0.02, wide * 0.85, girth * 0.85),
            (-end * 0.3, z, wide * slim, girth * slim),
            (end * 0.45, z + 0.01, wide, girth),
            (end * 0.88, z + 0.05, wide * 0.78, girth * 0.80),
            (end, z + 0.08, wide * 0.35, girth * 0.4),
        ],
        fur,
    )
    if wool:
        for x in np.linspace(-end * 0.8, end * 0.75, 5):
            for a in (20, 65):
                y, h = wide * np.cos(np.deg2rad(a)), girth * np.sin(np.deg2rad(a))
                s.pair(bead((0.13, 0.12, 0.12), (x, y * 0.85, z + h * 0.85), fur))
    sock = s.choose(fur, fur, light) if kind != "sheep" else INK
    foot = s.choose(s.shade(fur, 0.4), INK, light)
    for x, back in ((end * 0.66, False), (-end * 0.70, True)):
        y = wide * 0.62
        knee = (x + (0.05 if back else -0.01) - (0.05 if back else 0), y, leg * 0.52)
        ankle = (x + (-0.05 if back else 0.0), y, leg * 0.14)
        s.pair(
            limb(
                (x, y * 0.9, z - girth * 0.25),
                (knee[0] + (0.03 if back else 0), y, knee[2]),
                thick * (1.7 if back else 1.45),
                thick * 0.85,
                fur,
            ),
            limb(
                (knee[0] + (0.03 if back else 0), y, knee[2]),
                ankle,
                thick * 0.85,
                thick * 0.62,
                sock,
            ),
            limb(
                (ankle[0], y, leg * 0.09),
                (ankle[0] + thick * 0.55, y, thick * 0.5),
                thick * 0.7,
                thick * 0.62,
                foot,
            ),
        )
    neck, rise = m.neck[0] * s.uniform(0.9, 1.15), np.deg2rad(m.neck[1] + s.uniform(-8, 8))
    base = (end * 0.78, 0.0, z + girth * 0.35)
    top = (base[0] + neck * np.cos(rise), 0.0, base[2] + neck * np.sin(rise))
    r, muzzle, snout = m.head[0] * s.uniform(1.0, 1.3), m.head[1], m.head[2]
    s.add(limb(base, top, girth * 0.68, r * 0.75, fur))
    head(s, kind, top, r, muzzle, snout, fur, light)
    tail(s, kind, (-end, z + girth * 0.4), fur, light)
    extra = ""
    if kind == "cow" or (kind in ("dog", "horse") and s.chance(0.3)):
        spot = s.choose(INK, (0.40, 0.25, 0.15)) if fur[0] > 0.6 else (0.95, 0.93, 0.9)
        for x in (-0.3, 0.02, 0.3):
            a = np.deg2rad(s.uniform(5, 50))
            y, h = wide * np.cos(a) * 0.80, girth * np.sin(a) * 0.80
            s.pair(
                ellipsoid(
                    (s.uniform(0.07, 0.13), wide * 0.3, girth * 0.38),
                    (x * long, y, z + h * 0.8),
                    spot,
                )
            )
        extra = f" with {colour_name(spot)} spots"
    if kind == "zebra":
        s.decorate(fur, "stripes", chance=1.0)
        for x in np.linspace(-end * 0.75, end * 0.7, 8):
            ring = np.array(
                [
                    (x, wide * np.cos(a) * 1.01, z + girth * 1.01 * np.sin(a))
                    for a in np.linspace(-0.9, 4.04, 12)
                ]
            )
            s.add(*chain(np.stack([ring - (0.018, 0, 0), ring + (0.018, 0, 0)]), INK))
    if kind == "horse" and s.chance(0.3):
        saddle = s.partner(fur)
        s.add(ellipsoid((0.19, wide * 0.98, 0.12), (0.02, 0, z + girth * 0.82), saddle))
        extra = f" with a {colour_name(saddle)} saddle"
    return f"a {colour_name(fur)} {kind}{extra}"


def head(
    s: Sculptor, kind: str, at: tuple[float, float, float], r: float, muzzle: float, snout: float,
    fur: Colour, light: Colour,
) -> None:  # fmt: skip
    """Skull, muzzle, nose, eyes, ears; mane, horns or whiskers' pads by kind."""
    x, z = at[0] + r * 0.35, at[2] + r * 0.25
    s.add(
        ellipsoid(
            (r * 1.02, r * 0.95, r * 0.95),
            (x, 0, z),
            (INK if kind == "sheep" and s.chance(0.5) else fur),
        )
    )
    droop = {"horse": 0.62, "zebra": 0.62, "cow": 0.35, "goat": 0.35}.get(kind, 0.12)
    tip = (x + r * 0.55 + muzzle, 0.0, z - r * 0.25 - muzzle * droop)
    face = s.choose(fur, light)
    s.add(limb((x + r * 0.35, 0, z - r * 0.18), tip, r * 0.72, r * snout, face))
    nose = (0.88, 0.55, 0.55) if kind == "pig" else INK
    if kind == "pig":
        s.add(cylinder(r * 0.48, 0.05, (tip[0] + r * 0.48, 0, tip[2]), nose, axis="x", sides=14))
        s.pair(bead((0.015, 0.018, 0.025), (tip[0] + r * 0.48 + 0.025, r * 0.18, tip[2]), INK))
    else:
        size = r * (0.28 if kind in ("dog", "fox", "lion") else 0.18)
        s.add(
            bead(
                (size * 0.7, size, size * 0.75),
                (tip[0] + r * snout * 0.92, 0, tip[2] + r * snout * 0.35),
                nose,
            )
        )
    eyes(s, x + r * 0.66, r * 0.52, z + r * 0.32, r * 0.24, white=s.stretch > 0.6)
    ear = s.choose(fur, s.shade(fur, 0.6))
    if kind in ("cat", "fox", "lion") or (kind == "dog" and s.chance(0.4)):
        tall = r * (0.55 if kind == "lion" else 1.1)
        s.pair(
            limb(
                (x - r * 0.1, r * 0.58, z + r * 0.6),
                (x - r * 0.15, r * 0.78, z + r * 0.7 + tall * 0.7),
                r * 0.34,
                r * (0.3 if kind == "lion" else 0.05),
                ear,
            )
        )
    elif kind == "dog":
        s.pair(
            limb(
                (x - r * 0.1, r * 0.85, z + r * 0.55),
                (x + r * 0.05, r * 1.08, z - r * 0.5),
                r * 0.22,
                r * 0.3,
                ear,
            )
        )
    elif kind in ("cow", "sheep", "goat", "pig"):
        s.pair(
            limb(
                (x - r * 0.2, r * 0.75, z + r * 0.45),
                (x - r * 0.15, r * 1.55, z + r * 0.4),
                r * 0.2,
                r * 0.22,
                ear,
            )
        )
    else:
        s.pair(
            limb(
                (x - r * 0.2, r * 0.45, z + r * 0.75),
                (x - r * 0.2, r * 0.55, z + r * 1.5),
                r * 0.24,
                r * 0.08,
                ear,
            )
        )
    if kind in ("horse", "zebra"):
        mane = s.choose(INK, s.shade(fur, 0.5), (0.93, 0.88, 0.75))
        low = (at[0] - 0.30, 0.0, at[2] - 0.32)
        for t in np.linspace(0, 1, 5):
            s.add(
                bead(
                    (0.085, 0.035, 0.11),
                    (
                        low[0] + (x - 0.10 - low[0]) * t,
                        0,
                        low[2] + (z + r * 0.85 - low[2]) * t + 0.03,
                    ),
                    mane,
                )
            )
    elif kind == "lion":
        mane = s.shade(fur, 0.55)
        for a in np.linspace(0, 180, 7):
            y, h = np.sin(np.deg2rad(a)), np.cos(np.deg2rad(a))
            s.pair(
                bead(
                    (r * 0.5, r * 0.5, r * 0.55),
                    (x - r * 0.35, r * 0.95 * y, z + r * 0.95 * h),
                    mane,
                )
            )
    elif kind in ("cow", "goat"):
        bone = (0.90, 0.85, 0.72)
        out, up = (r * 1.2, r * 1.2) if kind == "cow" else (r * 0.6, r * 1.9)
        back = 0.0 if kind == "cow" else -r * 0.9
        s.pair(
            *tube(
                spline(
                    [
                        (x, r * 0.4, z + r * 0.75),
                        (x, out, z + r * 0.9),
                        (x + back, out * 1.02, z + up),
                    ],
                    4,
                ),
                [r * 0.18, r * 0.16, r * 0.13, r * 0.09, r * 0.03],
                bone,
                sides=6,
            )
        )


def tail(s: Sculptor, kind: str, at: tuple[float, float], fur: Colour, light: Colour) -> None:
    """A tail of its kind behind the point (x, z)."""
    x, z = at
    path: Points
    if kind in ("horse", "zebra"):
        hair = s.choose(INK, s.shade(fur, 0.5))
        path = [(x + 0.05, 0, z), (x - 0.10, 0, z - 0.08), (x - 0.15, 0, z - 0.42)]
        s.add(*tube(path, [0.03, 0.06, 0.02], hair, sides=8))
    elif kind in ("cow", "lion", "goat"):
        path = spline([(x + 0.04, 0, z), (x - 0.10, 0, z - 0.1), (x - 0.13, 0, z - 0.36)], 4)
        s.add(*tube(path, 0.022, fur, sides=6))
        s.add(bead((0.045, 0.045, 0.08), (x - 0.13, 0, z - 0.40), s.shade(fur, 0.4)))
    elif kind == "pig":
        t = np.linspace(0, 1.7 * np.pi, 8)
        path = np.c_[x + 0.02 - 0.02 * t, np.zeros(8), z - 0.02 + 0.045 * np.sin(t * 1.5)]
        s.add(*tube(path, 0.02, fur, sides=6))
    elif kind == "sheep":
        s.add(bead((0.08, 0.06, 0.1), (x - 0.03, 0, z), fur))
    elif kind == "fox":
        s.add(limb((x, 0, z), (x - 0.30, 0, z - 0.10), 0.05, 0.12, fur))
        s.add(limb((x - 0.34, 0, z - 0.12), (x - 0.48, 0, z - 0.14), 0.11, 0.03, (0.95, 0.93, 0.9)))
    else:
        up, long = s.uniform(0.1, 0.35), s.uniform(0.2, 0.38)
        path = spline(
            [(x + 0.04, 0, z), (x - long * 0.6, 0, z + up * 0.3), (x - long, 0, z + up)], 5
        )
        s.add(*tube(path, list(np.linspace(0.045, 0.025, 6)), fur, sides=8))
        s.add(bead((0.03, 0.03, 0.03), path[-1], fur))
