"""Cars of real proportions: sports car, saloon, off-road car."""

from __future__ import annotations

from studio.data.procedural.bodies import rounded, wheel
from studio.data.procedural.kinds.car_bodies import (
    CHROME,
    DARK,
    TYRE,
    Body,
    body_paint,
    cabin,
    face,
    half_width,
    lines,
    lower_body,
    rim_colour,
    seams,
    wheels,
)
from studio.data.procedural.parts import box, cylinder
from studio.data.procedural.sculptor import Sculptor, category
from studio.data.procedural.solids import moved, shell, tube, turned


@category
def sports_car(s: Sculptor) -> str:
    """A coupe or roadster: low, long bonnet, fast rear window, big wheels, often a spoiler."""
    paint, name = body_paint(s)
    long, wide, tall = s.along(3.9, 4.9), s.uniform(1.80, 2.0), s.uniform(1.14, 1.30)
    radius, low = s.uniform(0.33, 0.37), s.uniform(0.12, 0.17)
    end, cowl, deck = long / 2, s.uniform(0.76, 0.84), s.uniform(0.80, 0.92)
    nose, bonnet = s.uniform(0.50, 0.62), long * s.uniform(0.25, 0.36)
    screen, tail = end - bonnet, -end + long * s.uniform(0.07, 0.20)
    front, back = screen - long * 0.17, tail + long * s.uniform(0.16, 0.26)
    body = Body(
        long, wide, tall, radius, low, (-end + long * 0.21, end - long * 0.19),
        ((-end, deck - 0.08), (-end + 0.15, deck), (tail + 0.3, deck), (screen - 0.3, cowl),
         (end - 0.6, (nose + cowl) / 2 + 0.04), (end - 0.15, nose), (end, nose - 0.1)),
        (tail, min(back, front - 0.5), front, screen), cowl - 0.01, s.uniform(0.70, 0.84),
    )  # fmt: skip
    soft = s.chance(0.2)
    roof = DARK if soft or s.chance(0.15) else paint
    lower_body(s, body, paint)
    seams(s, body, screen - 0.45, (body.cabin[1] + body.cabin[2]) / 2 - 0.4)
    cabin(s, body, roof if soft else paint, roof, posts=(), rear=s.uniform(0.16, 0.42))
    wheels(s, body, rim_colour(s), s.choose(5, 5, 6, 7), 0.74)
    face(s, body, nose - 0.03, s.choose(paint, paint, DARK), slim=True)
    extra = lines(s, body, paint, 0.25)
    if s.chance(0.5):
        wing = s.choose(paint, paint, DARK)
        z = deck + s.uniform(0.10, 0.24)
        s.add(rounded((0.26, wide * 0.84, 0.05), (-end + 0.16, 0, z), wing, 0.02))
        s.pair(
            box(
                (0.14, 0.05, z - deck + 0.1), (-end + 0.18, wide * 0.3, (z + deck) / 2 - 0.03), wing
            )
        )
    vent = s.uniform(0.4, 0.8)
    s.pair(rounded((0.08, 0.34, 0.12), (end - 0.05, wide * 0.28, low + 0.2), DARK, 0.03))
    s.pair(rounded((0.30, 0.06, 0.12 * vent + 0.05), (body.axles[0] + radius * 1.14 + 0.16,
           half_width(body, 0) - 0.02, deck * 0.75), DARK, 0.02))  # fmt: skip
    s.pair(cylinder(0.055, 0.1, (-end + 0.02, wide * 0.25, low + 0.1), CHROME, axis="x", sides=10))
    kind = "roadster" if soft else s.choose("sports car", "sports car", "coupe")
    return f"a {name} {kind}{extra}"


