"""More categories of procedural objects: furniture, vehicles, household things, a tree, a robot."""

from __future__ import annotations

from studio.data.procedural_objects import Sculptor, category, colour_name, hsv, lighten
from studio.data.procedural_parts import (
    Colour,
    box,
    cylinder,
    ellipsoid,
    prism,
    rotation,
)

GLASS: Colour = (0.16, 0.22, 0.30)
RUBBER: Colour = (0.13, 0.13, 0.14)


@category
def chair(s: Sculptor) -> str:
    """A kitchen chair: four legs, seat with cushion, slatted or solid back."""
    frame = s.main_colour((0.4, 0.85)) if s.unusual or s.chance(0.6) else s.wood()
    cushion = s.partner(frame)
    wide, deep = s.uniform(0.46, 0.60), s.uniform(0.46, 0.56)
    seat, back = s.along(0.36, 0.58), s.uniform(0.42, 0.58)
    leg = s.uniform(0.09, 0.115)
    x, y = deep / 2 - leg / 2, wide / 2 - leg / 2
    s.pair(
        box((leg, leg, seat), (x, y, seat / 2), frame, bevel=0.015),
        box((leg, leg, seat + back), (-x, y, (seat + back) / 2), frame, bevel=0.015),
    )
    s.add(
        box((deep + 0.02, wide + 0.02, 0.09), (0, 0, seat), frame, bevel=0.02),
        box((deep - 0.06, wide - 0.08, 0.09), (0.02, 0, seat + 0.055), cushion, bevel=0.03),
        box((0.085, wide + 0.03, 0.13), (-x, 0, seat + back - 0.05), frame, bevel=0.03),
    )
    if s.chance(0.5):
        s.add(
            box((0.075, wide - 0.16, back - 0.22), (-x, 0, seat + back * 0.48), cushion, bevel=0.02)
        )
    else:
        s.add(box((0.08, wide - 0.04, 0.12), (-x, 0, seat + back * 0.48), cushion, bevel=0.02))
    return f"a {colour_name(frame)} chair with a {colour_name(cushion)} cushion"


@category
def table(s: Sculptor) -> str:
    """A table with a round or square top, legs or one foot, and a drawer at the front."""
    top = s.main_colour((0.35, 0.8))
    legs = s.choose(s.wood(), s.partner(top))
    long, wide, tall = s.uniform(0.55, 0.75), s.along(0.7, 1.25), s.uniform(0.45, 0.62)
    if s.chance(0.3):
        radius = wide * 0.45
        s.add(
            cylinder(radius, 0.10, (0, 0, tall), top, sides=28),
            cylinder(radius * 0.70, 0.04, (0, 0, tall + 0.045), s.partner(top), sides=24),
            cylinder(0.10, tall, (0, 0, tall / 2), legs, top_radius=0.08),
            cylinder(radius * 0.55, 0.09, (0, 0, 0.045), legs, top_radius=radius * 0.40),
            box((0.09, 0.20, 0.07), (radius - 0.02, 0, tall - 0.07), s.partner(top)),
        )
        return f"a round {colour_name(top)} table"
    leg, inset = s.uniform(0.10, 0.13), 0.03
    x, y = long / 2 - leg / 2 - inset, wide / 2 - leg / 2 - inset
    for end in (-x, x):
        s.pair(box((leg, leg, tall), (end, y, tall / 2), legs, bevel=0.015))
    s.add(
        box((long, wide, 0.10), (0, 0, tall), top, bevel=0.025),
        box((2 * x, 2 * y, 0.16), (0, 0, tall - 0.10), legs),
        box((0.16, wide * 0.45, 0.12), (x - 0.05, 0, tall - 0.12), top, bevel=0.015),
        ellipsoid((0.04, 0.05, 0.035), (x + 0.035, 0, tall - 0.12), legs),
        box((long * 0.30, wide * 0.96, 0.02), (0, 0, tall + 0.045), s.partner(top)),
    )
    return f"a {colour_name(top)} table with {colour_name(legs)} legs"


