"""A capture before anything is fitted: cameras, pictures and sparse points as they will be used."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.data.layouts.base import LayoutData
from studio.data.layouts.capture import CaptureData
from studio.errors import DataError
from studio.live.poses import Poses, judged
from studio.live.sight import Sight, Source
from studio.plugins.options import build
from studio.views import ViewSet

logger = logging.getLogger(__name__)

SIDE = 512  # px: enough for a window
COMPARING = "comparing the pictures with each other ..."


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
        self._poses: Poses | None = None
        self._words: list[str] = []
        self._options, self._kind = {**given, "root": str(folder)}, kind
        self._data = self._plugin(self._options)
        if not self._data.has_cameras():
            raise DataError(
                f"{folder} holds photos without cameras.",
                hint="find the cameras first: fit it (studio run reconstruct "
                f"data.root={folder}), or see docs/captures.md",
            )

    def look(self) -> Sight:
        """Read it, once; its poses are judged at the next look, when it is seen already."""
        if self._sight is None:
            views, note = self._load()
            self._words = [f"**capture** of {len(views)} pictures", *note]
            words = [*self._words, COMPARING]
            self._sight = Sight("\n\n".join(words), views, self._data.cloud())
        elif self._poses is None:
            assert self._sight.views is not None
            self._poses = poses = judged(self._sight.views, self._sight.points)
            words = [*self._words, *poses.words]
            self._sight = replace(self._sight, words="\n\n".join(words), poses=poses)
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
