"""Image and mask files that a capture names, and which way up they are stored.

Captures name pictures that have since been converted, cut out or moved: they are found by their
stem. Cameras belong to the rows of a picture as they are stored, whatever its EXIF tag says, unless
only the turned picture has the cameras' shape; a mask is turned with its picture.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from studio.errors import DataError
from studio.io.picture_files import SUFFIXES, opened, picture_size

logger = logging.getLogger(__name__)

MASK_FOLDERS = ("masks", "mask")
COMPANION = re.compile(r"[-_.](depth|normals?|mask|alpha)(_?\d+)?$", re.IGNORECASE)
MASK_SUFFIXES = (*SUFFIXES, ".gif")
_ANY_CASE = (*SUFFIXES, *(suffix.upper() for suffix in SUFFIXES))
_MASKS_ANY_CASE = (*MASK_SUFFIXES, *(suffix.upper() for suffix in MASK_SUFFIXES))
_FLIPS = {2: (2,), 3: (1, 2), 4: (1,), 6: (2,), 7: (1, 2), 8: (1,)}  # after transposing 5 to 8


def is_picture(path: Path) -> bool:
    """Whether a file's name ends as a picture's does."""
    return path.suffix.lower() in SUFFIXES


_inside: contextvars.ContextVar[Path | None] = contextvars.ContextVar("inside", default=None)


@contextlib.contextmanager
def within(folder: Path) -> Iterator[None]:
    """Refuse captures that name files outside a folder, there or not; for those of strangers.

    Raises:
        DataError: in the block, naming the file.
    """
    token = _inside.set(Path(os.path.normpath(folder.absolute())))
    try:
        yield
    finally:
        _inside.reset(token)


def is_file(path: Path) -> bool:
    """Whether there is such a file; False for names that no file can have."""
    folder = _inside.get()
    if folder is not None and folder not in Path(os.path.normpath(path.absolute())).parents:
        raise DataError(
            f"the capture names the file {path.name}, which lies outside its folder.",
            allowed="files in the capture's own folder",
        )
    try:
        return path.is_file()
    except PermissionError:
        raise
    except (OSError, ValueError):  # too long, or with a zero byte
        return False


def check_name(source: Path | str, name: str) -> str:
    """Return a file's name, if it is one that a file can have.

    Raises:
        DataError: if it is empty, too long or holds a zero byte: the picture is not missing, what
            names it is damaged.
    """
    parts = Path(name.replace("\\", "/")).parts
    possible = "\0" not in name and any(part not in ("/", ".", "..") for part in parts)
    encoded = [os.fsencode(part) for part in parts] if possible and _encodes(name) else []
    if not encoded or max(map(len, encoded)) > 255 or sum(map(len, encoded)) > 4000:
        short = repr(name if len(name) <= 60 else f"{name[:57]}...")
        raise DataError(
            f"{source} names the file {short}, {len(name):,} characters.",
            allowed="names that a file can have, relative to the capture's folder",
            hint="The file is damaged: copy it again, or have it written anew.",
        )
    return name


def _encodes(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # half a character
        return False
    return True


def find_picture(base: Path) -> Path | None:
    """Return the file of that name, with its suffix left out or exchanged for another, or None."""
    if not base.name:
        return None
    names = [base.name, *(base.name + suffix for suffix in _ANY_CASE)]
    if is_picture(base):
        names += [base.stem + suffix for suffix in _ANY_CASE]
    return next((p for p in (base.with_name(name) for name in names) if is_file(p)), None)


def find_mask(folders: Iterable[Path], name: str) -> Path | None:
    """Return the mask of a picture, whatever tool named it, or None.

    Args:
        folders: where masks lie.
        name: the picture's path within its own folder: x.jpg has its mask in x.jpg, x.jpg.png,
            x.png or x_mask.png.
    """
    path = Path(name)
    stems = [path.name, path.stem, f"{path.stem}_mask", f"{path.stem}-mask"]
    names = [path.name, *(stem + suffix for stem in stems for suffix in _MASKS_ANY_CASE)]
    for folder in folders:
        for file in ((folder / path).with_name(name) for name in names):
            if is_file(file):
                return file
    return None


def without_companions(files: list[Path]) -> list[Path]:
    """Leave out depth maps, normals and masks that lie beside the pictures they belong to."""
    stems = {file.stem for file in files}
    return [
        file
        for file in files
        if not (COMPANION.search(file.stem) and COMPANION.sub("", file.stem) in stems)
    ]


def leave_out(
    source: Path | str, names: Sequence[str], total: int, what: str, hint: str | None = None
) -> None:
    """Say that some entries of a capture are left out.

    Raises:
        DataError: if they are more than half of all.
    """
    if not names:
        return
    short = [name if len(name) <= 60 else f"{name[:57]}..." for name in names[:3]]
    some = ", ".join(short) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    message = f"{source}: {len(names)} of {total} {what}: {some}."
    if 2 * len(names) > total:
        raise DataError(message, allowed="at least half of them", hint=hint)
    logger.warning("%s They are left out.", message)


# --- which way up -------------------------------------------------------------------------------


def same_shape(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two (height, width) are one shape at two scales, to 1 % or one pixel."""
    (h, w), (height, width) = one, other
    if min(h, w, height, width) <= 0:
        return False
    return abs(w * height / h - width) <= max(1, 0.01 * width)


def is_turned(source: Path, picture: Path, size: tuple[float, float]) -> bool:
    """Whether cameras of that (height, width) belong to the picture as turned by its EXIF tag.

    Raises:
        DataError: if they belong to it neither turned nor as it is stored.
    """
    height, width = picture_size(picture, upright=False)
    tag = orientation(picture)
    if same_shape(size, (height, width)):
        return False
    if tag >= 5 and same_shape(size, (width, height)):
        return True
    turned = f" (its EXIF tag turns it to {height}x{width})" if tag >= 5 else ""
    hint = None
    if tag < 5 and same_shape(size, (width, height)):
        hint = (
            "Its sides are exchanged: the picture was turned, or lost its EXIF orientation tag,\n"
            "  after the cameras were made. Give the pictures that the cameras were made of."
        )
    raise DataError(
        f"{source} says w x h = {size[1]:g}x{size[0]:g}, the picture {picture.name} is "
        f"{width}x{height} px{turned}.",
        allowed="one shape, in any scale",
        hint=hint,
    )


def orientation(picture: Path) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (as stored) where there is none."""
    with opened(picture) as file:
        tag = file.getexif().get(0x0112, 1)
    return tag if isinstance(tag, int) and 1 <= tag <= 8 else 1


def turn(
    picture: Float[Tensor, "c h w"], tag: int, *, back: bool = False
) -> Float[Tensor, "c a b"]:
    """Turn a picture as an EXIF orientation says, or back to how it was stored."""
    flips = _FLIPS.get(tag, ())
    if tag < 5:
        return picture.flip(flips)
    return picture.flip(flips).transpose(1, 2) if back else picture.transpose(1, 2).flip(flips)