@category
def saloon(s: Sculptor) -> str:
    """A family car: saloon, estate or hatchback."""
    paint, name = body_paint(s)
    kind = s.choose("saloon", "saloon", "hatchback", "estate car")
    long = s.along(3.9, 5.0) - (0.35 if kind == "hatchback" else 0.0)
    wide, tall = s.uniform(1.70, 1.88), s.uniform(1.40, 1.54)
    radius, low, end = s.uniform(0.30, 0.35), s.uniform(0.17, 0.22), long / 2
    nose, cowl, belt = s.uniform(0.66, 0.80), s.uniform(0.92, 1.02), s.uniform(0.92, 0.98)
    screen = end - s.uniform(1.0, 1.35)
    front = screen - s.uniform(0.55, 0.8)
    tail = -end + (s.uniform(0.55, 0.85) if kind == "saloon" else s.uniform(0.06, 0.2))
    back = tail + (s.uniform(0.55, 0.85) if kind == "saloon" else s.uniform(0.25, 0.5))
    deck = belt + (s.uniform(0.0, 0.08) if kind == "saloon" else 0.0)
    body = Body(
        long, wide, tall, radius, low, (-end + long * 0.20, end - long * 0.19),
        ((-end, deck - 0.10), (-end + 0.12, deck), (tail + 0.3, deck), (screen - 0.25, cowl),
         (end - 0.5, nose + 0.14), (end - 0.12, nose + 0.04), (end, nose - 0.06)),
        (tail, back, front, screen), belt, s.uniform(0.80, 0.90), s.uniform(0.84, 0.92),
    )  # fmt: skip
    roof = DARK if s.chance(0.12) else paint
    lower_body(s, body, paint)
    middle = (back + front) / 2 + 0.05
    seams(s, body, screen - 0.35, middle, body.axles[0] + radius * 1.16)
    cabin(s, body, paint, roof, posts=((0.52, 0.555),), rear=s.uniform(0.10, 0.2))
    wheels(s, body, rim_colour(s), s.choose(0, 5, 5, 6, 8))
    face(s, body, nose - 0.08, s.choose(paint, paint, DARK))
    extra = ""
    if s.chance(0.12):
        sign = s.choose((1.0, 0.85, 0.2), (0.95, 0.95, 0.95))
        s.add(rounded((0.16, 0.5, 0.16), (middle, 0, tall + 0.07), sign, 0.04))
        extra, kind = " with a sign on its roof", "taxi"
    return f"a {name} {kind}{extra}"


@category
def suv(s: Sculptor) -> str:
    """An off-road car: tall, upright, big wheels, dark arches; roof rails or a spare wheel."""
    paint, name = body_paint(s)
    long, wide, tall = s.along(3.7, 5.0), s.uniform(1.80, 1.98), s.uniform(1.66, 1.86)
    radius, low, end = s.uniform(0.36, 0.42), s.uniform(0.24, 0.32), long / 2
    nose, belt = s.uniform(0.92, 1.06), s.uniform(1.08, 1.18)
    square = s.chance(0.4)
    screen = end - s.uniform(0.95, 1.3)
    front = screen - (s.uniform(0.2, 0.35) if square else s.uniform(0.5, 0.7))
    tail = -end + 0.08
    back = tail + (0.08 if square else s.uniform(0.2, 0.45))
    body = Body(
        long, wide, tall, radius, low, (-end + long * 0.20, end - long * 0.18),
        ((-end, belt - 0.06), (-end + 0.1, belt), (tail + 0.3, belt), (screen - 0.2, belt + 0.02),
         (end - 0.4, nose + 0.12), (end - 0.1, nose + 0.05), (end, nose - 0.08)),
        (tail, back, front, screen), belt - 0.02, s.uniform(0.86, 0.94), s.uniform(0.88, 0.95),
    )  # fmt: skip
    trim = s.choose(DARK, DARK, paint)
    roof = s.choose(paint, paint, DARK, (0.94, 0.94, 0.93))
    lower_body(s, body, paint)
    seams(s, body, screen - 0.3, (back + front) / 2)
    cabin(s, body, paint, roof, posts=((0.56, 0.59), (0.24, 0.27)), rear=0.08)
    wheels(s, body, rim_colour(s), s.choose(0, 5, 6))
    face(s, body, nose - 0.10, trim)
    for x in body.axles:
        ring = [(radius * 1.22, -0.1), (radius * 1.22, 0.1)]
        lip = shell(ring, [radius * 1.13] * 2, trim, sides=20, arc=(-5, 6))
        lip = turned(turned(lip, "y", -90.0), "z", 90.0)
        s.pair(*moved(lip, (x, half_width(body, x) - 0.085, radius)))
    if s.chance(0.5):
        s.pair(*tube([(x, wide * 0.34, tall + 0.05) for x in (back + 0.2, front - 0.1)],
                    0.03, s.choose(DARK, CHROME), sides=6))  # fmt: skip
    if s.chance(0.35):
        spare = turned(wheel(radius * 0.9, 0.2, (0, 0, 0), TYRE, DARK, spokes=0), "z", 90.0)
        s.add(*moved(spare, (-end - 0.06, 0, belt - 0.12)))
    return f"a {name} {'jeep' if square else s.choose('SUV', 'off-road car')}"
