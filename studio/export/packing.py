"""Charts of a texture packed into a square: all at one scale, each wherever it fits best.

Every chart is drawn on a grid, grown by half the padding, as runs of cells. The largest goes first,
each in that of its four turns, at that free place, in which its upper edge lies lowest: a
bottom-left packing of the true outlines, which fit into each other's bays and holes. The largest
scale at which all of them find a place is looked for by halving.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from studio.ops.compiled import kernel, part

Array = np.ndarray

GRID = 512  # cells along the square, at most: a cell is a texel, or some
DRAFT = 192  # cells along the square on which orders are tried
ORDERS = 32
MIXED = 0.35  # how far orders depart from the largest first, in logarithms of sides
DRAFTED = 0.66  # share of the square that charts have in such a try
ANGLES = 45  # of which the one with the smallest box around a chart is its upright position
TURNS = 4
FINE = 0.004  # of the scale at which the search for it ends
SMALLEST = 0.02  # scale that is tried, of the largest


def packed(
    corners: Float[np.ndarray, "m 3 2"], chart: Int[np.ndarray, " m"], size: int, padding: int
) -> Float[np.ndarray, "m 3 2"]:
    """Place charts without overlaps in a square texture.

    Args:
        corners: of triangles on the plane, all charts in one unit; they are turned and moved, and
            scaled in common.
        chart: of each triangle, from 0.
        size: side of the texture in texels.
        padding: texels between charts; half as many to the border.

    Returns:
        Their corners in texels, in [0, size].
    """
    corners = _upright(corners, chart)
    cells = min(size, GRID)
    margin = 0.5 * padding * cells / size
    doubled = _cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = 0.5 * float(np.abs(doubled).sum())
    extent = float(_per_chart(np.maximum, corners.max(1), chart).max())
    by_chart = np.argsort(chart, kind="stable")
    charts = _Charts(np.ascontiguousarray(corners[by_chart]), chart[by_chart])
    most = min(cells / np.sqrt(area), (cells - 2 * margin) / extent)
    order = _best_order(charts, DRAFT / cells * margin, np.sqrt(DRAFTED / area) * DRAFT)
    low, high, best, scale = 0.0, most, None, 0.82 * most
    while high - low > FINE * most and (best is not None or high > SMALLEST * most):
        found = charts.placed(scale, margin, order, cells, cells)
        if found is None:
            high = scale
        else:
            low, best = scale, (scale, found)
        scale = 0.5 * (low + high) if low else 0.85 * high
    if best is None:  # more charts than texels: overlap beats failure, colours stay close
        return np.clip(corners / max(extent, 1e-20) * size, 0, size)
    return _moved(corners, chart, margin, *best) * (size / cells)


def _best_order(charts: _Charts, margin: float, scale: float) -> Int[np.ndarray, " k"]:
    """That of some orders, all about the largest first, that fills a strip to the least height."""
    random = np.random.default_rng(0)
    longest = np.log(charts.extent.max(1))
    best, least = np.argsort(-longest, kind="stable"), np.inf
    for number in range(ORDERS):
        mixed = longest + (MIXED * random.random(len(longest)) if number else 0)
        order = np.argsort(-mixed, kind="stable")
        found = charts.placed(scale, margin, order, DRAFT, 4 * DRAFT)
        if found is not None and (height := _height(charts, scale, margin, found)) < least:
            best, least = order, height
    return best


def _height(charts: _Charts, scale: float, margin: float, found: Int[np.ndarray, "k 3"]) -> int:
    boxes = charts.boxes(scale, margin)
    return int((found[:, 1] + np.where(found[:, 2] % 2, boxes[:, 0], boxes[:, 1])).max())


class _Charts:
    """Triangles of charts, sorted by chart."""

    def __init__(self, corners: Float[np.ndarray, "m 3 2"], chart: Int[np.ndarray, " m"]) -> None:
        self.corners, self.chart = corners, chart
        self.extent = _per_chart(np.maximum, corners.max(1), chart)

    def boxes(self, scale: float, margin: float) -> Int[np.ndarray, "k 2"]:
        """Cells around every chart with its margin."""
        return np.ceil(self.extent * scale + 2 * margin).astype(np.int64)

    def placed(
        self, scale: float, margin: float, order: Int[np.ndarray, " k"], columns: int, rows: int
    ) -> Int[np.ndarray, "k 3"] | None:
        """Cells (x, y) and turns at which the charts find a place; None if not all do."""
        boxes = self.boxes(scale, margin)
        if (boxes > columns).any():
            return None
        first = np.concatenate([[0], np.cumsum(boxes.prod(1))])
        drawn = np.zeros(first[-1], dtype=np.bool_)
        _draw(self.corners, self.chart, scale, margin, boxes, first, drawn)
        if np.count_nonzero(drawn) > columns * rows:
            return None
        found = np.empty((len(boxes), 3), np.int64)
        return found if _fit(drawn, boxes, first, order, columns, rows, found) else None


def _upright(
    corners: Float[np.ndarray, "m 3 2"], chart: Int[np.ndarray, " m"]
) -> Float[np.ndarray, "m 3 2"]:
    """Every chart turned so that the box around it is smallest, its lower left corner at 0."""
    from scipy.spatial import ConvexHull, QhullError

    turns = np.arange(ANGLES) * (0.5 * np.pi / ANGLES)
    axes = np.stack([np.cos(turns), np.sin(turns)])
    order = np.argsort(chart, kind="stable")
    ends = np.searchsorted(chart[order], np.arange(int(chart.max()) + 2))
    turned = np.empty_like(corners)
    for start, stop in zip(ends[:-1], ends[1:], strict=True):
        part = order[start:stop]
        points = corners[part].reshape(-1, 2)
        try:
            hull = points[ConvexHull(points).vertices]
        except QhullError:  # all on one line
            hull = points
        x, y = hull @ axes, hull @ np.stack([-axes[1], axes[0]])
        best = int((np.ptp(x, axis=0) * np.ptp(y, axis=0)).argmin())
        c, s = axes[:, best]
        upright = points @ np.array([[c, -s], [s, c]])
        turned[part] = (upright - upright.min(0)).reshape(-1, 3, 2)
    return turned


def _per_chart(
    operation: np.ufunc, values: Float[np.ndarray, "m 2"], chart: Int[np.ndarray, " m"]
) -> Float[np.ndarray, "k 2"]:
    """The least or greatest values of every chart."""
    order = np.argsort(chart, kind="stable")
    starts = np.searchsorted(chart[order], np.arange(int(chart.max()) + 1))
    return np.asarray(operation.reduceat(values[order], starts, axis=0))


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _moved(
    corners: Float[np.ndarray, "m 3 2"],
    chart: Int[np.ndarray, " m"],
    margin: float,
    scale: float,
    found: Int[np.ndarray, "k 3"],
) -> Float[np.ndarray, "m 3 2"]:
    """Corners in cells, after a common scale and each chart's turn and place."""
    at = corners * scale + margin
    box = np.ceil(_per_chart(np.maximum, corners.max(1), chart) * scale + 2 * margin)[chart]
    x, y, w, h = at[..., 0], at[..., 1], box[:, :1], box[:, 1:]
    turned = np.stack(
        [np.stack(p, -1) for p in ((x, y), (h - y, x), (w - x, h - y), (y, w - x))], 0
    )
    picked = turned[found[chart, 2], np.arange(len(chart))]
    return np.asarray(picked + found[chart][:, None, :2])


