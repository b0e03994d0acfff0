"""A capture before anything is fitted: cameras, pictures and sparse points as they will be used."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from studio.data.layouts.base import LayoutData
from studio.data.layouts.capture import CaptureData
from studio.errors import DataError
from studio.live.frusta import doubtful, points_seen
from studio.live.sight import Sight, Source
from studio.plugins.options import build
from studio.views import ViewSet

logger = logging.getLogger(__name__)

SIDE = 512  # px: enough for a window
NAMED = 5  # pictures, before "and 3 more"


class CaptureSource(Source):
    """Posed pictures in a folder of any known layout, views that a guidance made among them.

    Args:
        folder: of the capture.
        options: of `data_type: capture`, over the defaults; with "data_type" those of that layout.

    Raises:
        DataError: if it is no capture, or has no cameras yet.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(folder)
        given = {"resolution": SIDE, **(options or {})}
        kind = given.pop("data_type", "capture")
        self._sight: Sight | None = None
        self._options, self._kind = {**given, "root": str(folder)}, kind
        self._data = self._plugin(self._options)
        if not self._data.has_cameras():
            raise DataError(
                f"{folder} holds photos without cameras.",
                hint="find the cameras first: fit it (studio run reconstruct "
                f"data.root={folder}), or see docs/captures.md",
            )

    def look(self) -> Sight:
        """Read it; a capture is read once."""
        if self._sight is None:
            views, note = self._load()
            points = self._data.cloud()
            words = [f"**capture** of {len(views)} pictures", *note, *seen_words(views, points)]
            self._sight = Sight("\n\n".join(words), views, points)
        return self._sight

    def _plugin(self, options: Mapping[str, Any]) -> LayoutData:
        made = build("data", self._kind, options, key="data")
        layout: LayoutData = made.data if isinstance(made, CaptureData) else made
        return layout

    def _load(self) -> tuple[ViewSet, list[str]]:
        """The views; where masks are missing or say nothing, everything counts as object."""
        try:
            return self._data.load(), []
        except DataError as error:
            if "background" in self._options:
                raise
            try:
                self._data = self._plugin({**self._options, "background": "none"})
                return self._data.load(), [f"shown whole, for: {str(error).splitlines()[0]}"]
            except DataError:
                raise error from None


def seen_words(views: ViewSet, points: Float[Tensor, "n 3"] | None) -> list[str]:
    """Say how many sparse points there are, and which pictures see none or few of them."""
    if points is None or not len(points):
        return []
    seen = points_seen(views.cameras, points)
    none, few = doubtful(seen)
    said = [
        f"{len(points):,} sparse points; a picture sees {int(np.median(seen)):,} of them (median)"
    ]
    for which, text in ((none, "see **no** point (red)"), (few, "see few points (orange)")):
        if which:
            said.append(f"{len(which)} of {len(views)} {text}: {_some(views, which)}")
    if none or few:
        said.append("their poses may be wrong")
    return said


def _some(views: ViewSet, which: list[int]) -> str:
    names = [name_of(views, i) for i in which[:NAMED]]
    more = len(which) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def name_of(views: ViewSet, i: int) -> str:
    """What a view is called."""
    return views.names[i] if views.names else f"{i:03d}"
