"""Living and lively things: animal, robot, tree."""

from __future__ import annotations

from studio.data.procedural.parts import box, cylinder, ellipsoid, rotation
from studio.data.procedural.sculptor import Sculptor, category, colour_name, hsv


@category
def animal(s: Sculptor) -> str:
    """A four-legged toy animal: body, legs, head, snout, ears, tail; spots or horns at times."""
    natural = s.chance(0.55)
    if natural and not s.unusual:
        s.hue = s.uniform(0.03, 0.12)
        fur = hsv(s.hue, s.uniform(0.15, 0.7), s.uniform(0.4, 0.97))
    else:
        fur = s.main_colour((0.35, 0.75))
    s.decorate(fur, "grain", "stripes", "dots", "marble", chance=0.5)
    light = hsv(s.uniform(0.06, 0.12), s.uniform(0.08, 0.3), 0.96)
    dark = s.shade(fur, 0.45)
    second = s.choose(light, light, dark)
    length = s.along(0.62, 0.95)
    girth = s.uniform(0.22, 0.28)
    leg, leg_radius = s.uniform(0.19, 0.30), s.uniform(0.08, 0.105)
    z = leg + girth * 0.75
    s.add(ellipsoid((length / 2, girth, girth), (0, 0, z), fur))
    s.add(ellipsoid((length * 0.33, girth * 0.80, girth * 0.80), (0, 0, z - girth * 0.28), second))
    fx, fy = length * 0.30, girth * 0.55
    hoof = s.choose(dark, second, (0.2, 0.17, 0.16))
    for x in (-fx, fx):
        s.pair(
            cylinder(
                leg_radius,
                leg + 0.06,
                (x, fy, (leg + 0.06) / 2 + 0.03),
                fur,
                top_radius=leg_radius * 1.1,
                sides=14,
            ),
            ellipsoid(
                (leg_radius * 1.75, leg_radius * 1.3, girth * 0.75),
                (x, fy, leg + 0.04 + girth * 0.30),
                fur,
            ),
            cylinder(leg_radius * 1.12, 0.09, (x, fy, 0.045), hoof, sides=14),
        )
    head = s.uniform(0.19, 0.25)
    hx, hz = length * 0.46 + head * 0.55, z + girth * 0.55 + head * s.uniform(0.3, 0.8)
    neck = ellipsoid(
        (girth * 0.55, girth * 0.55, (hz - z) * 0.75), (length * 0.40, 0, (hz + z) / 2), fur
    )
    s.add(neck, ellipsoid((head * 1.05, head, head), (hx, 0, hz), fur))
    snout = s.uniform(0.55, 0.75)
    s.add(
        ellipsoid(
            (head * 0.75, head * snout, head * snout * 0.85),
            (hx + head * 0.75, 0, hz - head * 0.25),
            second,
        )
    )
    s.add(
        ellipsoid((0.05, 0.07, 0.05), (hx + head * 1.45, 0, hz - head * 0.10), (0.12, 0.10, 0.10))
    )
    s.pair(
        ellipsoid(
            (0.05, 0.05, 0.06),
            (hx + head * 0.75, head * 0.55, hz + head * 0.42),
            (0.97, 0.97, 0.97),
        ),
        ellipsoid(
            (0.035, 0.038, 0.042),
            (hx + head * 0.75 + 0.03, head * 0.57, hz + head * 0.44),
            (0.08, 0.07, 0.08),
        ),
    )
    kind = s.choose("floppy", "pointed", "round")
    ear = s.choose(fur, dark, second)
    if kind == "pointed":
        s.pair(
            cylinder(
                0.085,
                0.20,
                (hx - 0.03, head * 0.60, hz + head * 0.95),
                ear,
                top_radius=0.02,
                sides=12,
            )
        )
    elif kind == "round":
        s.pair(ellipsoid((0.05, 0.10, 0.10), (hx - 0.04, head * 0.75, hz + head * 0.80), ear))
    else:
        s.pair(ellipsoid((0.075, 0.05, 0.15), (hx - 0.02, head * 1.02, hz - head * 0.05), ear))
    tail = ellipsoid(
        (0.06, 0.06, 0.17), (-length / 2 - 0.03, 0, z + girth * 0.4), s.choose(fur, dark)
    )
    s.add(tail.turned(rotation("y", -s.uniform(15, 60)), (-length / 2, 0, z + girth * 0.3)))
    if s.chance(0.4):
        for x, angle in ((length * 0.12, 0.55), (-length * 0.20, 0.8)):
            s.pair(
                ellipsoid(
                    (length * 0.12, 0.05 + girth * 0.3, girth * 0.42),
                    (x, girth * 0.72 * angle, z + girth * 0.45),
                    dark,
                )
            )
    if s.chance(0.25):
        s.pair(
            cylinder(
                0.045,
                0.16,
                (hx + 0.02, head * 0.40, hz + head * 1.05),
                (0.93, 0.88, 0.75),
                top_radius=0.015,
                sides=10,
            )
        )
        return f"a {colour_name(fur)} cow with horns"
    return f"a {colour_name(fur)} dog with {kind} ears"


@category
def robot(s: Sculptor) -> str:
    """A robot: square body with a chest panel, head with eyes and antenna, arms and legs."""
    metal = s.main_colour((0.25, 0.75))
    joint = s.partner(metal)
    s.decorate(metal, "label", "stripes", "bands", "gradient", chance=0.4)
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


@category
def tree(s: Sculptor) -> str:
    """A tree in a tub: round or fir-shaped crown, fruit, a name plate at the front."""
    leaves = (
        s.main_colour((0.5, 0.8))
        if s.unusual or s.chance(0.5)
        else hsv(s.uniform(0.22, 0.40), s.uniform(0.5, 0.8), s.uniform(0.4, 0.75))
    )
    trunk, tub = s.wood(), s.partner(leaves)
    s.decorate(leaves, "grain", "marble", chance=0.6)
    s.decorate(tub, "bands", "checks", "planks", chance=0.4)
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
    shade = s.shade(leaves, 0.82)
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
