"""Seats in metres: office chair, stool, bench; what chairs share."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import bead, limb, rounded
from studio.data.procedural.parts import Array, Colour, Part, box, cylinder
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import lathe, moved, shell, tube, turned

STEEL: Colour = (0.70, 0.71, 0.73)
BLACK: Colour = (0.13, 0.13, 0.14)
LEATHERS: tuple[Colour, ...] = ((0.14, 0.13, 0.13), (0.42, 0.24, 0.13), (0.86, 0.82, 0.74),
                                (0.45, 0.46, 0.48), (0.93, 0.92, 0.90))  # fmt: skip


def frame_colour(s: Sculptor, chance: float = 0.5) -> Colour:
    """Wood, or paint."""
    wood = s.wood()
    paint = s.main_or(0.35, (0.94, 0.93, 0.90), BLACK)
    return wood if s.chance(chance) and not s.unusual else paint


def pad(size: tuple[float, float, float], at: tuple[float, float, float], colour: Colour) -> Part:
    """A cushion."""
    return rounded(size, at, colour, 0.46 * min(size))


def legs(
    s: Sculptor, style: str, deep: float, wide: float, seat: float, colour: Colour,
    shift: float = 0.0,
) -> None:  # fmt: skip
    """Four legs under a seat's lower edge at a height: round, square, splayed or bent tubes."""
    x, y = deep / 2 - 0.03, wide / 2 - 0.03
    if style == "sled":
        path = [(x - 0.02, y, seat), (x + 0.01, y, 0.02), (-x - 0.02, y, 0.02), (-x, y, seat)]
        s.pair(*tube(cornered(path), 0.014, colour, sides=6))
        return
    if style == "pedestal":
        s.add(cylinder(0.035, seat, (0, 0, seat / 2), colour, sides=14))
        s.add(*lathe([(0.24, 0), (0.24, 0.02), (0.05, 0.06)], colour))
        return
    splay = s.uniform(0.05, 0.12) if style == "splayed" else s.uniform(0.0, 0.02)
    for fx in (x, -x):
        top = (
            fx * (0.8 if style == "splayed" else 1) + shift,
            y * (0.8 if splay > 0.04 else 1),
            seat,
        )
        foot = (fx + np.sign(fx) * splay + shift, y + splay * 0.7, 0.0)
        if style == "square":
            half = s.uniform(0.018, 0.026)
            s.pair(box((2 * half, 2 * half, seat), (fx + shift, y, seat / 2), colour))
        else:
            thick = s.uniform(0.013, 0.024)
            s.pair(
                *tube([top, foot], [thick, thick * (0.6 if style == "splayed" else 0.9)], colour)
            )
    if style != "square" and s.chance(0.4):
        z = seat * s.uniform(0.35, 0.5)
        s.pair(
            *tube(
                [(x + shift, y + splay * 0.3, z), (-x + shift, y + splay * 0.3, z)],
                0.011,
                colour,
                sides=6,
            )
        )


def cornered(path: list[tuple[float, float, float]]) -> list[Array]:
    """A path with its inner corners cut round."""
    points = np.asarray(path, float)
    rounded_path = [points[0]]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        for t in (0.14, 0.05):
            rounded_path.append(here + (before - here) * t)
        for t in (0.05, 0.14):
            rounded_path.append(here + (after - here) * t)
    return [*rounded_path, points[-1]]


@category
def office_chair(s: Sculptor) -> str:
    """A swivel chair: five feet on castors, gas column, padded seat and back, often arms."""
    cloth = s.main_or(0.45, BLACK, *LEATHERS, saturation=(0.4, 0.85))
    s.decorate(cloth, "grain", "stripes", chance=0.4)
    frame = s.choose(BLACK, BLACK, STEEL, (0.9, 0.9, 0.9))
    seat, wide = s.uniform(0.44, 0.54), s.uniform(0.46, 0.54)
    for k in range(5):
        turn = 180 + 72 * k
        foot = limb((0, 0, 0.11), (0.30, 0, 0.07), 0.03, 0.02, frame)
        castor = bead((0.035, 0.025, 0.035), (0.29, 0, 0.035), BLACK)
        s.add(*turned([foot, castor], "z", turn))
    s.add(cylinder(0.028, seat - 0.1, (0, 0, 0.1 + (seat - 0.1) / 2), s.choose(STEEL, BLACK)))
    s.add(box((0.24, 0.18, 0.04), (0, 0, seat - 0.05), BLACK))
    s.add(rounded((wide * 0.96, wide, 0.09), (0.0, 0, seat), cloth, 0.042))
    back, narrow = s.along(0.40, 0.74), s.uniform(0.86, 1.0)
    gap = s.uniform(0.06, 0.14)
    x, lean = -wide / 2 + 0.02, s.uniform(4, 12)
    thick, low = s.uniform(0.05, 0.09), seat + gap
    pieces = [rounded((thick, wide * narrow, back), (x, 0, low + back / 2), cloth, thick * 0.45)]
    if s.chance(0.4):
        head = s.uniform(0.12, 0.18)
        z = low + back + head / 2 + 0.03
        pieces.append(rounded((thick * 0.9, wide * 0.6, head), (x, 0, z), cloth, thick * 0.4))
        pieces.append(box((0.02, 0.08, 0.2), (x - 0.01, 0, z - 0.08), BLACK))
    pieces += tube([(x + 0.12, 0, seat - 0.05), (x - 0.05, 0, seat), (x - 0.05, 0, low + back * 0.5)],  # noqa: E501
                   0.022, BLACK, sides=6, flat=2.0)  # fmt: skip
    s.add(*turned(pieces, "y", -lean, (x, 0, seat)))
    arms = s.chance(0.7)
    if arms:
        y, z = wide / 2 + 0.03, seat + s.uniform(0.18, 0.24)
        s.pair(rounded((0.26, 0.06, 0.03), (0.0, y, z), BLACK, 0.014))
        s.pair(
            *tube(
                cornered([(0, y - 0.12, seat - 0.04), (0, y, seat - 0.02), (0, y, z)]),
                0.016,
                frame,
                sides=6,
            )
        )
    return f"a {colour_name(cloth)} office chair{' with arms' if arms else ''}"


