"""Pots for the table: cup, teapot, bowl, vase, jar; hollow, with handles behind (-X)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from studio.data.procedural.bodies import bead, limb
from studio.data.procedural.parts import Array, Colour, Part
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import Profile, arch, lathe, shell, spline, tube

CERAMIC: tuple[Colour, ...] = (
    (0.95, 0.95, 0.93), (0.93, 0.90, 0.82), (0.14, 0.14, 0.15), (0.55, 0.56, 0.57),
    (0.62, 0.42, 0.30), (0.95, 0.94, 0.90),
)  # fmt: skip
"""White, cream, black, grey, earthenware."""
DRINKS = ((0.22, 0.12, 0.06), (0.55, 0.34, 0.18), (0.72, 0.42, 0.12), (0.92, 0.88, 0.80))
STEEL, COPPER, BRASS = (0.72, 0.73, 0.75), (0.72, 0.42, 0.26), (0.80, 0.64, 0.30)
PATTERNS = ("label", "dots", "stripes", "bands", "checks", "gradient")


def radius_at(profile: Profile, z: float) -> float:
    """Radius of an upward profile at a height."""
    r, h = np.array(profile, float).T
    return float(np.interp(z, h, r))


def smooth(profile: Profile, steps: int) -> Array:
    """[steps + 1, 2] a profile through the given points, curved."""
    return spline(profile, steps)


def vessel(
    outer: Profile, wall: float, colour: Colour, *, lining: Colour | None = None,
    content: tuple[Colour, float] | None = None, sides: int = 24, squareness: float = 2.0,
    stretch: tuple[float, float] = (1.0, 1.0),
) -> list[Part]:  # fmt: skip
    """A hollow pot with a floor; content is a colour and the height that it is filled to."""
    inner = [max(r - wall, 0.3 * r) for r, _ in outer]
    shape = {"sides": sides, "squareness": squareness, "stretch": stretch}
    parts = shell(outer, inner, colour, lining=lining, **shape)  # type: ignore[arg-type]
    base = outer[0][1]
    top = base + wall * 1.2
    floor = radius_at(outer, top) - wall * 0.5
    if wall < outer[-1][1] - base:
        disc = [(outer[0][0] * 0.98, base + 1e-3), (floor, top)]
        parts += lathe(disc, lining or colour, **shape)  # type: ignore[arg-type]
    if content is not None:
        paint, level = content
        surface = radius_at(outer, level) - wall * 0.6
        below = [(surface * 0.98, level - 0.03), (surface, level)]
        parts += lathe(below, paint, **shape)  # type: ignore[arg-type]
    return parts


def handle(
    s: Sculptor, profile: Profile, span: tuple[float, float], reach: float, thick: float,
    colour: Colour, *, inset: float = 0.02, style: str = "",
) -> None:  # fmt: skip
    """A handle behind a pot, between two heights: an ear, a bow or a square grip."""
    low, high = span
    top, foot = ((-radius_at(profile, z) + inset, 0.0, z) for z in (high, low))
    style = style or s.choose("ear", "bow", "square")
    if style == "bow":
        path = arch(top, foot, (-reach, 0, 0), 9)
    else:
        out = -max(radius_at(profile, low), radius_at(profile, high)) - reach
        rise = high - low
        points: Sequence[Sequence[float]] = [
            top, (out * 0.55 + top[0] * 0.45, 0, high + 0.04 * rise), (out, 0, high - 0.16 * rise),
            (out * 0.97, 0, (high + low) / 2), (out * 0.72 + foot[0] * 0.28, 0, low + 0.17 * rise),
            foot,
        ]  # fmt: skip
        if style == "square":
            points = [
                top, (out + 0.3 * reach, 0, high), (out, 0, high - 0.18 * rise),
                (out, 0, low + 0.18 * rise), (out + 0.3 * reach, 0, low), foot,
            ]  # fmt: skip
        path = spline(points, 10)
    s.add(*tube(path, thick, colour, flat=s.uniform(1.0, 1.7)))


@category
def cup(s: Sculptor) -> str:
    """A mug or tea cup: hollow, with its drink or empty, a slim handle, at times a saucer."""
    glaze = s.main_or(0.35, *CERAMIC, saturation=(0.35, 0.95))
    s.decorate(glaze, *PATTERNS, chance=0.5)
    kind = s.choose("mug", "mug", "mug", "tea cup", "tea cup", "barrel mug")
    r, wall = 0.40, s.uniform(0.025, 0.045)
    if kind == "mug":
        tall, foot = s.along(0.62, 1.15), s.choose(1.0, 1.0, s.uniform(0.76, 1.0))
        middle = (r * (foot + 1) / 2, tall / 2)
        outer = np.array([(r * foot * 0.94, 0), (r * foot, 0.03), middle, (r, tall)])
    elif kind == "barrel mug":
        tall, belly = s.along(0.6, 0.95), s.uniform(1.06, 1.2)
        outer = smooth([(r * 0.8, 0), (r * 0.9, 0.03), (r * belly, tall * 0.45), (r, tall * 0.85),
                        (r * 1.02, tall)], 8)  # fmt: skip
    else:
        tall, foot = s.along(0.38, 0.72), s.uniform(0.42, 0.58)
        outer = smooth([(r * foot * 1.05, 0), (r * foot, 0.05), (r * 0.86, tall * 0.38),
                        (r * 0.97, tall * 0.7), (r * s.uniform(1.0, 1.12), tall)], 9)  # fmt: skip
    lining = s.choose(None, None, (0.95, 0.94, 0.91), s.partner(glaze))
    content = (s.choose(*DRINKS), tall * s.uniform(0.72, 0.9)) if s.chance(0.6) else None
    s.add(*vessel(outer, wall, glaze, lining=lining, content=content))
    trim = s.partner(glaze) if s.chance(0.25) else glaze
    low, high = tall * s.uniform(0.12, 0.3), tall * s.uniform(0.76, 0.9)
    handle(s, outer, (low, high), s.uniform(0.20, 0.32) * min(1.0, 0.4 + tall * 0.7),
           s.uniform(0.032, 0.055), trim)  # fmt: skip
    words = colour_name(glaze)
    if s.chance(0.25):
        band = s.partner(glaze)
        a = tall * s.uniform(0.2, 0.6)
        b = a + tall * s.uniform(0.08, 0.25)
        ring = [(radius_at(outer, z) + 0.006, z) for z in (a, (a + b) / 2, b)]
        s.add(*lathe(ring, band))
        words += f" and {colour_name(band)}"
    if kind == "tea cup" and s.chance(0.6):
        plate = s.uniform(0.62, 0.78)
        rows = [(plate * 0.5, -0.04), (plate * 0.62, -0.01), (plate, 0.07)]
        s.add(*vessel(rows, 0.05, glaze))
        return f"a {words} tea cup on a saucer"
    if content is not None and content[0] == DRINKS[0] and s.chance(0.5):
        return f"a {words} {'tea cup' if kind == 'tea cup' else 'mug'} of coffee"
    return f"a {words} {'tea cup' if kind == 'tea cup' else 'mug'}"


@category
def teapot(s: Sculptor) -> str:
    """A teapot or coffee pot: belly, spout in front, handle behind, lid with a knob."""
    glaze = s.main_or(0.4, *CERAMIC, STEEL, COPPER, saturation=(0.35, 0.95))
    s.decorate(glaze, "dots", "bands", "label", "gradient", "stripes", "marble", chance=0.4)
    trim = s.choose(glaze, glaze, s.partner(glaze))
    kind = s.choose("round", "round", "tall", "pear", "low")
    tall, r = s.along(0.55, 1.05), s.uniform(0.44, 0.52)
    if kind == "tall":
        tall, r = tall * 1.25, r * 0.82
    if kind == "low":
        tall, r = tall * 0.75, r * 1.05
    mouth = r * s.uniform(0.42, 0.62)
    belly = {"pear": 0.32, "tall": 0.35}.get(kind, s.uniform(0.42, 0.52)) * tall
    shoulder = {"pear": 0.55, "tall": 0.72}.get(kind, 0.86)
    outer = smooth([(r * 0.52, 0), (r * 0.58, 0.04), (r * 0.93, belly * 0.5), (r, belly),
                    (r * shoulder, belly + (tall - belly) * 0.6), (mouth, tall)], 11)  # fmt: skip
    s.add(*lathe(outer, glaze))
    dome = s.uniform(0.08, 0.16)
    lid = smooth([(mouth * 1.06, tall - 0.01), (mouth * 1.04, tall + 0.02),
                  (mouth * 0.75, tall + dome * 0.75), (mouth * 0.15, tall + dome)], 6)  # fmt: skip
    s.add(*lathe(lid, trim))
    knob, top = s.uniform(0.05, 0.08), tall + dome
    s.add(*lathe(smooth([(knob * 0.5, top - 0.02), (knob * 0.6, top + 0.01), (knob, top + knob),
                         (knob * 0.7, top + knob * 1.6), (0.005, top + knob * 1.9)], 6),
                 trim, sides=14))  # fmt: skip
    low, reach, tip = (
        tall * s.uniform(0.28, 0.42),
        s.uniform(0.26, 0.42),
        tall * s.uniform(0.82, 1.05),
    )
    start = radius_at(outer, low) - 0.06
    if s.chance(0.7):
        path = spline([(start, 0, low), (start + reach * 0.45, 0, low + 0.08 * tall),
                       (start + reach * 0.75, 0, (low + tip) / 2 + 0.04),
                       (start + reach * 1.15, 0, tip)], 8)  # fmt: skip
    else:
        path = np.linspace((start, 0, low), (start + reach, 0, tip), 4)
    wide = s.uniform(0.10, 0.14)
    s.add(
        *tube(
            path, list(np.linspace(wide, wide * s.uniform(0.38, 0.55), len(path))), glaze, sides=12
        )
    )
    end, before = path[-1], path[-2]
    step = (end - before) / np.linalg.norm(end - before)
    s.add(*tube([end - 0.01 * step, end + 0.004 * step], wide * 0.3, (0.1, 0.09, 0.09), sides=10))
    if s.chance(0.8):
        span = (tall * s.uniform(0.2, 0.32), tall * s.uniform(0.74, 0.9))
        handle(s, outer, span, s.uniform(0.26, 0.36), s.uniform(0.04, 0.06), trim, inset=0.04)
    else:
        hold = s.choose(trim, s.wood())
        r0 = radius_at(outer, tall * 0.8) * 0.9
        bow = arch((-r0, 0, tall * 0.8), (r0, 0, tall * 0.8), (0, 0, tall * 0.2 + 0.42), 12)
        s.add(*tube(bow, 0.035, hold))
    noun = "coffee pot" if kind == "tall" else "teapot"
    return f"a {colour_name(glaze)} {noun}"


@category
def bowl(s: Sculptor) -> str:
    """A bowl or plate, at times with soup, cereal or fruit in it."""
    glaze = s.main_or(0.4, *CERAMIC, saturation=(0.35, 0.95))
    lining = s.choose(None, (0.95, 0.94, 0.91), s.partner(glaze))
    s.decorate(glaze, "bands", "dots", "stripes", "marble", "wood", chance=0.4)
    tall, r = s.along(0.12, 0.62), 0.5
    foot, bulge = s.uniform(0.4, 0.55), s.uniform(0.78, 0.95)
    outer = smooth([(r * foot, 0), (r * foot * 0.98, 0.04), (r * bulge, tall * 0.45 + 0.02),
                    (r, tall)], 7)  # fmt: skip
    words, content = "", None
    if s.chance(0.5) and tall > 0.25:
        food, words = s.choose(
            ((0.85, 0.45, 0.15), " of soup"), ((0.95, 0.93, 0.88), " of milk"),
            ((0.35, 0.6, 0.2), " of salad"), ((0.92, 0.82, 0.5), " of noodles"),
        )  # fmt: skip
        content = (food, tall * s.uniform(0.75, 0.88))
    s.add(*vessel(outer, s.uniform(0.025, 0.05), glaze, lining=lining, content=content))
    if words == " of salad" and content is not None:
        for k in range(9):
            angle, out = 2.4 * k, r * 0.75 * ((k + 0.5) / 9) ** 0.5
            colour = s.choose((0.3, 0.55, 0.2), (0.45, 0.7, 0.25), (0.85, 0.2, 0.15))
            y = abs(out * np.sin(angle))
            s.pair(bead((0.09, 0.09, 0.06), (out * np.cos(angle), y, content[1] + 0.02), colour))
    elif s.chance(0.2):
        band = s.partner(glaze)
        s.add(*lathe([(radius_at(outer, z) + 0.006, z) for z in (tall * 0.6, tall * 0.8)], band))
    return f"a {colour_name(glaze)} {'plate' if tall < 0.2 else 'bowl'}{words}"


@category
def vase(s: Sculptor) -> str:
    """A vase of many outlines, at times with ears or flowers."""
    glaze = s.main_or(0.25, *CERAMIC, saturation=(0.3, 0.9))
    s.decorate(glaze, "bands", "dots", "stripes", "marble", "gradient", "checks", chance=0.5)
    tall, belly = s.along(0.75, 1.25), s.uniform(0.24, 0.40)
    neck, lip = belly * s.uniform(0.3, 0.75), s.uniform(0.9, 1.7)
    where, foot = s.uniform(0.3, 0.62), s.uniform(0.45, 0.85)
    outer = smooth([(belly * foot, 0), (belly * foot * 1.03, 0.03), (belly, tall * where),
                    (neck, tall * (where + 0.72 * (1 - where))),
                    (neck * lip, tall)], 11)  # fmt: skip
    square = s.choose(2.0, 2.0, 2.0, 4.0)
    s.add(*vessel(outer, 0.025, glaze, squareness=square, content=((0.1, 0.09, 0.08), tall * 0.75)))
    words = ""
    if s.chance(0.25):
        for way in (-1, 1):
            high, low = tall * (where + 0.62 * (1 - where)), tall * (where + 0.1)
            a, b = (way * (radius_at(outer, z) - 0.02) for z in (high, low))
            s.add(*tube(arch((a, 0, high), (b, 0, low), (way * 0.14, 0, 0), 7), 0.03, glaze))
        words = " with two handles"
    elif s.chance(0.45):
        words = bouquet(s, neck * 0.8, tall)
    return f"a {colour_name(glaze)} vase{words}"


def bouquet(s: Sculptor, spread: float, base: float) -> str:
    """Stems and blossoms that come out of an opening at a height."""
    bloom = s.choose((0.9, 0.2, 0.3), (0.98, 0.8, 0.2), (0.95, 0.6, 0.75), (0.95, 0.95, 0.95))
    stem, leaf = (0.25, 0.45, 0.18), (0.3, 0.55, 0.22)
    for k in range(s.choose(3, 4)):
        angle = np.deg2rad(30 + 45 * k + s.uniform(-12, 12))
        tip = (spread * 2.6 * np.cos(angle), spread * 2.6 * np.sin(angle) + 0.03,
               base + s.uniform(0.22, 0.5))  # fmt: skip
        foot = (spread * 0.4 * np.cos(angle), spread * 0.4 * np.sin(angle), base - 0.1)
        s.pair(limb(foot, tip, 0.012, 0.012, stem))
        s.pair(bead((0.10, 0.10, 0.07), tip, bloom))
        s.pair(bead((0.045, 0.045, 0.04), (tip[0], tip[1], tip[2] + 0.05), (0.9, 0.7, 0.2)))
        middle = tuple((a + b) / 2 for a, b in zip(tip, foot, strict=True))
        s.pair(bead((0.09, 0.05, 0.03), middle, leaf))
    return f" of {colour_name(bloom)} flowers"


@category
def jar(s: Sculptor) -> str:
    """A jar or tin with a lid and a label in front."""
    body = s.main_or(0.3, *CERAMIC, (0.75, 0.45, 0.2), (0.6, 0.15, 0.2))
    tall, r = s.along(0.6, 1.2), s.uniform(0.32, 0.42)
    neck, square = r * s.uniform(0.72, 0.95), s.choose(2.0, 2.0, 3.5)
    outer = smooth([(r * 0.9, 0), (r, 0.05), (r * s.uniform(1.0, 1.08), tall * 0.5),
                    (r, tall * 0.82), (neck, tall * 0.92), (neck, tall)], 9)  # fmt: skip
    s.add(*lathe(outer, body, squareness=square))
    lid = s.choose(s.partner(body), s.wood(), BRASS, STEEL)
    top = tall + s.uniform(0.10, 0.18)
    s.add(*lathe([(neck * 1.06, tall - 0.02), (neck * 1.06, top - 0.02), (neck * 1.0, top)], lid,
                 squareness=square))  # fmt: skip
    if s.chance(0.3):
        s.add(*lathe([(0.05, top - 0.01), (0.08, top + 0.05), (0.04, top + 0.1)], lid, sides=12))
    paper = s.choose((0.95, 0.93, 0.86), (0.97, 0.97, 0.97), s.partner(body))
    s.decorate(paper, "label", "stripes", "bands", chance=0.7)
    front = s.choose(4, 5, 24)
    low, high = tall * s.uniform(0.2, 0.3), tall * s.uniform(0.6, 0.72)
    ring = [(radius_at(outer, z) + 0.008, z) for z in (low, (low + high) / 2, high)]
    arc = (-front, front + 1) if front < 12 else None
    s.add(*shell(ring, [q - 0.05 for q, _ in ring], paper, arc=arc, squareness=square))
    return f"a {colour_name(body)} jar with a {colour_name(lid)} lid"
