"""Storage in metres: cabinet, shelf; desk and tables."""

from __future__ import annotations

from studio.data.procedural.bodies import bead, rounded
from studio.data.procedural.kinds.seats import BLACK, STEEL, frame_colour
from studio.data.procedural.parts import Colour, box
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import lathe, tube

BRASS: Colour = (0.80, 0.64, 0.30)


def fronts(
    s: Sculptor, x: float, size: tuple[float, float], at: tuple[float, float], colour: Colour,
    knob: Colour, kind: str,
) -> None:  # fmt: skip
    """A door or drawer front on the plane x: a raised panel with a knob or bar; at is (y, z)."""
    (w, h), (y, z) = size, at
    place = s.pair if y > 1e-6 else s.add
    place(box((0.022, w - 0.016, h - 0.016), (x, y, z), colour))
    if kind == "knob":
        place(bead((0.022, 0.022, 0.022), (x + 0.025, y, z), knob))
    else:
        long = (
            (0.014, min(0.14, w * 0.4), 0.014)
            if kind == "bar"
            else (0.014, 0.014, min(0.16, h * 0.3))
        )
        inner = 0.0 if kind == "bar" else (-w / 2 + 0.05 if y > 1e-6 else 0.0)
        place(box(long, (x + 0.022, y + inner, z), knob))