@category
def lamp(s: Sculptor) -> str:
    """A table lamp: foot, stem, shade with a band, and a switch at the front."""
    shade = s.main_colour((0.3, 0.8))
    foot = s.partner(shade)
    tall, wide = s.along(0.75, 1.25), s.uniform(0.26, 0.36)
    shade_tall = s.uniform(0.32, 0.44)
    narrow = wide * s.uniform(0.5, 0.8)
    top = tall - shade_tall
    band = lighten(foot, 0.5)
    share = 0.2
    ring = wide + (narrow - wide) * share
    s.add(
        cylinder(wide * 0.75, 0.09, (0, 0, 0.045), foot, top_radius=wide * 0.65),
        cylinder(wide * 0.35, 0.06, (0, 0, 0.11), foot, top_radius=0.06),
        cylinder(0.055, top, (0, 0, top / 2 + 0.05), foot, sides=14),
        cylinder(wide, shade_tall, (0, 0, top + shade_tall / 2), shade, top_radius=narrow, sides=28),
        cylinder(
            wide + 0.012, shade_tall * share, (0, 0, top + shade_tall * share / 2), band,
            top_radius=ring + 0.012, sides=28,
        ),
        ellipsoid((0.05, 0.05, 0.05), (0, 0, tall + 0.02), foot),
        box((0.10, 0.10, 0.06), (wide * 0.60, 0, 0.09), (0.95, 0.9, 0.7), bevel=0.02),
    )  # fmt: skip
    if s.chance(0.6):
        s.add(ellipsoid((0.13, 0.13, top * 0.28), (0, 0, 0.10 + top * 0.30), foot))
    return f"a {colour_name(foot)} lamp with a {colour_name(shade)} shade"


@category
def mug(s: Sculptor) -> str:
    """A full mug: body with bands, rim, drink and a handle at the back."""
    glaze = s.main_colour((0.35, 0.9))
    band = s.partner(glaze)
    radius, tall = s.uniform(0.34, 0.42), s.along(0.65, 1.05)
    flare = s.uniform(0.86, 1.0)
    foot = radius * flare

    def at(z: float) -> float:
        return foot + (radius - foot) * z / tall

    s.add(cylinder(foot, tall, (0, 0, tall / 2), glaze, top_radius=radius, sides=32))
    for low, high in [(0.0, 0.10), (0.38, 0.62)] if s.chance(0.6) else [(0.25, 0.36), (0.60, 0.71)]:
        a, b = low * tall, high * tall
        s.add(
            cylinder(
                at(a) + 0.012, b - a, (0, 0, (a + b) / 2), band, top_radius=at(b) + 0.012, sides=32
            )
        )
    drink = s.choose((0.28, 0.16, 0.09), (0.62, 0.40, 0.22), (0.93, 0.88, 0.78))
    wall = 0.08
    for k in range(16):
        width = 2 * radius * 0.2 * 1.02
        rim = box((wall, width, 0.10), (radius - wall / 2 + 0.005, 0, tall + 0.03), glaze)
        s.add(rim.turned(rotation("z", (k + 0.5) * 22.5)))
    s.add(cylinder(radius - wall * 0.6, 0.03, (0, 0, tall + 0.005), drink, sides=28))
    size, thick = tall * s.uniform(0.24, 0.30), s.uniform(0.10, 0.13)
    centre = (-radius * 0.95, 0.0, tall * 0.52)
    for k in range(9):
        angle = 90 + 180 * k / 8
        step = box((thick, thick, size * 0.50), (centre[0] + size, 0, centre[2]), glaze, bevel=0.02)
        s.add(step.turned(rotation("y", -angle), centre))
    heart = s.partner(band)
    s.add(ellipsoid((0.05, 0.12, 0.12), (at(tall * 0.5) - 0.005, 0, tall * 0.5), heart))
    return f"a {colour_name(glaze)} mug with {colour_name(band)} bands"


