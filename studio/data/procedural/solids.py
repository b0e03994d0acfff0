"""Rounder solids for procedural objects: hulls, lathed, swept, lofted and hollow ones.

Each function returns convex parts, one or a list; what is not convex (a cup, a handle, the body of
a car) is cut into convex slices, so that a point is inside the whole exactly if it is inside one of
them. Shading normals follow the whole surface and not the slices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from studio.data.procedural.parts import Array, Colour, Part, Triple, rotation

Profile = Sequence[tuple[float, float]] | Array
"""(radius, height) from the bottom up."""
Points = Sequence[Triple | Array] | Array
"""[P, 3] a path."""
CREASE_DEG = 50.0
"""Faces that meet at more than this are shaded as an edge."""


def hull(points: Array, colour: Colour, normals: Array | None = None) -> Part:
    """The convex hull of [N, 3] points, shaded with their [N, 3] unit normals if given.

    A corner takes its point's normal where this is within :data:`CREASE_DEG` of the face's own.
    """
    from scipy.spatial import ConvexHull

    faces = ConvexHull(points).simplices
    corners = points[faces]
    across = _cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inward = (across * (corners[:, 0] - points.mean(0))).sum(-1) < 0
    faces[inward] = faces[inward][:, ::-1]
    area = np.linalg.norm(across, axis=-1)
    faces = faces[area > 1e-9]
    corners = points[faces]
    flat = unit(_cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    shading = np.repeat(flat[:, None], 3, axis=1)
    if normals is not None:
        smooth = normals[faces]
        near = (smooth * shading).sum(-1) > np.cos(np.deg2rad(CREASE_DEG))
        shading = np.where(near[..., None], smooth, shading)
    return Part(corners, shading, colour)


def chain(rings: Array, colour: Colour | Sequence[Colour]) -> list[Part]:
    """A body through [S, K, 3] cross-sections, corner k joined with corner k; one part per slice.

    Args:
        rings: planar convex polygons, all in the same sense of rotation, none a single point.
        colour: one for all, or one for each of the S - 1 slices.
    """
    rings = np.asarray(rings, float)
    around = np.roll(rings, -1, axis=1) - np.roll(rings, 1, axis=1)
    normals = unit(_cross(around, np.gradient(rings, axis=0)))
    outward = (normals * (rings - rings.mean(1, keepdims=True))).sum()
    normals = normals if outward > 0 else -normals
    paint = _per_slice(colour, len(rings) - 1)
    return [
        hull(rings[k : k + 2].reshape(-1, 3), paint[k], normals[k : k + 2].reshape(-1, 3))
        for k in range(len(rings) - 1)
    ]


def oval(sides: int, squareness: float = 2.0) -> Array:
    """[K, 2] unit circle, or with a higher ``squareness`` a rounded square (superellipse)."""
    angle = (np.arange(sides) + 0.5) * (2 * np.pi / sides)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    curved: Array = np.sign(circle) * np.abs(circle) ** (2.0 / squareness)
    return curved


def lathe(
    profile: Profile,
    colour: Colour | Sequence[Colour],
    *,
    at: Triple = (0.0, 0.0, 0.0),
    sides: int = 24,
    squareness: float = 2.0,
    stretch: tuple[float, float] = (1.0, 1.0),
) -> list[Part]:
    """A solid of revolution about +Z, one part per step of the profile.

    Args:
        profile: heights must differ from step to step.
        colour: one for all, or one for each step.
        at: where the profile's (0, 0) stands.
        sides: of the polygon around the axis, even.
        squareness: above 2 the cross-section is a rounded square, see :func:`oval`.
        stretch: of the cross-section along X and Y.
    """
    outline = _radii(profile)
    section = oval(sides, squareness) * stretch
    slopes, paint = _slopes(outline), _per_slice(colour, len(outline) - 1)
    out = _out_of(section)
    rings = np.stack([np.c_[section * r, np.full(sides, z)] for r, z in outline]) + np.asarray(at)
    parts = []
    for k in range(len(outline) - 1):
        low, high = (_lift(out, slopes[k, end]) for end in (0, 1))
        parts.append(_slice(rings[k], rings[k + 1], low, high, paint[k]))
    return parts


def shell(
    outer: Profile,
    inner: Sequence[float],
    colour: Colour,
    *,
    lining: Colour | None = None,
    at: Triple = (0.0, 0.0, 0.0),
    sides: int = 24,
    squareness: float = 2.0,
    stretch: tuple[float, float] = (1.0, 1.0),
    arc: tuple[int, int] | None = None,
) -> list[Part]:
    """A hollow solid of revolution about +Z without floor or lid, a ring of wall pieces per step.

    Args:
        outer: profile of the outside.
        inner: radius of the inside at the profile's heights, smaller than the outside's.
        colour: of the wall.
        lining: colour of the inside; the wall's if absent.
        at: where the profile's (0, 0) stands.
        sides: wall pieces around the axis, even.
        squareness: see :func:`lathe`.
        stretch: see :func:`lathe`.
        arc: first and last wall piece (exclusive) counted from +X; all of them if absent.
    """
    wide = _radii(outer)
    thin = np.c_[np.maximum(inner, 1e-3), wide[:, 1]]
    if lining is not None:
        middle = thin + (wide - thin) * 0.35
        rest = {"at": at, "sides": sides, "squareness": squareness, "stretch": stretch, "arc": arc}
        outside = shell(outer, middle[:, 0], colour, **rest)  # type: ignore[arg-type]
        inside = shell([(r, z) for r, z in middle], inner, lining, **rest)  # type: ignore[arg-type]
        return outside + inside
    section = oval(sides, squareness) * stretch
    out, slopes, back = _out_of(section), _slopes(wide), _slopes(thin)
    pieces = []
    for k in range(len(wide) - 1):
        o0, o1, i0, i1 = (
            np.c_[section * r, np.full(sides, z)] + np.asarray(at)
            for r, z in (wide[k], wide[k + 1], thin[k], thin[k + 1])
        )
        no0, no1 = _lift(out, slopes[k, 0]), _lift(out, slopes[k, 1])
        ni0, ni1 = -_lift(out, back[k, 0]), -_lift(out, back[k, 1])
        for a in range(*(arc or (0, sides))):
            p, q = (a - 1) % sides, a % sides
            points = np.stack([o0[p], o0[q], o1[p], o1[q], i0[p], i0[q], i1[p], i1[q]])
            normals = np.stack([no0[p], no0[q], no1[p], no1[q], ni0[p], ni0[q], ni1[p], ni1[q]])
            pieces.append(_wedge(points, normals, colour))
    return pieces


def tube(
    path: Points,
    radius: float | Sequence[float],
    colour: Colour,
    *,
    sides: int = 8,
    flat: float = 1.0,
) -> list[Part]:
    """A round bar along a path of at least two points: handles, legs, frames.

    Args:
        path: [P, 3]; a loop if it ends where it starts.
        radius: one, or one for each point.
        colour: of all of it.
        sides: of the cross-section, even.
        flat: thickness out of the path's plane relative to that in it.
    """
    path = np.asarray(path, float)
    steps = unit(np.diff(path, axis=0))
    tangents = unit(np.concatenate([steps[:1], steps[:-1] + steps[1:], steps[-1:]]))
    if np.allclose(path[0], path[-1]):
        tangents[[0, -1]] = unit(steps[:1] + steps[-1:])
    spread = np.ptp(path, axis=0)
    across = np.eye(3)[int(np.argmin(spread))]
    first = unit(across - tangents * (tangents @ across)[:, None])
    second = _cross(tangents, first)
    circle, radii = oval(sides), np.broadcast_to(np.asarray(radius, float), len(path))
    out = circle[:, :1] * flat * first[:, None] + circle[:, 1:] * second[:, None]
    rings, normals = path[:, None] + radii[:, None, None] * out, unit(out)
    return [
        hull(rings[k : k + 2].reshape(-1, 3), colour, normals[k : k + 2].reshape(-1, 3))
        for k in range(len(path) - 1)
    ]


def moved(parts: Sequence[Part], shift: Triple) -> list[Part]:
    """Parts shifted."""
    return [Part(p.corners + np.asarray(shift), p.normals, p.colour) for p in parts]


def turned(
    parts: Sequence[Part], axis: str, degrees: float, about: Triple = (0.0, 0.0, 0.0)
) -> list[Part]:
    """Parts rotated about a named axis through a point."""
    matrix = rotation(axis, degrees)
    return [part.turned(matrix, about) for part in parts]


def arch(start: Triple, end: Triple, bulge: Triple, steps: int = 8) -> Array:
    """[steps + 1, 3] half an ellipse from one point to the other, over their middle + bulge."""
    a, b, c = (np.asarray(v, float) for v in (start, end, bulge))
    t = np.linspace(0, np.pi, steps + 1)[:, None]
    curve: Array = (a + b) / 2 + (a - b) / 2 * np.cos(t) + c * np.sin(t)
    return curve


def spline(points: Sequence[Sequence[float]] | Points, steps: int) -> Array:
    """[steps + 1, D] smooth curve through control points [N, D], evenly in their number."""
    from scipy.interpolate import PchipInterpolator

    knots = np.asarray(points, float)
    t = np.linspace(0, len(knots) - 1, steps + 1)
    return np.asarray(PchipInterpolator(np.arange(len(knots)), knots)(t))


def _per_slice(colour: Colour | Sequence[Colour], count: int) -> list[Colour]:
    return [colour] * count if isinstance(colour[0], float | int) else list(colour)  # type: ignore


def _radii(profile: Profile) -> Array:
    """[S, 2] profile whose radii are at least a thousandth of the largest."""
    outline = np.asarray(profile, float)
    outline[:, 0] = np.maximum(outline[:, 0], 2e-3 * outline[:, 0].max())
    return outline


def _slopes(outline: Array) -> Array:
    """[S - 1, 2 ends, 2] outward (radial, up) normal of a profile's steps, smooth across them."""
    step = np.diff(outline, axis=0)
    own = unit(np.stack([step[:, 1], -step[:, 0]], 1))
    own *= np.where(step[:, 1:] < 0, -1.0, 1.0)
    ends = np.stack([own, own], 1)
    meeting = (own[:-1] * own[1:]).sum(-1) > np.cos(np.deg2rad(CREASE_DEG))
    mean = unit(own[:-1] + own[1:])
    ends[:-1, 1] = np.where(meeting[:, None], mean, ends[:-1, 1])
    ends[1:, 0] = np.where(meeting[:, None], mean, ends[1:, 0])
    return ends


