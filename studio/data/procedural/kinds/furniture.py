"""Furniture: armchair, chair, table, lamp."""

from __future__ import annotations

from studio.data.procedural.parts import box, cylinder, ellipsoid, rotation
from studio.data.procedural.sculptor import Sculptor, category, colour_name, lighten


@category
def armchair(s: Sculptor) -> str:
    """An armchair or sofa: base, cushions, back, arms, feet."""
    cloth = s.main_colour((0.4, 0.85))
    second = s.partner(cloth)
    s.decorate(cloth, "grain", "stripes", "checks", "dots", "grain", chance=0.6)
    s.decorate(second, "grain", "stripes", "checks", "dots", chance=0.6)
    wood = s.wood()
    inner = s.along(0.50, 1.25)
    arm, depth = s.uniform(0.14, 0.20), s.uniform(0.66, 0.80)
    seat, back = s.uniform(0.22, 0.28), s.uniform(0.72, 0.92)
    foot = s.uniform(0.08, 0.12)
    arm_top = seat + s.uniform(0.22, 0.30)
    back_thick = s.uniform(0.17, 0.23)
    wide = inner + 2 * arm
    soft = 0.04
    s.add(
        box((depth - 0.02, wide - 0.04, seat - foot), (0, 0, (seat + foot) / 2), cloth, bevel=0.02)
    )
    lean = rotation("y", -s.uniform(4, 10))
    rear = -depth / 2 + back_thick / 2
    tall = back - foot
    s.add(
        box((back_thick, wide - 0.06, tall), (rear, 0, foot + tall / 2), cloth, bevel=soft).turned(
            lean, (rear, 0, foot)
        )
    )
    y = wide / 2 - arm / 2
    if s.chance(0.5):
        s.pair(box((depth, arm, arm_top - foot), (0, y, (arm_top + foot) / 2), cloth, bevel=soft))
    else:
        s.pair(
            box(
                (depth, arm * 0.8, arm_top - foot - 0.04),
                (0, y, (arm_top + foot - 0.04) / 2),
                cloth,
                bevel=0.02,
            ),
            cylinder(arm * 0.62, depth + 0.03, (0, y, arm_top - 0.03), cloth, axis="x", sides=16),
            cylinder(arm * 0.40, depth + 0.06, (0, y, arm_top - 0.03), second, axis="x", sides=12),
        )
    count = 1 if inner < 0.75 else 2 if inner < 1.1 else 3
    each, rest = inner / count, back - seat - 0.16
    x, long = back_thick / 2 + 0.02, depth - back_thick
    cushion = second if s.chance(0.6) else s.shade(cloth, 1.12)
    for k in range(count):
        middle = -inner / 2 + (k + 0.5) * each
        s.add(
            box((long, each - 0.015, 0.13), (x, middle, seat + 0.055), cushion, bevel=0.035),
            box(
                (0.13, each - 0.03, rest),
                (rear + back_thick / 2 + 0.03, middle, seat + 0.12 + rest / 2),
                cushion,
                bevel=0.035,
            ).turned(lean, (rear, 0, foot)),
        )
    for fx in (-depth / 2 + 0.08, depth / 2 - 0.08):
        s.pair(
            cylinder(
                0.045,
                foot + 0.03,
                (fx, wide / 2 - 0.10, (foot + 0.03) / 2),
                wood,
                top_radius=0.055,
                sides=12,
            )
        )
    if s.chance(0.4):
        pillow = s.partner(second)
        where = (rear + back_thick / 2 + 0.17, 0, seat + 0.24)
        s.add(box((0.10, 0.26, 0.24), where, pillow, bevel=0.04).turned(rotation("y", -18), where))
    noun = "armchair" if inner < 0.75 else "sofa"
    extra = f" with {colour_name(cushion)} cushions" if s.chance(0.5) else ""
    return f"a {colour_name(cloth)} {noun}{extra}"


@category
def chair(s: Sculptor) -> str:
    """A kitchen chair: four legs, seat with cushion, slatted or solid back."""
    frame = s.main_colour((0.4, 0.85)) if s.unusual or s.chance(0.6) else s.wood()
    cushion = s.partner(frame)
    s.decorate(cushion, "grain", "stripes", "checks", "dots", chance=0.6)
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
    s.decorate(top, "wood", "planks", "marble", "checks", chance=0.5)
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
    shade, sides = s.main_colour((0.3, 0.8)), 28
    foot = s.partner(shade)
    s.decorate(shade, "grain", "stripes", "checks", "dots", "gradient", chance=0.5)
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
        cylinder(
            wide, shade_tall, (0, 0, top + shade_tall / 2), shade, top_radius=narrow, sides=sides
        ),
        cylinder(
            wide + 0.012, shade_tall * share, (0, 0, top + shade_tall * share / 2), band,
            top_radius=ring + 0.012, sides=sides,
        ),
        ellipsoid((0.05, 0.05, 0.05), (0, 0, tall + 0.02), foot),
        box((0.10, 0.10, 0.06), (wide * 0.60, 0, 0.09), (0.95, 0.9, 0.7), bevel=0.02),
    )  # fmt: skip
    if s.chance(0.6):
        s.add(ellipsoid((0.13, 0.13, top * 0.28), (0, 0, 0.10 + top * 0.30), foot))
    return f"a {colour_name(foot)} lamp with a {colour_name(shade)} shade"
