"""Things to wear: shoe, boot, hat; the toe is in front."""

from __future__ import annotations

import numpy as np

from studio.data.procedural.bodies import bead, rounded
from studio.data.procedural.parts import Array, Colour
from studio.data.procedural.sculptor import Sculptor, category, colour_name
from studio.data.procedural.solids import arch, chain, hull, lathe, shell, spline, tube

LEATHERS: tuple[Colour, ...] = ((0.13, 0.12, 0.12), (0.38, 0.22, 0.12), (0.60, 0.40, 0.22),
                                (0.94, 0.94, 0.93), (0.45, 0.46, 0.48))  # fmt: skip
SOLES: tuple[Colour, ...] = ((0.95, 0.95, 0.94), (0.95, 0.95, 0.94), (0.13, 0.13, 0.13),
                             (0.62, 0.46, 0.30))  # fmt: skip
LACE: Colour = (0.95, 0.95, 0.93)

SOLE = np.array([[-0.50, 0.115], [-0.44, 0.155], [-0.30, 0.168], [-0.05, 0.148], [0.20, 0.185],
                 [0.34, 0.182], [0.44, 0.148], [0.50, 0.08]])  # fmt: skip
"""(x, half-width) of a sole one long."""


def sole_width(x: float) -> float:
    """Half the width of the sole at a station."""
    return float(np.interp(x, *SOLE.T))


def sole(s: Sculptor, colour: Colour, toe: float, heel: float, lift: float) -> None:
    """A sole whose thickness goes from the heel's to the toe's; the ends curl up by ``lift``."""
    rings = []
    for x in np.linspace(-0.50, 0.50, 11):
        w = sole_width(x)
        low = lift * (max(0.0, x - 0.25) / 0.25) ** 2
        high = np.interp(x, [-0.2, 0.25], [heel, toe]) + low
        rings.append(
            [
                (x, -w * 0.94, low),
                (x, w * 0.94, low),
                (x, w, (low + high) / 2),
                (x, w * 0.97, high),
                (x, -w * 0.97, high),
                (x, -w, (low + high) / 2),
            ]
        )
    s.add(*chain(np.array(rings), colour))


def upper_ring(x: float, low: float, high: float, width: float, roof: float) -> Array:
    """[10, 3] cross-section of an upper: a round arch, ``roof`` is the width of its top."""
    tall = high - low
    right = [
        (width * 0.95, low),
        (width, low + tall * 0.28),
        (width * 0.93, low + tall * 0.6),
        (width * (0.55 + roof * 0.35), low + tall * 0.9),
        (width * roof * 0.6, high),
    ]
    both = right + [(-y, z) for y, z in right[::-1]]
    return np.array([(x, y, z) for y, z in both])


def foot_body(
    s: Sculptor, colour: Colour, toe_colour: Colour, base: tuple[float, float], mouth: float,
    instep: float, toe: float,
) -> None:  # fmt: skip
    """The upper from the toe back to the opening, which reaches from the heel to x = ``mouth``."""
    stations = np.array([0.49, 0.44, 0.34, 0.22, mouth + 0.02, mouth])
    tops = spline(
        [(0.25 * toe,), (toe * 0.72,), (toe,), ((toe + instep) / 2,), (instep,), (instep,)], 5
    )
    rings = []
    for x, (top,) in zip(stations, tops, strict=True):
        low = float(np.interp(x, [-0.2, 0.25], base)) + 0.04 * (max(0.0, x - 0.25) / 0.25) ** 2
        rings.append(upper_ring(x, low - 0.01, low + top, sole_width(x) * 0.96, 0.5))
    s.add(*chain(np.array(rings[:3]), toe_colour), *chain(np.array(rings[2:]), colour))


