"""Removal of an even background: its colour, the object's holes, the shadow on the ground.

The background is what has the border's colour and touches the border. It may vary slowly (a
vignette), which a quadratic surface follows. Three things are added to it:

- soft shadows: darker, of the same hue, and fading into the background on all sides;
- enclosed holes (a handle, the space between chair legs): as even as the background itself, also
  where the object is near. A white print on an object that is as even and of exactly the
  background's colour cannot be told from a hole; `holes=False` keeps it;
- specks: dust, apart from the object and tiny against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from studio.captures.shadows import Mask, Picture, fitted_backdrop, soft_shadow
from studio.errors import DataError

ADVICE = (
    "Give a picture with an alpha channel or on an even background.\n"
    "  Or install rembg: data.background=rembg data.background_model=<file>.onnx."
)
EVEN_SHARE = 0.9  # of the border that must have the background's colour
SPECK = 1e-3  # of the largest part's area, below which a loose part is dust
SMALLEST_HOLE = 5e-5  # of the picture
RIM = (2, 8)  # px from the object: where the evenness of the background is measured
HOLE_NOISE = 0.02  # largest usual difference from the background in a hole
HOLE_EVEN = 0.5  # share of a hole's pixels that differ no more, however noisy
HOLE_BLUR = 2.0  # px over which a hole's noise is levelled out
LOW_CONTRAST = 1.75  # times the tolerance: difference below which an outline is hardly seen


def _nothing(tolerance: float) -> DataError:
    return DataError(
        "the picture shows nothing but its background: no colour is further from the border's than "
        f"data.tolerance={tolerance:g}.",
        hint="Give a picture with an alpha channel, or a smaller tolerance.",
    )


@dataclass(frozen=True)
class Cut:
    """An object cut out of its picture.

    Attributes:
        rgb: colours, those along the outline unmixed from the background.
        alpha: coverage in [0, 1].
        holes: how many enclosed areas were taken as background.
        shadow: share of the picture that was taken as a shadow.
        low_contrast: share of the outline that hardly differs from the background.
    """

    rgb: Picture
    alpha: Float[np.ndarray, "h w"]
    holes: int
    shadow: float
    low_contrast: float


def cut_out(rgb: Picture, tolerance: float, *, holes: bool = True) -> Cut:
    """Cut an object out of its even background.

    Args:
        rgb: in [0, 1].
        tolerance: largest difference of a colour channel from the background's.
        holes: take enclosed areas of exactly the background's colour as background.

    Raises:
        DataError: if the border is not even, or there is nothing but background.
    """
    ground = find_background(rgb, tolerance, holes=holes)
    soft, alpha = soft_edge(rgb, ground.behind, ground.mask)
    return Cut(soft, alpha, ground.holes, ground.shadow, ground.low_contrast)


@dataclass(frozen=True)
class Background:
    """What of a picture is background.

    Attributes:
        mask: where it is.
        shaded: where it is a shadow.
        behind: its colour everywhere, behind the object, too; darkened where a shadow is nearest.
        holes: as of `Cut`.
        shadow: as of `Cut`.
        low_contrast: as of `Cut`.
    """

    mask: Mask
    shaded: Mask
    behind: Picture
    holes: int
    shadow: float
    low_contrast: float


def find_background(rgb: Picture, tolerance: float, *, holes: bool = True) -> Background:
    """Find an even background; arguments and errors as of `cut_out`."""
    colour = even_colour(rgb, tolerance)
    outer = _touching_border(np.abs(rgb - colour[:, None, None]).max(axis=0) <= tolerance)
    if (~outer).mean() < 1e-3:
        raise _nothing(tolerance)
    backdrop = fitted_backdrop(rgb, outer)
    shadow = soft_shadow(rgb, backdrop, outer)
    open_areas = enclosed_holes(rgb - backdrop, outer | shadow, tolerance) if holes else []
    background = outer | shadow
    for area in open_areas:
        background |= area
    background |= _specks(~background)
    behind = _behind(rgb, backdrop, background, shadow)
    contrast = _low_contrast(rgb, behind, background, LOW_CONTRAST * tolerance)
    return Background(background, shadow, behind, len(open_areas), float(shadow.mean()), contrast)


def check_shows_something(rgb: Picture, tolerance: float) -> None:
    """Refuse at once what `find_background` refuses: an uneven border, one colour everywhere.

    Raises:
        DataError: saying which.
    """
    colour = even_colour(rgb, tolerance)
    if bool((np.abs(rgb - colour[:, None, None]) <= tolerance).all()):
        raise _nothing(tolerance)


def even_colour(rgb: Picture, tolerance: float) -> Float[np.ndarray, " 3"]:
    """Return the colour of an even background.

    Raises:
        DataError: if the border has no such colour.
    """
    colour, share = border_colour(rgb, tolerance)
    if share < EVEN_SHARE:
        raise DataError(
            f"the picture's background is not even: only {share:.0%} of its border has one "
            f"colour (within {tolerance:g} of 1).",
            allowed=f"{EVEN_SHARE:.0%} or more",
        )
    return colour


def border_colour(rgb: Picture, tolerance: float) -> tuple[Float[np.ndarray, " 3"], float]:
    """Return the median colour of the outermost 1 % and the share of it that looks the same."""
    width = max(1, round(0.01 * min(rgb.shape[1:])))
    ring = np.ones(rgb.shape[1:], dtype=bool)
    ring[width:-width, width:-width] = False
    colours = rgb[:, ring]
    median = np.median(colours, axis=1)
    return median, float((np.abs(colours - median[:, None]).max(axis=0) <= tolerance).mean())


def _touching_border(similar: Mask) -> Mask:
    from scipy import ndimage

    labels, _ = ndimage.label(similar)
    frame = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    touching: Mask = np.isin(labels, np.unique(frame[frame > 0]))
    return touching


def enclosed_holes(difference: Picture, background: Mask, tolerance: float) -> list[Mask]:
    """Enclosed areas that are as even as the background is near the object.

    Where single pixels are too noisy, means over a few count: they level out the noise of JPEG near
    an edge, but not the shading of an object.

    Args:
        difference: from the background's colour.
        background: what touches the border.
        tolerance: of the background's colour.
    """
    from scipy import ndimage

    away = np.abs(difference).max(axis=0)
    distance = ndimage.distance_transform_edt(background)
    rim = (distance > RIM[0]) & (distance <= RIM[1])
    usual = float(np.quantile(away[rim], 0.9)) if rim.any() else 0.0
    allowed = min(max(1.5 * usual, 2 / 255), HOLE_NOISE)
    labels, count = ndimage.label((away <= tolerance) & ~background)
    least = max(16, SMALLEST_HOLE * away.size)
    sizes = ndimage.sum_labels(labels > 0, labels, np.arange(1, count + 1))
    found = []
    for part in np.flatnonzero(sizes >= least) + 1:
        area = labels == part
        core = ndimage.binary_erosion(area, iterations=RIM[0])
        if core.sum() < 0.2 * area.sum():
            continue
        even = (away[core] <= allowed).mean()
        if even < 0.9 and even >= HOLE_EVEN:
            even = (_means(difference, area)[core] <= allowed).mean()
        if even >= 0.9:
            found.append(area)
    return found


def _means(difference: Picture, area: Mask) -> Float[np.ndarray, "h w"]:
    """Largest channel of the differences, each the mean over the area's pixels around."""
    from scipy import ndimage

    weight = np.maximum(ndimage.gaussian_filter(area.astype(np.float32), HOLE_BLUR), 1e-6)
    means = [ndimage.gaussian_filter(np.where(area, d, 0), HOLE_BLUR) / weight for d in difference]
    largest: np.ndarray = np.abs(means).max(axis=0)
    return largest


