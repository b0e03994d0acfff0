"""Bodies of cars, in metres: lofted over open wheel arches, with windows, pillars and lamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from studio.data.procedural.bodies import rounded, wheel
from studio.data.procedural.parts import Array, Colour, Part, box, rotation
from studio.data.procedural.sculptor import Sculptor, colour_name
from studio.data.procedural.solids import chain, hull

GLASS: Colour = (0.13, 0.17, 0.22)
DARK: Colour = (0.10, 0.10, 0.11)
TYRE: Colour = (0.12, 0.12, 0.13)
CHROME: Colour = (0.80, 0.81, 0.83)
WHITE: Colour = (0.94, 0.94, 0.93)
PAINTS = (
    (0.94, 0.94, 0.93), (0.90, 0.90, 0.88), (0.12, 0.12, 0.13), (0.72, 0.73, 0.75),
    (0.42, 0.43, 0.45), (0.08, 0.12, 0.28),
)  # fmt: skip
"""What cars are painted besides one bright colour."""
ARCH = np.deg2rad([0, 30, 60, 90, 120, 150, 180])
FLANK = np.array([[0.0, 0.90], [0.14, 0.975], [0.5, 1.0], [0.8, 0.975], [0.97, 0.89]])
"""Half-width of the body, as a share, over the share of its height."""


@dataclass(frozen=True)
class Body:
    """Measures of a car in metres; x counts from the middle, z from the ground."""

    length: float
    width: float
    height: float
    wheel: float
    clearance: float
    axles: tuple[float, float]
    """Rear and front."""
    top: tuple[tuple[float, float], ...]
    """(x, z) of the body without the cabin, from the tail to the nose."""
    cabin: tuple[float, float, float, float]
    """x of the rear window's foot, the roof's rear and front end, and the windscreen's foot."""
    belt: float
    """z of the windows' lower edge."""
    nose: float = 0.80
    """Width of the front end, as a share."""
    tail: float = 0.86
    """The same at the back."""


def half_width(body: Body, x: float) -> float:
    """Half the widest width at a station."""
    end = body.length / 2
    stations = [-end, -end + 0.12, -end + 0.7, end - 0.9, end - 0.18, end]
    shares = [body.tail, 0.5 + body.tail / 2, 1.0, 1.0, 0.5 + body.nose / 2 - 0.02, body.nose]
    return float(np.interp(x, stations, shares)) * body.width / 2


def section(body: Body, x: float, low: float) -> Array:
    """[12, 3] outline of the body at a station, cut off below ``low``."""
    stations, heights = np.array(body.top).T
    top, half = float(np.interp(x, stations, heights)), half_width(body, x)
    lift = 0.10 * max(0.0, abs(x) - body.length / 2 + 0.25) / 0.25
    foot = body.clearance + lift
    low = max(low, foot)
    share = np.linspace((low - foot) / (top - foot), 0.97, len(FLANK))
    y, z = half * np.interp(share, *FLANK.T), foot + share * (top - foot)
    y, z = np.r_[y, 0.72 * half], np.r_[z, top]
    right = np.c_[np.full(len(y), x), y, z]
    return np.concatenate([right, right[::-1] * (1, -1, 1)])


def lower_body(s: Sculptor, body: Body, paint: Colour) -> None:
    """The body up to the belt, open where the wheels are, dark inside the arches."""
    reach = body.wheel * 1.14
    end, last = body.length / 2, -body.length / 2
    breaks = sorted({x for x, _ in body.top} | {-end + 0.12, end - 0.18, end - 0.9, -end + 0.7})
    for axle in (*body.axles, None):
        stop = end if axle is None else axle - reach
        inner = [x for x in breaks if last + 0.04 < x < stop - 0.04]
        s.add(*chain(np.stack([section(body, x, 0.0) for x in (last, *inner, stop)]), paint))
        if axle is not None:
            rings = [
                section(body, axle - reach * np.cos(a), body.wheel + reach * np.sin(a))
                for a in ARCH
            ]
            s.add(*chain(np.stack(rings), paint))
            tall = body.wheel + reach * 0.75 - body.clearance
            inside = (reach * 1.98, body.width - 0.5, tall)
            s.add(box(inside, (axle, 0, body.clearance + tall / 2), DARK))
            last = axle + reach


def seams(s: Sculptor, body: Body, *stations: float) -> None:
    """Thin dark gaps around the doors."""
    for x in stations:
        rings = np.stack([section(body, x + d, 0.0) for d in (-0.01, 0.01)])
        s.add(*chain(rings * (1, 1.003, 1) - (0, 0, 0.03), DARK))


def cabin_ring(body: Body, share: float, grow: float = 0.0) -> Array:
    """[8, 3] outline of the windows at a share of their height, counter-clockwise."""
    rear, back, front, screen = body.cabin
    x0, x1 = (a + (b - a) * share for a, b in ((rear, back), (screen, front)))
    half = half_width(body, (back + front) / 2) * (0.92 - 0.16 * share) + grow
    cut, z = 0.32 * (1 - 0.3 * share), body.belt + share * (body.height - 0.07 - body.belt)
    x0, x1 = x0 - grow, x1 + grow
    outline = [
        (x1, 0.62 * half), (x1 - cut * 0.8, half), (x0 + cut * 0.6, half), (x0, 0.75 * half),
    ]  # fmt: skip
    outline += [(x, -y) for x, y in outline[::-1]]
    return np.array([(x, y, z) for x, y in outline])


