"""Vans, pickups and buses, in metres; see :mod:`studio.data.procedural.kinds.car_bodies`."""

from __future__ import annotations

from studio.data.procedural.bodies import rounded, wheel
from studio.data.procedural.kinds.car_bodies import (
    CHROME,
    DARK,
    GLASS,
    TYRE,
    Body,
    body_paint,
    cabin,
    face,
    half_width,
    lower_body,
    rim_colour,
    seams,
    wheels,
)
from studio.data.procedural.parts import box, cylinder
from studio.data.procedural.sculptor import Sculptor, category, colour_name


@category
def van(s: Sculptor) -> str:
    """A van or minibus: short bonnet, tall box, sides closed or with windows."""
    paint, name = body_paint(s)
    long, wide, tall = s.along(4.0, 5.8), s.uniform(1.80, 2.0), s.uniform(1.85, 2.35)
    radius, low, end = s.uniform(0.31, 0.36), s.uniform(0.20, 0.26), long / 2
    belt = s.uniform(1.05, 1.2)
    nose, bonnet = belt - s.uniform(0.1, 0.25), s.uniform(0.25, 0.8)
    screen = end - bonnet
    front = screen - s.uniform(0.3, 0.75)
    body = Body(
        long, wide, tall, radius, low, (-end + long * 0.21, end - s.uniform(0.75, 0.9)),
        ((-end, belt - 0.02), (-end + 0.06, belt), (-end + 0.3, belt), (screen - 0.2, belt + 0.02),
         (end - 0.2, nose + 0.1), (end - 0.06, nose + 0.04), (end, nose - 0.1)),
        (-end + 0.03, -end + 0.10, front, screen), belt - 0.02, s.uniform(0.88, 0.95), 0.95,
    )  # fmt: skip
    camper = s.chance(0.3)
    roof = s.choose((0.94, 0.94, 0.92), s.partner(paint)) if camper else paint
    panelled = not camper and s.chance(0.5)
    lower_body(s, body, paint)
    seams(s, body, screen - 0.3, screen - 1.3)
    posts = () if panelled else ((0.24, 0.27), (0.46, 0.49), (0.68, 0.71))
    cabin(s, body, roof if camper else paint, roof, posts=posts, rear=0.12,
          blind=s.uniform(0.60, 0.68) if panelled else 0.0)  # fmt: skip
    wheels(s, body, rim_colour(s), s.choose(0, 0, 5))
    face(s, body, nose - 0.14, s.choose(paint, DARK))
    if panelled:
        s.decorate(paint, "label", chance=0.4)
        s.add(
            box(
                (0.03, wide * 0.80, tall - belt - 0.12),
                (-end + 0.05, 0, (tall + belt) / 2 - 0.05),
                paint,
            )
        )
        return f"a {name} delivery van"
    return f"a {name} and {colour_name(roof)} camper van" if camper else f"a {name} minibus"


@category
def pickup(s: Sculptor) -> str:
    """A pickup truck: bonnet, short or long cab, open bed with a tailgate."""
    paint, name = body_paint(s)
    long, wide, tall = s.along(4.4, 5.6), s.uniform(1.80, 2.0), s.uniform(1.68, 1.86)
    radius, low, end = s.uniform(0.37, 0.43), s.uniform(0.28, 0.36), long / 2
    belt = s.uniform(1.10, 1.20)
    nose, screen = belt - s.uniform(0.08, 0.16), end - s.uniform(1.15, 1.45)
    front = screen - s.uniform(0.35, 0.6)
    double = s.chance(0.5)
    back = front - (s.uniform(1.2, 1.4) if double else s.uniform(0.6, 0.8))
    tail, floor = back - 0.1, 2 * radius + 0.16
    body = Body(
        long, wide, tall, radius, low, (-end + long * 0.23, end - long * 0.17),
        ((-end, floor), (tail - 0.05, floor), (tail, belt), (screen - 0.2, belt + 0.02),
         (end - 0.4, nose + 0.10), (end - 0.1, nose + 0.04), (end, nose - 0.06)),
        (tail, back, front, screen), belt - 0.02, s.uniform(0.88, 0.95), 0.97,
    )  # fmt: skip
    lower_body(s, body, paint)
    seams(s, body, screen - 0.3, tail + 0.1)
    cabin(s, body, paint, paint, posts=((0.50, 0.54),) if double else (), rear=0.12)
    wheels(s, body, rim_colour(s), s.choose(0, 5, 6))
    face(s, body, nose - 0.12, s.choose(DARK, CHROME, paint))
    bed, rim = tail + end, belt - s.uniform(0.0, 0.08)
    middle, wall = (tail - end) / 2, (rim - floor + 0.1)
    half = half_width(body, middle)
    s.pair(rounded((bed, 0.09, wall), (middle, half - 0.08, rim - wall / 2), paint, 0.03))
    s.add(
        rounded((0.08, wide * 0.92, wall), (-end + 0.03, 0, rim - wall / 2), paint, 0.03),
        box((bed - 0.05, wide * 0.84, 0.04), (middle, 0, floor + 0.01), DARK),
        box((0.06, wide * 0.9, wall), (tail + 0.0, 0, rim - wall / 2), paint),
    )
    if s.chance(0.3):
        s.add(*[rounded((0.45, 0.6, 0.4), (middle + dx, 0, floor + 0.2), s.wood(), 0.03)
                for dx in (-0.3, 0.3)])  # fmt: skip
        return f"a {name} pickup truck with crates"
    return f"a {name} pickup truck"