@kernel
def _draw(
    corners: Array,
    chart: Array,
    scale: float,
    margin: float,
    boxes: Array,
    first: Array,
    drawn: Array,
) -> None:
    """Mark the cells that scaled triangles, grown by a margin, touch: a box, and three edges."""
    for t in range(len(corners)):
        c = chart[t]
        w, h = boxes[c, 0], boxes[c, 1]
        ax, ay = corners[t, 0, 0] * scale + margin, corners[t, 0, 1] * scale + margin
        bx, by = corners[t, 1, 0] * scale + margin, corners[t, 1, 1] * scale + margin
        cx, cy = corners[t, 2, 0] * scale + margin, corners[t, 2, 1] * scale + margin
        if (bx - ax) * (cy - ay) - (by - ay) * (cx - ax) < 0.0:
            bx, by, cx, cy = cx, cy, bx, by
        x0 = max(0, int(np.floor(min(ax, bx, cx) - margin)))
        y0 = max(0, int(np.floor(min(ay, by, cy) - margin)))
        x1 = min(w, int(np.floor(max(ax, bx, cx) + margin)) + 1)
        y1 = min(h, int(np.floor(max(ay, by, cy) + margin)) + 1)
        for y in range(y0, y1):
            for x in range(x0, x1):
                px, py = x + 0.5, y + 0.5
                if (
                    _near(px, py, ax, ay, bx, by, margin)
                    and _near(px, py, bx, by, cx, cy, margin)
                    and _near(px, py, cx, cy, ax, ay, margin)
                ):
                    drawn[first[c] + y * w + x] = True


