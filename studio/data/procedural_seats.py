"""Seats in metres: dining chair, office chair, stool, bench, sofa."""

from __future__ import annotations

import numpy as np

from studio.data.procedural_objects import Sculptor, category, colour_name
from studio.data.procedural_parts import Array, Colour, Part, Triple, box, cylinder, rotation
from studio.data.procedural_solids import (
    arch,
    bead,
    chain,
    hull,
    lathe,
    limb,
    moved,
    rounded,
    shell,
    spline,
    tube,
    turned,
)

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
        s.pair(*tube(_cornered(path), 0.014, colour, sides=6))
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


def _cornered(path: list[tuple[float, float, float]]) -> list[Array]:
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
def dining_chair(s: Sculptor) -> str:
    """A dining chair: slats, spindles, ladder, panel, bow, moulded shell or steel tube."""
    frame = frame_colour(s, 0.55)
    cloth = s.main_or(0.4, *LEATHERS, saturation=(0.4, 0.85))
    s.decorate(cloth, "grain", "stripes", "checks", "dots", chance=0.5)
    wide, deep = s.uniform(0.40, 0.50), s.uniform(0.40, 0.48)
    seat, back = s.along(0.40, 0.54), s.uniform(0.36, 0.52)
    kind = s.choose("slats", "spindles", "ladder", "panel", "panel", "shell", "tube", "bow")
    if kind == "shell":
        return _shell_chair(s, cloth, wide, deep, seat, back)
    if kind == "tube":
        return _tube_chair(s, cloth, wide, deep, seat, back)
    thick = s.uniform(0.025, 0.045)
    round_seat = s.chance(0.15)
    if round_seat:
        s.add(
            *lathe(
                [(wide * 0.49, seat - thick), (wide * 0.5, seat)], frame, stretch=(deep / wide, 1)
            )
        )
    else:
        s.add(rounded((deep, wide, thick), (0, 0, seat - thick / 2), frame, thick * 0.4))
    style = s.choose("square", "square", "round", "splayed") if kind != "bow" else "splayed"
    legs(s, style, deep, wide, seat - thick, frame)
    if style == "square" and s.chance(0.7):
        s.add(box((deep - 0.06, wide - 0.06, 0.06), (0, 0, seat - thick - 0.03), frame))
    cushioned = s.chance(0.5)
    if cushioned:
        high = s.uniform(0.03, 0.07)
        s.add(
            rounded(
                (deep - 0.03, wide - 0.04, high), (0.0, 0, seat + high * 0.45), cloth, high * 0.48
            )
        )
    lean, rear = s.uniform(4, 14), -deep / 2 + 0.03
    rest = _back(s, kind, wide, back, frame, cloth)
    s.add(*turned(moved(rest, (rear, 0, seat)), "y", -lean, (rear, 0, seat)))
    arms = s.chance(0.2) and kind != "bow"
    if arms:
        y, z = wide / 2 + 0.0, seat + s.uniform(0.18, 0.24)
        s.pair(rounded((deep * 0.95, 0.05, 0.028), (0.0 - 0.03, y, z), frame, 0.012))
        s.pair(
            *tube(
                [(deep / 2 - 0.08, y - 0.01, seat - 0.02), (deep / 2 - 0.06, y, z)],
                0.016,
                frame,
                sides=6,
            )
        )
    noun = "chair with arms" if arms else "chair"
    tail = f" and a {colour_name(cloth)} cushion" if cushioned else ""
    if tail and not arms:
        tail = tail.replace(" and", " with")
    return f"a {colour_name(frame)} {noun}{tail}"


def _back(
    s: Sculptor, kind: str, wide: float, back: float, frame: Colour, cloth: Colour
) -> list[Part]:  # fmt: skip
    """An upright back that stands on the seat's rear edge at the origin."""
    half, post = wide / 2 - 0.025, s.uniform(0.016, 0.024)
    parts: list[Part] = []
    bend = s.uniform(0.0, 0.035)
    if kind == "bow":
        hoop = arch((0, -half, 0), (0, half, 0), (0, 0, back), 12)
        parts += tube(hoop, 0.014, frame)
        for y in np.linspace(-half * 0.72, half * 0.72, s.choose(5, 6, 7)):
            top = back * np.sqrt(1 - (y / half) ** 2)
            parts += tube([(0, y * 0.85, 0), (0, y, top)], 0.008, frame, sides=6)
        return parts
    for way in (-1, 1):
        parts += tube([(0, way * half, -0.03), (0, way * half, back)], [post, post * 0.9], frame)
    rail = s.uniform(0.05, 0.1)
    curve = [
        (-bend * (1 - (y / half) ** 2), y, back - rail / 2) for y in np.linspace(-half, half, 6)
    ]
    slab = [
        p
        for a, b in zip(curve, curve[1:], strict=False)
        for p in (_plank(a, b, rail, 0.022, frame),)
    ]
    parts += slab
    if kind == "ladder":
        for z in np.linspace(back * 0.3, back * 0.72, s.choose(1, 2, 3)):
            parts += [
                Part(p.corners - (0, 0, back - rail / 2 - z), p.normals, p.colour) for p in slab
            ]
    elif kind in ("slats", "spindles"):
        low = s.choose(0.0, back * 0.25)
        if low:
            parts.append(box((0.02, 2 * half, 0.035), (0, 0, low), frame))
        count = s.choose(3, 4, 5) if kind == "slats" else s.choose(5, 6, 7)
        for y in np.linspace(-half, half, count + 2)[1:-1]:
            x = -bend * (1 - (y / half) ** 2)
            if kind == "slats":
                parts.append(
                    _plank(
                        (0, y - 0.018, (low + back) / 2 - 0.02),
                        (0, y + 0.018, (low + back) / 2 - 0.02),
                        back - low - 0.04,
                        0.014,
                        frame,
                    )
                )
            else:
                parts += tube([(0, y, low), (x, y, back - rail)], 0.008, frame, sides=6)
    else:
        low = s.choose(0.02, back * 0.3)
        soft = s.chance(0.6)
        tall = back - low - (0.0 if soft else rail)
        size = (0.05 if soft else 0.02, 2 * half - (0.0 if soft else 0.02), tall)
        at = (0.012 if soft else 0.0, 0, low + tall / 2)
        parts.append(rounded(size, at, cloth if soft else frame, 0.024 if soft else 0.006))
    return parts


