"""Toys: stacking rings, cups and blocks, a wooden train."""

from __future__ import annotations

from studio.data.procedural.bodies import bead, limb, rounded, wheel
from studio.data.procedural.kinds.animals import INK, eyes
from studio.data.procedural.parts import Colour, box, cylinder, ellipsoid
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import lathe

WHITE: Colour = (0.95, 0.95, 0.94)


def gaudy(s: Sculptor, index: int) -> Colour:
    """The index-th of a set of bright toy colours that begin with the object's own."""
    return (
        s.main_colour((0.65, 0.9))
        if index == 0
        else s.choose(
            (0.86, 0.16, 0.14),
            (0.97, 0.78, 0.12),
            (0.2, 0.6, 0.25),
            (0.16, 0.36, 0.75),
            (0.93, 0.5, 0.1),
            WHITE,
        )
    )


@category
def stacking_toy(s: Sculptor) -> str:
    """Rings on a pole, a tower of cups or blocks, a toy with a head on top."""
    kind = s.choose("rings", "rings", "blocks", "cups")
    count = s.choose(4, 5, 6)
    colours = [gaudy(s, k) for k in range(count)]
    if kind == "rings":
        base = s.choose(s.wood(), gaudy(s, 1), WHITE)
        s.add(*lathe([(0.36, 0), (0.36, 0.05), (0.3, 0.08)], base))
        z, thick = 0.08, s.along(0.09, 0.16)
        for k in range(count):
            r = 0.34 - 0.2 * k / count
            s.add(
                *lathe(
                    [
                        (r * 0.86, z),
                        (r, z + thick * 0.28),
                        (r, z + thick * 0.72),
                        (r * 0.86, z + thick),
                    ],
                    colours[k],
                )
            )
            z += thick
        head = s.choose("ball", "bear", "bear")
        s.add(
            ellipsoid(
                (0.14, 0.14, 0.135),
                (0, 0, z + 0.11),
                colours[0] if head == "ball" else s.choose((0.62, 0.42, 0.22), colours[0]),
            )
        )
        if head == "bear":
            fur, light = s.parts[-1].colour, (0.93, 0.86, 0.74)
            s.pair(bead((0.04, 0.06, 0.06), (0, 0.11, z + 0.22), fur))
            s.add(
                ellipsoid((0.06, 0.075, 0.055), (0.11, 0, z + 0.08), light),
                bead((0.02, 0.026, 0.02), (0.17, 0, z + 0.10), INK),
            )
            eyes(s, 0.125, 0.055, z + 0.15, 0.024)
        return "a stacking toy with coloured rings"
    z = 0.0
    for k in range(count):
        r = 0.3 - 0.17 * k / count
        high = s.along(0.14, 0.24) * (1 - 0.3 * k / count)
        if kind == "cups":
            s.add(
                *lathe([(r, z), (r * 0.96, z + 0.03), (r * 0.86, z + high)], colours[k]),
                *lathe([(r * 1.06, z), (r * 1.06, z + 0.035)], colours[k]),
            )
        else:
            s.add(rounded((2 * r, 2 * r, high), (0, 0, z + high / 2), colours[k], 0.02))
            s.add(
                box(
                    (2 * r + 0.012, r, high * 0.5),
                    (0, 0, z + high / 2),
                    s.choose(WHITE, colours[k - 1]),
                )
            )
        z += high
    return f"a tower of coloured {kind}"


@category
def block_train(s: Sculptor) -> str:
    """A wooden toy train or pull-along cart: engine, wagon with blocks, disc wheels."""
    body, wheel_colour, wood = gaudy(s, 0), gaudy(s, 1), s.wood()
    long, half = s.along(0.5, 0.72), 0.16
    r = s.uniform(0.08, 0.1)
    z = r + 0.05
    s.add(
        rounded((long, 2 * half, 0.08), (0.28, 0, z), wood, 0.02),
        cylinder(0.11, long * 0.56, (0.28 + long * 0.16, 0, z + 0.15), body, axis="x"),
    )
    s.add(
        cylinder(0.115, 0.04, (0.28 + long * 0.44, 0, z + 0.15), gaudy(s, 2), axis="x"),
        rounded((long * 0.36, 2 * half, 0.28), (0.28 - long * 0.3, 0, z + 0.17), body, 0.02),
        rounded(
            (long * 0.44, 2 * half + 0.06, 0.05),
            (0.28 - long * 0.3, 0, z + 0.33),
            gaudy(s, 3),
            0.02,
        ),
    )
    s.add(
        *lathe(
            [(0.04, 0), (0.035, 0.1), (0.06, 0.16)],
            gaudy(s, 2),
            at=(0.28 + long * 0.33, 0, z + 0.23),
            sides=14,
        ),
        bead((0.04, 0.04, 0.04), (0.28 + long * 0.08, 0, z + 0.27), (0.97, 0.78, 0.12)),
    )
    s.pair(box((long * 0.16, 0.015, 0.11), (0.28 - long * 0.3, half, z + 0.2), WHITE))
    for x in (0.28 + long * 0.3, 0.28 - long * 0.3):
        s.pair(
            *wheel(
                r,
                0.05,
                (x, half + 0.02, r),
                wheel_colour,
                s.choose(wood, WHITE),
                spokes=0,
                rim_share=0.4,
            )
        )
    wagons = s.choose(1, 1, 2)
    for k in range(wagons):
        x = 0.28 - long / 2 - 0.27 - 0.5 * k
        s.add(
            rounded((0.4, 2 * half, 0.08), (x, 0, z), wood, 0.02),
            limb((x + 0.18, 0, z), (x + 0.32, 0, z), 0.015, 0.015, INK),
        )
        for dx in (-0.12, 0.12):
            s.pair(
                *wheel(
                    r * 0.9,
                    0.05,
                    (x + dx, half + 0.02, r * 0.9),
                    wheel_colour,
                    WHITE,
                    spokes=0,
                    rim_share=0.4,
                )
            )
        for dx in (-0.1, 0.1):
            high = s.choose(0.12, 0.16, 0.22)
            s.add(rounded((0.16, 0.22, high), (x + dx, 0, z + 0.04 + high / 2), gaudy(s, 1), 0.015))
    return f"a toy train with a {colour_name(body)} engine"