def _out_of(section: Array) -> Array:
    """[K, 2] outward unit normals at the corners of a counter-clockwise polygon."""
    along = np.roll(section, -1, axis=0) - np.roll(section, 1, axis=0)
    return unit(np.stack([along[:, 1], -along[:, 0]], 1))


def _lift(out: Array, slope: Array) -> Array:
    return np.c_[out * slope[0], np.full(len(out), slope[1])]


def _slice(
    low: Array, high: Array, low_normals: Array, high_normals: Array, colour: Colour
) -> Part:
    """The frustum between two similar polygons [K, 3], ``high`` above."""
    if low[0, 2] > high[0, 2]:
        low, high, low_normals, high_normals = high, low, high_normals, low_normals
    count = len(low)
    after, fan = np.roll(np.arange(count), -1), np.arange(1, count - 1)
    points = np.concatenate([low, high])
    shading = np.concatenate([low_normals, high_normals])
    every, first = np.arange(count), np.zeros(count - 2, int)
    sides = np.concatenate(
        [np.c_[every, after, after + count], np.c_[every, after + count, every + count]]
    )
    caps = np.concatenate([np.c_[first, fan + 1, fan], np.c_[first, fan, fan + 1] + count])
    up = np.zeros((len(caps), 3, 3))
    up[: count - 2, :, 2], up[count - 2 :, :, 2] = -1.0, 1.0
    corners = points[np.concatenate([sides, caps])]
    normals = np.concatenate([shading[sides], up])
    across = _cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    keep = np.linalg.norm(across, axis=-1) > 1e-10
    return Part(corners[keep], normals[keep], colour)


_WEDGE = np.array(
    [[0, 1, 3], [0, 3, 2], [5, 4, 6], [5, 6, 7], [2, 3, 7], [2, 7, 6], [1, 0, 4], [1, 4, 5],
     [1, 5, 7], [1, 7, 3], [4, 0, 2], [4, 2, 6]]
)  # fmt: skip
"""Faces of a wall piece: outside, inside, top, bottom, both ends."""


def _wedge(points: Array, normals: Array, colour: Colour) -> Part:
    """A wall piece from its corners [8, 3]: outside low, outside high, inside low, inside high."""
    corners = points[_WEDGE]
    flat = unit(_cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    shading = np.repeat(flat[:, None], 3, axis=1)
    shading[:4] = normals[_WEDGE[:4]]
    return Part(corners, shading, colour)


def _cross(a: Array, b: Array) -> Array:
    """Cross product of [..., 3] vectors; numpy's own is slow for few of them."""
    x, y, z = (a[..., k] for k in range(3))
    u, v, w = (b[..., k] for k in range(3))
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=-1)


def unit(vectors: Array) -> Array:
    """Vectors [..., D] scaled to length 1; zero stays zero."""
    scaled: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return scaled
