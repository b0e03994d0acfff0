"""Things with a lid, a spout or a long handle: bottle, jug, bucket, watering can, pan."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import rounded
from studio.data.procedural.kinds.vessels import (
    BRASS,
    CERAMIC,
    COPPER,
    STEEL,
    handle,
    radius_at,
    smooth,
    vessel,
)
from studio.data.procedural.parts import Colour, box, cylinder
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import arch, hull, lathe, shell, tube

BLACK: Colour = (0.12, 0.12, 0.13)
GLASSES: tuple[Colour, ...] = ((0.16, 0.30, 0.14), (0.30, 0.16, 0.08), (0.62, 0.72, 0.70))
"""Bottle green, amber, clear."""


@category
def bottle(s: Sculptor) -> str:
    """A bottle: wine, beer, water, milk, sauce or spray bottle, flask; label, cap."""
    kind = s.choose("wine", "beer", "water", "flask", "sauce", "milk", "spray")
    body = s.main_or(0.55 if kind in ("wine", "beer") else 0.2, *GLASSES, saturation=(0.4, 0.95))
    tall = s.along(1.05, 1.6)
    r, neck = s.uniform(0.17, 0.24), s.uniform(0.06, 0.08)
    shoulder = {"wine": 0.60, "beer": 0.55, "water": 0.70, "flask": 0.80, "sauce": 0.58,
                "milk": 0.55, "spray": 0.62}[kind]  # fmt: skip
    if kind == "flask":
        neck = r * s.uniform(0.7, 0.95)
    elif kind == "milk":
        neck = r * 0.6
    elif kind == "spray":
        tall, neck = tall * 0.8, 0.055
    top = tall * (0.94 if kind == "flask" else s.uniform(shoulder + 0.12, shoulder + 0.22))
    outer = smooth([(r * 0.92, 0), (r, 0.03), (r, tall * shoulder * 0.6), (r, tall * shoulder),
                    (neck * 1.06, top), (neck, tall * 0.97), (neck, tall)], 14)  # fmt: skip
    square = s.choose(2.0, 2.0, 2.0, 3.5) if kind in ("water", "sauce", "spray") else 2.0
    flat = (
        (s.uniform(0.6, 0.8), 1.0) if kind in ("spray", "sauce") and s.chance(0.5) else (1.0, 1.0)
    )
    s.add(*lathe(outer, body, squareness=square, stretch=flat))
    cap = s.choose(
        s.partner(body), BLACK, (0.93, 0.93, 0.92), s.wood() if kind == "wine" else STEEL
    )
    if kind == "spray":
        _spray(s, neck, tall, cap)
    else:
        high, wide = {"wine": (0.22, 1.12), "flask": (0.14, 1.04), "sauce": (0.12, 1.5)}.get(
            kind, (0.08, 1.2)
        )
        base = tall - high * (0.85 if kind in ("wine", "flask") else 0.3)
        end = 0.35 if kind == "sauce" else 0.95
        s.add(*lathe([(neck * wide, base), (neck * wide, base + high * 0.8),
                      (neck * wide * end, base + high)], cap, sides=18))  # fmt: skip
    if kind == "flask":
        return f"a {colour_name(body)} drinking flask with a {colour_name(cap)} lid"
    paper = s.choose((0.95, 0.93, 0.86), (0.97, 0.97, 0.97), s.partner(body), s.partner(body))
    s.decorate(paper, "label", "stripes", "bands", chance=0.7)
    low, high = tall * shoulder * s.uniform(0.12, 0.3), tall * shoulder * s.uniform(0.75, 0.92)
    ring = [(radius_at(outer, z) + 0.006, z) for z in (low, (low + high) / 2, high)]
    front = s.choose(4, 6, 24)
    s.add(*shell(ring, [q - 0.03 for q, _ in ring], paper, squareness=square, stretch=flat,
                 arc=(-front, front + 1) if front < 12 else None))  # fmt: skip
    if kind == "beer" or s.chance(0.2):
        s.add(*lathe([(radius_at(outer, z) + 0.005, z) for z in (top * 0.97, tall * 0.92)], paper))
    return f"a {colour_name(body)} {kind} bottle with a {colour_name(paper)} label"


def _spray(s: Sculptor, neck: float, tall: float, cap: Colour) -> None:
    """The head of a spray bottle: collar, nozzle and trigger, pointing to the front."""
    s.add(
        cylinder(neck * 1.5, 0.1, (0, 0, tall + 0.01), cap),
        rounded((0.30, 0.11, 0.11), (0.03, 0, tall + 0.14), cap, 0.03),
        cylinder(0.035, 0.06, (0.2, 0, tall + 0.15), cap, axis="x", sides=10),
    )
    s.add(*tube([(0.1, 0, tall + 0.1), (0.15, 0, tall + 0.0), (0.13, 0, tall - 0.12)], 0.025, cap))


@category
def jug(s: Sculptor) -> str:
    """A pitcher: hollow, a lip in front, a tall handle behind."""
    glaze = s.main_or(0.4, *CERAMIC, COPPER, STEEL, saturation=(0.35, 0.95))
    s.decorate(glaze, "dots", "bands", "stripes", "gradient", "label", chance=0.45)
    tall, r = s.along(0.7, 1.25), s.uniform(0.28, 0.38)
    neck, lip = r * s.uniform(0.6, 0.95), s.uniform(1.05, 1.3)
    outer = smooth([(r * 0.7, 0), (r * 0.76, 0.03), (r, tall * s.uniform(0.25, 0.45)),
                    (neck, tall * 0.78), (neck * lip, tall)], 11)  # fmt: skip
    s.add(*vessel(outer, 0.03, glaze, lining=s.choose(None, (0.95, 0.94, 0.91)),
                  content=s.choose(None, ((0.92, 0.9, 0.85), tall * 0.8))))  # fmt: skip
    mouth = neck * lip
    m, drop = mouth, s.uniform(0.14, 0.26)
    beak = [(m * 0.86, way * m * 0.5, tall - d) for way in (-1, 1) for d in (0.0, drop * 0.5)]
    beak += [
        (m * 1.32, -0.02, tall + 0.02),
        (m * 1.32, 0.02, tall + 0.02),
        (m * 0.9, 0, tall - drop),
    ]
    s.add(hull(np.array(beak), glaze))
    handle(s, outer, (tall * s.uniform(0.2, 0.4), tall * 0.9), s.uniform(0.2, 0.3),
           s.uniform(0.03, 0.045), glaze, inset=0.01)  # fmt: skip
    return f"a {colour_name(glaze)} jug"


@category
def bucket(s: Sculptor) -> str:
    """A pail with a bail from side to side, upright or laid back, and a label in front."""
    paint = s.main_or(0.3, STEEL, (0.55, 0.57, 0.58), BLACK, saturation=(0.5, 0.95))
    s.decorate(paint, "label", "bands", "stripes", "dots", chance=0.4)
    tall, r = s.along(0.6, 1.0), s.uniform(0.40, 0.46)
    foot = r * s.uniform(0.66, 0.85)
    outer = [(foot, 0), (foot + (r - foot) * 0.5, tall * 0.5), (r, tall)]
    full = s.choose(None, ((0.55, 0.68, 0.75), tall * 0.8), ((0.85, 0.72, 0.48), tall * 0.9))
    s.add(*vessel(outer, 0.02, paint, content=full))
    rim = s.choose(paint, s.partner(paint))
    s.add(*shell([(r + 0.025, tall - 0.06), (r + 0.025, tall)], [r - 0.03] * 2, rim))
    grip = s.choose(STEEL, BLACK, s.partner(paint))
    lean = s.choose(0.0, 0.0, s.uniform(0.4, 1.2))
    span, high = r + 0.02, tall - 0.06
    bulge = (-np.sin(lean) * span * 1.05, 0.0, np.cos(lean) * span * 1.05)
    bow = arch((0, -span, high), (0, span, high), bulge, 14)
    s.add(*tube(bow, 0.018, grip, sides=6))
    s.add(*tube(bow[6:9], 0.04, s.choose(BLACK, s.wood(), grip), sides=8))
    s.pair(cylinder(0.05, 0.05, (0, span, high), grip, axis="y", sides=10))
    return f"a {colour_name(paint)} bucket"


@category
def watering_can(s: Sculptor) -> str:
    """A watering can: long spout with a rose in front, a bow over the top, a handle behind."""
    paint = s.main_or(0.25, STEEL, COPPER, (0.3, 0.42, 0.3), saturation=(0.5, 0.95))
    s.decorate(paint, "dots", "stripes", "label", "gradient", chance=0.3)
    tall, r = s.along(0.5, 0.95), s.uniform(0.32, 0.40)
    top = r * s.uniform(0.6, 1.0)
    outer = smooth([(r, 0), (r * 1.01, 0.04), (r * 0.98, tall * 0.6), (top, tall)], 6)
    s.add(*vessel(outer, 0.025, paint, content=((0.30, 0.38, 0.42), tall * 0.85)))
    lid = [(top + 0.012, tall - 0.04), (top + 0.012, tall + 0.01)]
    s.add(*shell(lid, [top - 0.03] * 2, paint, arc=(-6, 7)))
    reach, tip = s.uniform(0.5, 0.75), tall * s.uniform(0.95, 1.3)
    start, end = np.array([r * 0.9, 0, tall * 0.2]), np.array([r + reach, 0, tip])
    bend = s.uniform(0.0, 0.08)
    middle = (start + end) / 2 + (bend, 0, -bend)
    s.add(*tube([start, middle, end], [0.09, 0.055, 0.04], paint, sides=10))
    if s.chance(0.75):
        step = (end - middle) / np.linalg.norm(end - middle)
        rose = s.choose(paint, s.partner(paint), BRASS)
        s.add(*tube([end - 0.02 * step, end + 0.10 * step, end + 0.12 * step], [0.04, 0.12, 0.12],
                    rose, sides=12))  # fmt: skip
    grip = s.choose(paint, paint, s.partner(paint), s.wood())
    if s.chance(0.6):
        a, b = (-top * 0.7, 0, tall * 0.97), (top * 0.9, 0, tall * 0.97)
        s.add(*tube(arch(a, b, (-0.06, 0, s.uniform(0.26, 0.4)), 10), 0.03, grip))
        handle(s, outer, (tall * 0.25, tall * 0.8), 0.2, 0.03, grip, style="bow")
    else:
        a, b = (top * 0.3, 0, tall * 0.98), (-r * 0.98, 0, tall * 0.2)
        s.add(*tube(arch(a, b, (-0.36, 0, 0.34), 11), 0.032, grip))
    return f"a {colour_name(paint)} watering can"


@category
def pan(s: Sculptor) -> str:
    """A frying pan, saucepan or cooking pot, at times with a lid or an egg."""
    paint = s.main_or(0.55, BLACK, STEEL, COPPER, (0.3, 0.3, 0.32), saturation=(0.5, 0.95))
    kind = s.choose("frying pan", "saucepan", "cooking pot")
    r = 0.42
    tall = s.along(0.1, 0.2) if kind == "frying pan" else s.along(0.28, 0.6)
    flare = s.uniform(0.78, 0.88) if kind == "frying pan" else s.uniform(0.94, 1.0)
    outer = [(r * flare * 0.94, 0), (r * flare, 0.025), (r, tall)]
    lining = s.choose(None, BLACK, STEEL, (0.9, 0.88, 0.83))
    s.add(*vessel(outer, 0.022, paint, lining=lining, sides=28))
    grip = s.choose(BLACK, BLACK, s.wood(), STEEL)
    if kind == "cooking pot":
        for way in (-1, 1):
            a, b = ((way * (r - 0.02), y, tall * 0.82) for y in (-0.13, 0.13))
            s.add(*tube(arch(a, b, (way * 0.13, 0, 0.02), 8), 0.028, s.choose(grip, grip)))
    else:
        reach = s.uniform(0.55, 0.75)
        path = [
            (-r + 0.02, 0, tall - 0.04),
            (-r - 0.15, 0, tall + 0.02),
            (-r - reach, 0, tall + 0.1),
        ]
        s.add(*tube(path, [0.03, 0.036, 0.045], grip, flat=1.3))
    if kind != "frying pan" and s.chance(0.6):
        lid = s.choose(paint, STEEL, (0.6, 0.66, 0.68))
        s.add(*lathe(smooth([(r * 1.02, tall - 0.01), (r * 1.02, tall + 0.02),
                             (r * 0.7, tall + 0.08), (0.05, tall + 0.11)], 5), lid))  # fmt: skip
        s.add(
            *lathe([(0.03, tall + 0.1), (0.07, tall + 0.15), (0.05, tall + 0.18)], grip, sides=14)
        )
        return f"a {colour_name(paint)} {kind} with a lid"
    if kind == "frying pan" and s.chance(0.35):
        s.add(*lathe([(0.2, 0.02), (0.2, 0.05), (0.16, 0.06)], (0.96, 0.96, 0.94), at=(0.06, 0, 0)))
        yolk = [(0.09, 0.05), (0.085, 0.085), (0.04, 0.1)]
        s.add(*lathe(yolk, (0.97, 0.72, 0.12), at=(0.06, 0, 0), sides=16))
        return f"a {colour_name(paint)} frying pan with an egg"
    if kind == "saucepan":
        s.add(box((0.06, 0.1, 0.02), (r, 0, tall - 0.02), paint))
    return f"a {colour_name(paint)} {kind}"