@part
def _near(px: float, py: float, ax: float, ay: float, bx: float, by: float, margin: float) -> bool:
    """Whether a cell reaches to the left side of an edge that is moved outwards by a margin."""
    ex, ey = bx - ax, by - ay
    reach = 0.5 * (abs(ex) + abs(ey)) + margin * np.sqrt(ex * ex + ey * ey)
    return ex * (py - ay) - ey * (px - ax) >= -reach


@kernel
def _fit(
    drawn: Array, boxes: Array, first: Array, order: Array, columns: int, rows: int, found: Array
) -> bool:
    """Find a place (x, y) and a turn for every chart; False where one finds none."""
    last = np.full((rows, columns), -1, np.int32)  # the nearest taken cell to the left, or itself
    spans = np.empty((TURNS, 8 * columns + 64, 3), np.int64)
    counts = np.empty(TURNS, np.int64)
    for i in range(len(order)):
        c = order[i]
        w, h = boxes[c, 0], boxes[c, 1]
        if not _find_spans(drawn[first[c] : first[c + 1]], w, h, spans, counts):
            spans = np.empty((TURNS, w * h, 3), np.int64)
            _find_spans(drawn[first[c] : first[c + 1]], w, h, spans, counts)
        best_top, best_x, best_y, best_turn = rows + 1, 0, 0, -1
        for turn in range(TURNS):
            tw, th = (w, h) if turn % 2 == 0 else (h, w)
            y, hint = 0, 0
            while y + th <= rows and y + th <= best_top:
                x = 0
                while x + tw <= columns:
                    jump = 0
                    for k in range(counts[turn]):
                        s = hint + k
                        if s >= counts[turn]:
                            s -= counts[turn]
                        taken = last[y + spans[turn, s, 0], x + spans[turn, s, 2]]
                        if taken >= x + spans[turn, s, 1]:
                            jump, hint = taken - spans[turn, s, 1] + 1, s
                            break
                    if jump == 0:
                        break
                    x = jump
                if x + tw <= columns and (y + th < best_top or x < best_x):
                    best_top, best_x, best_y, best_turn = y + th, x, y, turn
                    break
                y += 1
        if best_turn < 0:
            return False
        found[c, 0], found[c, 1], found[c, 2] = best_x, best_y, best_turn
        for s in range(counts[best_turn]):
            row = last[best_y + spans[best_turn, s, 0]]
            left, right = best_x + spans[best_turn, s, 1], best_x + spans[best_turn, s, 2]
            for x in range(left, right + 1):
                row[x] = x
            x = right + 1
            while x < columns and row[x] < right:
                row[x] = right
                x += 1
    return True


@part
def _find_spans(cells: Array, w: int, h: int, spans: Array, counts: Array) -> bool:
    """The runs (row, first, last) of a chart in its four turns; False if they find no room."""
    for turn in range(TURNS):
        rows, columns = (h, w) if turn % 2 == 0 else (w, h)
        count = 0
        for r in range(rows):
            start = -1
            for q in range(columns + 1):
                filled = False
                if q < columns:
                    if turn == 0:
                        x, y = q, r
                    elif turn == 1:
                        x, y = r, h - 1 - q
                    elif turn == 2:
                        x, y = w - 1 - q, h - 1 - r
                    else:
                        x, y = w - 1 - r, q
                    filled = cells[y * w + x]
                if filled and start < 0:
                    start = q
                elif not filled and start >= 0:
                    if count == spans.shape[1]:
                        return False
                    spans[turn, count, 0], spans[turn, count, 1] = r, start
                    spans[turn, count, 2] = q - 1
                    count += 1
                    start = -1
        counts[turn] = count
    return True
