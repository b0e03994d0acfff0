"""Splits, collapses and flips of a triangle mesh's edges, compiled.

Half-edge ``h`` is side ``h % 3`` of face ``h // 3`` and runs from ``faces[h]`` (flat) to the face's
next corner; ``twin[h]`` runs the other way in the neighbouring face, -1 where there is none or more
than one. Faces that were collapsed have -1 for corners. Vertices at such borders are ``fixed``:
they stay, and so do the edges along the border.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.ops.compiled import kernel, part

Array = NDArray[Any]

LONG, SHORT = 4 / 3, 4 / 5  # of the wanted length (Botsch and Kobbelt 2004, section 4)
TURNED = 0.3  # least cosine between a face's normals before and after
FLAT = 0.87  # least cosine between the normals of a flipped edge's faces, before and after
MIDDLE = 0.003  # pull to the middle of a collapsed edge, of that of its planes
MOST_NEIGHBOURS = 64


@part
def _next(h: int) -> int:
    return h + 1 if h % 3 < 2 else h - 2


@part
def _previous(h: int) -> int:
    return h - 1 if h % 3 > 0 else h + 2


@part
def _distance2(points: Array, a: int, b: int) -> float:
    x, y, z = (
        points[a, 0] - points[b, 0],
        points[a, 1] - points[b, 1],
        points[a, 2] - points[b, 2],
    )
    return x * x + y * y + z * z


@part
def _normal(points: Array, a: int, b: int, c: int) -> tuple[float, float, float]:
    ux, uy, uz = (
        points[b, 0] - points[a, 0],
        points[b, 1] - points[a, 1],
        points[b, 2] - points[a, 2],
    )
    vx, vy, vz = (
        points[c, 0] - points[a, 0],
        points[c, 1] - points[a, 1],
        points[c, 2] - points[a, 2],
    )
    return uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx


@part
def _cosine(points: Array, a: int, b: int, c: int, d: int, e: int, f: int) -> float:
    """Of the normals of two triangles."""
    ux, uy, uz = _normal(points, a, b, c)
    vx, vy, vz = _normal(points, d, e, f)
    length = (ux * ux + uy * uy + uz * uz) * (vx * vx + vy * vy + vz * vz)
    return (ux * vx + uy * vy + uz * vz) / np.sqrt(length) if length > 0.0 else -1.0


@part
def _link(twin: Any, g: int, h: int) -> None:
    if g >= 0:
        twin[g] = h
    if h >= 0:
        twin[h] = g


@kernel
def split_long(
    points: Array, faces: Array, twin: Any, length: Array, valence: Array, counts: Array
) -> int:
    """Cut edges in the middle that are longer than wanted; return how many were.

    Args:
        points: [room, 3], the first ``counts[0]`` of which are used, and the last one never.
        faces: [room * 3], the first ``3 * counts[1]`` of which are used.
        twin: of each half-edge.
        length: wanted at each vertex.
        valence: edges at each vertex.
        counts: vertices and faces; they grow.
    """
    done = 0
    for h in range(3 * counts[1]):
        t = twin[h]
        if faces[h] < 0 or t < h:
            continue
        if counts[0] + 2 > len(points) or 3 * (counts[1] + 2) > len(faces):
            return done
        a, b = faces[h], faces[t]
        wanted = LONG * 0.5 * (length[a] + length[b])
        if _distance2(points, a, b) <= wanted * wanted:
            continue
        hn, hp, tn, tp = _next(h), _previous(h), _next(t), _previous(t)
        c, d, m = faces[hp], faces[tp], counts[0]
        g0, g1 = 3 * counts[1], 3 * counts[1] + 3
        counts[0] += 1
        counts[1] += 2
        for k in range(3):
            points[m, k] = 0.5 * (points[a, k] + points[b, k])
        length[m] = 0.5 * (length[a] + length[b])
        faces[hn], faces[tn] = m, m
        faces[g0], faces[g0 + 1], faces[g0 + 2] = m, b, c
        faces[g1], faces[g1 + 1], faces[g1 + 2] = m, a, d
        _link(twin, g0 + 1, twin[hn])
        _link(twin, g1 + 1, twin[tn])
        _link(twin, h, g1)
        _link(twin, t, g0)
        _link(twin, hn, g0 + 2)
        _link(twin, tn, g1 + 2)
        valence[m] = 4
        valence[c] += 1
        valence[d] += 1
        done += 1
    return done


@kernel
def collapse_short(
    points: Array,
    faces: Array,
    twin: Any,
    length: Array,
    valence: Array,
    fixed: Array,
    quadrics: Array,
    count: int,
    most: int,
    below: float,
    off: float,
) -> int:
    """Join the ends of edges that are shorter than wanted; return how many were.

    The joint vertex goes to where the planes around both ends meet best (Garland and Heckbert,
    "Surface simplification using quadric error metrics", 1997). An edge stays if it would be too
    far from them, or the surface would fold, change its topology, or get too long an edge.

    Args:
        points: vertices.
        faces: flat; faces on either side of a collapsed edge become -1.
        twin: of each half-edge.
        length: wanted at each vertex.
        valence: edges at each vertex.
        fixed: vertices that stay.
        quadrics: [n, 11] of each vertex, its planes weighted by areas: xx xy xz yy yz zz, three
            linear terms, the constant, and the sum of the weights; they are added up.
        count: half-edges.
        most: edges that may be collapsed.
        below: collapsed is what is shorter than this times the wanted length.
        off: how far the planes may be from the joint vertex, root mean square, in wanted lengths.
    """
    done, scratch = 0, len(points) - 1
    ring = np.empty(MOST_NEIGHBOURS, np.int64)
    for h in range(count):
        if done >= most:
            break
        t = twin[h]
        if faces[h] < 0 or t < h:
            continue
        a, b = faces[h], faces[t]
        wanted = below * 0.5 * (length[a] + length[b])
        if fixed[a] or fixed[b] or _distance2(points, a, b) >= wanted * wanted:
            continue
        hn, hp, tn, tp = _next(h), _previous(h), _next(t), _previous(t)
        c, d = faces[hp], faces[tp]
        if valence[a] + valence[b] > MOST_NEIGHBOURS or valence[c] < 4 or valence[d] < 4:
            continue
        if _join(points, quadrics, a, b, scratch) > (off * 0.5 * (length[a] + length[b])) ** 2:
            continue
        size = 0
        g = h
        while True:  # a's neighbours
            ring[size] = faces[_next(g)]
            size += 1
            g = twin[_previous(g)]
            if g == h:
                break
        common, g = 0, t
        while True:  # those of b that are a's as well: c and d alone, or the surface would pinch
            x = faces[_next(g)]
            for k in range(size):
                common += ring[k] == x
            g = twin[_previous(g)]
            if g == t:
                break
        if common != 2:
            continue
        longest = max(below, LONG) * 0.5 * (length[a] + length[b])
        if not _stays_even(points, faces, twin, h, hp, scratch, longest):
            continue
        if not _stays_even(points, faces, twin, t, tp, scratch, longest):
            continue
        g = twin[tp]
        while g != hn:  # every other face around b
            faces[g] = a
            g = twin[_previous(g)]
        _link(twin, twin[hn], twin[hp])
        _link(twin, twin[tn], twin[tp])
        for k in range(3):
            points[a, k] = points[scratch, k]
            faces[3 * (h // 3) + k] = -1
            faces[3 * (t // 3) + k] = -1
        for k in range(quadrics.shape[1]):
            quadrics[a, k] += quadrics[b, k]
        length[a] = 0.5 * (length[a] + length[b])
        valence[a] += valence[b] - 4
        valence[c] -= 1
        valence[d] -= 1
        done += 1
    return done


@part
def _join(points: Array, quadrics: Array, a: int, b: int, to: int) -> float:
    """Put into `to` the point where two vertices' planes meet; their mean squared distance to it.

    Where they leave a direction open, it is that of the middle of both.
    """
    mx, my, mz = (
        0.5 * (points[a, 0] + points[b, 0]),
        0.5 * (points[a, 1] + points[b, 1]),
        0.5 * (points[a, 2] + points[b, 2]),
    )
    xx, xy, xz = (
        quadrics[a, 0] + quadrics[b, 0],
        quadrics[a, 1] + quadrics[b, 1],
        quadrics[a, 2] + quadrics[b, 2],
    )
    yy, yz, zz = (
        quadrics[a, 3] + quadrics[b, 3],
        quadrics[a, 4] + quadrics[b, 4],
        quadrics[a, 5] + quadrics[b, 5],
    )
    lx, ly, lz = (
        quadrics[a, 6] + quadrics[b, 6],
        quadrics[a, 7] + quadrics[b, 7],
        quadrics[a, 8] + quadrics[b, 8],
    )
    rest, weight = quadrics[a, 9] + quadrics[b, 9], quadrics[a, 10] + quadrics[b, 10]
    pull = MIDDLE * weight
    # (A + pull) x = pull m - l, for x - m
    rx = -(lx + xx * mx + xy * my + xz * mz)
    ry = -(ly + xy * mx + yy * my + yz * mz)
    rz = -(lz + xz * mx + yz * my + zz * mz)
    sx, sy, sz = xx + pull, yy + pull, zz + pull
    c0, c1, c2 = sy * sz - yz * yz, yz * xz - xy * sz, xy * yz - sy * xz
    scale = sx * c0 + xy * c1 + xz * c2
    if scale > 1e-300:
        dx = (c0 * rx + c1 * ry + c2 * rz) / scale
        dy = (c1 * rx + (sx * sz - xz * xz) * ry + (xy * xz - sx * yz) * rz) / scale
        dz = (c2 * rx + (xy * xz - sx * yz) * ry + (sx * sy - xy * xy) * rz) / scale
        mx, my, mz = mx + dx, my + dy, mz + dz
    points[to, 0], points[to, 1], points[to, 2] = mx, my, mz
    error = xx * mx * mx + yy * my * my + zz * mz * mz + rest
    error += 2 * (xy * mx * my + xz * mx * mz + yz * my * mz + lx * mx + ly * my + lz * mz)
    return error / max(weight, 1e-300)


@part
def _stays_even(
    points: Array, faces: Array, twin: Any, h: int, hp: int, to: int, longest: float
) -> bool:
    """Whether the faces around the start of a half-edge, but for its two, may follow it to `to`."""
    a, t = faces[h], twin[h]
    g = twin[hp]
    last = _next(t)  # runs from a in the face on the other side
    while g != last:
        x, y = faces[_next(g)], faces[_previous(g)]
        if _distance2(points, to, x) > longest * longest:
            return False
        if _cosine(points, a, x, y, to, x, y) < TURNED:
            return False
        g = twin[_previous(g)]
    return True


@kernel
def flip_edges(
    points: Array,
    faces: Array,
    twin: Any,
    valence: Array,
    fixed: Array,
    count: int,
    by_angle: bool,
) -> int:
    """Turn edges to their quads' other diagonal where that is better; return how many were.

    Args:
        points: vertices.
        faces: flat.
        twin: of each half-edge.
        valence: edges at each vertex.
        fixed: vertices at borders, whose edges stay.
        count: half-edges.
        by_angle: better is a smaller sum of the two opposite angles (Delaunay), else valences
            nearer to six.
    """
    done = 0
    for h in range(count):
        t = twin[h]
        if faces[h] < 0 or t < h:
            continue
        hn, hp, tn, tp = _next(h), _previous(h), _next(t), _previous(t)
        a, b, c, d = faces[h], faces[t], faces[hp], faces[tp]
        if fixed[a] or fixed[b] or fixed[c] or fixed[d] or valence[a] < 4 or valence[b] < 4:
            continue
        if by_angle:
            better = _cotangent(points, c, a, b) + _cotangent(points, d, b, a) < -1e-9
        else:
            now = (valence[a] - 6) ** 2 + (valence[b] - 6) ** 2
            now += (valence[c] - 6) ** 2 + (valence[d] - 6) ** 2
            then = (valence[a] - 7) ** 2 + (valence[b] - 7) ** 2
            then += (valence[c] - 5) ** 2 + (valence[d] - 5) ** 2
            better = then < now
        if not better or _adjacent(faces, twin, hp, d):
            continue
        one, other = _cosine(points, a, b, c, d, b, c), _cosine(points, b, a, d, a, d, c)
        cross = min(_cosine(points, a, b, c, a, d, c), _cosine(points, b, a, d, d, b, c))
        if min(one, other, cross) < FLAT or _cosine(points, d, b, c, a, d, c) < FLAT:
            continue
        e_bc, e_ca, e_ad, e_db = twin[hn], twin[hp], twin[tn], twin[tp]
        faces[h], faces[hn], faces[hp] = d, b, c
        faces[t], faces[tn], faces[tp] = a, d, c
        _link(twin, h, e_db)
        _link(twin, hn, e_bc)
        _link(twin, t, e_ad)
        _link(twin, tp, e_ca)
        _link(twin, hp, tn)
        valence[a] -= 1
        valence[b] -= 1
        valence[c] += 1
        valence[d] += 1
        done += 1
    return done


@part
def _cotangent(points: Array, apex: int, a: int, b: int) -> float:
    """Of the angle at the apex of a triangle."""
    ux, uy, uz = (
        points[a, 0] - points[apex, 0],
        points[a, 1] - points[apex, 1],
        points[a, 2] - points[apex, 2],
    )
    vx, vy, vz = (
        points[b, 0] - points[apex, 0],
        points[b, 1] - points[apex, 1],
        points[b, 2] - points[apex, 2],
    )
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    sine = np.sqrt(nx * nx + ny * ny + nz * nz)
    return (ux * vx + uy * vy + uz * vz) / max(sine, 1e-30)


@part
def _adjacent(faces: Array, twin: Any, h: int, vertex: int) -> bool:
    """Whether the start of a half-edge, which is not at a border, has an edge to a vertex."""
    g = h
    while True:
        if faces[_next(g)] == vertex:
            return True
        g = twin[_previous(g)]
        if g == h:
            return False