@category
def bus(s: Sculptor) -> str:
    """A bus or coach, at times with two decks: a row of windows, doors, a sign over the screen."""
    paint, name = body_paint(s)
    decks = 2 if s.chance(0.3) else 1
    long, wide = s.along(6.0, 11.0) * (0.85 if decks == 2 else 1.0), 2.4
    tall = s.uniform(2.7, 3.1) if decks == 1 else s.uniform(4.0, 4.4)
    second = s.choose(paint, paint, (0.94, 0.94, 0.92), s.partner(paint))
    low, end = 0.32, long / 2
    round_ = s.uniform(0.12, 0.35)
    s.add(rounded((long, wide, tall - low), (0, 0, (tall + low) / 2), paint, round_))
    s.add(rounded((long * 0.97, wide * 0.96, 0.3), (0, 0, tall - 0.1), second, 0.14))
    for deck in range(decks):
        z, high = (1.25, 0.95) if deck == 0 else (2.75, 0.85)
        if deck == 0 and decks == 1:
            high = tall - 0.45 - z
        s.add(rounded((long - 0.5, wide + 0.02, high), (0, 0, z + high / 2), GLASS, 0.08))
        s.add(rounded((0.4, wide - 0.24, high + 0.15), (end - 0.19, 0, z + high / 2), GLASS, 0.1))
        s.add(rounded((0.4, wide - 0.7, high - 0.15), (-end + 0.19, 0, z + high / 2), GLASS, 0.1))
        count = int(long / s.uniform(1.1, 1.6))
        for k in range(1, count):
            x = -end + 0.25 + (long - 0.5) * k / count
            s.add(box((0.10, wide + 0.04, high), (x, 0, z + high / 2), paint))
    stripe = s.partner(paint)
    if s.chance(0.5):
        s.add(box((long - 0.7, wide + 0.03, 0.18), (0, 0, 1.0), stripe))
    s.add(
        rounded((0.1, 1.5, 0.26), (end - 0.01, 0, tall - 0.24), DARK, 0.04),
        box((0.05, 1.0, 0.12), (end + 0.03, 0, tall - 0.24), (1.0, 0.75, 0.2)),
        rounded(
            (0.12, wide * 0.96, 0.28), (end - 0.02, 0, low + 0.12), s.choose(DARK, paint), 0.05
        ),
        rounded((0.12, wide * 0.96, 0.28), (-end + 0.02, 0, low + 0.12), DARK, 0.05),
        box((0.04, 0.5, 0.12), (end + 0.05, 0, low + 0.16), (0.93, 0.93, 0.9)),
    )
    radius = 0.46
    arch = [cylinder(radius * 1.18, 0.1, (x, wide / 2 - 0.04, radius + 0.02), DARK, axis="y")
            for x in (-end + long * 0.24, end - long * 0.24)]  # fmt: skip
    s.pair(*arch)
    for x in (-end + long * 0.24, end - long * 0.24):
        s.pair(*wheel(radius, 0.28, (x, wide / 2 - 0.12, radius), TYRE, CHROME, spokes=0))
    s.pair(
        rounded((0.1, 0.4, 0.2), (end - 0.03, wide * 0.35, 0.75), (1.0, 0.97, 0.88), 0.05),
        rounded((0.1, 0.22, 0.45), (-end + 0.03, wide * 0.42, 0.95), (0.75, 0.06, 0.06), 0.05),
        rounded((0.1, 0.24, 0.42), (end + 0.1, wide / 2 + 0.1, 1.9), DARK, 0.05),
    )
    return f"a {name} {'double-decker bus' if decks == 2 else s.choose('bus', 'coach')}"
