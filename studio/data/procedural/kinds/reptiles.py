"""Fish, whales and dinosaurs."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import bead, limb
from studio.data.procedural.kinds.animals import INK, body, eyes, fur_colour
from studio.data.procedural.parts import Colour, ellipsoid, rotation
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import chain, hull, spline, tube


@category
def fish(s: Sculptor) -> str:
    """A fish, whale, shark or dolphin, as a toy lies on its belly."""
    kind = s.choose("fish", "fish", "fish", "whale", "shark", "dolphin")
    natural = {
        "fish": ((0.95, 0.5, 0.1), (0.6, 0.62, 0.65)),
        "shark": ((0.45, 0.48, 0.52),),
        "whale": ((0.25, 0.38, 0.58), (0.3, 0.34, 0.4)),
        "dolphin": ((0.45, 0.52, 0.6),),
    }[kind]
    skin = fur_colour(s, *natural, chance=0.5)
    s.decorate(skin, "stripes", "dots", "bands", "gradient", chance=0.5 if kind == "fish" else 0.1)
    fin = s.choose(s.shade(skin, 0.8), s.partner(skin)) if kind == "fish" else skin
    belly = (0.94, 0.94, 0.93)
    end = 0.5
    tall = s.along(0.18, 0.38) if kind == "fish" else s.along(0.17, 0.28)
    wide = tall * (s.uniform(0.45, 0.7) if kind == "fish" else s.uniform(0.9, 1.1))
    fat = 0.62 if kind == "whale" else 0.25
    z = tall
    body(
        s,
        [
            (-end * 0.85, z + 0.02, wide * 0.15, tall * 0.16),
            (-end * 0.35, z, wide * 0.62, tall * 0.66),
            (end * 0.15, z, wide, tall),
            (end * 0.7, z, wide * 0.82, tall * 0.78),
            (end * 0.98, z - 0.01, wide * fat, tall * fat),
        ],
        skin,
    )
    if kind == "whale":
        s.add(ellipsoid((0.12, wide * 0.62, tall * 0.6), (end * 0.95, 0, z), skin))
    if kind != "fish":
        s.add(
            ellipsoid((end * 0.85, wide * 0.8, tall * 0.75), (end * 0.1, 0, z - tall * 0.3), belly)
        )
    if kind == "dolphin":
        s.add(limb((end * 0.95, 0, z - 0.03), (end * 1.25, 0, z - 0.06), 0.06, 0.035, skin))
    flat = kind in ("whale", "dolphin")
    spread, root = s.uniform(0.2, 0.3), -end * 0.82
    for way in (-1, 1):
        tip = [(root - 0.22, spread * way, 0.0), (root - 0.12, spread * 0.95 * way, 0.0)]
        rows = [(root + 0.05, 0.03 * d, 0.03 * d) for d in (-1, 1)] + [(root - 0.06, 0.0, 0.0)]
        points = [(x, 0.0, y) for x, y, _ in tip] if not flat else tip
        flukes = [(x, y + (0.012 * d if not flat else 0), q + (0.012 * d if flat else 0) + z + 0.02)
                  for x, y, q in points + rows for d in (-1, 1)]  # fmt: skip
        s.add(hull(np.array(flukes), fin))
    high = s.uniform(0.12, 0.24)
    if kind != "whale":
        lean = 0.12 if kind == "fish" else 0.2
        top = [
            (end * 0.25, 0.02, z + tall * 0.85),
            (end * 0.25, -0.02, z + tall * 0.85),
            (-end * 0.3, 0.015, z + tall * 0.62),
            (-end * 0.3, -0.015, z + tall * 0.62),
            (end * 0.05 - lean, 0.006, z + tall + high),
            (end * 0.05 - lean, -0.006, z + tall + high),
            (-end * 0.1 - lean, 0.006, z + tall + high * 0.8),
            (-end * 0.1 - lean, -0.006, z + tall + high * 0.8),
        ]
        s.add(hull(np.array(top), fin))
    side = [(end * 0.4, wide * 0.75, z - tall * 0.3 + d) for d in (-0.012, 0.012)] + [
        (end * 0.05, wide * 0.9, z - tall * 0.35 + d) for d in (-0.012, 0.012)
    ]
    side += [
        (-end * 0.1, wide * 0.9 + s.uniform(0.14, 0.24), z - tall * 0.55 + d)
        for d in (-0.008, 0.008)
    ]
    s.pair(hull(np.array(side), fin))
    x = end * (0.72 if kind == "fish" else 0.7)
    w = wide * (0.80 if kind == "fish" else 0.84)
    r = 0.05 if kind == "fish" else 0.03
    s.pair(bead((r * 1.1, r * 0.6, r * 1.1), (x, w, z + tall * 0.18), (0.97, 0.97, 0.96)))
    s.pair(bead((r * 0.6, r * 0.4, r * 0.6), (x + 0.01, w + r * 0.4, z + tall * 0.18), INK))
    if kind == "fish":
        lip = s.partner(skin)
        s.add(bead((0.03, wide * fat * 1.0, 0.035), (end * 0.98, 0, z - tall * 0.1), lip))
        if s.chance(0.4):
            band = s.choose(belly, s.partner(skin), INK)
            for x0 in (-0.1, 0.22):
                w0, h0 = wide * (0.90 if x0 < 0 else 1.0), tall * (0.90 if x0 < 0 else 1.0)
                ring = np.array(
                    [
                        (x0, w0 * 1.01 * np.cos(a), z + h0 * 1.01 * np.sin(a))
                        for a in np.linspace(0.26, 6.02, 12)
                    ]
                )
                s.add(*chain(np.stack([ring - (0.03, 0, 0), ring + (0.03, 0, 0)]), band))
    return f"a {colour_name(skin)} {kind}"


@category
def dinosaur(s: Sculptor) -> str:
    """A long-necked, two-legged, plated or horned dinosaur."""
    kind = s.choose("brachiosaurus", "tyrannosaurus", "stegosaurus", "triceratops")
    skin = fur_colour(s, (0.35, 0.52, 0.25), (0.45, 0.42, 0.28), (0.5, 0.35, 0.22), chance=0.35)
    s.decorate(skin, "dots", "stripes", "grain", chance=0.4)
    light, accent = s.shade(skin, 1.25), s.partner(skin)
    if kind == "tyrannosaurus":
        return _tyrannosaurus(s, skin, light)
    girth, leg = s.uniform(0.19, 0.24), s.uniform(0.2, 0.3)
    z, end = leg + girth * 0.8, s.along(0.30, 0.48)
    body(
        s,
        [
            (-end - 0.62, z - leg * 0.55, 0.02, 0.02),
            (-end - 0.28, z - 0.06, girth * 0.3, girth * 0.32),
            (-end, z, girth * 0.7, girth * 0.75),
            (-end * 0.2, z + 0.04, girth, girth * 1.05),
            (end * 0.7, z, girth * 0.82, girth * 0.82),
            (end * 1.15, z - 0.02, girth * 0.4, girth * 0.4),
        ],
        skin,
    )
    for x in (end * 0.62, -end * 0.68):
        y = girth * 0.68
        s.pair(limb((x, y * 0.9, z - girth * 0.3), (x, y, 0.075), 0.105, 0.075, skin))
        s.pair(
            *(
                bead((0.025, 0.025, 0.025), (x + 0.07, y + d, 0.03), light)
                for d in (-0.04, 0.0, 0.04)
            )
        )
    if kind == "brachiosaurus":
        rise = s.uniform(0.4, 0.62)
        path = spline(
            [
                (end * 0.8, 0, z),
                (end * 1.3, 0, z + rise * 0.4),
                (end * 1.4 + 0.1, 0, z + rise),
                (end * 1.4 + 0.22, 0, z + rise + 0.08),
            ],
            7,
        )
        s.add(*tube(path, list(np.linspace(girth * 0.6, 0.075, 8)), skin, sides=10))
        x, h, r = end * 1.4 + 0.24, z + rise + 0.09, 0.095
        s.add(limb((x, 0, h), (x + 0.15, 0, h - 0.04), r, r * 0.72, skin))
    elif kind == "stegosaurus":
        for k, t in enumerate(np.linspace(-1.3, 1.0, 8)):
            tall = 0.2 * (1 - abs(t) / 1.6) + 0.05
            x0, z0 = (
                t * end * 1.05,
                z + girth * (1.02 - 0.42 * abs(t) ** 1.6) - (0.05 if t < -1 else 0),
            )
            plate = [
                (x0 + dx, y, z0 + dz)
                for dx, dz in (
                    (-0.08, 0),
                    (0.08, 0),
                    (-0.09, tall * 0.6),
                    (0.07, tall * 0.6),
                    (0, tall),
                )
                for y in (-0.014, 0.014)
            ]
            s.add(
                hull(np.array(plate) + (0, 0, -0.02), accent if k % 2 or s.stretch > 0.3 else light)
            )
        s.pair(
            *(
                limb((-end - 0.45, 0.02, z - 0.12), (-end - d, 0.16, z + 0.02), 0.03, 0.008, light)
                for d in (0.42, 0.56)
            )
        )
        x, h, r = end * 1.25 + 0.1, z - 0.08, 0.10
        s.add(limb((end * 0.9, 0, z - 0.02), (x, 0, h), girth * 0.45, r, skin))
        s.add(limb((x, 0, h), (x + 0.13, 0, h - 0.04), r, r * 0.65, skin))
    else:
        x, h, r = end * 1.1 + 0.16, z + 0.05, 0.15
        frill = ellipsoid((0.05, 0.29, 0.28), (x - 0.13, 0, h + 0.13), accent)
        s.add(frill.turned(rotation("y", -22), (x - 0.13, 0, h)))
        s.add(limb((x - 0.05, 0, h), (x + 0.20, 0, h - 0.09), r, r * 0.55, skin))
        bone = (0.93, 0.90, 0.82)
        s.pair(
            limb(
                (x + 0.05, r * 0.6, h + r * 0.6),
                (x + 0.30, r * 0.75, h + r * 2.0),
                0.035,
                0.008,
                bone,
            )
        )
        s.add(limb((x + 0.22, 0, h - 0.03), (x + 0.30, 0, h + 0.09), 0.032, 0.008, bone))
    eyes(s, x + r * 0.45, r * 0.75, h + r * 0.42, r * 0.24, white=True)
    return f"a {colour_name(skin)} {kind}"


def _tyrannosaurus(s: Sculptor, skin: Colour, light: Colour) -> str:
    """Big head, small arms, heavy legs, tail as a counterweight."""
    hip, girth = s.uniform(0.38, 0.48), s.uniform(0.17, 0.21)
    rise = s.along(0.12, 0.36)
    body(
        s,
        [
            (-0.85, hip - s.uniform(0.1, 0.3), 0.02, 0.02),
            (-0.45, hip - 0.02, girth * 0.42, girth * 0.42),
            (-0.12, hip + 0.04, girth * 0.9, girth),
            (0.15, hip + 0.06 + rise * 0.5, girth * 0.9, girth * 0.95),
            (0.32, hip + 0.10 + rise, girth * 0.55, girth * 0.6),
        ],
        skin,
    )
    s.add(ellipsoid((0.2, girth * 0.6, girth * 0.75), (0.12, 0, hip - 0.03 + rise * 0.35), light))
    hx, hz, r = 0.44, hip + 0.26 + rise, s.uniform(0.14, 0.18)
    s.add(limb((0.24, 0, hip + 0.08 + rise * 0.8), (hx - 0.05, 0, hz), girth * 0.6, r * 0.75, skin))
    s.add(limb((hx, 0, hz), (hx + 0.26, 0, hz - 0.02), r, r * 0.66, skin))
    s.add(
        limb(
            (hx, 0, hz - r * 0.6),
            (hx + 0.22, 0, hz - r * 1.0),
            r * 0.55,
            r * 0.42,
            s.shade(skin, 0.9),
        )
    )
    s.pair(
        *(
            limb(
                (hx + d, r * 0.55, hz - r * 0.52),
                (hx + d, r * 0.53, hz - r * 0.85),
                0.022,
                0.005,
                (0.95, 0.94, 0.9),
            )
            for d in (0.12, 0.20, 0.28)
        )
    )
    eyes(s, hx + r * 0.5, r * 0.78, hz + r * 0.5, r * 0.22, white=True)
    s.pair(
        limb(
            (-0.05, girth * 0.75, hip), (0.07, girth * 1.05, hip * 0.5), girth * 0.62, 0.075, skin
        ),
        limb((0.07, girth * 1.05, hip * 0.5), (-0.04, girth * 1.05, 0.08), 0.075, 0.05, skin),
        limb((-0.04, girth * 1.05, 0.05), (0.12, girth * 1.1, 0.04), 0.05, 0.04, skin),
        limb(
            (0.26, girth * 0.8, hip + 0.05 + rise * 0.8),
            (0.38, girth * 0.8, hip - 0.04 + rise * 0.8),
            0.045,
            0.025,
            skin,
        ),
    )
    s.pair(
        *(
            bead((0.03, 0.02, 0.025), (0.16, girth * 1.1 + d, 0.03), light)
            for d in (-0.035, 0.0, 0.035)
        )
    )
    return f"a {colour_name(skin)} tyrannosaurus"
