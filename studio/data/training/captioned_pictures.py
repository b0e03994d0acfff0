"""Single pictures with captions: `<name>.jpg` beside `<name>.txt`, in folders of any depth.

So img2dataset writes LAION as files, and so an unpacked shard of webdataset looks.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from studio.errors import DataError
from studio.io.images import composite, read_rgba, resize
from studio.io.reading import read_text, reading

logger = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MOST_CAPTION = 1 << 16  # bytes
TRIES = 100  # unreadable pictures in a row that `skip` passes over


class CaptionedPictures(Dataset[dict[str, Any]]):
    """Items of one picture each: images [1,3,S,S] in [-1,1], its middle square, and caption.

    There are no cameras: the picture shows anything, from anywhere.

    Args:
        root: folder; pictures without a text beside them are left out.
        size: side S of the pictures after resizing, in pixels.
        skip: pass over pictures that cannot be read, with a warning, instead of raising.

    Raises:
        DataError: if there are no pictures with texts.
    """

    def __init__(self, root: Path, size: int, skip: bool = False) -> None:
        texts = {path.with_suffix("") for path in root.rglob("*.txt")}
        pictures = (p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
        self.paths = sorted(path for path in pictures if path.with_suffix("") in texts)
        if not self.paths:
            raise DataError(
                f"{root} holds no pictures with captions.",
                allowed=f"<name>.txt beside <name> with {', '.join(SUFFIXES)}",
            )
        self.size, self.skip = size, skip

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the item of a picture.

        Raises:
            DataError: if it cannot be read; with `skip`, if 100 in a row cannot.
        """
        tries = min(TRIES, len(self)) if self.skip else 1
        for step in range(tries):
            path = self.paths[(index + step) % len(self)]
            try:
                return {"images": self._pixels(path)[None], "caption": _caption(path)}
            except DataError as error:
                if not self.skip:
                    raise
                logger.warning("picture %s is skipped: %s", path, str(error).splitlines()[0])
        raise DataError(f"{tries} pictures in a row cannot be used, the last one is {path}.")

    def _pixels(self, path: Path) -> Float[Tensor, "3 s s"]:
        rgba = read_rgba(path)
        height, width = rgba.shape[1:]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = rgba[:, top : top + side, left : left + side]
        return composite(resize(square, self.size, self.size)) * 2 - 1


def _caption(path: Path) -> str:
    text = path.with_suffix(".txt")
    with reading(text, "a caption, UTF-8 text"):
        return read_text(text, MOST_CAPTION).strip()
