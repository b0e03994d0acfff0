"""Dining chairs in metres, in many styles."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import rounded
from studio.data.procedural.kinds.seats import BLACK, LEATHERS, STEEL, cornered, frame_colour, legs
from studio.data.procedural.parts import Colour, Part, Triple, box, rotation
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import arch, chain, hull, lathe, moved, spline, tube, turned


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
    s.pair(*tube(cornered(path), 0.013, frame, sides=6))
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