@category
def rocket(s: Sculptor) -> str:
    """A standing rocket: hull, nose, window at the front, fins and nozzle."""
    hull = s.choose((0.93, 0.93, 0.92), (0.85, 0.86, 0.90), s.partner(s.main_colour()))
    accent = s.main_colour((0.65, 0.9))
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


@category
def boat(s: Sculptor) -> str:
    """A small steamer: hull with a pointed bow, deck, cabin with windows, funnel."""
    hull = s.main_colour()
    second = s.partner(hull)
    white = hsv(0.1, s.uniform(0.02, 0.12), 0.96)
    length, width, tall = s.along(0.95, 1.45), s.uniform(0.40, 0.52), s.uniform(0.22, 0.28)
    stern, shoulder = -length / 2, length * 0.12
    s.add(*_hull(stern, shoulder, length / 2, width, 0.0, tall, hull))
    s.add(*_hull(stern, shoulder, length / 2 + 0.02, width + 0.03, tall, tall + 0.07, second))
    s.add(
        *_hull(
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
):  # fmt: skip
    """Hull slab with vertical sides: a box and a triangular bow."""
    import numpy as np

    from studio.data.procedural_parts import loft

    half = width / 2
    outline = np.array(
        [[stern, half * 0.85], [stern, -half * 0.85], [shoulder, -half], [bow - 0.1, -half * 0.45],
         [bow, 0.0], [bow - 0.1, half * 0.45], [shoulder, half]]
    )  # fmt: skip
    bottom, top = (np.c_[outline, np.full(len(outline), z)] for z in (low, high))
    return [loft(bottom, top, colour)]


@category
def truck(s: Sculptor) -> str:
    """A lorry: cab with windows, a box or tank behind, six wheels."""
    cab = s.main_colour()
    load = s.choose(s.partner(cab), (0.93, 0.93, 0.92), s.partner(cab))
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
def tree(s: Sculptor) -> str:
    """A tree in a tub: round or fir-shaped crown, fruit, a name plate at the front."""
    leaves = (
        s.main_colour((0.5, 0.8))
        if s.unusual or s.chance(0.5)
        else hsv(s.uniform(0.22, 0.40), s.uniform(0.5, 0.8), s.uniform(0.4, 0.75))
    )
    trunk, tub = s.wood(), s.partner(leaves)
    tall = s.along(0.25, 0.55)
    s.add(
        cylinder(0.17, 0.20, (0, 0, 0.10), tub, top_radius=0.23, sides=20),
        cylinder(0.245, 0.07, (0, 0, 0.21), tub, sides=20),
        cylinder(0.075, tall + 0.2, (0, 0, 0.2 + tall / 2), trunk, top_radius=0.06, sides=12),
        box((0.10, 0.20, 0.13), (0.18, 0, 0.12), (0.95, 0.92, 0.82)),
    )
    base = 0.2 + tall
    fruit = hsv(s.uniform(-0.04, 0.14), 0.85, 0.95)
    if s.chance(0.45):
        levels = s.choose(2, 3)
        for k in range(levels):
            radius = 0.38 - 0.07 * k
            s.add(
                cylinder(
                    radius, 0.34, (0, 0, base + 0.12 + 0.20 * k), leaves, top_radius=0.06, sides=20
                )
            )
        s.add(ellipsoid((0.06, 0.06, 0.06), (0, 0, base + 0.12 + 0.20 * levels - 0.01), fruit))
        return f"a {colour_name(leaves)} fir tree in a {colour_name(tub)} tub"
    radius = s.uniform(0.28, 0.36)
    s.add(ellipsoid((radius, radius, radius * 0.95), (0, 0, base + radius * 0.75), leaves))
    shade = tuple(0.82 * c for c in leaves)
    s.pair(
        ellipsoid(
            (radius * 0.6, radius * 0.6, radius * 0.55),
            (-0.02, radius * 0.62, base + radius * 0.5),
            shade,
        )
    )
    s.add(
        ellipsoid(
            (radius * 0.6, radius * 0.55, radius * 0.5),
            (radius * 0.45, 0, base + radius * 1.25),
            shade,
        )
    )
    for x, y, z in ((0.93, 0.0, 0.75), (0.55, 0.72, 1.0), (-0.80, 0.45, 0.9)):
        s.pair(ellipsoid((0.065, 0.065, 0.065), (x * radius, y * radius, base + z * radius), fruit))
    return f"a {colour_name(leaves)} tree with {colour_name(fruit)} fruit"


@category
def robot(s: Sculptor) -> str:
    """A robot: square body with a chest panel, head with eyes and antenna, arms and legs."""
    metal = s.main_colour((0.25, 0.75))
    joint = s.partner(metal)
    dark = (0.18, 0.19, 0.22)
    wide, deep, tall = s.uniform(0.42, 0.54), s.uniform(0.30, 0.38), s.uniform(0.38, 0.48)
    leg = s.along(0.20, 0.42)
    thick = 0.14
    y = wide * 0.26
    s.pair(
        box((thick, thick, leg + 0.02), (0, y, 0.06 + leg / 2), joint, bevel=0.02),
        box((0.28, 0.18, 0.11), (0.04, y, 0.055), metal, bevel=0.03),
    )
    low = leg + 0.06
    middle = low + tall / 2
    s.add(
        box((deep, wide, tall), (0, 0, middle), metal, bevel=0.045),
        box((0.05, wide * 0.62, tall * 0.46), (deep / 2, 0, middle + tall * 0.08), dark),
        box((0.05, wide * 0.70, tall * 0.40), (-deep / 2, 0, middle + tall * 0.05), joint),
    )
    for k, hue in enumerate((0.0, 0.14, 0.36)):
        light = hsv(hue, 0.8, 0.95)
        s.add(
            ellipsoid(
                (0.04, 0.045, 0.045), (deep / 2 + 0.02, (k - 1) * 0.10, middle + tall * 0.08), light
            )
        )
    head, head_tall = wide * s.uniform(0.68, 0.9), s.uniform(0.22, 0.28)
    z = low + tall + 0.04 + head_tall / 2
    s.add(
        cylinder(0.09, 0.12, (0, 0, low + tall + 0.02), joint, sides=14),
        box((deep * 0.9, head, head_tall), (0, 0, z), metal, bevel=0.05),
        box((0.05, head * 0.60, 0.05), (deep * 0.45, 0, z - head_tall * 0.27), dark),
        cylinder(0.04, 0.14, (0, 0, z + head_tall / 2 + 0.05), joint, sides=10),
        ellipsoid((0.065, 0.065, 0.065), (0, 0, z + head_tall / 2 + 0.14), hsv(0.0, 0.8, 0.9)),
    )
    s.pair(
        cylinder(
            0.065,
            0.06,
            (deep * 0.45, head * 0.24, z + head_tall * 0.12),
            (0.97, 0.97, 0.9),
            axis="x",
            sides=14,
        ),
        cylinder(
            0.034, 0.08, (deep * 0.45, head * 0.24, z + head_tall * 0.12), dark, axis="x", sides=10
        ),
        cylinder(0.06, 0.10, (0, head / 2 + 0.01, z), joint, axis="y", sides=12),
    )
    arm, side = s.uniform(0.30, 0.38), wide / 2 + 0.075
    swing = rotation("y", -s.uniform(0, 40))
    shoulder = (0.0, side, low + tall - 0.09)
    s.pair(
        ellipsoid((0.10, 0.10, 0.10), shoulder, joint),
        box((0.12, 0.11, arm), (0, side + 0.01, shoulder[2] - arm / 2), metal, bevel=0.02).turned(
            swing, shoulder
        ),
        ellipsoid((0.09, 0.085, 0.09), (0, side + 0.01, shoulder[2] - arm), joint).turned(
            swing, shoulder
        ),
    )
    return f"a {colour_name(metal)} robot with {colour_name(joint)} joints"