@category
def stool(s: Sculptor) -> str:
    """A stool: low or for a bar, three or four legs or a pedestal, round or square seat."""
    frame = frame_colour(s, 0.5)
    cloth = s.main_or(0.4, *LEATHERS, saturation=(0.4, 0.85))
    seat, r = s.along(0.36, 0.85), s.uniform(0.15, 0.19)
    round_, padded = s.chance(0.65), s.chance(0.5)
    top = cloth if padded else frame
    high = s.uniform(0.05, 0.08) if padded else 0.03
    if round_:
        s.add(*lathe([(r * 0.94, seat - high), (r, seat - high * 0.6), (r, seat - high * 0.3),
                      (r * 0.9, seat)], top))  # fmt: skip
    else:
        s.add(
            rounded(
                (2 * r, 2.1 * r, high),
                (0, 0, seat - high / 2),
                top,
                high * (0.48 if padded else 0.2),
            )
        )
    style = s.choose("splayed", "splayed", "square", "pedestal", "round")
    leg = s.choose(STEEL, BLACK) if style == "pedestal" else frame
    low = seat - high + 0.01
    size = r * (1.5 if round_ else 1.9)
    legs(s, style, size, size, low, leg)
    if style != "pedestal":
        z, out = seat * s.uniform(0.25, 0.4), size / 2 - 0.015
        for x in (-out, out):
            s.add(*tube([(x, -out, z), (x, out, z)], 0.010, leg, sides=6))
        s.pair(*tube([(-out, out, z), (out, out, z)], 0.010, leg, sides=6))
    elif seat > 0.55:
        ring = turned(shell([(0.16, 0), (0.16, 0.02)], [0.135, 0.135], leg), "z", 0)
        s.add(*moved(ring, (0.0, 0, seat * 0.35)))
        s.add(box((0.3, 0.02, 0.018), (0, 0, seat * 0.35 + 0.01), leg))
    if s.chance(0.25):
        back = s.uniform(0.12, 0.22)
        wall = shell([(r * 0.98, 0), (r * 1.02, back)], [r * 0.84, r * 0.88], top, arc=(8, 17))
        s.add(*moved(wall, (0, 0, seat - 0.02)))
    return f"a {colour_name(top)} {'bar stool' if seat > 0.6 else 'stool'}"


@category
def bench(s: Sculptor) -> str:
    """A garden bench: slatted seat and back on wooden, steel or cast ends, or a plain form."""
    wood = frame_colour(s, 0.6)
    iron = s.choose(BLACK, BLACK, (0.2, 0.3, 0.24), wood)
    long, seat, deep = s.along(0.9, 1.9), s.uniform(0.40, 0.46), s.uniform(0.36, 0.46)
    backed = s.chance(0.75)
    deep = deep if backed else deep * 0.75
    count = s.choose(3, 4, 5)
    for k in range(count):
        x = -deep / 2 + deep * (k + 0.5) / count
        s.add(box((deep / count - 0.015, long, 0.03), (x, 0, seat), wood))
    x, y = deep / 2 - 0.04, long / 2 - 0.12
    if not backed:
        s.pair(
            box((0.06, 0.06, seat), (x, y, seat / 2), iron),
            box((0.06, 0.06, seat), (-x, y, seat / 2), iron),
        )
        s.pair(box((deep, 0.05, 0.05), (0, y, seat - 0.04), iron))
        return f"a {colour_name(wood)} bench"
    high, lean = s.uniform(0.36, 0.46), s.uniform(8, 18)
    rows = s.choose(2, 3, 4)
    if s.chance(0.3):
        slats = [
            box((0.025, 0.05, high - 0.04), (0, t, high / 2 + 0.03), wood)
            for t in np.linspace(-y, y, int(long / 0.12))
        ]
        slats += [box((0.035, long, 0.06), (0, 0, z), wood) for z in (0.06, high)]
    else:
        slats = [box((0.03, long, high / rows - 0.025), (0, 0, 0.08 + high * (k + 0.5) / rows), wood)  # noqa: E501
                 for k in range(rows)]  # fmt: skip
    rear = -deep / 2
    post = [
        box((0.045, 0.05, high + 0.12), (-0.03, way * y, high / 2 + 0.03), iron) for way in (-1, 1)
    ]
    s.add(*turned(moved(slats + post, (rear, 0, seat)), "y", -lean, (rear, 0, seat)))
    s.pair(
        *tube([(x, y, seat), (x + 0.03, y, 0)], 0.028, iron, sides=6),
        *tube([(-x, y, seat), (-x - 0.06, y, 0)], 0.028, iron, sides=6),
        box((deep, 0.05, 0.05), (0, y, seat - 0.04), iron),
    )
    if s.chance(0.65):
        z = seat + s.uniform(0.2, 0.25)
        s.pair(rounded((deep + 0.08, 0.06, 0.035), (0, y, z), s.choose(iron, wood), 0.014))
        s.pair(*tube([(x, y, seat), (x + 0.02, y, z)], 0.022, iron, sides=6))
    return f"a {colour_name(wood)} garden bench"