def _plank(a: Triple, b: Triple, tall: float, thick: float, colour: Colour) -> Part:
    """An upright board between two points of a curve."""
    corners = [(p[0] + dx, p[1], p[2] + dz) for p in (a, b)
               for dx in (-thick / 2, thick / 2) for dz in (-tall / 2, tall / 2)]  # fmt: skip
    return hull(np.array(corners), colour)


def _shell_chair(
    s: Sculptor, paint: Colour, wide: float, deep: float, seat: float, back: float
) -> str:
    """A moulded chair: seat and back in one curve, on wooden, steel or splayed legs."""
    steps = [(deep * 0.52, seat - 0.025), (deep * 0.42, seat), (0.0, seat - 0.02),
             (-deep * 0.36, seat - 0.01), (-deep * 0.50, seat + 0.07),
             (-deep * 0.60, seat + back * 0.55), (-deep * 0.68, seat + back)]  # fmt: skip
    line = spline(steps, 13)
    taper = spline(
        [(0.86,), (0.98,), (1.0,), (1.0,), (0.96,), (0.98,), (s.uniform(0.6, 0.95),)], 13
    )
    curl = s.uniform(0.02, 0.05)
    for way in (-0.5, 0.0, 0.5):
        rings = []
        for k, (x, z) in enumerate(line):
            ahead, behind = line[min(k + 1, 13)], line[max(k - 1, 0)]
            along = (ahead - behind) / np.linalg.norm(ahead - behind)
            up = np.array([along[1], -along[0]])
            if up[1] < 0 and k < 6:
                up = -up
            half = wide * 0.52 * taper[k, 0]
            edges = {
                -0.5: (-half, -half * 0.45),
                0.0: (-half * 0.45, half * 0.45),
                0.5: (half * 0.45, half),
            }
            rows = []
            for y, side in (
                (edges[way][0], -1),
                (edges[way][1], -1),
                (edges[way][1], 1),
                (edges[way][0], 1),
            ):
                lift = curl if abs(abs(y) - half) < 1e-9 else 0.0
                offset = up * (side * 0.011) + np.array([-along[1], along[0]]) * (-lift)
                rows.append((x + offset[0], y, z + offset[1]))
            rings.append(rows)
        s.add(*chain(np.array(rings), paint))
    style = s.choose("splayed", "splayed", "sled", "pedestal")
    colour = s.wood() if style == "splayed" else s.choose(STEEL, BLACK)
    legs(s, style, deep * 0.8, wide * 0.85, seat - 0.02, colour)
    return f"a {colour_name(paint)} plastic chair"


def _tube_chair(
    s: Sculptor, cloth: Colour, wide: float, deep: float, seat: float, back: float
) -> str:
    """A bent steel tube frame, sled-based, with a padded seat and back."""
    frame = s.choose(STEEL, STEEL, BLACK)
    y, x = wide / 2 - 0.01, deep / 2
    if s.chance(0.5):
        path = [
            (-x * 1.15, y, seat + back),
            (-x, y, seat),
            (x, y, seat),
            (x, y, 0.015),
            (-x, y, 0.015),
        ]
        s.add(*tube([(-x, -y, 0.015), (-x, y, 0.015)], 0.013, frame, sides=6))
    else:
        path = [(-x * 1.15, y, seat + back), (-x, y, seat), (x * 0.9, y, seat), (x, y, 0.0)]
        s.pair(*tube([(-x * 0.9, y, seat), (-x * 1.1, y, 0)], 0.013, frame, sides=6))
    s.pair(*tube(_cornered(path), 0.013, frame, sides=6))
    s.add(rounded((deep * 0.96, wide, 0.05), (0, 0, seat + 0.02), cloth, 0.022))
    tall = back * s.uniform(0.4, 0.75)
    rest = rounded((0.04, wide, tall), (-x - 0.005, 0, seat + back - tall / 2 + 0.01), cloth, 0.018)
    s.add(rest.turned(rotation("y", -8), (-x, 0, seat)))
    if s.chance(0.3):
        s.pair(rounded((deep * 0.7, 0.04, 0.03), (0, y + 0.01, seat + 0.2), BLACK, 0.012))
        s.pair(
            *tube(
                [(deep * 0.3, y + 0.01, seat), (deep * 0.28, y + 0.01, seat + 0.2)],
                0.011,
                frame,
                sides=6,
            )
        )
    return f"a {colour_name(cloth)} chair on a {'steel' if frame is STEEL else 'black'} frame"


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
                _cornered([(0, y - 0.12, seat - 0.04), (0, y, seat - 0.02), (0, y, z)]),
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