@category
def cabinet(s: Sculptor) -> str:
    """A chest of drawers, sideboard, wardrobe, bedside table or kitchen cupboard."""
    wood = frame_colour(s, 0.5)
    front = s.choose(wood, wood, s.shade(wood, 0.88), s.partner(wood), (0.94, 0.93, 0.90))
    s.decorate(front, "wood", "planks", "checks", chance=0.3)
    knob = s.choose(BRASS, STEEL, BLACK, s.partner(wood))
    kind = s.choose("chest of drawers", "sideboard", "wardrobe", "bedside table")
    wide, tall, deep = {
        "chest of drawers": (s.uniform(0.7, 1.0), s.along(0.75, 1.25), 0.46),
        "sideboard": (s.along(1.2, 2.0), s.uniform(0.65, 0.85), 0.44),
        "wardrobe": (s.along(0.8, 1.7), s.uniform(1.8, 2.1), 0.58),
        "bedside table": (s.uniform(0.42, 0.55), s.along(0.45, 0.7), 0.4),
    }[kind]
    foot = s.uniform(0.05, 0.16) if kind != "wardrobe" else s.uniform(0.04, 0.1)
    z, top = foot, tall
    s.add(box((deep, wide, tall - foot), (0, 0, (tall + foot) / 2), wood))
    s.add(
        rounded(
            (deep + 0.03, wide + 0.04, 0.03), (0.005, 0, top + 0.01), s.choose(wood, front), 0.008
        )
    )
    style = s.choose("tapered", "block", "plinth")
    x, y = deep / 2 - 0.04, wide / 2 - 0.05
    if style == "plinth":
        s.add(box((deep - 0.06, wide - 0.06, foot), (-0.01, 0, foot / 2), s.shade(wood, 0.7)))
    else:
        for fx in (-x, x):
            s.pair(
                *tube(
                    [(fx, y, foot + 0.01), (fx * 1.03, y * 1.01, 0)],
                    [0.026, 0.014 if style == "tapered" else 0.026],
                    s.choose(wood, wood),
                    sides=8,
                )
            )
    face, grip = deep / 2, s.choose("knob", "knob", "bar")
    if kind in ("chest of drawers", "bedside table"):
        rows = s.choose(3, 4, 5) if kind == "chest of drawers" else s.choose(1, 2)
        high = (tall - foot - 0.04) / rows
        for k in range(rows):
            h = z + 0.02 + high * (k + 0.5)
            if k == rows - 1 and rows > 2 and s.chance(0.5):
                fronts(s, face, (wide / 2 - 0.02, high), (wide / 4, h), front, knob, grip)
            else:
                fronts(s, face, (wide - 0.04, high), (0.0, h), front, knob, grip)
                if grip == "knob" and wide > 0.6:
                    s.pair(bead((0.022, 0.022, 0.022), (face + 0.025, wide * 0.28, h), knob))
    elif kind == "sideboard":
        doors = s.choose(2, 4)
        w = (wide - 0.04) / doors
        for k in range(doors // 2):
            fronts(
                s,
                face,
                (w, tall - foot - 0.06),
                (w * (k + 0.5), (tall + foot) / 2),
                front,
                knob,
                "upright",
            )
    else:
        w = (wide - 0.04) / 2
        low = 0.36 if s.chance(0.4) else 0.0
        fronts(
            s,
            face,
            (w, tall - foot - 0.06 - low),
            (w / 2, (tall + foot + low) / 2),
            front,
            knob,
            "upright",
        )
        if low:
            fronts(
                s, face, (wide - 0.04, low - 0.02), (0.0, foot + 0.02 + low / 2), front, knob, "bar"
            )
    return f"a {colour_name(wood)} {kind}"


@category
def bookshelf(s: Sculptor) -> str:
    """A shelf, open in front, with rows of books and boxes."""
    wood = frame_colour(s, 0.6)
    wide, tall, deep = s.uniform(0.6, 1.1), s.along(0.8, 2.0), s.uniform(0.26, 0.34)
    count, thick = max(2, round(tall / s.uniform(0.3, 0.42))), s.uniform(0.022, 0.04)
    s.pair(box((deep, thick, tall), (0, wide / 2, tall / 2), wood))
    back = s.choose(wood, s.shade(wood, 0.8), s.partner(wood))
    s.add(box((0.015, wide, tall - 0.04), (-deep / 2, 0, tall / 2 + 0.01), back))
    pitch = (tall - 0.06 - thick) / count
    for k in range(count + 1):
        z = 0.05 + pitch * k + thick / 2
        s.add(box((deep, wide, thick), (0, 0, z), wood))
        if k == count:
            break
        room, y = pitch - thick, 0.0
        content = s.choose("books", "books", "books", "box", "empty")
        if content == "box":
            colour = s.partner(wood)
            s.pair(
                box(
                    (deep * 0.8, wide * 0.36, room * 0.7),
                    (0.01, wide * 0.22, z + thick / 2 + room * 0.35),
                    colour,
                )
            )
        elif content == "books":
            limit = wide / 2 - thick
            colours = [
                s.main_colour(),
                s.partner(wood),
                (0.75, 0.2, 0.15),
                (0.2, 0.3, 0.55),
                (0.9, 0.85, 0.7),
                (0.2, 0.4, 0.3),
            ]
            while y < limit * s.uniform(0.75, 1.0) - 0.05:
                t, h = s.uniform(0.03, 0.06), room * s.uniform(0.62, 0.92)
                d = deep * s.uniform(0.6, 0.8)
                s.pair(
                    box(
                        (d, t - 0.004, h),
                        (deep / 2 - d / 2 - 0.03, y + t / 2, z + thick / 2 + h / 2),
                        s.choose(*colours),
                    )
                )
                y += t
    return f"a {colour_name(wood)} bookshelf"


@category
def desk(s: Sculptor) -> str:
    """A desk, dining table, coffee table or round table; a desk's drawers open to the front."""
    wood = frame_colour(s, 0.6)
    top = s.choose(wood, wood, s.wood(), (0.93, 0.92, 0.9))
    leg = s.choose(wood, wood, BLACK, STEEL)
    kind = s.choose("desk", "desk", "dining table", "coffee table", "round table")
    tall = s.uniform(0.70, 0.76) if kind != "coffee table" else s.uniform(0.36, 0.46)
    thick = s.uniform(0.024, 0.05)
    if kind == "round table":
        r = s.along(0.36, 0.75)
        s.add(*lathe([(r * 0.96, tall - thick), (r, tall - thick * 0.4), (r, tall)], top, sides=32))
        if s.chance(0.55):
            s.add(
                *lathe(
                    [
                        (r * 0.55, 0),
                        (r * 0.5, 0.03),
                        (0.05, 0.07),
                        (0.04, tall * 0.5),
                        (0.06, tall - thick),
                    ],
                    leg,
                )
            )
        else:
            for x in (-r * 0.6, r * 0.6):
                s.pair(
                    *tube(
                        [(x * 0.85, r * 0.5, tall - thick), (x, r * 0.62, 0)],
                        [0.026, 0.018],
                        leg,
                        sides=8,
                    )
                )
        if s.chance(0.3):
            s.add(
                *lathe(
                    [(0.05, tall), (0.09, tall + 0.05), (0.05, tall + 0.14), (0.07, tall + 0.18)],
                    s.partner(wood),
                )
            )
        return f"a round {colour_name(top)} table"
    wide = s.along(0.9, 1.8)
    deep = s.uniform(0.55, 0.7) if kind == "desk" else s.uniform(0.6, 0.9)
    s.add(rounded((deep, wide, thick), (0, 0, tall - thick / 2), top, thick * 0.35))
    style = s.choose("square", "tapered", "frame", "trestle")
    x, y, low = deep / 2 - 0.05, wide / 2 - 0.06, tall - thick
    if style == "frame":
        for q in (-x, x):
            s.pair(box((0.04, 0.04, low), (q, y, low / 2), leg))
        s.pair(
            box((deep - 0.1, 0.04, 0.04), (0, y, 0.02), leg),
            box((deep - 0.1, 0.04, 0.04), (0, y, low - 0.02), leg),
        )
    elif style == "trestle":
        s.pair(
            *tube([(x, y * 0.85, 0), (0, y * 0.8, low)], 0.026, leg, sides=6),
            *tube([(-x, y * 0.85, 0), (0, y * 0.8, low)], 0.026, leg, sides=6),
        )
        s.pair(box((x * 1.1, 0.03, 0.035), (0, y * 0.83, low * 0.4), leg))
    else:
        for q in (-x, x):
            thin = [0.032, 0.018 if style == "tapered" else 0.032]
            s.pair(
                *tube(
                    [(q, y, low), (q * (1.06 if style == "tapered" else 1), y * 1.02, 0)],
                    thin,
                    leg,
                    sides=8,
                )
            )
        s.add(box((deep - 0.14, wide - 0.16, 0.07), (0, 0, low - 0.035), wood))
    if kind == "desk":
        knob = s.choose(BRASS, STEEL, BLACK)
        if s.chance(0.5):
            w, h = 0.36, low - 0.1
            s.pair(box((deep - 0.08, w, h), (0, y - w / 2 + 0.03, low - h / 2), wood))
            for k in range(3):
                fronts(
                    s,
                    x + 0.01,
                    (w, h / 3),
                    (y - w / 2 + 0.03, low - h * (k + 0.5) / 3),
                    wood,
                    knob,
                    "bar",
                )
        else:
            s.add(box((deep - 0.06, wide - 0.3, 0.11), (0, 0, low - 0.055), wood))
            fronts(
                s,
                deep / 2 - 0.03,
                (wide * 0.4, 0.11),
                (wide * 0.2, low - 0.055),
                wood,
                knob,
                "knob",
            )
        if s.chance(0.4):
            s.add(
                box((0.02, wide * 0.5, 0.3), (-deep / 2 + 0.1, 0, tall + 0.24), BLACK),
                box(
                    (0.012, wide * 0.46, 0.26),
                    (-deep / 2 + 0.108, 0, tall + 0.24),
                    (0.25, 0.45, 0.7),
                ),
            )
            s.add(
                box((0.05, 0.06, 0.12), (-deep / 2 + 0.07, 0, tall + 0.06), BLACK),
                box((0.16, 0.2, 0.012), (-deep / 2 + 0.1, 0, tall + 0.006), BLACK),
            )
            return f"a {colour_name(top)} desk with a screen"
    return f"a {colour_name(top)} {kind}"