def collar(
    s: Sculptor,
    colour: Colour,
    lining: Colour,
    base: float,
    mouth: float,
    rear: float,
    front: float,
) -> None:
    """Walls around the opening: higher at the back (``rear``) and the tongue (``front``)."""
    xs = np.array([mouth - 0.02, mouth - 0.14, -0.18, -0.34, -0.43, -0.485])
    wide = [sole_width(x) * 0.93 for x in xs]
    left = list(zip(xs, wide, strict=True))
    outline = np.array([*left, (-0.497, 0.04)])
    outline[0, 1] *= 0.9
    highs = spline(
        [(front,), (front * 0.86,), (rear * 0.80,), (rear * 0.9,), (rear,), (rear,), (rear,)], 6
    )
    pinch = 0.66
    rows = []
    for (x, y), (high,) in zip(outline, highs, strict=True):
        top_x = x + (0.03 if x < -0.4 else 0.0)
        rows.append(
            [
                np.array(p)
                for p in (
                    (x, y, base - 0.01),
                    (x, y * 1.02, base + high * 0.45),
                    (top_x, y * pinch, base + high),
                )
            ]
        )
    for a, b in zip(rows, rows[1:], strict=False):
        for lower, upper in ((0, 1), (1, 2)):
            outer = np.array([a[lower], a[upper], b[lower], b[upper]])
            centre = np.array([-0.2, 0.0, 0.0])
            inward = (centre - outer) * (1, 1, 0)
            inner = outer + inward / np.linalg.norm(inward, axis=1, keepdims=True) * 0.035
            inner[:, 1] = np.maximum(inner[:, 1], 0.0)
            s.pair(hull(np.concatenate([outer, inner]), colour))
    floor = [
        (x * 0.97, way * y * 0.75, base + z)
        for x, y in outline
        for way in (-1, 1)
        for z in (0.0, 0.04)
    ]
    s.add(hull(np.array(floor), lining))
    back = [(-0.5, y, base + z) for y in (-0.05, 0.05) for z in (0, rear * 0.45)]
    back += [(-0.46 + dx, y, base + rear) for y in (-0.03, 0.03) for dx in (0.0, 0.02)]
    back += [(-0.46, y, base) for y in (-0.05, 0.05)]
    s.add(hull(np.array(back), colour))


def laces(s: Sculptor, colour: Colour, mouth: float, start: float, base: tuple[float, float],
          instep: float, toe: float) -> None:  # fmt: skip
    """Rows of laces over the instep."""
    for x in np.linspace(mouth + 0.03, start, 4):
        low = float(np.interp(x, [-0.2, 0.25], base))
        top = low + float(np.interp(x, [mouth, 0.22, 0.34], [instep, (toe + instep) / 2, toe]))
        w = sole_width(x) * 0.5
        s.add(
            *tube(
                arch((x, -w, top - 0.03), (x, w, top - 0.03), (0, 0, 0.045), 4),
                0.012,
                colour,
                sides=6,
            )
        )


@category
def shoe(s: Sculptor) -> str:
    """A shoe: trainer, leather shoe, slip-on, high-top or lady's heel."""
    paint = s.main_or(0.45, *LEATHERS, saturation=(0.45, 0.95))
    second = s.partner(paint)
    kind = s.choose("trainer", "trainer", "trainer", "high-top", "leather shoe", "slip-on")
    sporty = kind in ("trainer", "high-top")
    under = (
        s.choose(*SOLES) if sporty or kind == "slip-on" else s.choose(SOLES[2], (0.3, 0.18, 0.1))
    )
    s.decorate(paint, "grain", "stripes", "checks", "dots", chance=0.3 if sporty else 0.1)
    if sporty:
        base = (s.uniform(0.06, 0.12), s.uniform(0.07, 0.10))
        sole(s, under, base[1], base[0], s.uniform(0.02, 0.05))
    else:
        base = (s.uniform(0.07, 0.10), 0.04)
        sole(s, under, base[1], base[1], 0.02)
        s.add(hull(np.array([(x, y * sole_width(x) * 0.93, z) for x in (-0.49, -0.42, -0.24)
                             for y in (-1, 1) for z in (0, base[0])]), under))  # fmt: skip
    mouth, instep = s.uniform(-0.02, 0.06), s.uniform(0.22, 0.28)
    toe, tall = s.uniform(0.13, 0.18), s.along(0.20, 0.34)
    if kind == "high-top":
        tall += s.uniform(0.18, 0.26)
    cap = s.choose(paint, paint, second, under) if sporty else paint
    foot_body(s, paint, cap, (base[0], base[1]), mouth, instep, toe)
    lining = s.choose((0.2, 0.2, 0.21), (0.85, 0.83, 0.8), second)
    front = (
        instep + (0.05 if kind != "slip-on" else 0.0) + (tall * 0.55 if kind == "high-top" else 0.0)
    )
    collar(s, paint, lining, base[0], mouth, tall, front)
    if kind != "slip-on":
        tongue = [(mouth + 0.03, y * 0.07, base[0] + instep - 0.06) for y in (-1, 1)]
        tongue += [
            (mouth - 0.05 - d, y * 0.06, base[0] + front + 0.05)
            for y in (-1, 1)
            for d in (0, 0.025)
        ]
        tongue += [(mouth, y * 0.07, base[0] + instep - 0.08) for y in (-1, 1)]
        s.add(hull(np.array(tongue), s.choose(paint, second, lining)))
        string = s.choose(LACE, LACE, (0.13, 0.13, 0.13), second) if sporty else (0.13, 0.12, 0.12)
        laces(s, string, mouth, s.uniform(0.2, 0.26), base, instep, toe)
    if sporty:
        _flashes(s, second, base[0])
    words = {"slip-on": "slip-on shoe", "high-top": "high-top trainer"}.get(kind, kind)
    return f"a {colour_name(paint)} {words} with a {colour_name(under)} sole"


