"""Things that drive, float and fly: car, truck, boat, rocket."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.parts import (
    Colour,
    Part,
    box,
    cylinder,
    ellipsoid,
    loft,
    prism,
    rotation,
    taper,
)
from studio.data.procedural.sculptor import Sculptor, category, colour_name, hsv, lighten

GLASS: Colour = (0.16, 0.22, 0.30)
RUBBER: Colour = (0.13, 0.13, 0.14)


@category
def car(s: Sculptor) -> str:
    """A car: body, cabin with windows, four wheels, lamps; sometimes a stripe."""
    paint = s.main_colour()
    trim = s.partner(paint)
    s.decorate(paint, "stripes", "label", "gradient", "bands", chance=0.3)
    length, width = s.along(1.0, 1.45), s.uniform(0.52, 0.62)
    body_height, cabin_height = s.uniform(0.20, 0.27), s.uniform(0.19, 0.27)
    wheel = s.uniform(0.115, 0.15)
    floor = wheel * 0.85
    top = floor + body_height
    s.add(box((length, width, body_height), (0, 0, floor + body_height / 2), paint, bevel=0.045))
    kind = s.choose("saloon", "hatchback", "van")
    base = length * {"saloon": 0.56, "hatchback": 0.64, "van": 0.74}[kind]
    roof = base * {"saloon": 0.58, "hatchback": 0.70, "van": 0.84}[kind]
    middle = {"saloon": -0.03, "hatchback": -0.13, "van": -0.12}[kind] * length
    shift = {"saloon": -0.02, "hatchback": -0.04, "van": -0.03}[kind] * length
    inner, roof_width = width * 0.90, width * 0.78
    roof_paint = trim if s.chance(0.4) else paint
    z = top + cabin_height / 2
    s.add(
        taper((base, inner), (roof, roof_width), cabin_height, (middle, 0, z), paint, shift=shift)
    )
    low, high = 0.12, 0.86
    share = (high - low) * cabin_height
    zg = top + (low + high) / 2 * cabin_height
    lower = (base + (roof - base) * low, inner + (roof_width - inner) * low)
    upper = (base + (roof - base) * high, inner + (roof_width - inner) * high)
    drift = shift * (low + high) / 2 - shift * (high - low) / 2
    where = (middle + drift, 0.0, zg)
    lean = shift * (high - low)
    s.add(
        taper(
            (lower[0] + 0.03, lower[1] * 0.80), (upper[0] + 0.03, upper[1] * 0.80),
            share, where, GLASS, shift=lean,
        ),
        taper(
            (lower[0] * 0.78, lower[1] + 0.03), (upper[0] * 0.78, upper[1] + 0.03),
            share, where, GLASS, shift=lean,
        ),
    )  # fmt: skip
    pillar = middle + shift / 2 - 0.02 * length
    s.add(
        taper(
            (0.06, inner + 0.045), (0.06, roof_width + 0.045), cabin_height, (pillar, 0, z), paint
        )
    )
    s.add(
        box(
            (roof + 0.02, roof_width + 0.02, 0.045),
            (middle + shift, 0, top + cabin_height),
            roof_paint,
            bevel=0.02,
        )
    )
    hub = hsv(0.0, 0.0, s.uniform(0.75, 0.95)) if s.chance(0.6) else trim
    axle, out = length * s.uniform(0.29, 0.33), width / 2 - 0.03
    for x in (-axle, axle):
        s.pair(
            cylinder(wheel, 0.13, (x, out, wheel), RUBBER, axis="y"),
            cylinder(wheel * 0.58, 0.15, (x, out, wheel), hub, axis="y", sides=12),
        )
    front, back, lamp = length / 2, -length / 2, floor + body_height * 0.62
    s.pair(
        box((0.04, 0.12, 0.085), (front, width * 0.33, lamp), (1.0, 0.95, 0.70)),
        box((0.04, 0.11, 0.075), (back, width * 0.34, lamp), (0.85, 0.10, 0.08)),
    )
    s.add(
        box((0.05, width * 0.30, 0.07), (front - 0.005, 0, lamp), RUBBER),
        box((0.07, width * 0.94, 0.075), (front - 0.005, 0, floor + 0.05), trim, bevel=0.015),
        box((0.07, width * 0.94, 0.075), (back + 0.005, 0, floor + 0.05), trim, bevel=0.015),
    )
    extra = ""
    if s.chance(0.5):
        stripe = trim if roof_paint is paint else hsv(0.1, 0.05, 0.97)
        s.add(
            box((length * 0.955, width * 0.30, 0.03), (0, 0, top), stripe),
            box(
                (roof * 0.97, width * 0.30, 0.03),
                (middle + shift, 0, top + cabin_height + 0.02),
                stripe,
            ),
        )
        extra = f" with {colour_name(stripe)} stripes"
    return f"a {colour_name(paint)} {'van' if kind == 'van' else 'car'}{extra}"


@category
def truck(s: Sculptor) -> str:
    """A lorry: cab with windows, a box or tank behind, six wheels."""
    cab = s.main_colour()
    load = s.choose(s.partner(cab), (0.93, 0.93, 0.92), s.partner(cab))
    s.decorate(load, "label", "stripes", "planks", "bands", chance=0.6)
    length, width = s.along(1.15, 1.7), s.uniform(0.50, 0.58)
    wheel, floor = s.uniform(0.115, 0.14), 0.16
    cab_long, cab_tall = s.uniform(0.32, 0.40), s.uniform(0.44, 0.54)
    front, back = length / 2, -length / 2
    s.add(
        box((length - 0.04, width * 0.8, 0.11), (0, 0, floor), (0.25, 0.25, 0.27)),
        box(
            (cab_long, width, cab_tall),
            (front - cab_long / 2, 0, floor + cab_tall / 2),
            cab,
            bevel=0.045,
        ),
        box(
            (0.05, width * 0.80, cab_tall * 0.36),
            (front - 0.005, 0, floor + cab_tall * 0.68),
            GLASS,
        ),
        box(
            (cab_long * 0.5, width + 0.03, cab_tall * 0.32),
            (front - cab_long * 0.5, 0, floor + cab_tall * 0.68),
            GLASS,
        ),
        box((0.07, width * 0.98, 0.09), (front, 0, floor + 0.01), RUBBER),
        box((0.04, width * 0.36, 0.10), (front, 0, floor + cab_tall * 0.30), (0.85, 0.85, 0.87)),
    )
    s.pair(
        box((0.05, 0.10, 0.09), (front, width * 0.35, floor + cab_tall * 0.28), (1.0, 0.95, 0.7))
    )
    bed = length - cab_long - 0.06
    middle, tall = back + bed / 2, s.uniform(0.50, 0.64)
    if s.chance(0.65):
        stripe = cab
        s.add(
            box((bed, width + 0.04, tall), (middle, 0, floor + 0.05 + tall / 2), load, bevel=0.02),
            box(
                (bed * 0.97, width + 0.065, tall * 0.20),
                (middle, 0, floor + 0.05 + tall * 0.45),
                stripe,
            ),
            box(
                (0.03, width * 0.74, tall * 0.80),
                (back, 0, floor + 0.05 + tall * 0.48),
                lighten(stripe, 0.3),
            ),
        )
        noun = "truck"
    else:
        z = floor + 0.08 + width * 0.46
        s.add(cylinder(width * 0.50, bed, (middle, 0, z), load, axis="x", sides=24))
        for offset in (-0.36, 0.0, 0.36):
            s.add(
                cylinder(width * 0.52, 0.08, (middle + offset * bed, 0, z), cab, axis="x", sides=24)
            )
        noun = "tank truck"
    hub = hsv(0, 0, 0.85)
    for x in (front - cab_long * 0.5, back + 0.16, back + 0.18 + 2.1 * wheel):
        s.pair(
            cylinder(wheel, 0.13, (x, width / 2 - 0.03, wheel - 0.01), RUBBER, axis="y"),
            cylinder(
                wheel * 0.55, 0.15, (x, width / 2 - 0.03, wheel - 0.01), hub, axis="y", sides=12
            ),
        )
    return f"a {colour_name(cab)} {noun} with a {colour_name(load)} load"


@category
def boat(s: Sculptor) -> str:
    """A small steamer: hull with a pointed bow, deck, cabin with windows, funnel."""
    hull = s.main_colour()
    second = s.partner(hull)
    s.decorate(hull, "bands", "planks", "label", "stripes", chance=0.5)
    white = hsv(0.1, s.uniform(0.02, 0.12), 0.96)
    length, width, tall = s.along(0.95, 1.45), s.uniform(0.40, 0.52), s.uniform(0.22, 0.28)
    stern, shoulder = -length / 2, length * 0.12
    s.add(_hull(stern, shoulder, length / 2, width, 0.0, tall, hull))
    s.add(_hull(stern, shoulder, length / 2 + 0.02, width + 0.03, tall, tall + 0.07, second))
    s.add(
        _hull(
            stern + 0.05,
            shoulder,
            length / 2 - 0.08,
            width - 0.09,
            tall + 0.05,
            tall + 0.08,
            s.wood(),
        )
    )
    deck = tall + 0.07
    cabin, high = length * s.uniform(0.34, 0.42), s.uniform(0.22, 0.28)
    x = -length * 0.12
    s.add(
        box((cabin, width * 0.68, high), (x, 0, deck + high / 2), white, bevel=0.02),
        box((cabin + 0.07, width * 0.78, 0.08), (x, 0, deck + high), second, bevel=0.02),
        box((0.05, width * 0.46, high * 0.42), (x + cabin / 2, 0, deck + high * 0.58), GLASS),
    )
    for offset in (-0.28, 0.28):
        s.pair(
            cylinder(
                high * 0.20,
                0.05,
                (x + cabin * offset, width * 0.34, deck + high * 0.55),
                GLASS,
                axis="y",
                sides=14,
            )
        )
    funnel = s.uniform(0.22, 0.32)
    s.add(
        cylinder(0.095, funnel, (x - cabin * 0.12, 0, deck + high + funnel / 2), hull),
        cylinder(0.102, funnel * 0.3, (x - cabin * 0.12, 0, deck + high + funnel * 0.62), white),
        cylinder(0.07, 0.10, (x - cabin * 0.12, 0, deck + high + funnel - 0.03), RUBBER),
    )
    s.pair(ellipsoid((0.05, 0.05, 0.05), (length * 0.34, width * 0.20, tall * 0.6), white))
    return f"a {colour_name(hull)} boat with a {colour_name(second)} rail"


def _hull(
    stern: float, shoulder: float, bow: float, width: float, low: float, high: float, colour: Colour
) -> Part:  # fmt: skip
    """A slab with vertical sides, pointed at the bow."""
    half = width / 2
    outline = np.array(
        [[stern, half * 0.85], [stern, -half * 0.85], [shoulder, -half], [bow - 0.1, -half * 0.45],
         [bow, 0.0], [bow - 0.1, half * 0.45], [shoulder, half]]
    )  # fmt: skip
    bottom, top = (np.c_[outline, np.full(len(outline), z)] for z in (low, high))
    return loft(bottom, top, colour)


@category
def rocket(s: Sculptor) -> str:
    """A standing rocket: hull, nose, window at the front, fins and nozzle."""
    hull = s.choose((0.93, 0.93, 0.92), (0.85, 0.86, 0.90), s.partner(s.main_colour()))
    accent = s.main_colour((0.65, 0.9))
    s.decorate(hull, "label", "bands", "stripes", "checks", chance=0.5)
    radius, tall = s.uniform(0.17, 0.23), s.along(0.55, 0.95)
    nose, base = s.uniform(0.28, 0.42), 0.12
    top = base + tall
    s.add(
        cylinder(
            radius * 0.85,
            tall * 0.35,
            (0, 0, base + tall * 0.175),
            hull,
            top_radius=radius,
            sides=28,
        ),
        cylinder(radius, tall * 0.65, (0, 0, base + tall * 0.675), hull, sides=28),
        cylinder(
            radius,
            nose * 0.55,
            (0, 0, top + nose * 0.275),
            accent,
            top_radius=radius * 0.62,
            sides=28,
        ),
        cylinder(
            radius * 0.62,
            nose * 0.45,
            (0, 0, top + nose * 0.775),
            accent,
            top_radius=0.03,
            sides=28,
        ),
        cylinder(radius * 1.04, 0.07, (0, 0, base + tall * 0.40), accent, sides=28),
        cylinder(
            radius * 0.75, 0.14, (0, 0, base - 0.02), (0.25, 0.25, 0.28), top_radius=radius * 0.5
        ),
    )
    height = base + tall * 0.74
    frame = s.partner(accent)
    s.add(
        cylinder(radius * 0.52, 0.08, (radius * 0.9, 0, height), frame, axis="x"),
        cylinder(radius * 0.38, 0.10, (radius * 0.92, 0, height), (0.25, 0.55, 0.75), axis="x"),
    )
    reach = s.uniform(0.24, 0.32)
    fin = prism(
        [(radius * 0.7, base + tall * 0.36), (radius * 0.7, base), (radius + reach, 0.0),
         (radius + reach, tall * 0.16)], 0.09, accent,
    )  # fmt: skip
    for angle in (60, 180, 300):
        s.add(fin.turned(rotation("z", angle)))
    return f"a {colour_name(hull)} rocket with {colour_name(accent)} fins"
