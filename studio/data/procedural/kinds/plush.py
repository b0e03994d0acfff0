"""An elephant, and sitting or standing plush toys: bear, rabbit, panda, mouse."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import bead, limb
from studio.data.procedural.kinds.animals import FURS, INK, body, eyes, fur_colour
from studio.data.procedural.parts import cylinder, ellipsoid, rotation
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import chain, spline, tube


@category
def elephant(s: Sculptor) -> str:
    """An elephant: round back, trunk, big ears, tusks."""
    skin = fur_colour(s, (0.55, 0.55, 0.58), (0.48, 0.47, 0.48), (0.62, 0.58, 0.55), chance=0.65)
    long, girth, leg = s.along(0.85, 1.15), s.uniform(0.30, 0.36), s.uniform(0.26, 0.36)
    z, end = leg + girth * 0.85, long / 2
    body(
        s,
        [
            (-end, z - 0.02, girth * 0.3, girth * 0.4),
            (-end * 0.8, z, girth * 0.82, girth * 0.88),
            (0, z + 0.04, girth * 0.95, girth),
            (end * 0.75, z + 0.02, girth * 0.82, girth * 0.9),
            (end, z + 0.04, girth * 0.35, girth * 0.45),
        ],
        skin,
    )
    nail = (0.93, 0.90, 0.84)
    for x in (end * 0.58, -end * 0.62):
        y = girth * 0.55
        s.pair(limb((x, y, z - girth * 0.3), (x, y, 0.11), 0.145, 0.11, skin))
        s.pair(cylinder(0.115, 0.10, (x, y, 0.05), skin, sides=14))
        s.pair(
            *(
                bead((0.03, 0.03, 0.03), (x + 0.1 * np.cos(a), y + 0.1 * np.sin(a), 0.03), nail)
                for a in (-0.6, 0, 0.6)
            )
        )
    r = s.uniform(0.22, 0.27)
    hx, hz = end + r * 0.55, z + girth * s.uniform(0.45, 0.75)
    s.add(limb((end * 0.6, 0, z + 0.08), (hx - 0.05, 0, hz), girth * 0.6, r * 0.85, skin))
    s.add(ellipsoid((r, r * 0.92, r * 1.05), (hx, 0, hz), skin))
    curl = s.choose("down", "down", "up", "forward")
    tip = {"down": (0.16, -0.55), "up": (0.52, 0.05), "forward": (0.42, -0.36)}[curl]
    path = spline(
        [
            (hx + r * 0.7, 0, hz - 0.05),
            (hx + r * 1.25, 0, hz - 0.24),
            (hx + r + tip[0] * 0.6, 0, hz - 0.38 + max(0, tip[1]) * 0.5),
            (hx + r + tip[0], 0, hz + tip[1]),
        ],
        8,
    )
    s.add(*tube(path, list(np.linspace(r * 0.48, r * 0.2, 9)), skin, sides=12))
    ear = s.uniform(0.30, 0.42)
    inner = s.choose(skin, s.shade(skin, 0.85), (0.86, 0.62, 0.62))
    flap = s.uniform(0, 35)
    for colour, thin, shift in ((skin, 0.035, 0.0), (inner, 0.03, 0.012)):
        part = ellipsoid(
            (thin, ear * 0.62, ear * 0.8), (hx - 0.10 + shift, r * 0.75 + ear * 0.45, hz), colour
        )
        s.pair(part.turned(rotation("z", flap), (hx - 0.1, r * 0.75, hz)))
    s.pair(
        *tube(
            spline(
                [
                    (hx + r * 0.65, r * 0.5, hz - r * 0.45),
                    (hx + r * 1.1, r * 0.6, hz - r * 0.8),
                    (hx + r * 1.7, r * 0.5, hz - r * 0.7),
                ],
                4,
            ),
            [0.04, 0.038, 0.032, 0.024, 0.01],
            (0.95, 0.92, 0.83),
            sides=6,
        )
    )
    eyes(s, hx + r * 0.72, r * 0.55, hz + r * 0.25, 0.045, white=s.chance(0.4))
    s.add(
        *tube(
            [(-end + 0.03, 0, z + 0.1), (-end - 0.08, 0, z - 0.05), (-end - 0.1, 0, z - 0.28)],
            [0.03, 0.022, 0.03],
            skin,
            sides=6,
        )
    )
    extra = ""
    if s.chance(0.25):
        rug = s.partner(skin)
        ring = np.array(
            [
                (0, girth * 0.98 * np.cos(a), z + 0.04 + girth * 1.03 * np.sin(a))
                for a in np.linspace(-0.1, np.pi + 0.1, 12)
            ]
        )
        s.add(*chain(np.stack([ring - (0.2, 0, 0), ring + (0.2, 0, 0)]), rug))
        extra = f" with a {colour_name(rug)} blanket"
    return f"a {colour_name(skin)} elephant{extra}"


@category
def teddy_bear(s: Sculptor) -> str:
    """A sitting or standing plush toy: bear, rabbit, panda, cat, mouse or monkey."""
    kind = s.choose("teddy bear", "teddy bear", "teddy bear", "toy rabbit", "panda", "toy mouse")
    fur = (
        (0.95, 0.94, 0.92)
        if kind == "panda" and not s.unusual
        else fur_colour(s, *FURS, chance=0.55)
    )
    s.decorate(fur, "grain", chance=0.6)
    light = s.choose((0.93, 0.86, 0.74), s.shade(fur, 1.25), (0.96, 0.94, 0.9))
    limb_colour = INK if kind == "panda" else fur
    sitting = s.chance(0.7)
    r, tall = s.uniform(0.22, 0.28), s.along(0.34, 0.58)
    base = 0.06 if sitting else 0.30
    s.add(ellipsoid((r * 0.92, r * 1.05, tall * 0.55), (0, 0, base + tall * 0.5), fur))
    s.add(ellipsoid((r * 0.5, r * 0.78, tall * 0.40), (r * 0.48, 0, base + tall * 0.44), light))
    if sitting:
        s.pair(
            limb(
                (0.02, r * 0.75, base + 0.07),
                (r * 1.45, r * 1.15, base + 0.07),
                0.115,
                0.10,
                limb_colour,
            )
        )
        s.pair(ellipsoid((0.05, 0.09, 0.11), (r * 1.45 + 0.075, r * 1.18, base + 0.08), light))
    else:
        s.pair(limb((0.0, r * 0.52, base + 0.06), (0.0, r * 0.58, 0.10), 0.125, 0.105, limb_colour))
        s.pair(ellipsoid((0.15, 0.105, 0.07), (0.05, r * 0.58, 0.07), limb_colour))
    shoulder = base + tall * 0.82
    hand = (s.uniform(0.05, 0.3), r * s.uniform(1.35, 1.75), base + tall * s.uniform(0.25, 0.6))
    s.pair(limb((0.0, r * 0.78, shoulder), hand, 0.085, 0.085, limb_colour))
    s.pair(
        bead(
            (0.08, 0.075, 0.08),
            (hand[0] + 0.02, hand[1] + 0.015, hand[2] - 0.01),
            s.choose(limb_colour, light),
        )
    )
    q = r * s.uniform(0.95, 1.15)
    hz = base + tall + q * 0.62
    s.add(ellipsoid((q * 0.95, q * 1.08, q * 0.98), (0.02, 0, hz), fur))
    s.add(ellipsoid((q * 0.5, q * 0.52, q * 0.42), (q * 0.78, 0, hz - q * 0.22), light))
    s.add(bead((q * 0.13, q * 0.17, q * 0.12), (q * 1.24, 0, hz - q * 0.08), INK))
    if kind == "panda":
        s.pair(ellipsoid((q * 0.12, q * 0.24, q * 0.28), (q * 0.83, q * 0.42, hz + q * 0.2), INK))
    eyes(
        s,
        q * 0.88 + (q * 0.06 if kind == "panda" else 0.0),
        q * 0.40,
        hz + q * 0.22,
        q * 0.19,
        white=kind == "panda" or s.chance(0.3),
    )
    if kind == "toy rabbit":
        high, tilt = q * s.uniform(0.9, 1.4), s.uniform(0.0, 0.4)
        for colour, thin, fwd in ((fur, 1.0, 0.0), (light, 0.6, q * 0.09)):
            s.pair(
                limb(
                    (fwd, q * 0.42, hz + q * 0.9),
                    (fwd - 0.04, q * (0.5 + tilt), hz + q * 0.9 + high),
                    q * 0.22 * thin,
                    q * 0.20 * thin,
                    colour,
                )
            )
    else:
        big = q * (0.55 if kind == "toy mouse" else 0.36)
        ear = limb_colour
        at = (0.0, q * 0.80, hz + q * 0.82)
        s.pair(ellipsoid((big * 0.5, big, big), at, ear))
        s.pair(
            ellipsoid(
                (big * 0.3, big * 0.62, big * 0.62), (at[0] + big * 0.34, at[1], at[2]), light
            )
        )
    extra = ""
    bow = s.partner(fur)
    if s.chance(0.45):
        z = base + tall * 0.97
        s.pair(limb((r * 0.78, 0.02, z), (r * 0.78, 0.13, z), 0.02, 0.065, bow))
        s.add(bead((0.04, 0.04, 0.04), (r * 0.82, 0, z), s.shade(bow, 0.8)))
        extra = f" with a {colour_name(bow)} bow"
    elif s.chance(0.3):
        z = base + tall * 0.93
        s.add(cylinder(q * 0.80, 0.09, (0, 0, z), bow))
        s.add(limb((q * 0.72, 0, z), (q * 0.95, 0, z - 0.26), 0.06, 0.07, bow))
        extra = f" with a {colour_name(bow)} scarf"
    if kind == "toy rabbit":
        s.add(bead((0.09, 0.09, 0.09), (-r * 0.95, 0, base + 0.1), (0.96, 0.95, 0.93)))
    return f"a {colour_name(fur)} {kind}{extra}"
