"""The four categories that the shipped weights are trained on: car, house, armchair, animal."""

from __future__ import annotations

from studio.data.procedural_objects import Sculptor, category, colour_name, hsv, lighten
from studio.data.procedural_parts import (
    Colour,
    box,
    cylinder,
    ellipsoid,
    prism,
    rotation,
    taper,
)

GLASS: Colour = (0.16, 0.22, 0.30)
RUBBER: Colour = (0.13, 0.13, 0.14)


@category
def car(s: Sculptor) -> str:
    """A car: body, cabin with windows, four wheels, lamps; sometimes a stripe."""
    paint = s.main_colour()
    trim = s.partner(paint)
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
def house(s: Sculptor) -> str:
    """A house: walls, gable or hipped roof, door, windows, chimney."""
    roof = s.main_colour((0.5, 0.85))
    wall = s.choose(
        hsv(s.uniform(0.07, 0.15), s.uniform(0.08, 0.35), s.uniform(0.85, 0.98)),
        s.partner(roof),
        hsv(s.uniform(0.02, 0.07), s.uniform(0.35, 0.55), s.uniform(0.6, 0.85)),
    )
    wall = lighten(wall, 0.6)
    frame = hsv(0.12, s.uniform(0.02, 0.12), 0.97)
    door = s.choose(s.partner(roof), s.wood(), hsv(s.hue, 0.7, 0.45))
    pane = s.choose(GLASS, (0.30, 0.42, 0.55), (0.98, 0.86, 0.45))
    deep, wide = s.uniform(0.62, 0.85), s.uniform(0.72, 0.95)
    tall = s.along(0.48, 0.98)
    rise = s.uniform(0.26, 0.40)
    eave = 0.06
    base = hsv(0.1, 0.08, s.uniform(0.4, 0.6))
    s.add(
        box((deep, wide, tall), (0, 0, tall / 2), wall),
        box((deep + 0.06, wide + 0.06, 0.09), (0, 0, 0.045), base),
    )
    kind = s.choose("gable", "hip", "side")
    thick = 0.09
    if kind == "hip":
        low = (deep + 2 * eave, wide + 2 * eave)
        s.add(
            box((low[0], low[1], thick), (0, 0, tall + thick / 2), roof),
            taper(low, (0.12, wide * 0.45), rise, (0, 0, tall + thick + rise / 2), roof),
        )
    else:
        _gable(s, kind, deep, wide, tall, rise, eave, thick, roof, wall)
    _openings(s, deep, wide, tall, frame, door, pane)
    if s.chance(0.75):
        x, y = (-deep * 0.22, 0.0) if kind != "gable" else (-deep * 0.22, 0.0)
        brick = hsv(0.03, s.uniform(0.4, 0.6), s.uniform(0.45, 0.7))
        height = rise + 0.12
        s.add(
            box((0.14, 0.14, height), (x, y, tall + height / 2), brick),
            box((0.18, 0.18, 0.06), (x, y, tall + height), base),
        )
    return f"a {colour_name(wall)} house with a {colour_name(roof)} roof"


def _gable(
    s: Sculptor, kind: str, deep: float, wide: float, tall: float, rise: float, eave: float,
    thick: float, roof: Colour, wall: Colour,
) -> None:  # fmt: skip
    """Two sloping slabs over a wall triangle; "gable" has its triangle at the front."""
    span, run = (wide, deep) if kind == "gable" else (deep, wide)
    half = span / 2
    slope = rise / half
    drop = slope * eave
    ridge = [(half + eave, tall - drop), (0.0, tall + rise), (0.0, tall + rise + thick * 1.3),
             (half + eave, tall - drop + thick * 1.3)]  # fmt: skip
    slab = prism(ridge, run + 2 * eave, roof)
    gable = prism(
        [(-half, tall - 0.01), (half, tall - 0.01), (0.0, tall + rise)], run - 0.001, wall
    )
    other = slab.turned(rotation("z", 180))
    turn = rotation("z", 90) if kind == "gable" else rotation("z", 0)
    s.add(slab.turned(turn), other.turned(turn), gable.turned(turn))


def _openings(
    s: Sculptor, deep: float, wide: float, tall: float, frame: Colour, door: Colour, pane: Colour
) -> None:
    """Door and windows on the four walls."""
    front = deep / 2
    high = min(0.36, tall * 0.72)
    s.add(
        box((0.05, 0.24, high + 0.03), (front, 0, (high + 0.03) / 2), frame),
        box((0.08, 0.18, high), (front, 0, high / 2), door),
        box((0.16, 0.28, 0.10), (front + 0.06, 0, 0.05), (0.6, 0.6, 0.6)),
    )
    size, rows = 0.17, [tall * 0.5] if tall < 0.62 else [0.25, tall - 0.19]
    for z in rows:
        y = wide * 0.31
        s.pair(*_window(s, (front, y, z), size, frame, pane, "x"))
        s.pair(*_window(s, (-front, y, z), size, frame, pane, "x"))
        for x in (-deep * 0.24, deep * 0.24):
            s.pair(*_window(s, (x, wide / 2, z), size, frame, pane, "y"))
    if len(rows) > 1:
        s.add(*_window(s, (front, 0, rows[-1]), size, frame, pane, "x"))


def _window(
    s: Sculptor, centre: tuple[float, float, float], size: float, frame: Colour, pane: Colour,
    facing: str,
):  # fmt: skip
    outer, inner = size + 0.05, size - 0.03
    if facing == "x":
        return [box((0.04, outer, outer), centre, frame), box((0.06, inner, inner), centre, pane)]
    return [box((outer, 0.04, outer), centre, frame), box((inner, 0.06, inner), centre, pane)]


@category
def armchair(s: Sculptor) -> str:
    """An armchair or sofa: base, cushions, back, arms, feet."""
    cloth = s.main_colour((0.4, 0.85))
    second = s.partner(cloth)
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
    each = inner / count
    x, long = back_thick / 2 + 0.02, depth - back_thick
    cushion = second if s.chance(0.6) else tuple(min(1.0, c * 1.12) for c in cloth)
    for k in range(count):
        middle = -inner / 2 + (k + 0.5) * each
        s.add(
            box((long, each - 0.015, 0.13), (x, middle, seat + 0.055), cushion, bevel=0.035),
            box((0.13, each - 0.03, back - seat - 0.16), (rear + back_thick / 2 + 0.03, middle, seat + 0.12 + (back - seat - 0.16) / 2), cushion, bevel=0.035).turned(lean, (rear, 0, foot)),
        )  # fmt: skip
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
    return f"a {colour_name(cloth)} {noun} with {colour_name(cushion)} cushions"


@category
def animal(s: Sculptor) -> str:
    """A four-legged toy animal: body, legs, head, snout, ears, tail; spots or horns at times."""
    natural = s.chance(0.55)
    if natural and not s.unusual:
        s.hue = s.uniform(0.03, 0.12)
        fur = hsv(s.hue, s.uniform(0.15, 0.7), s.uniform(0.4, 0.97))
    else:
        fur = s.main_colour((0.35, 0.75))
    light = hsv(s.uniform(0.06, 0.12), s.uniform(0.08, 0.3), 0.96)
    dark = tuple(0.45 * c for c in fur)
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