def _specks(solid: Mask) -> Mask:
    """Loose parts that are tiny against the largest one."""
    from scipy import ndimage

    labels, count = ndimage.label(solid, structure=np.ones((3, 3)))
    if count < 2:
        return np.zeros_like(solid)
    sizes = ndimage.sum_labels(solid, labels, np.arange(1, count + 1))
    dust: Mask = np.isin(labels, np.flatnonzero(sizes < SPECK * sizes.max()) + 1)
    return dust


def _behind(rgb: Picture, backdrop: Picture, background: Mask, shadow: Mask) -> Picture:
    """What lies behind the outline: the backdrop, darkened where a shadow is nearest."""
    from scipy import ndimage

    if not shadow.any():
        return backdrop
    sure = ndimage.binary_erosion(background, iterations=2, border_value=1)
    index = ndimage.distance_transform_edt(~sure, return_distances=False, return_indices=True)
    shaded = shadow[index[0], index[1]]
    nearest: Picture = np.where(shaded, rgb[:, index[0], index[1]], backdrop)
    return nearest


def soft_edge(
    rgb: Picture, behind: Picture, background: Mask
) -> tuple[Picture, Float[np.ndarray, "h w"]]:
    """Unmix the pixels along the silhouette, c = a F + (1 - a) B.

    B is the colour behind and F that of the nearest pixel at least two pixels inside. Where none is
    within four pixels (thin parts), the pixel stays opaque.
    """
    from scipy import ndimage

    alpha = (~background).astype(np.float32)
    inside = ~ndimage.binary_dilation(background, iterations=2)
    if not inside.any():
        return rgb, alpha
    edge = ndimage.binary_dilation(~background) & ~inside
    distance, nearest = ndimage.distance_transform_edt(~inside, return_indices=True)
    edge &= distance <= 4
    inner = rgb[:, nearest[0][edge], nearest[1][edge]]
    pixel, away = rgb[:, edge] - behind[:, edge], inner - behind[:, edge]
    length = (away * away).sum(axis=0)
    share = np.clip((pixel * away).sum(axis=0) / np.maximum(length, 1e-6), 0, 1)
    share[share < 0.02] = 0.0
    rgb = rgb.copy()
    rgb[:, edge] = inner
    alpha[edge] = share
    return rgb, alpha


def _low_contrast(rgb: Picture, behind: Picture, background: Mask, low: float) -> float:
    """Share of the outline just inside of which the object hardly differs from the background."""
    from scipy import ndimage

    inner = ndimage.binary_erosion(~background, iterations=2, border_value=1)
    line = inner & ndimage.binary_dilation(background, iterations=4)
    if not line.any():
        return 0.0
    contrast = np.abs(rgb - behind).max(axis=0)[line]
    return float((contrast < low).mean())
