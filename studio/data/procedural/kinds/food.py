"""Baked and frozen food: cakes, pies, doughnuts, burgers, hot dogs, ice cream."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import bead, limb
from studio.data.procedural.parts import Colour, ellipsoid
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import hull, lathe, tube

DOUGH: tuple[Colour, ...] = ((0.85, 0.62, 0.32), (0.78, 0.52, 0.25), (0.92, 0.80, 0.58))
CREAMS: tuple[Colour, ...] = ((0.97, 0.94, 0.86), (0.95, 0.66, 0.72), (0.40, 0.22, 0.12),
                              (0.72, 0.86, 0.66), (0.98, 0.85, 0.5))  # fmt: skip


@category
def cake(s: Sculptor) -> str:
    """A cake of one to three tiers, cup cake, pie, slice or doughnut, with icing and toppings."""
    cream = s.main_or(0.6, *CREAMS, saturation=(0.2, 0.6))
    crumb, second = s.choose(*DOUGH, (0.40, 0.24, 0.14)), s.choose(*CREAMS, s.partner(cream))
    berry = s.choose((0.82, 0.10, 0.14), (0.9, 0.5, 0.1), (0.3, 0.2, 0.5))
    kind = s.choose("cake", "cake", "cupcake", "doughnut", "pie")
    if kind == "doughnut":
        big, thin = 0.34, s.uniform(0.13, 0.18)
        t = np.linspace(0, 2 * np.pi, 21)
        path = np.c_[big * np.cos(t), big * np.sin(t), np.full(21, thin)]
        s.add(*tube(path, thin, crumb, sides=12)[:20])
        s.add(*tube(path + (0, 0, thin * 0.22), thin * 0.93, cream, sides=12))
        for a in range(14):
            q, w = big + s.uniform(-0.07, 0.07), 2 * np.pi * (a + 0.5) / 28
            s.pair(
                bead(
                    (0.028, 0.014, 0.014),
                    (q * np.cos(w), q * np.sin(w), thin * 2.1),
                    s.choose(berry, second, (0.95, 0.95, 0.9)),
                )
            )
        return f"a doughnut with {colour_name(cream)} icing"
    if kind == "cupcake":
        paper = s.partner(cream)
        s.decorate(paper, "stripes", "dots", chance=0.6)
        s.add(
            *lathe([(0.26, 0), (0.36, 0.34)], paper),
            *lathe([(0.38, 0.33), (0.36, 0.40), (0.28, 0.44)], crumb),
        )
        z, swirl = 0.38, s.choose(3, 4)
        for n in range(swirl):
            q = 0.37 * (1 - n / (swirl + 0.6))
            s.add(*lathe([(q * 0.8, z), (q, z + 0.07), (q * 0.8, z + 0.15)], cream))
            z += 0.12
        s.add(*lathe([(0.12, z), (0.01, z + 0.14)], cream, sides=14))
        s.add(bead((0.07, 0.07, 0.07), (0, 0, z + 0.12), berry))
        return f"a cupcake with {colour_name(cream)} cream"
    if kind == "pie":
        s.add(
            *lathe([(0.38, 0), (0.5, 0.15)], (0.75, 0.75, 0.76)),
            *lathe([(0.5, 0.13), (0.53, 0.18), (0.47, 0.21)], crumb),
            *lathe([(0.46, 0.14), (0.4, s.along(0.19, 0.26))], berry),
        )
        for y in np.linspace(-0.3, 0.3, 4):
            w = np.sqrt(0.47**2 - y**2)
            s.add(
                *tube([(-w, y, 0.21), (0, y, 0.25), (w, y, 0.21)], 0.026, crumb, sides=6),
                *tube([(y, -w, 0.22), (y, 0, 0.26), (y, w, 0.22)], 0.026, crumb, sides=6),
            )
        return f"a {colour_name(berry)} pie"
    tiers, z, r = s.choose(1, 1, 2, 3), 0.05, 0.42
    s.add(*lathe([(0.2, 0), (0.5, 0.03), (0.5, 0.05)], (0.93, 0.93, 0.92)))
    for tier in range(tiers):
        tall = s.along(0.18, 0.34)
        s.add(
            *lathe(
                [(r, z), (r, z + tall * 0.9), (r * 0.96, z + tall)],
                cream if tier % 2 == 0 else second,
                sides=28,
            )
        )
        if s.chance(0.5):
            s.add(
                *lathe(
                    [(r + 0.004, z + tall * 0.4), (r + 0.004, z + tall * 0.55)],
                    second if tier % 2 == 0 else cream,
                    sides=28,
                )
            )
        for a in range(7):
            turn = float(np.pi * (a + 0.5) / 7)
            s.pair(
                bead(
                    (0.045, 0.045, 0.045),
                    (r * 0.93 * np.cos(turn), r * 0.93 * np.sin(turn), z + 0.02),
                    second,
                ),
                bead(
                    (0.05, 0.05, 0.05),
                    (r * 0.85 * np.cos(turn), r * 0.85 * np.sin(turn), z + tall),
                    second,
                ),
            )
        z, r = z + tall, r * 0.68
    if s.chance(0.5):
        for y in (0.0, 0.12) if tiers < 3 else (0.0,):
            stick = [
                limb((0, y, z), (0, y, z + 0.16), 0.018, 0.018, s.partner(cream)),
                bead((0.02, 0.02, 0.035), (0, y, z + 0.2), (1.0, 0.75, 0.2)),
            ]
            (s.pair if y else s.add)(*stick)
    else:
        s.add(bead((0.08, 0.08, 0.08), (0, 0, z + 0.05), berry))
    return f"a {colour_name(cream)} cake with {tiers} {'tiers' if tiers > 1 else 'tier'}"


@category
def burger(s: Sculptor) -> str:
    """A hamburger, sandwich stack or hot dog, with its layers in sight."""
    bun = s.choose(*DOUGH[:2], (0.70, 0.42, 0.18))
    salad, meat, cheese, red = (
        (0.42, 0.66, 0.2),
        (0.36, 0.2, 0.12),
        (0.98, 0.75, 0.15),
        (0.82, 0.16, 0.12),
    )
    if s.chance(0.3):
        long = s.along(0.7, 1.0)
        s.pair(limb((-long / 2, 0.11, 0.16), (long / 2, 0.11, 0.16), 0.15, 0.15, bun))
        s.add(
            limb(
                (-long / 2 - 0.1, 0, 0.26), (long / 2 + 0.1, 0, 0.26), 0.11, 0.11, (0.72, 0.3, 0.18)
            )
        )
        sauce = s.choose((0.97, 0.8, 0.1), red, s.main_colour())
        s.add(*tube([(-long / 2, 0, 0.37), (long / 2, 0, 0.37)], 0.025, sauce, sides=6))
        s.pair(
            *(
                bead((0.07, 0.04, 0.05), (x, 0.11, 0.29), salad)
                for x in np.linspace(-long * 0.45, long * 0.45, 6)
            )
        )
        return f"a hot dog with {colour_name(sauce)} sauce"
    r, z = 0.42, 0.0
    s.add(*lathe([(r * 0.86, 0), (r * 0.97, 0.04), (r * 0.97, 0.12)], bun))
    z = 0.12
    extra = s.main_colour()
    layers = [meat, cheese, salad, red] if s.chance(0.6) else [salad, meat, cheese, red, meat]
    for colour in layers:
        if colour is meat:
            high = s.along(0.08, 0.16)
            s.add(*lathe([(r * 0.98, z), (r * 1.03, z + high / 2), (r * 0.98, z + high)], meat))
        elif colour is cheese:
            high = 0.025
            plate = [(r * 1.12 * np.cos(a), r * 1.12 * np.sin(a)) for a in np.arange(4) * np.pi / 2]
            s.add(hull(np.array([(x, y, z + d) for x, y in plate for d in (-0.03, high)]), cheese))
        elif colour is salad:
            high = 0.05
            for a in range(9):
                t = np.pi * (a + 0.5) / 9
                s.pair(
                    bead(
                        (0.12, 0.12, 0.035),
                        (r * 0.95 * np.cos(t), r * 0.95 * np.sin(t), z + 0.025 + 0.012 * (a % 2)),
                        salad,
                    )
                )
        else:
            high = 0.045
            s.add(*lathe([(r * 0.95, z), (r * 0.95, z + high)], red))
        z += high
    dome = s.uniform(0.2, 0.28)
    s.add(
        *lathe(
            [
                (r * 0.97, z),
                *((r * np.cos(t), z + 0.03 + dome * np.sin(t)) for t in np.linspace(0.1, 1.5, 6)),
            ],
            bun,
        )
    )
    for a in range(8):
        t, q = np.pi * (a + 0.5) / 8, (0.5, 0.8, 0.62)[a % 3]
        s.pair(
            bead(
                (0.022, 0.015, 0.012),
                (r * q * np.cos(t), r * q * np.sin(t), z + 0.03 + dome * np.sqrt(1 - q * q)),
                (0.97, 0.92, 0.78),
            )
        )
    if s.chance(0.35):
        s.add(
            limb((0, 0, z + dome), (0, 0, z + dome + 0.32), 0.01, 0.01, (0.85, 0.7, 0.45)),
            bead((0.05, 0.05, 0.05), (0, 0, z + dome + 0.1), extra),
        )
    return "a hamburger" + (" with two patties" if layers.count(meat) == 2 else " with cheese")


@category
def ice_cream(s: Sculptor) -> str:
    """An ice cream: cone with scoops or a swirl, on a stick, or in a bowl."""
    one = s.main_or(0.5, *CREAMS, saturation=(0.25, 0.7))
    two = s.choose(*CREAMS, s.partner(one))
    waffle = s.choose((0.85, 0.62, 0.34), (0.78, 0.54, 0.28))
    s.decorate(waffle, "checks", chance=0.8)
    if s.chance(0.25):
        tall, wide = s.along(0.55, 0.8), s.uniform(0.36, 0.44)
        shape = np.array(
            [
                (x, y, z)
                for x in (-0.09, 0.09)
                for y, z in (
                    (-wide / 2, 0.25),
                    (wide / 2, 0.25),
                    (-wide / 2, tall),
                    (wide / 2, tall),
                    (-wide * 0.42, tall + 0.09),
                    (wide * 0.42, tall + 0.09),
                    (-wide * 0.2, tall + 0.15),
                    (wide * 0.2, tall + 0.15),
                )
            ]
        )
        s.add(hull(shape, one))
        if s.chance(0.5):
            top = shape[shape[:, 2] > tall - 0.01] * (1.06, 1.03, 1.01)
            s.add(hull(np.concatenate([top, top - (0, 0, 0.12)]), two))
        s.add(
            hull(
                np.array(
                    [(x, y, z) for x in (-0.02, 0.02) for y in (-0.05, 0.05) for z in (0.0, 0.3)]
                ),
                (0.88, 0.74, 0.5),
            )
        )
        return f"a {colour_name(one)} ice cream on a stick"
    r, tall = s.uniform(0.2, 0.25), s.along(0.5, 0.85)
    s.add(
        *lathe(
            [
                (0.02, 0),
                (r * 0.5, tall * 0.47),
                (r, tall * 0.94),
                (r * 1.1, tall * 0.95),
                (r * 1.1, tall),
            ],
            waffle,
            sides=18,
        )
    )
    z = tall
    if s.chance(0.35):
        for n in range(4):
            q = r * (1.1 - 0.24 * n)
            s.add(*lathe([(q * 0.85, z - 0.02), (q, z + 0.05), (q * 0.8, z + 0.11)], one, sides=18))
            z += 0.09
        s.add(*lathe([(r * 0.3, z), (0.008, z + 0.14)], one, sides=14))
        return f"a {colour_name(one)} soft ice cream in a cone"
    scoops = s.choose(1, 2, 2, 3)
    for n in range(scoops):
        q = r * (1.08 - 0.06 * n)
        s.add(ellipsoid((q, q, q * 0.95), (0, 0, z + q * 0.55), one if n % 2 == 0 else two))
        s.add(
            *lathe(
                [(q * 0.98, z + q * 0.05), (q * 1.1, z + q * 0.16), (q * 0.96, z + q * 0.34)],
                one if n % 2 == 0 else two,
                sides=16,
            )
        )
        z += q * 1.15
    if s.chance(0.5):
        s.add(bead((0.06, 0.06, 0.06), (0, 0, z + 0.1), (0.85, 0.1, 0.14)))
    if s.chance(0.3):
        s.add(limb((-0.06, 0, z - 0.1), (-0.16, 0, z + 0.24), 0.03, 0.03, waffle))
    flavours = colour_name(one) if scoops == 1 else f"{colour_name(one)} and {colour_name(two)}"
    return f"a {flavours} ice cream in a cone"