def _flashes(s: Sculptor, colour: Colour, base: float) -> None:
    """Bars, a swoosh or a heel patch on both sides of a trainer."""
    kind = s.choose("bars", "bars", "swoosh", "none")
    if kind == "bars":
        for x in s.choose((-0.02, 0.05, 0.12), (-0.1, -0.02), (0.02,)):
            w = sole_width(x)
            rows = [(x + dx + lean, w * f, base + z) for dx in (0, 0.035)
                    for f, z, lean in ((0.80, 0.0, 0.05), (0.995, 0.02, 0.045), (1.0, 0.06, 0.03),
                                       (0.93, 0.125, 0.0), (0.7, 0.13, 0.0))]  # fmt: skip
            s.pair(hull(np.array(rows), colour))
    elif kind == "swoosh":
        path = [
            (0.2, sole_width(0.2) * 0.93, base + 0.06),
            (0.05, sole_width(0.05) * 0.97, base + 0.04),
            (-0.3, sole_width(-0.3) * 0.95, base + 0.14),
        ]
        s.pair(*tube(spline(path, 5), [0.005, 0.02, 0.025, 0.02, 0.014, 0.008], colour, sides=6))
    if s.chance(0.5):
        s.add(rounded((0.05, 0.12, 0.10), (-0.485, 0, base + 0.12), colour, 0.02))


@category
def boot(s: Sculptor) -> str:
    """A boot: rubber, hiking, winter or leather; a shaft of any height."""
    kind = s.choose("rubber boot", "hiking boot", "winter boot", "leather boot")
    paint = s.main_or(0.35, *LEATHERS[:3], saturation=(0.45, 0.95))
    under = s.choose(SOLES[2], SOLES[2], s.partner(paint), (0.62, 0.46, 0.30))
    base = s.uniform(0.07, 0.11)
    sole(s, under, base * 0.9, base, 0.03)
    toe, instep, mouth = s.uniform(0.17, 0.21), s.uniform(0.28, 0.33), s.uniform(-0.06, 0.0)
    cap = s.choose(paint, under) if kind == "hiking boot" else paint
    foot_body(s, paint, cap, (base, base), mouth, instep, toe)
    tall = s.along(0.5, 1.0) - (0.12 if kind == "hiking boot" else 0.0)
    heel = [(x, way * sole_width(x) * 0.95, base + z) for x in (-0.24, mouth) for way in (-1, 1)
            for z in (0.0, instep * 0.95)]  # fmt: skip
    s.add(hull(np.array(heel), paint))
    long, back = mouth + 0.02 + 0.46, -0.47
    r = long / 2
    middle = back + r
    rows = [
        (r * 1.0, base - 0.01),
        (r * 0.97, base + instep),
        (r * s.uniform(0.95, 1.1), base + tall),
    ]
    narrow = sole_width(-0.3) * 1.02 / r
    wall = {"at": (middle, 0.0, 0.0), "stretch": (1.0, narrow)}
    lining = s.choose((0.2, 0.2, 0.21), (0.9, 0.88, 0.82), s.partner(paint))
    s.add(*lathe(rows[:2], paint, **wall))  # type: ignore[arg-type]
    s.add(*shell(rows[1:], [q - 0.035 for q, _ in rows[1:]], paint, lining=lining, **wall))  # type: ignore[arg-type]
    top = rows[-1][0]
    trim = s.partner(paint)
    if kind == "winter boot":
        fur = s.choose((0.93, 0.9, 0.84), trim, (0.5, 0.42, 0.35))
        ring = [
            (top + 0.02, base + tall - 0.08),
            (top + 0.05, base + tall - 0.03),
            (top + 0.02, base + tall + 0.04),
        ]
        s.add(*shell(ring, [top - 0.03] * 3, fur, **wall))  # type: ignore[arg-type]
    elif kind == "rubber boot":
        ring = [(top + 0.012, base + tall - 0.07), (top + 0.012, base + tall + 0.005)]
        s.add(*shell(ring, [top - 0.03] * 2, trim, **wall))  # type: ignore[arg-type]
    elif kind == "hiking boot":
        laces(s, trim, mouth + 0.02, 0.24, (base, base), instep, toe)
        x = middle + r * 0.97
        for z in np.linspace(base + instep + 0.06, base + tall - 0.05, 3):
            s.add(*tube([(x, -0.07, z), (x + 0.02, 0, z), (x, 0.07, z)], 0.013, trim, sides=6))
    elif s.chance(0.5):
        z = base + instep + 0.03
        ring = [(r + 0.012, z), (r + 0.012, z + 0.05)]
        s.add(*shell(ring, [r - 0.05] * 2, trim, **wall))  # type: ignore[arg-type]
    return f"a {colour_name(paint)} {kind}"