def pillar(body: Body, where: tuple[float, float], lean: float, colour: Colour) -> Part:
    """A post on the left side of the windows from share to share of their length, 0 at the rear."""
    rows = []
    for share, extra in ((0.0, 0.0), (1.0, lean)):
        for grow in (0.012, -0.08):
            ring = cabin_ring(body, share, grow)
            path = ring[[3, 2, 1, 0]]
            along = [0.0, 0.10, 0.90, 1.0]
            for u in where:
                u = min(max(u + extra, 0.0), 1.0)
                rows.append([np.interp(u, along, path[:, k]) for k in range(3)])
    return hull(np.array(rows), colour)


def cabin(
    s: Sculptor, body: Body, paint: Colour, roof: Colour, *,
    posts: Sequence[tuple[float, float]] = ((0.46, 0.50),), rear: float = 0.14, blind: float = 0.0,
) -> None:  # fmt: skip
    """Windows, roof and pillars.

    Args:
        s: the sculptor.
        body: measures.
        paint: of the pillars.
        roof: colour of the roof.
        posts: pillars between the doors, see :func:`pillar`.
        rear: where the rearmost pillar ends, as a share of the cabin.
        blind: up to which share the sides are panels without windows.
    """
    s.add(*chain(np.stack([cabin_ring(body, t) for t in (-0.2, 0.5, 1.0)]), GLASS))
    rings = [cabin_ring(body, t, g) for t, g in ((0.95, 0.015), (1.0, 0.01), (1.0, -0.09))]
    top = np.stack(rings)
    top[1, :, 2] += 0.035
    top[2, :, 2] = body.height
    s.add(*chain(top, roof))
    s.pair(
        pillar(body, (0.895, 0.93), 0.0, paint),
        pillar(body, (0.0, max(rear, blind)), 0.0, paint),
        *(pillar(body, post, 0.0, DARK if s.stretch > 0.5 else paint) for post in posts),
    )


def wheels(s: Sculptor, body: Body, rim: Colour, spokes: int, share: float = 0.68) -> None:
    """Four of them, flush with the sides."""
    for x in body.axles:
        y = half_width(body, x) - 0.125
        s.pair(*wheel(body.wheel, 0.24, (x, y, body.wheel), TYRE, rim, spokes=spokes,
                      rim_share=share))  # fmt: skip


def face(s: Sculptor, body: Body, nose_z: float, trim: Colour, *, slim: bool = False) -> None:
    """Lamps, grille, number plates, bumpers and mirrors."""
    front, back, half = body.length / 2, -body.length / 2, body.width / 2
    lamp = (1.0, 0.97, 0.88)
    tall, wide = (0.07, 0.42) if slim else (s.uniform(0.12, 0.18), s.uniform(0.26, 0.36))
    x, y = front - 0.10, half * body.nose - wide * 0.32
    light = rounded((0.20, wide, tall), (x, y, nose_z), lamp, 0.04)
    s.pair(light.turned(rotation("z", 16), (x, y, nose_z)))
    low, wide = body.clearance + 0.13, half * s.uniform(0.7, 1.05)
    s.add(
        rounded((0.08, wide, s.uniform(0.08, 0.2)), (front - 0.02, 0, nose_z - 0.06), DARK, 0.03),
        rounded((0.10, half * 1.3, 0.10), (front - 0.03, 0, low + 0.05), trim, 0.03),
        box((0.04, 0.46, 0.10), (front + 0.01, 0, low + 0.10), (0.93, 0.93, 0.9)),
    )
    z = float(np.interp(back + 0.1, *np.array(body.top).T)) * 0.82
    red, y = (0.75, 0.06, 0.06), half * body.tail
    if s.chance(0.25):
        s.add(rounded((0.10, y * 1.9, 0.07), (back + 0.02, 0, z), red, 0.03))
    tall, wide = (0.09, 0.44) if slim else s.choose((0.14, 0.36), (0.34, 0.16), (0.2, 0.26))
    s.pair(rounded((0.16, wide, tall), (back + 0.06, y - wide * 0.42, z), red, 0.04))
    s.add(
        box((0.04, 0.46, 0.11), (back + 0.005, 0, z - 0.12), (0.93, 0.93, 0.9)),
        rounded((0.10, y * 1.8, 0.16), (back + 0.02, 0, low + 0.06), trim, 0.04),
    )
    x, y = body.cabin[3] - 0.42, half_width(body, 0.0)
    s.pair(rounded((0.12, 0.22, 0.13), (x, y + 0.02, body.belt + 0.10), trim, 0.05))


def body_paint(s: Sculptor) -> tuple[Colour, str]:
    """The body's colour and its name: often white, black or silver, as on the road."""
    paint = s.main_or(0.4, *PAINTS, saturation=(0.55, 0.95))
    silver = max(paint) - min(paint) < 0.06 and 0.6 < paint[0] < 0.85
    return paint, "silver" if silver else colour_name(paint)


def rim_colour(s: Sculptor) -> Colour:
    """Silver, sometimes black."""
    return s.choose(CHROME, CHROME, (0.6, 0.61, 0.63), (0.2, 0.2, 0.21))


def lines(s: Sculptor, body: Body, paint: Colour, chance: float) -> str:
    """At times a pair of racing stripes over bonnet, roof and tail; returns words about them."""
    if not s.chance(chance):
        return ""
    stripe = s.choose((0.95, 0.95, 0.94), DARK, s.partner(paint))
    stations, heights = np.array(body.top).T
    for low, high in ((1, 2), (-3, -2)):
        ends = np.array([[stations[k], heights[k]] for k in (low, high)])
        rows = [(x, y, z + d) for x, z in ends for y in (-0.2, 0.2) for d in (-0.03, 0.008)]
        s.add(hull(np.array(rows), stripe))
    _, back, front, _ = body.cabin
    s.add(box((front - back - 0.1, 0.4, 0.03), ((front + back) / 2, 0, body.height), stripe))
    return f" with {colour_name(stripe)} stripes"
