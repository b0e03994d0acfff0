"""Compiled loops between posed pictures and a mesh: what they show of it, and what it looks like.

Pixels and samples are counted from the upper left corner, their centres at half-integers. A camera
is a matrix [4, 4]: rows 0 to 2 lead from a world point to (x w, y w, w), with x and y in pixels and
w = 1 without perspective; row 3 to the depth along the viewing axis. Beside it stands its centre
and 1, [4], or, without perspective, its viewing direction and 0: distances count from the centre,
or along that direction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.ops.compiled import kernel, part

SAMPLES = 2  # per pixel and axis
one = np.float32(1)  # a float64 would make all of a sum that wide

Array = NDArray[Any]


@kernel
def rasterise(
    corners: Array,
    camera: Array,
    centre: Array,
    wanted: Array,
    face: Array,
    weights: Array,
    distance: Array,
) -> None:
    """Find the foremost triangle in every sample of the wanted pixels.

    A ray (x, y, 1) meets a triangle whose corners A, B, C are seen at (x w, y w, w) where its
    coordinates in the basis A, B, C are positive; they are the barycentric weights times 1 / w.
    Nothing is cut off at the camera.

    Args:
        corners: of the triangles, [m, 3, 3].
        camera: see above.
        centre: likewise.
        wanted: true at pixels that count, [h, w].
        face: triangle of every sample [2 h, 2 w], to be filled; -1 before.
        weights: barycentric, of its second and third corner [2 h, 2 w, 2], to be filled.
        distance: likewise; infinite before.
    """
    high, wide = face.shape
    at, slopes, far = np.empty((3, 3)), np.empty((3, 3)), np.empty(3)
    for f in range(len(corners)):
        left, right, top, bottom = float(wide), 0.0, float(high), 0.0
        behind = 0
        for c in range(3):
            p, q, r = corners[f, c, 0], corners[f, c, 1], corners[f, c, 2]
            for d in range(3):
                row = camera[d]
                at[c, d] = row[0] * p + row[1] * q + row[2] * r + row[3]
            at[c, 0] *= SAMPLES
            at[c, 1] *= SAMPLES
            far[c] = camera[3, 0] * p + camera[3, 1] * q + camera[3, 2] * r + camera[3, 3]
            if far[c] <= 1e-9 or at[c, 2] <= 1e-9:
                behind += 1
            else:
                x, y = at[c, 0] / at[c, 2], at[c, 1] / at[c, 2]
                left, right = min(left, x), max(right, x)
                top, bottom = min(top, y), max(bottom, y)
        if behind == 3:
            continue
        if behind > 0:
            left, right, top, bottom = 0.0, float(wide), 0.0, float(high)
        for c in range(3):
            a, b = at[(c + 1) % 3], at[(c + 2) % 3]
            slopes[c, 0] = a[1] * b[2] - a[2] * b[1]
            slopes[c, 1] = a[2] * b[0] - a[0] * b[2]
            slopes[c, 2] = a[0] * b[1] - a[1] * b[0]
        volume = at[0, 0] * slopes[0, 0] + at[0, 1] * slopes[0, 1] + at[0, 2] * slopes[0, 2]
        if not abs(volume) > 1e-300:
            continue
        slopes /= volume
        first, last = int(max(left, 0.0)), int(min(right, wide - 1.0))
        for y in range(int(max(top, 0.0)), int(min(bottom, high - 1.0)) + 1):
            v = y + 0.5
            r0 = slopes[0, 1] * v + slopes[0, 2]
            r1 = slopes[1, 1] * v + slopes[1, 2]
            r2 = slopes[2, 1] * v + slopes[2, 2]
            for x in range(first, last + 1):
                u = x + 0.5
                k0, k1, k2 = slopes[0, 0] * u + r0, slopes[1, 0] * u + r1, slopes[2, 0] * u + r2
                if min(k0, k1, k2) < 0:
                    continue
                total = k0 + k1 + k2
                reach = (k0 * far[0] + k1 * far[1] + k2 * far[2]) / total
                if 0 < reach < distance[y, x] and wanted[y // SAMPLES, x // SAMPLES]:
                    distance[y, x], face[y, x] = reach, f
                    weights[y, x, 0], weights[y, x, 1] = k1 / total, k2 / total
    if centre[3] > 0:
        _from_centre(corners, centre, face, weights, distance)


@part
def _from_centre(
    corners: Array, centre: Array, face: Array, weights: Array, distance: Array
) -> None:
    """Turn depths into distances from a point."""
    for y in range(face.shape[0]):
        for x in range(face.shape[1]):
            if face[y, x] >= 0:
                at = corners[face[y, x]]
                second, third = weights[y, x, 0], weights[y, x, 1]
                first, total = 1 - second - third, 0.0
                for d in range(3):
                    q = at[0, d] * first + at[1, d] * second + at[2, d] * third
                    total += (q - centre[d]) ** 2
                distance[y, x] = total**0.5


@part(inline="always")
def _between(x: float, length: int) -> Any:
    """The two pixels between whose centres a position lies, and the share of the second."""
    inside = np.float32(min(max(x - 0.5, 0.0), length - 1.0))
    low = int(inside)
    return low, min(low + 1, length - 1), inside - np.float32(low)


@kernel
def find_sights(
    points: Array,
    normals: Array,
    camera: Array,
    centre: Array,
    distance: Array,
    trust: Array,
    grazing: float,
    bias: float,
    index: Array,
    at: Array,
    facing: Array,
    sure: Array,
) -> int:
    """Find the points that a picture shows; return how many.

    Args:
        points: on the surface, [n, 3].
        normals: unit, outward.
        camera: see above.
        centre: likewise.
        distance: of the mesh in every sample, [2 h, 2 w].
        trust: of the pixels, [h, w].
        grazing: cosine below which nothing is shown.
        bias: how far behind the visible surface a point may lie.
        index: which points, to be filled, as are all that follow.
        at: where the picture shows them, in pixels.
        facing: cosines between their normals and the rays.
        sure: trust where they are shown.
    """
    high, wide = trust.shape
    found = 0
    for n in range(len(points)):
        p, q, r = points[n, 0], points[n, 1], points[n, 2]
        a, b, c = -centre[0], -centre[1], -centre[2]
        away = 1.0
        if centre[3] > 0:
            a, b, c = -a - p, -b - q, -c - r
            away = max((a * a + b * b + c * c) ** 0.5, 1e-12)
        cosine = (a * normals[n, 0] + b * normals[n, 1] + c * normals[n, 2]) / away
        if not cosine > grazing:
            continue
        w = camera[2, 0] * p + camera[2, 1] * q + camera[2, 2] * r + camera[2, 3]
        far = camera[3, 0] * p + camera[3, 1] * q + camera[3, 2] * r + camera[3, 3]
        if not (far > 0 and w > 0):
            continue
        x = (camera[0, 0] * p + camera[0, 1] * q + camera[0, 2] * r + camera[0, 3]) / w
        y = (camera[1, 0] * p + camera[1, 1] * q + camera[1, 2] * r + camera[1, 3]) / w
        if not (0 <= x < wide and 0 <= y < high):
            continue
        reach = away if centre[3] > 0 else far
        if not reach < distance[int(SAMPLES * y), int(SAMPLES * x)] + bias:
            continue
        left, right, share = _between(x, wide)
        upper, lower, down = _between(y, high)
        above = trust[upper, left] * (one - share) + trust[upper, right] * share
        below = trust[lower, left] * (one - share) + trust[lower, right] * share
        believed = above * (one - down) + below * down
        if believed > 1e-4:
            index[found], facing[found], sure[found] = n, cosine, believed
            at[found, 0], at[found, 1] = x, y
            found += 1
    return found


@kernel
def blend(values: Array, face: Array, weights: Array, shown: Array) -> None:
    """Set ``shown`` [k, c] to the mean over samples of what corners of triangles hold.

    Args:
        values: of the corners, [m, 3, c].
        face: triangles that the samples of each pixel see, [k, s].
        weights: of their second and third corner, [k, s, 2].
        shown: to be filled.
    """
    samples = face.shape[1]
    for k in range(len(face)):
        for c in range(values.shape[2]):
            total = 0.0
            for s in range(samples):
                corner = values[face[k, s]]
                second, third = weights[k, s, 0], weights[k, s, 1]
                first = 1 - second - third
                total += corner[0, c] * first + corner[1, c] * second + corner[2, c] * third
            shown[k, c] = total / samples


@kernel
def look_up(texture: Array, corners: Array, face: Array, weights: Array, shown: Array) -> None:
    """Set ``shown`` [k, 3] to the mean over samples of a texture (bilinear).

    Args:
        texture: first row at the top, [h, w, 3].
        corners: of the triangles, x and y in texels, [m, 3, 2].
        face: as `blend` has them, like all that follows.
        weights: likewise.
        shown: to be filled.
    """
    high, wide, _ = texture.shape
    samples = face.shape[1]
    for k in range(len(face)):
        shown[k, 0], shown[k, 1], shown[k, 2] = 0, 0, 0
        for s in range(samples):
            corner = corners[face[k, s]]
            second, third = weights[k, s, 0], weights[k, s, 1]
            first = 1 - second - third
            x = corner[0, 0] * first + corner[1, 0] * second + corner[2, 0] * third
            y = corner[0, 1] * first + corner[1, 1] * second + corner[2, 1] * third
            left, right, share = _between(x, wide)
            upper, lower, down = _between(y, high)
            for c in range(3):
                above = texture[upper, left, c] * (one - share) + texture[upper, right, c] * share
                below = texture[lower, left, c] * (one - share) + texture[lower, right, c] * share
                shown[k, c] += (above * (one - down) + below * down) / samples


@kernel
def add_corrections(
    beyond: Array, index: Array, at: Array, share: Array, total: Array, power: Array
) -> None:
    """Add to points what a picture shows beyond a render.

    Args:
        beyond: picture less render, 0 where it tells nothing, [h, w, 3].
        index: points that it shows.
        at: where, in pixels.
        share: how much it counts there.
        total: sums of the differences, times that, of all points [n, 3].
        power: of their squares, [n].
    """
    high, wide, _ = beyond.shape
    for j in range(len(index)):
        left, right, part = _between(at[j, 0], wide)
        upper, lower, down = _between(at[j, 1], high)
        n, squares = index[j], 0.0
        for c in range(3):
            above = beyond[upper, left, c] * (one - part) + beyond[upper, right, c] * part
            below = beyond[lower, left, c] * (one - part) + beyond[lower, right, c] * part
            change = above * (one - down) + below * down
            total[n, c] += change * share[j]
            squares += change * change
        power[n] += squares * share[j]