@category
def hat(s: Sculptor) -> str:
    """A hat: baseball cap, top hat, straw or sun hat, bobble hat, helmet."""
    felt = s.main_or(0.3, *LEATHERS, (0.85, 0.72, 0.45), saturation=(0.4, 0.95))
    band = s.partner(felt)
    s.decorate(felt, "grain", "stripes", "dots", "checks", chance=0.4)
    kind = s.choose("baseball cap", "baseball cap", "hat", "top hat", "bobble hat", "helmet")
    r, tall = 0.36, s.along(0.24, 0.46)
    oval_ = (1.12, 1.0)
    if kind in ("hat", "top hat"):
        tall = tall + (0.22 if kind == "top hat" else 0.0)
        brim, curl = s.uniform(0.5, 0.75), s.uniform(-0.04, 0.1)
        top = s.uniform(0.9, 1.05) if kind == "top hat" else s.uniform(0.7, 0.9)
        crown = [
            (r, 0.0),
            (r * (1 + top) / 2, tall * 0.5),
            (r * top, tall * 0.92),
            (r * top * 0.85, tall),
        ]
        s.add(*lathe(crown, felt, stretch=oval_))
        s.add(
            *lathe(
                [(r + 0.012, 0.02), (r * 0.99 + 0.01, 0.02 + s.uniform(0.06, 0.12))],
                band,
                stretch=oval_,
            )
        )
        base = min(0.0, curl)
        ring = [(r, base), (brim, curl)] if curl > 0.02 else [(brim, -0.03), (brim * 0.98, 0.012)]
        if curl > 0.02:
            ring = [(r * 1.02, -0.01), ((r + brim) / 2, curl * 0.3), (brim, curl + 0.01)]
            s.add(*shell(ring, [r * 0.7, (r + brim) / 2 - 0.12, brim - 0.05], felt, stretch=oval_))
        s.add(
            *lathe(
                [
                    (ring[0][0] if curl > 0.02 else brim, -0.025),
                    (ring[0][0] if curl > 0.02 else brim * 0.99, 0.0),
                ],
                felt,
                stretch=oval_,
            )
        )
        return f"a {colour_name(felt)} {kind} with a {colour_name(band)} band"
    tall += 0.12 if kind == "bobble hat" else 0.0
    dome = [(r * np.cos(t), tall * np.sin(t) ** 0.9) for t in np.linspace(0.0, 1.5, 8)]
    s.add(*lathe(dome, felt, stretch=oval_))
    if kind == "bobble hat":
        s.add(bead((0.11, 0.11, 0.11), (0, 0, tall + 0.06), band))
        cuff = s.uniform(0.10, 0.16)
        s.add(
            *lathe([(r + 0.01, -0.02), (r + 0.025, cuff / 2), (r + 0.0, cuff)], band, stretch=oval_)
        )
        if s.chance(0.4):
            stripe = s.partner(band)
            a, b = dome[3], dome[4]
            s.add(*lathe([(a[0] + 0.008, a[1]), (b[0] + 0.008, b[1])], stripe, stretch=oval_))
        return f"a {colour_name(felt)} bobble hat"
    peak_colour = felt if s.chance(0.5) else band
    long = s.uniform(0.24, 0.34) if kind == "baseball cap" else s.uniform(0.05, 0.12)
    rim = r * oval_[0]
    edge = [(rim * np.cos(t) * 0.9, rim * 0.86 * np.sin(t)) for t in np.linspace(-1.1, 1.1, 7)]
    bill = [
        (rim * 0.55 + (long + rim * 0.45) * np.cos(t), rim * 0.84 * np.sin(t))
        for t in np.linspace(-1.2, 1.2, 9)
    ]
    droop = s.uniform(0.02, 0.07)
    slab = [
        (x, y, 0.02 - droop * (x - rim * 0.5) + d) for x, y in edge + bill for d in (-0.012, 0.012)
    ]
    s.add(hull(np.array(slab), peak_colour))
    if kind == "baseball cap":
        s.add(bead((0.03, 0.03, 0.02), (0, 0, tall), peak_colour))
        badge = s.choose(band, (0.95, 0.95, 0.94))
        s.add(
            hull(
                np.array(
                    [
                        (r * oval_[0] * f + d, y, z)
                        for y in (-0.09, 0.09)
                        for d in (-0.04, 0.0)
                        for f, z in ((0.985, 0.06), (0.94, 0.16 * tall / 0.3))
                    ]
                ),
                badge,
            )
        )
    else:
        s.add(*lathe([(r + 0.012, 0.0), (r + 0.012, 0.05)], band, stretch=oval_))
        ridge = [
            (r * 1.12 * np.cos(t), 0.0, tall * np.sin(t) ** 0.9) for t in np.linspace(0.4, 2.7, 8)
        ]
        s.add(*tube(ridge, 0.03, band, sides=6, flat=2.0))
    return f"a {colour_name(felt)} {kind}"
