"""Patterns on procedural objects: stripes, cloth, wood, labels, ... as functions of the place.

Coordinates are the object's own (longest side 1, front +X, up +Z), so a pattern stays where it is
when the object turns. Flat patterns lie in the plane that a face looks at least obliquely: its
horizontal coordinate u and its height v.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import map_coordinates

from studio.data.procedural.parts import Array, Colour


@dataclass(frozen=True)
class Paint:
    """What covers all parts of one colour.

    Attributes:
        kind: a name of `PATTERNS`.
        second: the colour beside the part's own.
        scale: period of the pattern in object lengths.
        axis: unit direction it runs along.
        phase: [3] shift, in periods.
        seed: of its own random details.
    """

    kind: str
    second: Colour
    scale: float
    axis: tuple[float, float, float]
    phase: tuple[float, float, float]
    seed: int


def draw_paint(random: np.random.Generator, colour: Colour, kinds: Sequence[str]) -> Paint:
    """Return a paint of one of the kinds that goes with a colour.

    Args:
        random: source of every choice.
        colour: of the parts it covers.
        kinds: names of `PATTERNS`.
    """
    kind = kinds[int(random.integers(len(kinds)))]
    low, high = SCALES.get(kind, (0.1, 0.3))
    if kind in ("wood", "planks", "grain", "marble", "bricks"):
        hue, saturation, value = colorsys.rgb_to_hsv(*colour)
        factor = random.uniform(0.62, 0.85) if kind != "bricks" else random.uniform(1.2, 1.5)
        second = colorsys.hsv_to_rgb(hue, saturation, min(1.0, value * factor))
    else:
        second = _accent(random, colour)
    axes = {"bands": (2,), "gradient": (2,), "wood": (0, 1, 2), "planks": (0, 1)}
    choices = axes.get(kind, (0, 1, 1, 2))
    axis = np.eye(3)[choices[int(random.integers(len(choices)))]]
    if kind == "stripes" and random.uniform() < 0.25:
        axis = axis + np.array([0.0, 0.0, random.uniform(-0.8, 0.8)])
    axis /= np.linalg.norm(axis)
    return Paint(
        kind,
        second,
        float(random.uniform(low, high)),
        tuple(axis),  # type: ignore[arg-type]
        tuple(random.uniform(0, 1, 3)),  # type: ignore[arg-type]
        int(random.integers(2**31)),
    )


def _accent(random: np.random.Generator, colour: Colour) -> Colour:
    """A second colour: white, cream, black or a vivid one that differs from the first."""
    value = max(colour)
    pick = random.uniform()
    if pick < 0.3 and min(colour) < 0.7:
        return (0.95, 0.95, 0.94)
    if pick < 0.45 and value > 0.35:
        return (0.12, 0.12, 0.13)
    hue = colorsys.rgb_to_hsv(*colour)[0] + random.uniform(0.2, 0.8)
    return colorsys.hsv_to_rgb(hue % 1.0, random.uniform(0.4, 0.9), random.uniform(0.55, 0.95))


def painted(paint: Paint, colour: Array, points: Array, normals: Array) -> Array:
    """Return the colours [N, 3] of surface points under a paint.

    Args:
        paint: the pattern.
        colour: [N, 3] the parts' own colour.
        points: [N, 3] in the object's coordinates.
        normals: [N, 3] of the faces, in the same.
    """
    share = PATTERNS[paint.kind](paint, points, normals)[:, None]
    mixed: Array = colour * (1 - share) + np.asarray(paint.second) * share
    return mixed


def cloth(points: Array) -> Array:
    """Return the fine grain [N] of any surface, a factor about 1."""
    grain: Array = 0.955 + 0.09 * noise(points * 34.0)
    return grain


def noise(points: Array) -> Array:
    """Return smooth noise [N] in [0, 1] at points [N, 3], of period 32 with features of size 1."""
    values: Array = map_coordinates(_lattice(), points.T, order=1, mode="grid-wrap")
    return values


@lru_cache(maxsize=1)
def _lattice() -> Array:
    values = np.random.default_rng(0).random((32, 32, 32)).astype(np.float32)
    return values


def _plane(points: Array, normals: Array) -> tuple[Array, Array, Array]:
    """Return u, v [N] in the plane of the faces and which axis [N] they look along."""
    facing = np.abs(normals).argmax(1)
    u = np.where(facing == 0, points[:, 1], points[:, 0])
    v = np.where(facing == 2, points[:, 1], points[:, 2])
    return u, v, facing


def _edge(distance: Array, width: float = 0.004) -> Array:
    """Return 1 where the signed distance is negative, 0 where positive, soft over a width."""
    return np.clip(0.5 - distance / (2 * width), 0.0, 1.0)


def _stripes(paint: Paint, points: Array, normals: Array) -> Array:
    place = points @ np.asarray(paint.axis) / paint.scale + paint.phase[0]
    duty = 0.2 + 0.3 * paint.phase[1]
    return _edge((np.abs(place % 1.0 - 0.5) - duty / 2) * paint.scale)


def _bands(paint: Paint, points: Array, normals: Array) -> Array:
    random = np.random.default_rng(paint.seed)
    out = np.zeros(len(points))
    for _ in range(int(random.integers(1, 4))):
        middle, half = random.uniform(-0.4, 0.4), random.uniform(0.015, 0.06)
        out = np.maximum(out, _edge(np.abs(points[:, 2] - middle) - half))
    return out


def _checks(paint: Paint, points: Array, normals: Array) -> Array:
    u, v, _ = _plane(points, normals)
    a, b = u / paint.scale + paint.phase[0], v / paint.scale + paint.phase[1]
    if paint.seed % 3 == 0:  # tartan: crossing translucent stripes
        lines = [_edge((np.abs(x % 1.0 - 0.5) - 0.2) * paint.scale) for x in (a, b)]
        return 0.45 * lines[0] + 0.45 * lines[1]
    wave = np.sin(np.pi * a) * np.sin(np.pi * b)
    return _edge(-wave * paint.scale / np.pi, 0.003)


def _dots(paint: Paint, points: Array, normals: Array) -> Array:
    u, v, _ = _plane(points, normals)
    row = np.floor(v / paint.scale + paint.phase[1])
    a = (u / paint.scale + paint.phase[0] + 0.5 * row) % 1.0 - 0.5
    b = (v / paint.scale + paint.phase[1]) % 1.0 - 0.5
    return _edge((np.hypot(a, b) - 0.2 - 0.12 * paint.phase[2]) * paint.scale)


def _wood(paint: Paint, points: Array, normals: Array) -> Array:
    along = np.asarray(paint.axis)
    squeeze = points - 0.88 * (points @ along)[:, None] * along
    centre = (np.asarray(paint.phase) - 0.5) * 0.6
    wobble = 0.05 * noise(squeeze * 6.0 + paint.seed % 29)
    ring = np.linalg.norm(squeeze - centre, axis=1) + wobble
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * ring / paint.scale)
    return 0.75 * rings**2 + 0.25 * noise(squeeze * 40.0)


def _planks(paint: Paint, points: Array, normals: Array) -> Array:
    across = points @ np.asarray(paint.axis) / (4 * paint.scale) + paint.phase[0]
    gap = _edge((0.5 - np.abs(across % 1.0 - 0.5)) * 4 * paint.scale - 0.004)
    tone = noise(np.stack([np.floor(across) * 7.3, 0 * across, 0 * across], 1))
    return np.maximum(0.5 * _wood(paint, points, normals) + 0.4 * tone, gap)


def _grain(paint: Paint, points: Array, normals: Array) -> Array:
    u, v, _ = _plane(points, normals)
    weave = 0.25 * np.sin(2 * np.pi * u / 0.022) * np.sin(2 * np.pi * v / 0.022)
    return np.clip(0.3 + weave + 0.5 * (noise(points * 22.0) - 0.5), 0, 1)


def _marble(paint: Paint, points: Array, normals: Array) -> Array:
    shift = paint.seed % 31
    swirl = noise(points * 3.0 + shift) + 0.5 * noise(points * 7.0 + shift)
    wave: Array = 1.0 - np.abs(np.sin(np.pi * (points @ np.ones(3) / paint.scale + 4 * swirl)))
    return wave**3


def _label(paint: Paint, points: Array, normals: Array) -> Array:
    """A patch on the sides: a plain shape, or a field with rows of print."""
    random = np.random.default_rng(paint.seed)
    u, v, facing = _plane(points, normals)
    half = random.uniform(0.07, 0.2, 2)
    du, dv = u - random.uniform(-0.12, 0.12), v - random.uniform(-0.12, 0.12)
    side = (facing != 2) if random.uniform() < 0.5 else (facing == int(random.integers(2)))
    shape = int(random.integers(3))
    if shape == 0:
        inside = _edge(np.hypot(du / half[0], dv / half[1]) * half.min() - half.min())
    elif shape == 1:
        points_of_star = int(random.integers(4, 7))
        angle = np.arctan2(dv, du)
        reach = half.min() * (0.72 + 0.28 * np.cos(points_of_star * angle))
        inside = _edge(np.hypot(du, dv) - reach)
    else:
        inside = _edge(np.maximum(np.abs(du) - half[0], np.abs(dv) - half[1]))
        row, column = np.floor(dv / 0.035), np.floor(du / 0.03)
        print_ = (noise(np.stack([row * 5.1, column * 3.7, 0 * row], 1)) > 0.45) & (
            (dv / 0.035) % 1.0 > 0.45
        )
        inside = inside * np.where(print_, 0.15, 1.0)
    return np.where(side, inside, 0.0)


def _gradient(paint: Paint, points: Array, normals: Array) -> Array:
    low = -0.5 + 0.5 * paint.phase[0]
    return np.clip((points[:, 2] - low) / (0.2 + 0.6 * paint.phase[1]), 0.0, 1.0)


def _bricks(paint: Paint, points: Array, normals: Array) -> Array:
    u, v, facing = _plane(points, normals)
    height = 0.4 * paint.scale
    row = np.floor(v / height)
    a = (u / paint.scale + 0.5 * (row % 2)) % 1.0
    b = (v / height) % 1.0
    gap = np.minimum((0.5 - np.abs(a - 0.5)) * paint.scale, (0.5 - np.abs(b - 0.5)) * height)
    return np.where(facing == 2, 0.0, _edge(gap - 0.005))


Pattern = Callable[[Paint, Array, Array], Array]
PATTERNS: dict[str, Pattern] = {
    "stripes": _stripes,
    "bands": _bands,
    "checks": _checks,
    "dots": _dots,
    "wood": _wood,
    "planks": _planks,
    "grain": _grain,
    "marble": _marble,
    "label": _label,
    "gradient": _gradient,
    "bricks": _bricks,
}
"""Share [N] of the second colour by name, from a paint, points and face normals [N, 3]."""

SCALES: dict[str, tuple[float, float]] = {
    "stripes": (0.06, 0.3),
    "checks": (0.05, 0.16),
    "dots": (0.06, 0.16),
    "wood": (0.03, 0.08),
    "planks": (0.03, 0.05),
    "marble": (0.2, 0.5),
    "bricks": (0.08, 0.14),
}
"""Range of `Paint.scale`, where it is not .1 to .3."""
